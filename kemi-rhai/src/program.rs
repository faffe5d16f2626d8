//! The definitions of a script's sources: functions with their places, and the state that each call starts from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kemi_core::registry::RegistryData;
use kemi_core::{CallbackId, ErrorCode, Location, ScriptError};
use rhai::{AST, GlobalRuntimeState, NativeCallContext, Position, Scope};

/// The definitions of the sources loaded so far.
pub(crate) struct Program {
    definitions: RefCell<Definitions>,
    /// The functions that the host has called, by the callback's index.
    callbacks: RefCell<Vec<Option<Rc<Function>>>>,
}

struct Definitions {
    /// The functions of each source, imported modules, constants.
    global: Rc<GlobalRuntimeState>,
    functions: BTreeMap<String, Rc<Function>>,
    /// The variables of the top level.
    variables: BTreeSet<String>,
}

impl Program {
    pub(crate) fn new(global: GlobalRuntimeState) -> Program {
        Program { definitions: RefCell::new(Definitions::new(global)), callbacks: RefCell::default() }
    }

    /// Adds a source's functions; of two with the same name and number of parameters the later one counts.
    pub(crate) fn define(&self, global: &mut GlobalRuntimeState, script: &AST) {
        global.lib.push(script.shared_lib().clone());
        let file = script.source().unwrap_or_default();
        let state = Rc::new(global.clone());
        let mut definitions = self.definitions.borrow_mut();
        definitions.global = state;
        for function in script.iter_fn_def().filter(|function| function.this_type.is_none()) {
            let name = function.name.to_string();
            let defined = definitions
                .functions
                .entry(name.clone())
                .or_insert_with(|| Rc::new(Function { name, overloads: BTreeMap::new() }));
            let place = (file.to_owned(), function.body.start_position());
            Rc::make_mut(defined).overloads.insert(function.params.len(), place);
        }
    }

    /// Takes what callbacks see of the top level, once all sources have run.
    pub(crate) fn finish(&self, global: GlobalRuntimeState, scope: &Scope<'_>) {
        let mut definitions = self.definitions.borrow_mut();
        definitions.global = Rc::new(global);
        definitions.variables = scope.iter().map(|(name, ..)| name.to_owned()).collect();
    }

    /// Drops all that the script holds, and begins anew with a state.
    pub(crate) fn clear(&self, global: GlobalRuntimeState) {
        self.callbacks.take();
        self.definitions.replace(Definitions::new(global));
    }

    /// Returns the state that a call starts from.
    pub(crate) fn global(&self) -> Rc<GlobalRuntimeState> {
        self.definitions.borrow().global.clone()
    }

    /// Returns whether the name is one of a variable of the top level.
    pub(crate) fn is_variable(&self, name: &str) -> bool {
        self.definitions.borrow().variables.contains(name)
    }

    /// Returns whether the script defines a function of the name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.definitions.borrow().functions.contains_key(name)
    }

    /// Returns the names of all functions.
    pub(crate) fn names(&self) -> Vec<String> {
        self.definitions.borrow().functions.keys().cloned().collect()
    }

    /// Checks that a function can be called with so many arguments.
    ///
    /// # Errors
    /// All functions of that name have more parameters.
    pub(crate) fn accepts(&self, name: &str, arguments: usize) -> Result<(), ScriptError> {
        match self.definitions.borrow().functions.get(name) {
            Some(function) => function.overload(0, arguments).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Returns the functions of a name, if the script defines any.
    pub(crate) fn function(&self, name: &str) -> Option<Rc<Function>> {
        self.definitions.borrow().functions.get(name).cloned()
    }

    /// Returns the function of a callback.
    ///
    /// # Errors
    /// The script defines none of that name.
    pub(crate) fn callback(&self, registry: &RegistryData, id: CallbackId) -> Result<Rc<Function>, ScriptError> {
        let mut callbacks = self.callbacks.borrow_mut();
        if let Some(Some(function)) = callbacks.get(id.index()) {
            return Ok(function.clone());
        }
        let name = registry.callback_name(id).unwrap_or_else(|| "".into());
        let function = self.definitions.borrow().functions.get(&*name).cloned();
        let function = function.ok_or_else(|| ScriptError::missing_callback(&name))?;
        if callbacks.len() <= id.index() {
            callbacks.resize(id.index() + 1, None);
        }
        if let Some(slot) = callbacks.get_mut(id.index()) {
            *slot = Some(function.clone());
        }
        Ok(function)
    }
}

impl Definitions {
    fn new(global: GlobalRuntimeState) -> Definitions {
        Definitions { global: Rc::new(global), functions: BTreeMap::new(), variables: BTreeSet::new() }
    }
}

/// The functions of one name, of any number of parameters.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    name: String,
    /// The numbers of parameters, ascending, with the file and place of each function.
    overloads: BTreeMap<usize, (String, Position)>,
}

impl Function {
    pub(crate) fn new(name: &str, overloads: BTreeMap<usize, (String, Position)>) -> Function {
        Function { name: name.to_owned(), overloads }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Iterates over the numbers of parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = usize> {
        self.overloads.keys().copied()
    }

    /// Chooses the function for a number of arguments, behind what it has captured: of as many parameters, else of the most
    /// fewer ones. Returns its number of parameters for arguments, its file and position.
    ///
    /// # Errors
    /// All have more parameters.
    pub(crate) fn overload(&self, captured: usize, given: usize) -> Result<(usize, &str, Position), ScriptError> {
        if let Some((&params, (file, position))) = self.overloads.range(..=captured + given).next_back()
            && let Some(params) = params.checked_sub(captured)
        {
            return Ok((params, file, *position));
        }
        let (least, place) =
            self.overloads.range(captured..).next().map_or((0, None), |(least, place)| (least - captured, Some(place)));
        let name = if is_closure(&self.name) { "the closure".to_owned() } else { format!("function '{}'", self.name) };
        let message = format!("{name} has {least} parameters, but the host passes {given}");
        let error = ScriptError::new(ErrorCode::ArgumentCount, message);
        Err(match place.and_then(|(file, position)| Some((file, line_of(*position)?))) {
            Some((file, line)) => error.at(file, line),
            None => error,
        })
    }

    /// Returns where the function with the most parameters is defined.
    pub(crate) fn definition(&self) -> Option<Location> {
        let (file, position) = self.overloads.values().next_back()?;
        Some(Location { file: file.clone(), line: line_of(*position)? })
    }
}

/// Returns whether a name is one that Rhai has made for a closure: `anon$` and a hash.
pub(crate) fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

/// Returns the line of a position, as the host counts lines.
pub(crate) fn line_of(position: Position) -> Option<u32> {
    position.line().and_then(|line| u32::try_from(line).ok())
}

/// Returns where a native function is called.
pub(crate) fn place_of(call: &NativeCallContext<'_>) -> Option<Location> {
    let line = line_of(call.call_position())?;
    Some(Location { file: call.call_source().unwrap_or("script").to_owned(), line })
}
