//! The root object: a static module with a submodule for each visible module, every function a native one, constants as
//! variables.

use std::any::TypeId;
use std::rc::Rc;

use kemi_core::Value;
use kemi_core::engine::Runtime;
use kemi_core::registry::{self, Export, RegistryData};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiFunc, is_valid_identifier};

use crate::call::CallState;
use crate::value::value_to_dynamic;

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
pub(crate) fn root_module(state: &CallState, objects: impl Fn(&Export) -> Vec<FunctionObject>) -> Module {
    let registry = state.runtime().registry();
    bind_module(state, registry, registry.module(), &objects)
}

fn bind_module(
    state: &CallState,
    registry: &RegistryData,
    own: &registry::Module,
    objects: &impl Fn(&Export) -> Vec<FunctionObject>,
) -> Module {
    let mut module = Module::new();
    let exports = registry.exports().get(own.exports()).unwrap_or_default();
    for export in exports.iter().filter(|export| export.def().is_function()) {
        for object in objects(export) {
            register(&mut module, export.def().name, object);
        }
    }
    for constant in own.constants() {
        bind_constant(state, &mut module, constant.def().name, constant.value());
    }
    for name in off_modules(registry, own) {
        module.set_var(name, false);
    }
    for child in own.modules() {
        module.set_sub_module(child.name(), bind_module(state, registry, child, objects));
        module.set_var(child.name(), true);
    }
    module.build_index();
    module
}

/// Binds a constant; the names of a map are constants of their own behind it.
fn bind_constant(state: &CallState, module: &mut Module, name: &str, value: &Value) {
    // A constant holds no function, so it has a counterpart.
    let Ok(converted) = value_to_dynamic(state, value) else { return };
    module.set_var(name, converted);
    let Some(names) = value.as_map() else { return };
    let mut within = Module::new();
    for (name, value) in names {
        if let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_valid_identifier(name)) {
            bind_constant(state, &mut within, name, value);
        }
    }
    within.build_index();
    module.set_sub_module(name, within);
}

/// Returns the names in a module that lead only to modules which are linked but not enabled.
pub(crate) fn off_modules<'a>(
    registry: &'a RegistryData,
    own: &'a registry::Module,
) -> impl Iterator<Item = &'static str> + 'a {
    registry.disabled_modules().filter_map(|path| {
        let below = match own.path() {
            "" => path,
            around => path.strip_prefix(around)?.strip_prefix('.')?,
        };
        let name = below.split('.').next()?;
        own.modules().iter().all(|child| child.name() != name).then_some(name)
    })
}

fn register(module: &mut Module, name: &'static str, object: FunctionObject) {
    let function = RhaiFunc::Pure { func: object.function, has_context: true, is_pure: true, is_volatile: true };
    FuncRegistration::new(name).set_into_module_raw(module, object.types, function);
}
