//! The functions of the script that the host keeps.
//!
//! They lie in a table of the interpreter, by the slots that the runtime gives out. What Rust holds of Boa's heap is a root
//! there, so such a function and all it refers to stay alive; function objects refer to the interpreter only by a pointer,
//! and the host's handles are numbers, so neither keeps the interpreter.

use std::cell::RefCell;
use std::rc::Rc;

use boa_engine::object::JsObject;
use kemi_core::engine::Runtime;
use kemi_core::{ErrorCode, Function, ScriptError};

/// The kept functions of one interpreter.
pub(crate) struct KeptFunctions {
    runtime: Rc<Runtime>,
    slots: RefCell<Vec<Option<JsObject>>>,
}

impl KeptFunctions {
    pub(crate) fn new(runtime: Rc<Runtime>) -> KeptFunctions {
        KeptFunctions { runtime, slots: RefCell::default() }
    }

    /// Returns the interpreter's runtime.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Keeps a function for the host.
    ///
    /// # Errors
    /// [`ErrorCode::ValueNotConvertible`] if the host keeps too many.
    pub(crate) fn keep(&self, object: &JsObject) -> Result<Function, ScriptError> {
        let (slot, function) = self.runtime.keep_function()?;
        let index = slot as usize;
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= index {
            slots.resize(index + 1, None);
        }
        if let Some(kept) = slots.get_mut(index) {
            *kept = Some(object.clone());
        }
        Ok(function)
    }

    /// Returns the function of a slot.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] if there is none.
    pub(crate) fn get(&self, slot: u32) -> Result<JsObject, ScriptError> {
        let kept = self.slots.borrow().get(slot as usize).cloned().flatten();
        kept.ok_or_else(|| ScriptError::new(ErrorCode::FunctionGone, "the host has let the function go"))
    }

    /// Returns the script's own function behind one of the host's.
    ///
    /// # Errors
    /// [`ErrorCode::FunctionGone`] or [`ErrorCode::ForeignId`] if it is of another interpreter.
    pub(crate) fn find(&self, function: &Function) -> Result<JsObject, ScriptError> {
        self.get(self.runtime.function_slot(function)?)
    }

    /// Forgets the functions of slots. They are garbage then, which a later call collects.
    pub(crate) fn release(&self, released: &[u32]) {
        let mut slots = self.slots.borrow_mut();
        for &slot in released {
            if let Some(kept) = slots.get_mut(slot as usize) {
                *kept = None;
            }
        }
    }

    /// Drops all functions.
    pub(crate) fn clear(&self) {
        self.slots.take();
    }
}
