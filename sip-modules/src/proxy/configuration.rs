//! What a `kamailio.cfg` may say to this proxy, and what the proxy makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kemi_core::{ArgumentPolicy, Limits, TelemetryConfig};

use crate::config::{Config, ConfigError, ConfigErrors, ErrorKind, Module, Note, Param, Protocol, Schema, Settings};
use crate::location::{SaveRules, StoreSettings};
use crate::proxy::{OnError, PathMode, ProxySettings, RegistrarSettings, RouteNames};
use crate::transaction::{self, FailureReplyMode, Timers};

/// The greatest time in milliseconds that a timer can be set to: one day.
const MAX_TIMER: i64 = 86_400_000;

/// The name of an engine and the further names it answers to, its Kamailio module among them.
#[derive(Clone, Debug)]
pub struct EngineNames {
    /// The name for `cfgengine`.
    pub name: String,
    /// Other names; those that begin with `app_` can be loaded as a module that takes the script.
    pub aliases: Vec<String>,
}

/// A configuration, checked and ready to start a proxy from.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// `children`: workers per address.
    pub workers: usize,
    /// `cfgengine`, by the engine's own name.
    pub engine: Option<String>,
    /// The script's files.
    pub scripts: Vec<PathBuf>,
    /// The modules of `KSR` to make visible, by their name in scripts.
    pub modules: BTreeSet<String>,
    /// Further names of the proxy.
    pub aliases: Vec<(String, Option<u16>)>,
    /// What the callbacks are called.
    pub route_names: RouteNames,
    /// What happens on a bad argument.
    pub policy: ArgumentPolicy,
    /// What one callback may use.
    pub limits: Limits,
    /// What is measured of the script's calls.
    pub telemetry: TelemetryConfig,
    /// `rpc.socket`: where JSON-RPC is answered.
    pub rpc_socket: Option<PathBuf>,
    /// `http.listen`: where metrics and health are served.
    pub http_listen: Option<SocketAddr>,
    /// `exit_timeout`: how long a drain may take; nothing is waited for if it is zero.
    pub exit_timeout: Duration,
    /// The values that modules read.
    pub settings: ProxySettings,
    /// `debug`: Kamailio's log level, -5 to 5.
    pub debug: i64,
    /// The preprocessor's definitions.
    pub defines: BTreeMap<String, String>,
    /// What is accepted but has no effect, and why.
    pub notes: Vec<Note>,
}

/// The modules that `loadmodule` knows, with the names their functions have in scripts.
///
/// The root functions, `pv` and `hdr` are always there, as in Kamailio.
const MODULES: [(&str, &str, &str); 15] = [
    ("corex", "corex", "Additions to the core."),
    ("kemix", "kx", "Direct access to the message's parts."),
    ("maxfwd", "maxfwd", "Max-Forwards."),
    ("pv", "pv", "Pseudo-variables."),
    ("registrar", "registrar", "Registrations and their look-up."),
    ("rr", "rr", "Record routing and loose routing."),
    ("sanity", "sanity", "Checks of a message's form."),
    ("siputils", "siputils", "Small SIP helpers."),
    ("sl", "sl", "Stateless replies."),
    ("textops", "textops", "Searches in headers, body and texts."),
    ("tm", "tm", "Stateful relaying."),
    ("tmx", "tmx", "Additions to tm."),
    ("usrloc", "", "The store behind the registrar; in memory."),
    ("kex", "", "Its functions are for the native language."),
    ("xlog", "", "Its functions are for the native language; scripts have KSR.info and its kin."),
];

