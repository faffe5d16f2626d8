//! The functions of the script that the host keeps, by slot.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use kemi_core::engine::Runtime;
use kemi_core::{ErrorCode, Function, ScriptError};
use rhai::{Dynamic, FnPtr, GlobalRuntimeState, NativeCallContext, Position};

use crate::program::{self, Program};

/// The functions that the host keeps. What they have captured lives as long as the interpreter at most.
#[derive(Debug, Default)]
pub(crate) struct KeptFunctions {
    slots: RefCell<Vec<Option<Rc<KeptFunction>>>>,
}

/// One function that the host keeps.
#[derive(Debug)]
pub(crate) struct KeptFunction {
    pointer: FnPtr,
    /// Where it was defined, if not in the sources of the script: the code of an imported module.
    module: Option<ModuleState>,
    /// Where it was passed to the host.
    file: String,
    position: Position,
}

/// What the code of an imported module sees: its own functions and imports.
#[derive(Debug)]
struct ModuleState {
    global: Rc<GlobalRuntimeState>,
    function: Option<Rc<program::Function>>,
}

impl KeptFunctions {
    /// Keeps a function; `call` is the native call that it is an argument of, if it is one.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] if the host keeps as many functions as there are numbers.
    pub(crate) fn keep(
        &self,
        runtime: &Runtime,
        program: &Program,
        pointer: &FnPtr,
        call: Option<&NativeCallContext<'_>>,
    ) -> Result<Function, ScriptError> {
        let (slot, function) = runtime.keep_function()?;
        // What is captured is the script's, and so is the handle.
        runtime.while_freeing(|| {
            let kept = Rc::new(KeptFunction::new(program, pointer, call));
            let index = index(slot);
            let mut slots = self.slots.borrow_mut();
            if slots.len() <= index {
                slots.resize(index + 1, None);
            }
            if let Some(slot) = slots.get_mut(index) {
                *slot = Some(kept);
            }
        });
        Ok(function)
    }

    /// Returns the function of a slot.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] if there is none.
    pub(crate) fn get(&self, slot: u32) -> Result<Rc<KeptFunction>, ScriptError> {
        let kept = self.slots.borrow().get(index(slot)).cloned().flatten();
        kept.ok_or_else(|| ScriptError::new(ErrorCode::FunctionGone, "the script's function is not kept any more"))
    }

    /// Gives a function back to the script.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] or [`ErrorCode::ForeignId`] if it is not of this interpreter's script.
    pub(crate) fn give_back(&self, runtime: &Runtime, function: &Function) -> Result<Dynamic, ScriptError> {
        Ok(self.get(runtime.function_slot(function)?)?.pointer.clone().into())
    }

    /// Forgets the functions of slots.
    pub(crate) fn release(&self, runtime: &Runtime, slots: &[u32]) {
        let released: Vec<_> = {
            let mut kept = self.slots.borrow_mut();
            slots.iter().filter_map(|slot| kept.get_mut(index(*slot))?.take()).collect()
        };
        runtime.while_freeing(|| drop(released));
    }

    /// Forgets all functions, at the end of the interpreter.
    pub(crate) fn clear(&self) {
        drop(self.slots.take());
    }
}

impl KeptFunction {
    fn new(program: &Program, pointer: &FnPtr, call: Option<&NativeCallContext<'_>>) -> KeptFunction {
        KeptFunction {
            pointer: pointer.clone(),
            module: call.and_then(|call| ModuleState::of(program, pointer.fn_name(), call)),
            file: call.and_then(NativeCallContext::call_source).unwrap_or_default().to_owned(),
            position: call.map_or(Position::NONE, NativeCallContext::call_position),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.pointer.fn_name()
    }

    /// Returns the values that stand before the arguments of a call: what is captured or curried.
    pub(crate) fn captured(&self) -> &[Dynamic] {
        self.pointer.curry()
    }

    /// Returns the state that a call starts from.
    pub(crate) fn global(&self, program: &Program) -> Rc<GlobalRuntimeState> {
        match &self.module {
            Some(module) => module.global.clone(),
            None => program.global(),
        }
    }

    /// Returns what the script defines under the name, if it is the script's and not of Rhai's library.
    pub(crate) fn function(&self, program: &Program) -> Option<Rc<program::Function>> {
        match &self.module {
            Some(module) => module.function.clone(),
            None => program.function(self.name()),
        }
    }

    /// Returns where the function was passed to the host.
    pub(crate) fn passed_at(&self) -> (&str, Position) {
        (&self.file, self.position)
    }
}

impl ModuleState {
    /// Returns the state of the code that calls, if that is a module's.
    fn of(program: &Program, name: &str, call: &NativeCallContext<'_>) -> Option<ModuleState> {
        // A module's function runs with the functions of its module behind those of the script.
        if call.namespaces().len() <= program.global().lib.len() {
            return None;
        }
        let mut global = call.global_runtime_state().clone();
        (global.level, global.scope_level, global.always_search_scope) = (0, 0, false);
        global.source = None;
        let mut overloads = BTreeMap::new();
        for module in &global.lib {
            for (.., params, definition) in module.iter_script_fn_info().filter(|(_, _, own, ..)| *own == name) {
                let file = module.id().unwrap_or_default().to_owned();
                overloads.insert(params, (file, definition.body.start_position()));
            }
        }
        let function = (!overloads.is_empty()).then(|| Rc::new(program::Function::new(name, overloads)));
        Some(ModuleState { global: Rc::new(global), function })
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
