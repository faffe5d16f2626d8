//! The comparison of a configuration with a schema.

use std::collections::HashMap;

use super::schema::{Param, Refusal};
use super::settings::{Form, Slot};
use super::{
    Config, ConfigError, ConfigErrors, ErrorKind, Kind, ModParam, Note, Place, Schema, Settings, Value, suggest,
};

impl Schema {
    /// Compares a configuration with the schema.
    ///
    /// Of a parameter that is set several times the last value counts, unless it is repeated. A
    /// `modparam` for several modules applies to those of them that are loaded; at least one must be.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, sorted by file and line.
    pub fn check(&self, config: &Config) -> Result<Settings, ConfigErrors> {
        let mut check = Check {
            schema: self,
            settings: Settings {
                globals: slots(&self.globals),
                listen: config.listen.clone(),
                aliases: config.aliases.clone(),
                notes: config.notes.clone(),
                defines: config.defines.clone(),
                ..Settings::default()
            },
            errors: Vec::new(),
        };
        check.globals(config);
        check.modules(config);
        for param in &config.modparams {
            check.modparam(config, param);
        }
        check.engine(config);
        let mut errors = check.errors;
        errors.sort_by(|a, b| (a.place().file(), a.place().line()).cmp(&(b.place().file(), b.place().line())));
        ConfigErrors::or(errors, check.settings)
    }
}

struct Check<'s> {
    schema: &'s Schema,
    settings: Settings,
    errors: Vec<ConfigError>,
}