/// Returns everything that a configuration may say to a proxy with these engines.
#[must_use]
pub fn schema(engines: &[EngineNames]) -> Schema {
    let mut schema = Schema::new()
        .global(Param::int("debug", -5, 5).default_int(2).doc("Log level: -1 errors, 0 warnings, 2 info, 3 debug."))
        .global(Param::int("children", 1, 256).default_int(2).doc("Worker threads per address."))
        .global(Param::bool("server_signature").default_bool(true).doc("Put a Server header into own replies."))
        .global(Param::str("log_prefix").doc("Goes before every line that a script logs; may hold pseudo-variables."))
        .global(
            Param::choice("kemi.policy", &["strict", "compat"])
                .default_str("strict")
                .doc("A bad argument raises an error in the script, or is coerced or logged as in Kamailio."),
        )
        .global(
            Param::int("kemi.max_instructions", 0, i64::MAX)
                .default_int(0)
                .doc("Interpreter instructions and native costs of one callback; 0 for no limit."),
        )
        .global(
            Param::int("kemi.max_time_ms", 0, MAX_TIMER)
                .default_int(1000)
                .doc("Milliseconds that one callback may run; 0 for no limit."),
        )
        .global(
            Param::int("kemi.max_load_time_ms", 0, MAX_TIMER)
                .default_int(10_000)
                .doc("Milliseconds that loading the script may take; 0 for no limit."),
        )
        .global(
            Param::int("kemi.max_memory", 0, i64::MAX)
                .default_int(256 << 20)
                .doc("Bytes that one worker's interpreter may hold; 0 for no limit."),
        )
        .global(
            Param::int("kemi.max_depth", 0, 100_000)
                .default_int(200)
                .doc("How deep script functions may call each other; 0 for no limit."),
        )
        .global(Param::str("rpc.socket").doc("The unix socket that answers JSON-RPC; none if it is empty or not set."))
        .global(
            Param::str("http.listen").doc(
                "ADDRESS:PORT, or a port of 127.0.0.1, that serves /metrics, /health and /ready; none if not set.",
            ),
        )
        .global(
            Param::int("exit_timeout", 0, 86_400)
                .default_int(60)
                .doc("Seconds that requests in progress may take after SIGTERM; 0 to end at once."),
        )
        .global(
            Param::choice("kemi.on_error", &["reply", "silence"])
                .default_str("reply")
                .doc("What the caller hears when the request callback fails: a 500, or nothing."),
        )
        .global(Param::bool("kemi.metrics").default_bool(true).doc("Count and time the script's calls."))
        .global(
            Param::int("kemi.metrics_sample", 1, 1 << 20)
                .default_int(64)
                .doc("Of how many calls of one native function one is timed."),
        )
        .global(
            Param::int("kemi.slow_native_ms", 0, MAX_TIMER)
                .default_int(100)
                .doc("Milliseconds from which on a native call is logged as slow; 0 for never."),
        )
        .global(
            Param::int("kemi.slow_callback_ms", 0, MAX_TIMER)
                .default_int(200)
                .doc("Milliseconds from which on a callback is logged as slow; 0 for never."),
        )
        .global(
            Param::int("kemi.stuck_ms", 1, MAX_TIMER)
                .default_int(15_000)
                .doc("Milliseconds after which a worker that is still at the same messages is reported as stuck."),
        )
        .global(Param::str("kemi.request_route_callback").default_str("ksr_request_route").doc("The request callback."))
        .global(Param::str("kemi.reply_route_callback").default_str("ksr_reply_route").doc("The reply callback."))
        .global(Param::choice("kemi.onsend_route_callback", &["none", ""]).doc("There is no such route here."))
        .global(Param::choice("kemi.received_route_callback", &["none", ""]).doc("There is no such route here."))
        .global(Param::choice("kemi.pre_routing_callback", &["none", ""]).doc("There is no such route here."));
    for (name, why) in [
        ("auto_aliases", "names are never resolved"),
        ("disable_tcp", "there is only UDP"),
        ("dns", "names are never resolved"),
        ("fork", "workers are threads"),
        ("log_stderror", "the log always goes to the standard error"),
        ("rev_dns", "names are never resolved"),
        ("use_dns_cache", "names are never resolved"),
    ] {
        schema = schema.global(Param::bool(name).without_effect(why));
    }
    for (name, why) in [
        ("latency_cfg_log", "kemi.slow_native_ms and kemi.slow_callback_ms say what is logged"),
        ("latency_limit_action", "kemi.slow_native_ms and kemi.slow_callback_ms say what is logged"),
        ("latency_limit_db", "kemi.slow_native_ms and kemi.slow_callback_ms say what is logged"),
        ("latency_log", "kemi.slow_native_ms and kemi.slow_callback_ms say what is logged"),
        ("max_while_loops", "it limits loops of the native language"),
        ("memdbg", "there is no memory manager of its own"),
        ("memlog", "there is no memory manager of its own"),
    ] {
        schema = schema.global(Param::int(name, i64::MIN, i64::MAX).without_effect(why));
    }
    for (name, _, doc) in MODULES {
        schema = schema.module(params(Module::new(name).doc(doc), name));
    }
    for engine in engines {
        let aliases: Vec<&str> = engine.aliases.iter().map(String::as_str).collect();
        schema = schema.engine(engine.name.clone(), &aliases);
        for alias in engine.aliases.iter().filter(|alias| alias.starts_with("app_")) {
            let module = Module::new(alias.clone())
                .doc("Runs the routing script.")
                .param(Param::str("load").repeated().doc("A file of the script; several are loaded in order."))
                .param(Param::str("script_name").repeated().doc("The same."))
                .param(Param::int("reload", 0, 1).without_effect("a script is loaded once"));
            schema = schema.module(module);
        }
    }
    schema
}

