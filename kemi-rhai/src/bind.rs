//! Builds the root object: a static module with a submodule for each visible module, every function a native one.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::rc::Rc;

use kemi_core::{Arg, ConversionBudget, Export, Fault, Interpreter, RegistryData, Ret};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiFunc};

use crate::error::raise;
use crate::interpreter::{Shared, View};
use crate::trampoline::{self, Returned, TypedResult};
use crate::value::{Held, ret_to_dynamic};

/// The most parameters of any type that Rhai resolves.
const MAX_PARAMETERS: usize = rhai::default_limits::MAX_DYNAMIC_PARAMETERS;

/// How many arguments each function can at least be called with, so that too many are its own error.
const LEAST_ARITIES: usize = 6;

/// A native function as Rhai keeps it.
pub(crate) type NativeFn = dyn for<'a, 'b, 'c> Fn(Option<NativeCallContext<'a>>, &'b mut [&'c mut Dynamic]) -> Called;

/// The result of a native function.
pub(crate) type Called = Result<Dynamic, Box<EvalAltResult>>;

/// Builds the module that scripts see under the root's name.
///
/// Each visible module is also a variable that is true, each linked but disabled one a variable that is false.
pub(crate) fn root_module(shared: &Rc<Shared>) -> Module {
    let registry = shared.runtime.registry().clone();
    let mut root = Module::new();
    let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
    for (name, exports) in registry.modules() {
        let module = if name.is_empty() { &mut root } else { modules.entry(name).or_default() };
        for export in exports {
            bind(module, &Rc::new(Binding { shared: shared.clone(), export: export.clone() }));
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

/// Returns how many arguments a function can be called with before Rhai itself says that there is no such function.
pub(crate) fn most_arguments(export: &Export) -> usize {
    export.def().max_args().map_or(MAX_PARAMETERS, |most| (most + 1).clamp(LEAST_ARITIES, MAX_PARAMETERS))
}

fn bind(module: &mut Module, binding: &Rc<Binding>) {
    let def = binding.export.def();
    let mut register = |types: Vec<TypeId>, func: Rc<NativeFn>| {
        let func = RhaiFunc::Pure { func, has_context: true, is_pure: true, is_volatile: true };
        FuncRegistration::new(def.name).set_into_module_raw(module, types, func);
    };
    let generic = binding.native(Binding::generic);
    for arity in 0..=most_arguments(&binding.export) {
        register(vec![TypeId::of::<Dynamic>(); arity], generic.clone());
    }
    // A deprecated function is warned of on the generic path.
    if let Some(typed) = def.typed.filter(|_| def.deprecated.is_none()) {
        let (types, func) = trampoline::trampoline(binding, typed);
        register(types, func);
    }
}

/// One export in one interpreter.
pub(crate) struct Binding {
    shared: Rc<Shared>,
    export: Export,
}

impl Binding {
    /// Wraps the body of a native function.
    pub(crate) fn native(
        self: &Rc<Self>,
        body: impl Fn(&Binding, &NativeCallContext<'_>, &[&mut Dynamic]) -> Called + 'static,
    ) -> Rc<NativeFn> {
        let binding = self.clone();
        Rc::new(move |call: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| match call {
            Some(call) => body(&binding, &call, args),
            // Rhai passes a context to each function registered with one.
            None => Err("a native function was called without its context".into()),
        })
    }

    /// Calls the export's typed entry.
    #[inline]
    pub(crate) fn typed<R>(
        &self,
        call: &NativeCallContext<'_>,
        run: impl FnOnce(*mut ()) -> TypedResult<R>,
    ) -> TypedResult<R> {
        let runtime = &self.shared.runtime;
        let place = || View::of_call(&self.shared, call).place();
        runtime.host_side(|| {
            // SAFETY: the binding was made for an export of this runtime's registry. Only the script calls it, and whoever
            // runs the script from within a native function has taken the context out of its slot. `run` is the typed entry.
            unsafe { runtime.typed(&self.export, place, run) }
        })
    }

    /// Turns the outcome of a typed call into a value of the script or what ends the call.
    #[inline]
    pub(crate) fn finish<R: Returned>(&self, call: &NativeCallContext<'_>, result: TypedResult<R>) -> Called {
        match result {
            Ok(value) => Ok(value.into_dynamic(&self.shared.runtime)),
            Err(fault) => self.settle(call, fault),
        }
    }

    #[cold]
    fn settle(&self, call: &NativeCallContext<'_>, fault: Box<Fault>) -> Called {
        let view = View::of_call(&self.shared, call);
        self.returned(call, self.shared.runtime.settle(&self.export, fault, &view))
    }

    /// Calls the export with arguments of any number and types.
    pub(crate) fn generic(&self, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let view = View::of_call(&self.shared, call);
        let runtime = &self.shared.runtime;
        let result = runtime.host_side(|| {
            let mut budget = ConversionBudget::new();
            let held: Vec<Held<'_>> = match args.iter().map(|arg| Held::of(arg, &mut budget)).collect() {
                Ok(held) => held,
                Err(error) => return runtime.settle(&self.export, error.into(), &view),
            };
            let args: Vec<Arg<'_>> = held.iter().map(Held::arg).collect();
            runtime.invoke(&self.export, &args, &view)
        });
        self.returned(call, result)
    }

    fn returned(&self, call: &NativeCallContext<'_>, result: Result<Ret, Box<Fault>>) -> Called {
        match result {
            Ok(ret) => Ok(ret_to_dynamic(&self.shared.runtime, ret)),
            Err(fault) => Err(raise(&self.shared.runtime, *fault, call.call_position())),
        }
    }
}

/// Splits a name of Rhai's, such as `KSR::pv::get`, into the module and the function after the root.
pub(crate) fn split_path<'a>(registry: &RegistryData, path: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    let rest = path.strip_prefix(registry.root())?.strip_prefix("::")?;
    Some(match rest.split_once("::") {
        Some((module, function)) => (module, Some(function)),
        None => (rest, None),
    })
}
