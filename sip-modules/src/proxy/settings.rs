//! The values that the configuration sets and the modules read.

use crate::location::{SaveRules, StoreSettings};
use crate::transaction;

/// What the modules read of the configuration; every field has Kamailio's default.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// The `Server` header of replies made here; `None` leaves it out (`server_signature=no`).
    pub server: Option<String>,
    /// `auto_aliases`, `alias=`: further names of the proxy are in [`Identity`](crate::proxy::Identity).
    pub transaction: transaction::Config,
    /// `tm`: the most bytes that all transactions may hold (`max_memory`); 0 for no limit.
    pub transaction_memory: u64,
    /// `tm`: whether the proxy's own CANCELs say why (`local_cancel_reason`).
    pub local_cancel_reason: bool,
    /// `tm`: whether the Reason of a caller's CANCEL is copied (`e2e_cancel_reason`).
    pub e2e_cancel_reason: bool,
    /// The registrar's values.
    pub registrar: RegistrarSettings,
    /// `rr`: write `lr=on` instead of `lr` (`enable_full_lr`).
    pub full_lr: bool,
    /// `rr`: add `;ftag=` with the caller's tag (`append_fromtag`).
    pub append_fromtag: bool,
    /// `maxfwd`: the greatest value that is let through (`max_limit`).
    pub max_forwards_limit: u32,
    /// `kemi.on_error`: what a caller hears when its request's callback ends with an error.
    pub on_error: OnError,
    /// `kemi.stuck_ms`: the milliseconds after which a worker that is still at the same turn counts as stuck.
    pub stuck_ms: u64,
    /// `log_prefix`: text that goes before every line a script logs, with `$rm`-like names in it.
    pub log_prefix: Option<String>,
}

impl Default for ProxySettings {
    fn default() -> Self {
        ProxySettings {
            server: Some(concat!("kemi-sip-proxy/", env!("CARGO_PKG_VERSION")).to_owned()),
            transaction: transaction::Config::default(),
            transaction_memory: 1 << 30,
            local_cancel_reason: true,
            e2e_cancel_reason: true,
            registrar: RegistrarSettings::default(),
            full_lr: false,
            append_fromtag: true,
            max_forwards_limit: 70,
            on_error: OnError::Reply,
            stuck_ms: 15_000,
            log_prefix: None,
        }
    }
}

/// What a caller hears when its request's callback ends with an error before it has answered or relayed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// `500 Server Internal Error`.
    #[default]
    Reply,
    /// Nothing.
    Silence,
}

/// The values of `registrar` and `usrloc`; every field has Kamailio's default, where Kamailio has it.
#[derive(Clone, Debug)]
pub struct RegistrarSettings {
    /// How long bindings live and how many there may be.
    pub rules: SaveRules,
    /// What the store may hold, and the order of contacts (`max_records`, `max_memory`, `desc_time_order`).
    pub store: StoreSettings,
    /// Whether a request's method must be among the ones the contact has announced (`method_filtering`).
    pub method_filtering: bool,
    /// Whether the domain is part of the address of record (`use_domain`).
    pub use_domain: bool,
    /// Whether the user part is compared with regard to case (`case_sensitive`).
    pub case_sensitive: bool,
    /// Whether `lookup` adds the second and further contacts as branches (`append_branches`).
    pub append_branches: bool,
    /// The preference of a contact that names none, in thousandths (`default_q`).
    pub default_q: Option<u16>,
    /// When a phone may try again after a 503, in seconds; 0 to leave that open (`retry_after`).
    pub retry_after: u32,
    /// Whether contacts get GRUUs, and requests to those reach them (`gruu_enabled`).
    pub gruu: bool,
    /// Whether the Path of a REGISTER counts (`use_path`).
    pub use_path: bool,
    /// What is done with a Path that the phone does not support (`path_mode`).
    pub path_mode: PathMode,
    /// Whether the first proxy of the Path says where the phone is (`path_use_received`).
    pub path_use_received: bool,
    /// The branch flags of a contact of which a Path says so (`nat_bflag`).
    pub nat_flags: u32,
    /// The AVP that says where a REGISTER came from (`received_avp`).
    pub received_avp: Option<Vec<u8>>,
    /// The parameter by which the answer repeats it; none if it is empty (`received_param`).
    pub received_param: String,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        RegistrarSettings {
            rules: SaveRules::default(),
            store: StoreSettings::default(),
            method_filtering: false,
            use_domain: false,
            case_sensitive: false,
            append_branches: true,
            default_q: None,
            retry_after: 0,
            gruu: true,
            use_path: false,
            path_mode: PathMode::Strict,
            path_use_received: false,
            nat_flags: 0,
            received_avp: None,
            received_param: "received".to_owned(),
        }
    }
}

/// What is done with a Path that the phone does not support (RFC 3327 §5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMode {
    /// It is used, and no answer repeats a Path.
    Off,
    /// It is used, and the answer does not repeat it.
    Lazy,
    /// The request is refused.
    #[default]
    Strict,
}
