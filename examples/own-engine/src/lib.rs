//! Tiny, a language of lines: a name with its parameters begins a function, each indented line below is a call or a value.
//!
//! A word is a parameter, `it` for the result of the line before, an integer, or else text. The last result is the function's.
//! What follows `#` is a comment.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use kemi::engine::{Engine, Interpreter, Runtime};
use kemi::error::Frame;
use kemi::{Arg, CallbackId, ErrorCode, Location, NativeError, ScriptError, Source, Value};

/// The engine; `find_engine("tiny")` gives it to a host that has called [`link`].
#[derive(Debug)]
pub struct Tiny;

kemi::announce_engine!(&Tiny);

/// Links the engine into a program that calls it.
pub fn link() {}

/// A function: its parameters, and its lines with their places.
struct Function(Vec<String>, Vec<(Location, Vec<String>)>);

struct Script {
    runtime: Rc<Runtime>,
    functions: BTreeMap<String, Function>,
    /// The line that runs.
    place: RefCell<Option<Location>>,
}

impl Engine for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn language(&self) -> String {
        "Tiny 1".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        let mut functions = BTreeMap::new();
        for source in sources {
            let (bytes, file, mut last) = (source.read()?, source.name(), None);
            for (line, text) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
                let text = text.split('#').next().unwrap_or_default();
                let mut words = text.split_whitespace().map(str::to_owned);
                let Some(first) = words.next() else { continue };
                if !text.starts_with(char::is_whitespace) {
                    functions.insert(first.clone(), Function(words.collect(), Vec::new()));
                    last = Some(first);
                } else if let Some(Function(_, lines)) = last.as_ref().and_then(|name| functions.get_mut(name)) {
                    lines.push((Location { file: file.clone(), line }, [first].into_iter().chain(words).collect()));
                } else {
                    return Err(ScriptError::new(ErrorCode::Syntax, "a line outside of a function").at(file, line));
                }
            }
        }
        Ok(Box::new(Script { runtime, functions, place: RefCell::default() }))
    }
}

impl Script {
    /// Runs a line: calls a function of the host, or takes a value.
    fn line(&self, words: &[String], values: &BTreeMap<&str, Value>) -> Result<Value, Box<NativeError>> {
        let registry = self.runtime.registry();
        let value = |word: &String| match (values.get(word.as_str()), word.parse()) {
            (Some(value), _) => value.clone(),
            (None, Ok(integer)) => Value::Int(integer),
            (None, Err(_)) => Value::from(word.as_str()),
        };
        let Some((first, words)) = words.split_first() else { return Ok(Value::Nil) };
        let Some(path) = first.strip_prefix(registry.root()).and_then(|path| path.strip_prefix('.')) else {
            if words.is_empty() {
                return Ok(value(first));
            }
            let message = format!("'{first}' is nothing that can be called");
            return Err(ScriptError::new(ErrorCode::Runtime, message).into());
        };
        let (module, name) = path.rsplit_once('.').unwrap_or(("", path));
        let Some(export) = registry.find(module, name) else {
            return Err(registry.explain_unknown(module, Some(name)).into());
        };
        let values: Vec<Value> = words.iter().map(value).collect();
        let args: Vec<Arg<'_>> = values.iter().map(Arg::from).collect();
        self.runtime.invoke_to_value(export, &args, self)
    }
}

impl Interpreter for Script {
    fn resolve(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    fn functions(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn call(&self, callback: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let name = self.runtime.registry().callback_name(callback).unwrap_or_default();
        let Some(Function(params, lines)) = self.functions.get(&*name) else {
            return Err(ScriptError::missing_callback(&name));
        };
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        for (param, arg) in params.iter().zip(args) {
            let message = || format!("the host passes a {} to '{name}'", arg.type_name());
            let value = arg.to_value().ok_or_else(|| ScriptError::new(ErrorCode::ValueNotConvertible, message()))?;
            values.insert(param, value);
        }
        // A native function may call back into the script that called it, so the line of the outer call is kept.
        let outer = self.place.take();
        let mut run = || {
            for (place, words) in lines {
                self.place.replace(Some(place.clone()));
                // Ends a call over its limits; a language with loops polls in each turn.
                if self.runtime.poll(self) {
                    return Ok(Value::Nil);
                }
                match self.line(words, &values).map_err(|fault| *fault) {
                    Ok(it) => values.insert("it", it),
                    Err(NativeError::Error(mut error)) => {
                        error.place.get_or_insert_with(|| place.clone());
                        error.traceback.push(Frame { function: name.to_string(), place: Some(place.clone()) });
                        return Err(error);
                    }
                    // An exit or a drop, which the runtime has noted.
                    Err(_) => return Ok(Value::Nil),
                };
            }
            Ok(values.remove("it").unwrap_or_default())
        };
        let result = run();
        self.place.replace(outer);
        result
    }

    fn place(&self) -> Option<Location> {
        self.place.borrow().clone()
    }
}
