//! A checked configuration, ready to be used.

use std::collections::{BTreeMap, HashMap};

use super::{Alias, Defines, Listen, Note, Place, Value};

/// The values of a configuration that passed [`Schema::check`](super::Schema::check).
///
/// A lookup gives what the configuration says, else the default, else `None`. Of several values the
/// last counts; a repeated parameter keeps all for the lookups in the plural.
///
/// # Panics
///
/// In debug builds a lookup panics when the schema has no such parameter, or one of another type:
/// that is a mistake of the host, which no configuration can cause. Release builds give `None`.
/// Parameters of a module that is not loaded are `None`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(super) globals: HashMap<String, Slot>,
    pub(super) modules: BTreeMap<String, HashMap<String, Slot>>,
    pub(super) engine: Option<String>,
    pub(super) listen: Vec<Listen>,
    pub(super) aliases: Vec<Alias>,
    pub(super) notes: Vec<Note>,
    pub(super) defines: Defines,
}

impl Settings {
    /// A global integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        global(self, name).and_then(Slot::int)
    }

    /// A global boolean.
    pub fn bool(&self, name: &str) -> Option<bool> {
        global(self, name).and_then(Slot::bool)
    }

    /// A global text, host or choice.
    pub fn str(&self, name: &str) -> Option<&str> {
        global(self, name).and_then(Slot::str)
    }

    /// All values of a global integer, in the order of the text.
    pub fn ints(&self, name: &str) -> Vec<i64> {
        global(self, name).map(Slot::ints).unwrap_or_default()
    }

    /// All values of a global text, host or choice, in the order of the text.
    pub fn strs(&self, name: &str) -> Vec<&str> {
        global(self, name).map(Slot::strs).unwrap_or_default()
    }

    /// Where a global parameter was last set; `None` when it has its default.
    pub fn place(&self, name: &str) -> Option<&Place> {
        global(self, name).and_then(Slot::place)
    }

    /// Whether the module is loaded.
    pub fn is_loaded(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    /// The loaded modules, sorted by name.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// An integer of a module.
    pub fn module_int(&self, module: &str, name: &str) -> Option<i64> {
        in_module(self, module, name).and_then(Slot::int)
    }

    /// A boolean of a module.
    pub fn module_bool(&self, module: &str, name: &str) -> Option<bool> {
        in_module(self, module, name).and_then(Slot::bool)
    }

    /// A text, host or choice of a module.
    pub fn module_str(&self, module: &str, name: &str) -> Option<&str> {
        in_module(self, module, name).and_then(Slot::str)
    }

    /// All values of an integer of a module, in the order of the text.
    pub fn module_ints(&self, module: &str, name: &str) -> Vec<i64> {
        in_module(self, module, name).map(Slot::ints).unwrap_or_default()
    }

    /// All values of a text, host or choice of a module, in the order of the text.
    pub fn module_strs(&self, module: &str, name: &str) -> Vec<&str> {
        in_module(self, module, name).map(Slot::strs).unwrap_or_default()
    }

    /// Where a module's parameter was last set; `None` when it has its default.
    pub fn module_place(&self, module: &str, name: &str) -> Option<&Place> {
        in_module(self, module, name).and_then(Slot::place)
    }

    /// The engine that `cfgengine` chose, by the name the schema gives it.
    pub fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// The addresses of `listen=`.
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// The names of `alias=`.
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// What is worth a line in the log: statements without effect, skipped defines.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The names the preprocessor knew.
    pub fn defines(&self) -> &Defines {
        &self.defines
    }
}

/// The values of one parameter.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// What the configuration gave, with its places.
    pub(super) given: Vec<(Value, Place)>,
    pub(super) default: Option<Value>,
    /// The form of the values; only its variant matters.
    pub(super) form: Form,
}

/// Which lookups fit a parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int,
    #[default]
    Str,
}

impl Slot {
    fn int(&self) -> Option<i64> {
        self.ints_of(self.last())
    }

    fn bool(&self) -> Option<bool> {
        self.expect(Form::Bool);
        match self.last() {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn str(&self) -> Option<&str> {
        self.strs_of(self.last())
    }

    fn ints(&self) -> Vec<i64> {
        self.all().filter_map(|value| self.ints_of(Some(value))).collect()
    }

    fn strs(&self) -> Vec<&str> {
        self.all().filter_map(|value| self.strs_of(Some(value))).collect()
    }

    fn place(&self) -> Option<&Place> {
        self.given.last().map(|(_, place)| place)
    }

    fn ints_of(&self, value: Option<&Value>) -> Option<i64> {
        self.expect(Form::Int);
        match value {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn strs_of<'a>(&self, value: Option<&'a Value>) -> Option<&'a str> {
        self.expect(Form::Str);
        match value {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    fn last(&self) -> Option<&Value> {
        self.given.last().map(|(value, _)| value).or(self.default.as_ref())
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        let default = self.default.iter().filter(|_| self.given.is_empty());
        self.given.iter().map(|(value, _)| value).chain(default)
    }

    fn expect(&self, form: Form) {
        debug_assert_eq!(self.form, form, "a parameter is looked up as another type than the schema's");
    }
}

fn global<'a>(settings: &'a Settings, name: &str) -> Option<&'a Slot> {
    let slot = settings.globals.get(name);
    debug_assert!(slot.is_some(), "the schema has no global parameter '{name}'");
    slot
}

fn in_module<'a>(settings: &'a Settings, module: &str, name: &str) -> Option<&'a Slot> {
    let slots = settings.modules.get(module)?;
    let slot = slots.get(name);
    debug_assert!(slot.is_some(), "the schema has no parameter '{name}' of the module '{module}'");
    slot
}
