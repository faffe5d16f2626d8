//! The methods of a proxy.

use std::sync::Arc;

use kemi_core::Program;
use serde_json::{Value, json};

use crate::proxy::{Cx, EngineNames, Metrics, Shared};
use crate::rpc::{Methods, script, statistics};

/// Returns everything that can be called of a proxy.
///
/// `version` is what `core.version` answers; `engines` are all that are linked, so that a call for one that is not in use
/// can say which one is.
#[must_use]
pub fn proxy_methods(
    version: &str,
    shared: &Arc<Shared>,
    program: &Arc<Program<Cx>>,
    engines: &[EngineNames],
) -> Methods {
    let version = version.to_owned();
    let about = |method: fn(&Shared) -> Value, name: &'static str| {
        let shared = Arc::clone(shared);
        move |params: &super::Params| {
            params.expect_none(name)?;
            Ok(method(&shared))
        }
    };
    let methods = Methods::new()
        .add("core.version", "Shows what runs.", move |params| {
            params.expect_none("core.version")?;
            Ok(json!(version))
        })
        .add("core.uptime", "Shows since when it runs, in seconds.", about(uptime, "core.uptime"))
        .add("core.sockets", "Shows where it listens.", about(sockets, "core.sockets"))
        .add("tm.stats", "Counts the transactions.", about(transactions, "tm.stats"))
        .add("ul.stats", "Counts the registered contacts of each table.", about(contacts, "ul.stats"));
    let methods = statistics::add(methods, &Metrics::new(shared.clone(), program.clone()));
    script::add(methods, shared, program, engines)
}

fn uptime(shared: &Shared) -> Value {
    let (now, uptime) = (shared.unix_now(), shared.now() / 1000);
    json!({ "now": now, "up_since": now.saturating_sub(uptime), "uptime": uptime })
}

fn sockets(shared: &Shared) -> Value {
    let listeners = shared.identity.listeners().iter();
    listeners
        .map(|listener| {
            json!({ "proto": "udp", "address": listener.addr.ip().to_string(), "port": listener.addr.port() })
        })
        .collect()
}

fn transactions(shared: &Shared) -> Value {
    let stats = shared.transactions.stats();
    json!({
        "created": stats.created,
        "removed": stats.removed,
        "current": stats.current,
        "retransmitted": stats.retransmitted,
    })
}

fn contacts(shared: &Shared) -> Value {
    let tables = shared.location.tables();
    tables
        .iter()
        .filter_map(|name| Some((name, shared.location.stats(name)?)))
        .map(|(name, stats)| {
            json!({
                "table": name,
                "records": stats.records,
                "contacts": stats.contacts,
                "expired": stats.expired,
                "bytes": stats.bytes,
                "refused": stats.refused,
            })
        })
        .collect()
}
