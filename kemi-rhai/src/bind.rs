//! The root object: a static module with a submodule for each visible module, every function a native one.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::rc::Rc;

use kemi_core::engine::Runtime;
use kemi_core::registry::{Export, RegistryData};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiFunc};

use crate::call::CallState;

/// A native function as Rhai keeps it.
pub(crate) type NativeFn = dyn for<'a, 'b, 'c> Fn(Option<NativeCallContext<'a>>, &'b mut [&'c mut Dynamic]) -> Called;

/// The result of a native function.
pub(crate) type Called = Result<Dynamic, Box<EvalAltResult>>;

/// A function object: a native function with the argument types that Rhai finds it by.
pub(crate) struct FunctionObject {
    pub(crate) types: Vec<TypeId>,
    pub(crate) function: Rc<NativeFn>,
}

/// An export as bound into one interpreter; its function objects share it.
pub(crate) struct BoundExport {
    runtime: Rc<Runtime>,
    state: Rc<CallState>,
    export: Export,
}

impl BoundExport {
    /// Binds an export of the registry that the interpreter's runtime has.
    pub(crate) fn new(state: &Rc<CallState>, export: &Export) -> BoundExport {
        BoundExport { runtime: state.runtime().clone(), state: state.clone(), export: export.clone() }
    }

    #[inline]
    pub(crate) fn runtime(&self) -> &Rc<Runtime> {
        &self.runtime
    }

    #[inline]
    pub(crate) fn state(&self) -> &CallState {
        &self.state
    }

    #[inline]
    pub(crate) fn export(&self) -> &Export {
        &self.export
    }
}

/// Builds the module that scripts see under the root's name; `objects` makes the function objects of an export.
///
/// Each visible module is also a variable that is true, each linked but disabled one a variable that is false.
pub(crate) fn root_module(registry: &RegistryData, objects: impl Fn(&Export) -> Vec<FunctionObject>) -> Module {
    let mut root = Module::new();
    let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
    for (name, exports) in registry.modules() {
        let module = if name.is_empty() { &mut root } else { modules.entry(name).or_default() };
        for export in exports {
            for object in objects(export) {
                register(module, export.def().name, object);
            }
        }
    }
    for (name, mut module) in modules {
        module.build_index();
        root.set_sub_module(name, module);
        root.set_var(name, true);
    }
    for name in registry.disabled_modules() {
        root.set_var(name, false);
    }
    root.build_index();
    root
}

fn register(module: &mut Module, name: &'static str, object: FunctionObject) {
    let function = RhaiFunc::Pure { func: object.function, has_context: true, is_pure: true, is_volatile: true };
    FuncRegistration::new(name).set_into_module_raw(module, object.types, function);
}