fn params(module: Module, name: &str) -> Module {
    let in_memory = "registrations are kept in memory and need no tuning";
    match name {
        "tm" => module
            .param(Param::int("fr_timer", 1, MAX_TIMER).default_int(30_000).doc("Milliseconds without any reply."))
            .param(Param::int("fr_inv_timer", 1, MAX_TIMER).default_int(120_000).doc("Milliseconds of ringing."))
            .param(
                Param::int("max_memory", 0, i64::MAX)
                    .default_int(1 << 30)
                    .doc("Bytes that all transactions may hold; 0 for no limit."),
            )
            .param(
                Param::bool("local_cancel_reason")
                    .default_bool(true)
                    .doc("Give the reason of the proxy's own CANCELs."),
            )
            .param(Param::bool("e2e_cancel_reason").default_bool(true).doc("Copy the reason of the caller's CANCEL."))
            .param(Param::int("retr_timer1", 1, MAX_TIMER).default_int(500).doc("T1 in milliseconds."))
            .param(Param::int("retr_timer2", 1, MAX_TIMER).default_int(4_000).doc("T2 in milliseconds."))
            .param(
                Param::int("failure_reply_mode", 0, 3)
                    .default_int(0)
                    .doc("0, or 3: branches added by a failure route replace the earlier ones' replies."),
            ),
        "rr" => module
            .param(Param::bool("enable_full_lr").default_bool(false).doc("Write lr=on instead of lr."))
            .param(Param::bool("append_fromtag").default_bool(true).doc("Add ftag with the caller's tag.")),
        "maxfwd" => {
            module.param(Param::int("max_limit", 0, 256).default_int(70).doc("The greatest value let through."))
        }
        "registrar" => module
            .param(Param::int("default_expires", 1, 31_536_000).default_int(3600).doc("Seconds."))
            .param(Param::int("min_expires", 0, 31_536_000).default_int(60).doc("Seconds."))
            .param(Param::int("max_expires", 0, 31_536_000).default_int(3600).doc("Seconds; 0 for no limit."))
            .param(Param::int("max_contacts", 0, 10_000).default_int(100).doc("Per address; 0 for no limit."))
            .param(Param::bool("method_filtering").default_bool(false).doc("Obey the methods a contact announces."))
            .param(Param::bool("case_sensitive").default_bool(false).doc("Compare users with regard to case."))
            .param(Param::bool("append_branches").default_bool(true).doc("Look-up gives all contacts, not one."))
            .param(
                Param::int("default_q", -1, 1000).default_int(-1).doc("Thousandths of a contact without q; -1: none."),
            )
            .param(Param::int("retry_after", 0, 86_400).default_int(0).doc("Seconds that a 503 names; 0: none."))
            .param(Param::bool("gruu_enabled").default_bool(true).doc("Give GRUUs and route by them (RFC 5627)."))
            .param(Param::bool("use_path").default_bool(false).doc("Obey the Path of a REGISTER (RFC 3327)."))
            .param(
                Param::int("path_mode", 0, 2).default_int(2).doc(
                    "2: refuse a Path that the phone does not support; 1: use it; 0: as 1, and never repeat a Path.",
                ),
            )
            .param(
                Param::bool("path_use_received")
                    .default_bool(false)
                    .doc("Take the phone's source from `received` in the first URI of the Path."),
            )
            .param(
                Param::bool("path_check_local")
                    .without_effect("a Path that begins with this proxy is used from the next one on"),
            )
            .param(Param::str("received_avp").doc("The AVP that says where a REGISTER came from, as $avp(RECEIVED)."))
            .param(
                Param::str("received_param")
                    .default_str("received")
                    .doc("The parameter that repeats it in the answer; none if it is empty."),
            ),
        "usrloc" => module
            .param(Param::bool("use_domain").default_bool(false).doc("The domain is part of the address."))
            .param(Param::int("db_mode", 0, 0).default_int(0).doc("0: in memory."))
            .param(
                Param::int("max_records", 0, i64::MAX)
                    .default_int(1_000_000)
                    .doc("Addresses of record that may have contacts; 0 for no limit."),
            )
            .param(
                Param::int("max_memory", 0, i64::MAX)
                    .default_int(512 << 20)
                    .doc("Bytes that all registrations may take; 0 for no limit."),
            )
            .param(
                Param::bool("desc_time_order")
                    .default_bool(false)
                    .doc("The contact that registered last comes first, whatever its q."),
            )
            .param(
                Param::int("nat_bflag", -1, 31)
                    .default_int(-1)
                    .doc("The branch flag that path_use_received sets; -1: none."),
            )
            .param(Param::str("db_url").without_effect("registrations are kept in memory only"))
            .param(Param::int("handle_lost_tcp", 0, 1).without_effect("there is only UDP"))
            .param(Param::str("preload").repeated().without_effect("tables are made when they are used"))
            .param(Param::int("hash_size", 0, 32).without_effect(in_memory))
            .param(Param::int("timer_procs", 0, 256).without_effect(in_memory))
            .param(Param::int("timer_interval", 1, 86_400).without_effect(in_memory)),
        _ => module,
    }
}

