//! An engine whose scripts are the names of their callbacks.

use std::rc::Rc;
use std::thread;
use std::time::Duration;

use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::{
    Arg, CallbackId, Callbacks, Engine, ErrorCode, Instance, Limits, Location, NativeError, Registry, ScriptError,
    Source, Value,
};

/// `spin` runs until its time is over, `nap` for that long without looking, and any other name is that of a native
/// function of the module `test` to call; `NAME_spin` does so again and again.
#[derive(Debug)]
pub(crate) struct Toy;

struct ToyInterpreter(Rc<Runtime>);

impl Engine for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn language(&self) -> String {
        "names".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(ToyInterpreter(runtime)))
    }
}

impl ToyInterpreter {
    fn native(&self, name: &str) -> Result<Value, ScriptError> {
        let export = self.0.registry().find("test", name).expect("it is linked");
        match self.0.invoke(export, &[], self) {
            Ok(_) => Ok(Value::Nil),
            Err(fault) => match *fault {
                NativeError::Error(error) => Err(error),
                fault => Err(ScriptError::new(ErrorCode::Runtime, format!("{fault:?}"))),
            },
        }
    }
}

impl Interpreter for ToyInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let name = self.0.registry().callback_name(callback).expect("it is declared");
        match name.strip_suffix("_spin") {
            Some(native) => loop {
                self.native(native)?;
            },
            None if &*name == "spin" => {
                while !self.0.poll(self) {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(Value::Nil)
            }
            None => self.native(&name),
        }
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

/// Makes a host with one callback for each name.
#[allow(dead_code, reason = "not every test loads a script by itself")]
pub(crate) fn load<C: 'static>(names: &[&str], limits: Limits) -> (Registry<C>, Vec<CallbackId>, Instance<C>) {
    let mut callbacks = Callbacks::new();
    let ids = names.iter().map(|name| callbacks.required("request", name, &[])).collect();
    let registry = Registry::<C>::builder()
        .root("app")
        .all_modules()
        .callbacks(callbacks)
        .limits(limits)
        .build()
        .expect("it is valid");
    let instance = Instance::load(&Toy, &registry, &[]).expect("there is nothing to load");
    (registry, ids, instance)
}
