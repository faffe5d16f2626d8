//! The methods about numbers, under the names that Kamailio gives them.

use kemi_core::error::nearest;
use serde_json::{Map, Value, json};

use crate::proxy::{Metrics, Snapshot};
use crate::rpc::{Methods, Params, RpcError};

/// A number as Kamailio calls it.
struct Statistic {
    group: &'static str,
    name: String,
    value: u64,
}

/// Adds `stats.fetch`, `stats.fetchn`, `stats.get_statistics` and `kemi.metrics`.
pub(super) fn add(methods: Methods, metrics: &Metrics) -> Methods {
    let about = |show: fn(Vec<Statistic>) -> Value| {
        let metrics = metrics.clone();
        move |params: &Params| Ok(show(select(statistics(&metrics.snapshot()), params)?))
    };
    let snapshot = metrics.clone();
    methods
        .add("stats.fetch", "Shows statistics as texts: all, those of a group (core:), or single ones.", about(texts))
        .add("stats.fetchn", "As stats.fetch, with numbers.", about(numbers))
        .add("stats.get_statistics", "As stats.fetch, as a list of lines.", about(lines))
        .add("kemi.metrics", "Shows everything that /metrics tells, as JSON.", move |params| {
            params.expect_none("kemi.metrics")?;
            serde_json::to_value(snapshot.snapshot())
                .map_err(|error| RpcError::new(RpcError::INTERNAL, error.to_string()))
        })
}

fn texts(statistics: Vec<Statistic>) -> Value {
    let pair = |s: Statistic| (format!("{}.{}", s.group, s.name), json!(s.value.to_string()));
    Value::Object(statistics.into_iter().map(pair).collect::<Map<_, _>>())
}

fn numbers(statistics: Vec<Statistic>) -> Value {
    let pair = |s: Statistic| (format!("{}.{}", s.group, s.name), json!(s.value));
    Value::Object(statistics.into_iter().map(pair).collect::<Map<_, _>>())
}

fn lines(statistics: Vec<Statistic>) -> Value {
    statistics.into_iter().map(|s| format!("{}:{} = {}", s.group, s.name, s.value)).collect()
}

/// Returns the statistics whose meaning is that of Kamailio's of the same name.
fn statistics(snapshot: &Snapshot) -> Vec<Statistic> {
    let counts = &snapshot.counts;
    let mut all = Vec::new();
    let mut add = |group, name: String, value| all.push(Statistic { group, name, value });
    add("core", "rcv_requests".to_owned(), counts.requests_received.values().sum());
    for (method, &count) in counts.requests_received.iter().filter(|(method, _)| **method != "other") {
        add("core", format!("rcv_requests_{}", method.to_lowercase()), count);
    }
    add("core", "rcv_replies".to_owned(), counts.replies_received.values().sum());
    for (class, &count) in &counts.replies_received {
        add("core", format!("rcv_replies_{class}"), count);
    }
    let dropped = |reason: &str| counts.datagrams_dropped.get(reason).copied().unwrap_or_default();
    add("core", "bad_msg_hdr".to_owned(), dropped("malformed") + dropped("incomplete"));
    add("tmx", "inuse_transactions".to_owned(), snapshot.transactions.current);
    let tables = &snapshot.registrations;
    add("usrloc", "registered_users".to_owned(), tables.values().map(|table| table.records as u64).sum());
    for (table, stats) in tables {
        add("usrloc", format!("{table}-users"), stats.records as u64);
        add("usrloc", format!("{table}-contacts"), stats.contacts as u64);
        add("usrloc", format!("{table}-expires"), stats.expired);
    }
    all
}

/// Takes what the parameters name; all if there are none.
fn select(all: Vec<Statistic>, params: &Params) -> Result<Vec<Statistic>, RpcError> {
    let wrong = |text: String| RpcError::new(RpcError::INVALID_PARAMS, text);
    let wanted = match params.value() {
        Value::Null => return Ok(all),
        Value::Array(values) => values,
        _ => return Err(wrong("give the names one after the other, not as an object".to_owned())),
    };
    let mut names = Vec::new();
    for value in wanted {
        let name = value.as_str().ok_or_else(|| wrong(format!("{value} is no name of a statistic")))?;
        if !all.iter().any(|statistic| statistic.is(name)) {
            return Err(wrong(unknown(name, &all)));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Ok(all);
    }
    Ok(all.into_iter().filter(|statistic| names.iter().any(|name| statistic.is(name))).collect())
}

impl Statistic {
    /// Whether a parameter means it: `all`, its group with a colon, or its name.
    fn is(&self, wanted: &str) -> bool {
        wanted == "all" || wanted == self.name || wanted.strip_suffix(':') == Some(self.group)
    }
}

fn unknown(name: &str, all: &[Statistic]) -> String {
    match nearest(name, all.iter().map(|statistic| statistic.name.as_str())) {
        Some(near) => format!("there is no statistic {name}; did you mean {near}?"),
        None => format!("there is no statistic {name}; `all` shows all, `core:` those of a group"),
    }
}