impl Configuration {
    /// Checks a parsed configuration.
    ///
    /// # Errors
    /// Everything wrong with it at once, each with file and line.
    pub fn check(config: &Config, engines: &[EngineNames]) -> Result<Configuration, ConfigErrors> {
        let settings = schema(engines).check(config)?;
        check_failure_reply_mode(&settings)?;
        check_received(&settings)?;
        Ok(Configuration {
            listen: listen(&settings)?,
            workers: settings.int("children").and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            engine: settings.engine().map(str::to_owned),
            scripts: scripts(&settings, engines),
            modules: modules(&settings),
            aliases: settings.aliases().iter().map(|a| (a.address.host.clone(), a.address.port)).collect(),
            route_names: RouteNames {
                request: callback(&settings, "kemi.request_route_callback")
                    .unwrap_or_else(|| RouteNames::default().request),
                reply: callback(&settings, "kemi.reply_route_callback"),
            },
            policy: settings.str("kemi.policy").and_then(|policy| policy.parse().ok()).unwrap_or_default(),
            limits: limits(&settings),
            telemetry: telemetry(&settings),
            rpc_socket: settings.str("rpc.socket").filter(|path| !path.is_empty()).map(PathBuf::from),
            http_listen: http_listen(&settings)?,
            exit_timeout: Duration::from_secs(settings.int("exit_timeout").map_or(0, i64::unsigned_abs)),
            settings: proxy_settings(&settings),
            debug: settings.int("debug").unwrap_or_default(),
            defines: {
                let defines = settings.defines();
                let value = |name: &str| (name.to_owned(), defines.value(name).unwrap_or_default());
                defines.names().map(value).collect()
            },
            notes: settings.notes().to_vec(),
        })
    }
}

/// Kamailio's way to say that there is no such callback: the empty name or `none`.
fn callback(settings: &Settings, name: &str) -> Option<String> {
    settings.str(name).filter(|name| !name.is_empty() && *name != "none").map(str::to_owned)
}

fn listen(settings: &Settings) -> Result<Vec<SocketAddr>, ConfigErrors> {
    let mut addresses = Vec::new();
    for listen in settings.listen() {
        let address = &listen.address;
        let refuse = |text: String| ConfigErrors::from(ConfigError::new(ErrorKind::OutOfRange, &listen.place, text));
        if !matches!(address.protocol, None | Some(Protocol::Udp)) {
            return Err(refuse(format!("cannot listen on {address}: this proxy speaks UDP only")));
        }
        let host = address.host.trim_start_matches('[').trim_end_matches(']');
        let ip: IpAddr = host
            .parse()
            .map_err(|_| refuse(format!("cannot listen on {address}: give an address of this machine, not a name")))?;
        if ip.is_unspecified() {
            let why = "the address appears in Via and Record-Route, so name one that callers can reach";
            return Err(refuse(format!("cannot listen on {address}: {why}")));
        }
        addresses.push(SocketAddr::new(ip, address.port.unwrap_or(5060)));
    }
    Ok(addresses)
}

