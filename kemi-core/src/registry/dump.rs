//! The registry as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::module::Constant;
use super::table::{Export, RegistryData};
use crate::export::{ClassMember, Deprecated, Param};
use crate::value::{EnumType, StructType, Type, Value};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<ClassMember>,
    needs_context: bool,
    blocking: bool,
    shape: Option<String>,
    file: &'a str,
    line: u32,
}

/// One constant in the dump.
#[derive(Serialize)]
pub(super) struct ConstantDump<'a> {
    module: &'a str,
    name: &'a str,
    script_name: String,
    doc: &'a str,
    value: &'a Value,
    file: &'a str,
    line: u32,
}

impl<'a> ConstantDump<'a> {
    pub(super) fn new(root: &str, constant: &'a Constant) -> ConstantDump<'a> {
        let def = constant.def();
        let parts = [root, def.module, def.name];
        ConstantDump {
            module: def.module,
            name: def.name,
            script_name: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("."),
            doc: def.doc,
            value: constant.value(),
            file: def.file,
            line: def.line,
        }
    }
}

/// The types with a description that parameters and results name, by their names.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Types(BTreeMap<&'static str, Described>);

#[derive(Serialize)]
#[serde(untagged)]
enum Described {
    Struct(&'static StructType),
    Enum(&'static EnumType),
}

impl Types {
    /// Adds a type and all that it is made of.
    pub(super) fn add(&mut self, ty: Type) {
        match ty {
            Type::Array(inner) | Type::Map(inner) | Type::Option(inner) => self.add(*inner),
            Type::Tuple(items) => items.iter().for_each(|item| self.add(*item)),
            Type::Struct(of) if self.0.insert(of.name, Described::Struct(of)).is_none() => {
                of.fields.iter().for_each(|field| self.add((field.ty)()));
            }
            Type::Enum(of) if self.0.insert(of.name, Described::Enum(of)).is_none() => {
                of.variants.iter().filter_map(|variant| variant.ty).for_each(|ty| self.add(ty()));
            }
            _ => {}
        }
    }
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
            capability: def.capability,
            member: def.member,
            needs_context: def.needs_context,
            blocking: def.blocking,
            shape: export.typed().map(|typed| format!("{:?}", typed.shape())),
            file: def.file,
            line: def.line,
        }
    }
}