impl Check<'_> {
    fn globals(&mut self, config: &Config) {
        for setting in &config.settings {
            let Some(param) = self.schema.find_global(&setting.name) else {
                let names = self.schema.globals.iter().map(|param| param.name.as_ref());
                let hint = suggest::hint(&setting.name, names);
                let text = format!("unknown parameter '{}'{hint}", setting.name);
                self.error(ErrorKind::UnknownParameter, &setting.place, text);
                continue;
            };
            let what = format!("parameter '{}'", setting.name);
            if let Some(value) = self.value(&what, param, &setting.value, &setting.place) {
                store(&mut self.settings.globals, param, value, &setting.place);
            }
        }
    }

    fn modules(&mut self, config: &Config) {
        for load in &config.modules {
            let Some(module) = self.schema.find_module(&load.name) else {
                let text = self.unavailable(&load.name);
                self.error(ErrorKind::UnknownModule, &load.place, text);
                continue;
            };
            if self.settings.modules.contains_key(&load.name) {
                self.note(&load.place, format!("module '{}' is already loaded", load.name));
                continue;
            }
            if let Some(why) = &module.no_effect {
                self.note(&load.place, format!("module '{}' has no effect here: {why}", load.name));
            }
            self.settings.modules.insert(load.name.clone(), slots(&module.params));
        }
    }

    fn modparam(&mut self, config: &Config, given: &ModParam) {
        let load = |name: &String| config.modules.iter().find(|load| load.name == *name);
        let is_loaded = |name: &String| load(name).is_some_and(|load| load.order < given.order);
        let any_loaded = given.modules.iter().any(is_loaded);
        for name in &given.modules {
            let Some(module) = self.schema.find_module(name) else {
                // Where loadmodule names the module too, its error is enough.
                if !any_loaded && load(name).is_none() {
                    let text = self.unavailable(name);
                    self.error(ErrorKind::UnknownModule, &given.place, text);
                }
                continue;
            };
            if !is_loaded(name) {
                let text = format!("parameter '{}' of the module '{name}', which is ", given.name);
                match load(name) {
                    Some(later) => {
                        let text =
                            format!("{text}loaded only later, at {}: move that loadmodule before it", later.place);
                        self.error(ErrorKind::ModuleNotLoaded, &given.place, text);
                    }
                    None if any_loaded => self.note(&given.place, format!("{text}not loaded")),
                    None => {
                        let text = format!("{text}not loaded: put loadmodule \"{name}.so\" before it");
                        self.error(ErrorKind::ModuleNotLoaded, &given.place, text);
                    }
                }
                continue;
            }
            let Some(param) = module.find(&given.name) else {
                let hint = suggest::hint(&given.name, module.params.iter().map(|param| param.name.as_ref()));
                let text = format!("module '{name}' has no parameter '{}'{hint}", given.name);
                self.error(ErrorKind::UnknownParameter, &given.place, text);
                continue;
            };
            let what = format!("parameter '{}' of the module '{name}'", given.name);
            let value = self.value(&what, param, &given.value, &given.place);
            if let (Some(value), Some(slots)) = (value, self.settings.modules.get_mut(name)) {
                store(slots, param, value, &given.place);
            }
        }
    }

    fn engine(&mut self, config: &Config) {
        let mut first: Option<(String, &Place)> = None;
        for choice in &config.engines {
            let found = self.schema.engines.iter().find(|engine| engine.names().any(|name| name == choice.name));
            let Some(engine) = found else {
                let text = self.unknown_engine(&choice.name);
                self.error(ErrorKind::Engine, &choice.place, text);
                continue;
            };
            match &first {
                Some((name, place)) if *name != engine.name => {
                    let text = format!(
                        "cfgengine '{}' contradicts cfgengine '{name}' at {place}: only one engine can run the script",
                        choice.name
                    );
                    self.error(ErrorKind::Engine, &choice.place, text);
                }
                Some(_) => {}
                None => first = Some((engine.name.to_string(), &choice.place)),
            }
        }
        self.settings.engine = first.map(|(name, _)| name);
    }

    fn value(&mut self, what: &str, param: &Param, value: &Value, place: &Place) -> Option<Value> {
        match param.kind.accept(value) {
            Ok(value) => {
                if let Some(why) = &param.no_effect {
                    self.note(place, format!("{what} has no effect here: {why}"));
                }
                Some(value)
            }
            Err(Refusal::Type(expected)) => {
                let hint = match value {
                    Value::Word(_) if param.kind == Kind::Str => ": put it in quotes, or is a '#!define' missing?",
                    Value::Word(_) => ": is a '#!define' missing?",
                    _ => "",
                };
                let text = format!("{what} takes {expected}, not {}{hint}", described(value));
                self.error(ErrorKind::WrongType, place, text);
                None
            }
            Err(Refusal::Range(why)) => {
                self.error(ErrorKind::OutOfRange, place, format!("{what}: {why}"));
                None
            }
        }
    }

    fn unavailable(&self, name: &str) -> String {
        let names: Vec<&str> = self.schema.modules.iter().map(|module| module.name.as_ref()).collect();
        let hint = suggest::hint(name, names.iter().copied());
        format!("module '{name}' is not available in this proxy{hint} (available: {})", list(names))
    }

    fn unknown_engine(&self, name: &str) -> String {
        if name == "native" {
            return "cfgengine 'native' is not supported: routing in the native language is not available, write it \
                    in a script"
                .to_owned();
        }
        let engines = &self.schema.engines;
        let hint = suggest::hint(name, engines.iter().flat_map(|engine| engine.names()));
        let names = engines.iter().map(|engine| engine.name.as_ref()).collect();
        format!("unknown cfgengine '{name}'{hint} (available: {})", list(names))
    }

    fn note(&mut self, place: &Place, text: String) {
        self.settings.notes.push(Note::new(place, text));
    }

    fn error(&mut self, kind: ErrorKind, place: &Place, text: String) {
        self.errors.push(ConfigError::new(kind, place, text));
    }
}

/// Empty slots with the defaults of the parameters.
fn slots(params: &[Param]) -> HashMap<String, Slot> {
    params
        .iter()
        .map(|param| {
            let form = match param.kind {
                Kind::Bool => Form::Bool,
                Kind::Int { .. } => Form::Int,
                Kind::Choice(_) | Kind::Host | Kind::Str => Form::Str,
            };
            let slot = Slot { given: Vec::new(), default: param.default.clone(), form };
            (param.name.to_string(), slot)
        })
        .collect()
}

fn store(slots: &mut HashMap<String, Slot>, param: &Param, value: Value, place: &Place) {
    let Some(slot) = slots.get_mut(param.name.as_ref()) else { return };
    if !param.repeated {
        slot.given.clear();
    }
    slot.given.push((value, place.clone()));
}

fn described(value: &Value) -> String {
    match value {
        Value::Bool(_) => format!("'{value}'"),
        Value::Int(number) => format!("the number {number}"),
        Value::Str(text) => format!("the string {text:?}"),
        Value::Word(word) => format!("the word '{word}'"),
    }
}

fn list(mut names: Vec<&str>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.sort_unstable();
    names.join(", ")
}