/// Reads where HTTP is served: `ADDRESS:PORT`, or a port alone for one that only this machine reaches.
///
/// # Errors
/// What is neither.
pub fn http_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.strip_prefix("tcp:").unwrap_or(text).parse(),
    };
    address.map_err(|_| format!("'{text}' is no address for HTTP: give ADDRESS:PORT, or a port of 127.0.0.1"))
}

fn http_listen(settings: &Settings) -> Result<Option<SocketAddr>, ConfigErrors> {
    let name = "http.listen";
    match (settings.str(name), settings.place(name)) {
        (Some(text), Some(place)) if !text.is_empty() => {
            http_address(text).map(Some).map_err(|text| ConfigError::new(ErrorKind::OutOfRange, place, text).into())
        }
        _ => Ok(None),
    }
}

fn check_failure_reply_mode(settings: &Settings) -> Result<(), ConfigErrors> {
    let (module, name) = ("tm", "failure_reply_mode");
    match (settings.module_int(module, name), settings.module_place(module, name)) {
        (Some(mode @ (1 | 2)), Some(place)) => {
            let text = format!("failure_reply_mode {mode} is not available; 0 keeps earlier replies, 3 drops them");
            Err(ConfigError::new(ErrorKind::OutOfRange, place, text).into())
        }
        _ => Ok(()),
    }
}

/// The name in `$avp(name)`, as `received_avp` has it.
fn avp_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("$avp(")?.strip_suffix(')')?;
    Some(name.strip_prefix("s:").unwrap_or(name))
        .filter(|name| !name.is_empty() && !name.contains(['$', '(', ')', '[']))
}

fn check_received(settings: &Settings) -> Result<(), ConfigErrors> {
    let value = |name: &str| settings.module_str("registrar", name).unwrap_or_default();
    let is_token = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte));
    let refuse = |name: &str, why: &str| {
        let text = value(name);
        let place = settings.module_place("registrar", name)?;
        Some(ConfigError::new(ErrorKind::OutOfRange, place, format!("{name}: '{text}' {why}")))
    };
    let avp = value("received_avp");
    let wrong = if !avp.is_empty() && avp_name(avp).is_none() {
        refuse("received_avp", "is no AVP; write it as $avp(RECEIVED)")
    } else if !is_token(value("received_param")) {
        refuse("received_param", "is no name of a parameter")
    } else {
        None
    };
    wrong.map_or(Ok(()), |error| Err(error.into()))
}

fn scripts(settings: &Settings, engines: &[EngineNames]) -> Vec<PathBuf> {
    // A configuration may load several engines' modules; the script is that of the chosen one.
    let chosen = engines.iter().find(|engine| Some(engine.name.as_str()) == settings.engine());
    let modules = chosen.map(|engine| engine.aliases.as_slice()).unwrap_or_default();
    let mut scripts = Vec::new();
    for module in modules.iter().filter(|module| module.starts_with("app_") && settings.is_loaded(module)) {
        for param in ["load", "script_name"] {
            scripts.extend(settings.module_strs(module, param).into_iter().map(PathBuf::from));
        }
    }
    scripts
}

fn modules(settings: &Settings) -> BTreeSet<String> {
    let loaded = MODULES.iter().filter(|(file, name, _)| !name.is_empty() && settings.is_loaded(file));
    let always = ["", "pv", "hdr"];
    loaded.map(|(_, name, _)| *name).chain(always).map(str::to_owned).collect()
}

fn limits(settings: &Settings) -> Limits {
    let default = Limits::default();
    let number = |name: &str| settings.int(name).and_then(|n| u64::try_from(n).ok());
    Limits {
        max_instructions: number("kemi.max_instructions").unwrap_or(default.max_instructions),
        max_time_ms: number("kemi.max_time_ms").unwrap_or(default.max_time_ms),
        max_memory: number("kemi.max_memory").unwrap_or(default.max_memory),
        max_depth: number("kemi.max_depth").and_then(|n| u32::try_from(n).ok()).unwrap_or(default.max_depth),
        max_load_time_ms: number("kemi.max_load_time_ms").unwrap_or(default.max_load_time_ms),
        // No function of the proxy waits.
        max_wait_ms: default.max_wait_ms,
    }
}

fn telemetry(settings: &Settings) -> TelemetryConfig {
    let default = TelemetryConfig::default();
    let number = |name: &str| settings.int(name).and_then(|n| u64::try_from(n).ok());
    TelemetryConfig {
        metrics: settings.bool("kemi.metrics").unwrap_or(default.metrics),
        sample: number("kemi.metrics_sample").and_then(|n| u32::try_from(n).ok()).unwrap_or(default.sample),
        slow_native_ms: number("kemi.slow_native_ms").unwrap_or(default.slow_native_ms),
        slow_callback_ms: number("kemi.slow_callback_ms").unwrap_or(default.slow_callback_ms),
    }
}

