//! The registry as JSON.

use serde::Serialize;

use super::table::{Export, RegistryData};
use crate::export::{Deprecated, Param};
use crate::value::Type;

/// One export in the dump.
#[derive(Serialize)]
pub(super) struct ExportDump<'a> {
    index: u32,
    module: &'a str,
    name: &'a str,
    script_name: String,
    doc: &'a str,
    params: &'a [Param],
    returns: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deprecated: Option<Deprecated>,
    callbacks: &'a [&'static str],
    cost: u32,
    needs_context: bool,
    shape: Option<String>,
    file: &'a str,
    line: u32,
}

impl<'a> ExportDump<'a> {
    pub(super) fn new(registry: &RegistryData, export: &Export) -> ExportDump<'a> {
        let def = export.def();
        ExportDump {
            index: export.index(),
            module: def.module,
            name: def.name,
            script_name: registry.script_name(def),
            doc: def.doc,
            params: def.params,
            returns: def.returns,
            since: def.since,
            deprecated: def.deprecated,
            callbacks: def.callbacks,
            cost: def.cost,
            needs_context: def.needs_context,
            shape: def.typed.map(|typed| format!("{:?}", typed.shape())),
            file: def.file,
            line: def.line,
        }
    }
}