fn proxy_settings(settings: &Settings) -> ProxySettings {
    let default = ProxySettings::default();
    let unsigned = |module: &str, name: &str| settings.module_int(module, name).and_then(|n| u64::try_from(n).ok());
    let small = |module: &str, name: &str| unsigned(module, name).and_then(|n| u32::try_from(n).ok());
    let flag = |module: &str, name: &str| settings.module_bool(module, name);
    let timers = Timers::default();
    ProxySettings {
        server: default.server.filter(|_| settings.bool("server_signature") != Some(false)),
        transaction: transaction::Config {
            timers: Timers {
                t1: unsigned("tm", "retr_timer1").unwrap_or(timers.t1),
                t2: unsigned("tm", "retr_timer2").unwrap_or(timers.t2),
                t4: timers.t4,
                fr: unsigned("tm", "fr_timer").unwrap_or(timers.fr),
                fr_inv: unsigned("tm", "fr_inv_timer").unwrap_or(timers.fr_inv),
            },
            failure_reply_mode: match settings.module_int("tm", "failure_reply_mode") {
                Some(3) => FailureReplyMode::DropEarlier,
                _ => FailureReplyMode::KeepAll,
            },
        },
        transaction_memory: unsigned("tm", "max_memory").unwrap_or(default.transaction_memory),
        local_cancel_reason: flag("tm", "local_cancel_reason").unwrap_or(default.local_cancel_reason),
        e2e_cancel_reason: flag("tm", "e2e_cancel_reason").unwrap_or(default.e2e_cancel_reason),
        registrar: registrar_settings(settings),
        full_lr: flag("rr", "enable_full_lr").unwrap_or(default.full_lr),
        append_fromtag: flag("rr", "append_fromtag").unwrap_or(default.append_fromtag),
        max_forwards_limit: small("maxfwd", "max_limit").unwrap_or(default.max_forwards_limit),
        on_error: match settings.str("kemi.on_error") {
            Some("silence") => OnError::Silence,
            _ => OnError::Reply,
        },
        stuck_ms: settings.int("kemi.stuck_ms").and_then(|n| u64::try_from(n).ok()).unwrap_or(default.stuck_ms),
        log_prefix: settings.str("log_prefix").map(str::to_owned),
    }
}

fn registrar_settings(settings: &Settings) -> RegistrarSettings {
    let unsigned = |module: &str, name: &str| settings.module_int(module, name).and_then(|n| u64::try_from(n).ok());
    let small = |name: &str| unsigned("registrar", name).and_then(|n| u32::try_from(n).ok());
    let size = |name: &str| unsigned("usrloc", name).and_then(|n| usize::try_from(n).ok());
    let flag = |module: &str, name: &str| settings.module_bool(module, name);
    let rules = SaveRules::default();
    let store = StoreSettings::default();
    let default = RegistrarSettings::default();
    RegistrarSettings {
        rules: SaveRules {
            min_expires: small("min_expires").unwrap_or(rules.min_expires),
            max_expires: small("max_expires").unwrap_or(rules.max_expires),
            default_expires: small("default_expires").unwrap_or(rules.default_expires),
            max_contacts: small("max_contacts").map_or(rules.max_contacts, |n| n as usize),
        },
        store: StoreSettings {
            max_records: size("max_records").unwrap_or(store.max_records),
            max_memory: size("max_memory").unwrap_or(store.max_memory),
            newest_first: flag("usrloc", "desc_time_order").unwrap_or(store.newest_first),
        },
        method_filtering: flag("registrar", "method_filtering").unwrap_or(default.method_filtering),
        use_domain: flag("usrloc", "use_domain").unwrap_or(default.use_domain),
        case_sensitive: flag("registrar", "case_sensitive").unwrap_or(default.case_sensitive),
        append_branches: flag("registrar", "append_branches").unwrap_or(default.append_branches),
        default_q: small("default_q").and_then(|q| u16::try_from(q).ok()),
        retry_after: small("retry_after").unwrap_or(default.retry_after),
        gruu: flag("registrar", "gruu_enabled").unwrap_or(default.gruu),
        use_path: flag("registrar", "use_path").unwrap_or(default.use_path),
        path_mode: match settings.module_int("registrar", "path_mode") {
            Some(0) => PathMode::Off,
            Some(1) => PathMode::Lazy,
            _ => default.path_mode,
        },
        path_use_received: flag("registrar", "path_use_received").unwrap_or(default.path_use_received),
        nat_flags: unsigned("usrloc", "nat_bflag").map_or(0, |bit| 1 << (bit & 31)),
        received_avp: settings.module_str("registrar", "received_avp").and_then(avp_name).map(|name| name.into()),
        received_param: settings
            .module_str("registrar", "received_param")
            .map_or(default.received_param, str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Defines};

    fn engines() -> Vec<EngineNames> {
        let names = |name: &str, alias: &str| EngineNames { name: name.into(), aliases: vec![alias.into()] };
        vec![names("one", "app_one"), names("two", "app_two")]
    }

    fn check(text: &str) -> Result<Configuration, String> {
        let config = config::parse_str(text, "p.cfg", &Defines::new()).map_err(|e| e.to_string())?;
        Configuration::check(&config, &engines()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_schema_is_sound() {
        schema(&engines()).verify().unwrap();
    }

    #[test]
    fn a_configuration_sets_what_it_says() {
        let c = check(
            "debug=3\nchildren=4\nlisten=udp:127.0.0.1:5070\nlisten=127.0.0.2\nalias=example.org\n\
             loadmodule \"tm.so\"\nloadmodule \"kemix.so\"\nloadmodule \"rr\"\nloadmodule \"app_two.so\"\n\
             modparam(\"tm\", \"fr_timer\", 1000)\nmodparam(\"tm\", \"max_memory\", 5000)\nmodparam(\"tm\", \"failure_reply_mode\", 3)\n\
             modparam(\"rr\", \"enable_full_lr\", 1)\nmodparam(\"app_two\", \"load\", \"a.x\")\n\
             modparam(\"app_two\", \"load\", \"b.x\")\ncfgengine \"two\"\nkemi.reply_route_callback=\"none\"\n\
             kemi.policy=\"compat\"\n",
        )
        .unwrap();
        assert_eq!(c.listen, ["127.0.0.1:5070", "127.0.0.2:5060"].map(|a| a.parse().unwrap()));
        assert_eq!((c.workers, c.debug, c.engine.as_deref()), (4, 3, Some("two")));
        assert_eq!(c.scripts, [PathBuf::from("a.x"), PathBuf::from("b.x")]);
        let modules: Vec<&str> = c.modules.iter().map(String::as_str).collect();
        assert_eq!(modules, ["", "hdr", "kx", "pv", "rr", "tm"]);
        assert_eq!((c.settings.transaction.timers.fr, c.settings.transaction_memory), (1000, 5000));
        assert_eq!(c.settings.transaction.failure_reply_mode, FailureReplyMode::DropEarlier);
        assert!(c.settings.full_lr);
        assert_eq!((c.route_names.reply, c.policy), (None, ArgumentPolicy::Compat));
    }

    #[test]
    fn the_registrar_reads_its_parameters_and_those_of_the_store() {
        let registrar = |text: &str| {
            let params: String = text
                .lines()
                .map(|line| {
                    let (module, rest) = line.split_once(' ').unwrap();
                    let (name, value) = rest.split_once(' ').unwrap();
                    format!("modparam(\"{module}\", \"{name}\", {value})\n")
                })
                .collect();
            let text = format!("loadmodule \"registrar.so\"\nloadmodule \"usrloc.so\"\n{params}");
            check(&text).map(|c| c.settings.registrar)
        };
        let default = RegistrarSettings::default();
        assert_eq!(format!("{:?}", registrar("").unwrap()), format!("{default:?}"));
        let set = registrar(
            "registrar gruu_enabled 0\nregistrar use_path 1\nregistrar path_mode 1\nregistrar path_use_received 1\n\
             registrar received_avp \"$avp(RECEIVED)\"\nregistrar received_param \"\"\nregistrar default_q 500\n\
             registrar retry_after 30\nusrloc desc_time_order 1\nusrloc max_records 5\nusrloc max_memory 1000\n\
             usrloc nat_bflag 6",
        )
        .unwrap();
        assert!(!set.gruu && set.use_path && set.path_use_received && set.store.newest_first);
        assert_eq!((set.path_mode, set.received_avp.as_deref()), (PathMode::Lazy, Some(&b"RECEIVED"[..])));
        assert_eq!((set.received_param.as_str(), set.default_q, set.retry_after), ("", Some(500), 30));
        assert_eq!((set.store.max_records, set.store.max_memory, set.nat_flags), (5, 1000, 1 << 6));
        assert_eq!(registrar("registrar received_avp \"$avp(s:r)\"").unwrap().received_avp.as_deref(), Some(&b"r"[..]));
        for text in [
            "registrar received_avp \"RECEIVED\"",
            "registrar received_avp \"$var(x)\"",
            "registrar received_param \"a;b\"",
        ] {
            assert!(registrar(text).unwrap_err().starts_with("p.cfg:3: received_"), "{text}");
        }
    }

    #[test]
    fn the_rpc_socket_is_a_path_or_absent() {
        assert_eq!(check("rpc.socket=\"/run/p.sock\"").unwrap().rpc_socket, Some(PathBuf::from("/run/p.sock")));
        assert_eq!(check("rpc.socket=\"\"").unwrap().rpc_socket, None);
        assert_eq!(check("").unwrap().rpc_socket, None);
        assert!(check("rpc.sockt=\"x\"").unwrap_err().contains("did you mean 'rpc.socket'?"));
    }

    #[test]
    fn http_is_off_unless_an_address_is_given_and_a_port_alone_is_on_loopback() {
        let listen = |text: &str| check(&format!("http.listen=\"{text}\"")).map(|c| c.http_listen);
        assert_eq!(check("").unwrap().http_listen, None);
        assert_eq!(listen(""), Ok(None));
        assert_eq!(listen("9090"), Ok(Some("127.0.0.1:9090".parse().unwrap())));
        assert_eq!(listen("tcp:192.0.2.1:80"), Ok(Some("192.0.2.1:80".parse().unwrap())));
        assert_eq!(listen("[::1]:80"), Ok(Some("[::1]:80".parse().unwrap())));
        for text in ["localhost:80", "127.0.0.1", "udp:127.0.0.1:80", "70000"] {
            assert!(listen(text).unwrap_err().contains("p.cfg:1: "), "{text}");
        }
    }

    #[test]
    fn what_is_measured_can_be_set() {
        assert_eq!(check("").unwrap().telemetry, TelemetryConfig::default());
        let text = "kemi.metrics=no\nkemi.metrics_sample=1\nkemi.slow_native_ms=0\nkemi.slow_callback_ms=20";
        let expected = TelemetryConfig { metrics: false, sample: 1, slow_native_ms: 0, slow_callback_ms: 20 };
        assert_eq!(check(text).unwrap().telemetry, expected);
    }

    #[test]
    fn how_the_end_and_errors_are_dealt_with_can_be_set() {
        let default = check("").unwrap();
        let how = |c: &Configuration| (c.exit_timeout, c.settings.on_error, c.settings.stuck_ms);
        assert_eq!(how(&default), (Duration::from_secs(60), OnError::Reply, 15_000));
        let set = check("exit_timeout=0\nkemi.on_error=\"silence\"\nkemi.stuck_ms=300").unwrap();
        assert_eq!(how(&set), (Duration::ZERO, OnError::Silence, 300));
        assert!(check("kemi.on_error=\"shout\"").unwrap_err().contains("p.cfg:1:"));
    }

    #[test]
    fn what_this_proxy_cannot_do_is_refused_with_its_place() {
        assert_eq!(check("kemi.max_time_ms=50").unwrap().limits, Limits { max_time_ms: 50, ..Limits::default() });
        for (text, expected) in [
            ("\nlisten=tcp:127.0.0.1:5060", "p.cfg:2: cannot listen on tcp:127.0.0.1:5060: this proxy speaks UDP only"),
            ("listen=udp:0.0.0.0:5060", "p.cfg:1: cannot listen on"),
            ("listen=udp:proxy.test:5060", "give an address of this machine, not a name"),
            ("loadmodule \"ctl.so\"", "p.cfg:1: module 'ctl' is not available"),
            ("childern=2", "did you mean 'children'?"),
            ("kemi.onsend_route_callback=\"my_route\"", "p.cfg:1:"),
            ("cfgengine \"three\"", "p.cfg:1:"),
            ("loadmodule \"tm.so\"\nmodparam(\"tm\", \"failure_reply_mode\", 2)", "p.cfg:2: failure_reply_mode 2"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
