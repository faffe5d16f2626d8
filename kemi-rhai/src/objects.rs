//! Objects of the host as the script has them: a handle, and the functions that Rhai finds for it.
//!
//! All classes are one type of Rhai's, so a function of a name is registered once and chooses the export by the object's class.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kemi_core::engine::HeldObject;
use kemi_core::export::{CLASSES, Operator, Role};
use kemi_core::registry::RegistryData;
use kemi_core::value::{Class, Type};
use kemi_core::{ErrorCode, NativeError, Object, ScriptError};
use rhai::{
    AST, ASTNode, Dynamic, Engine, EvalAltResult, Expr, FuncRegistration, ImmutableString, Module, NativeCallContext,
    Position, RhaiFunc,
};

use crate::bind::{BoundExport, Called, NativeFn};
use crate::call::CallState;
use crate::error::raise;
use crate::error_object::as_text;
use crate::trampoline::call_export;
use crate::value::most_arguments;

/// The name of the type in scripts, of all classes.
const TYPE_NAME: &str = "Object";

/// What Rhai itself takes for something else, so methods of these names are called through their class.
const RHAI_OWN: [&str; 6] = ["call", "curry", "debug", "is_shared", "print", "type_of"];

/// An object of the host in the hands of a script. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct ObjectHandle(Rc<HeldObject>);

impl ObjectHandle {
    /// Returns the handle that a value is.
    pub(crate) fn of(value: &Dynamic) -> Option<ObjectHandle> {
        value.read_lock::<ObjectHandle>().map(|handle| handle.clone())
    }

    pub(crate) fn object(&self) -> &Object {
        &self.0
    }
}

/// Gives an object to the script.
pub(crate) fn object_to_dynamic(state: &CallState, object: &Object) -> Dynamic {
    Dynamic::from(ObjectHandle(Rc::new(state.runtime().hold(object.clone()))))
}

/// Returns the class of the object that a value is.
pub(crate) fn class_of(value: &Dynamic) -> Option<&'static Class> {
    value.read_lock::<ObjectHandle>().map(|handle| handle.object().class())
}

/// Puts the name of the type that scripts know into a message of Rhai's.
pub(crate) fn with_type_name(message: String) -> String {
    let own = std::any::type_name::<ObjectHandle>();
    if message.contains(own) { message.replace(own, TYPE_NAME) } else { message }
}

/// What was refused last: Rhai's own errors tell neither the class nor the reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    call: RefCell<Option<(&'static Class, String)>>,
    assignment: RefCell<Option<(String, ScriptError)>>,
}

impl Refusals {
    /// Explains that Rhai has found no function: its signature is `name (Object, i64)`.
    pub(crate) fn explain_call(&self, registry: &RegistryData, signature: &str) -> Option<ScriptError> {
        let (name, types) = signature.split_once(" (")?;
        let types = types.strip_suffix(')')?;
        if types.split(", ").next() != Some(TYPE_NAME) {
            return None;
        }
        let (class, _) = self.call.take().filter(|(_, called)| called == name)?;
        let method = registry.members(class).find(|(export, role)| *role == Role::Method && export.def().name == name);
        let Some((export, _)) = method else {
            return Some(registry.explain_member(class, name));
        };
        let (most, given) = (most_arguments(export), types.split(", ").count());
        let message = format!("takes at most {most} arguments in Rhai, got {given}");
        let mut error = ScriptError::new(ErrorCode::ArgumentCount, message);
        error.export = Some(registry.script_name(export.def()));
        Some(error)
    }

    /// Explains that Rhai has found nothing to set: its message names the property or the types.
    pub(crate) fn explain_assignment(&self, message: &str) -> Option<ScriptError> {
        let (name, error) = self.assignment.take()?;
        let names_it = message == error.message
            || message.contains(&format!("'{name}'")) && message.contains(&format!("'{TYPE_NAME}'"));
        names_it.then_some(error)
    }
}

/// Explains that a method was called on something that is no object.
pub(crate) fn without_object(registry: &RegistryData, name: &str) -> Option<ScriptError> {
    let mut classes = registry.classes().iter().map(|class| class.class());
    let class = classes.find(|class| {
        registry.members(class).any(|(export, role)| role == Role::Method && export.def().name == name)
    })?;
    let message = format!("'{name}' is a function of a {} and must be called on one: object.{name}(…)", class.name);
    Some(ScriptError::new(ErrorCode::BadArgument, message))
}

/// Finds a call of a method that would run a function of the script's own: Rhai prefers one of the same name and number of parameters.
///
/// Returns which of the texts it is in, where, and what is wrong.
pub(crate) fn hidden_method(state: &CallState, scripts: &[AST]) -> Option<(usize, Position, String)> {
    let registry = state.runtime().registry();
    if registry.classes().is_empty() {
        return None;
    }
    let functions: BTreeSet<(&str, usize)> =
        scripts.iter().flat_map(AST::iter_functions).map(|function| (function.name, function.params.len())).collect();
    let mut hidden: BTreeMap<(&str, usize), &'static Class> = BTreeMap::new();
    for class in registry.classes().iter().map(|class| class.class()) {
        for (export, _) in registry.members(class).filter(|(_, role)| *role == Role::Method) {
            let def = export.def();
            let most = def.max_args().map_or(usize::MAX, |most| most.saturating_sub(1));
            let arguments = def.min_args().saturating_sub(1)..=most;
            let own = functions.range((def.name, *arguments.start())..=(def.name, most));
            hidden.extend(own.map(|function| (*function, class)));
            // A module sees the functions of the script behind its own.
            let defined = state.program().function(def.name);
            let defined =
                defined.iter().flat_map(|function| function.parameters()).filter(|count| arguments.contains(count));
            hidden.extend(defined.map(|count| ((def.name, count), class)));
        }
    }
    if hidden.is_empty() {
        return None;
    }
    scripts.iter().enumerate().find_map(|(index, script)| {
        let mut found = None;
        script.walk(&mut |nodes| {
            if let Some(ASTNode::Expr(Expr::MethodCall(call, position))) = nodes.last()
                && let Some(class) = hidden.get(&(call.name.as_str(), call.args.len()))
            {
                let (name, class) = (&call.name, class.name);
                let message = format!(
                    "'.{name}(…)' calls the script's own function '{name}' here, not the one of a {class}: give the script's \
                     another name"
                );
                found = Some((index, *position, message));
            }
            found.is_none()
        });
        found
    })
}

/// What the classes have under one name.
#[derive(Default)]
struct ByClass(Vec<(&'static Class, Rc<BoundExport>)>);

impl ByClass {
    fn add(&mut self, class: &'static Class, bound: &Rc<BoundExport>) {
        if self.of(class).is_none() {
            self.0.push((class, bound.clone()));
        }
    }

    #[inline]
    fn of(&self, class: &Class) -> Option<&Rc<BoundExport>> {
        self.0.iter().find(|(known, _)| *known == class).map(|(_, bound)| bound)
    }

    /// Returns the most arguments that one of them is called with.
    fn most_arguments(&self) -> usize {
        self.0.iter().map(|(_, bound)| most_arguments(bound.export())).max().unwrap_or(2)
    }
}

/// What scripts reach through objects.
struct Members {
    state: Rc<CallState>,
    methods: BTreeMap<&'static str, ByClass>,
    getters: BTreeMap<&'static str, ByClass>,
    setters: BTreeMap<&'static str, ByClass>,
    operators: BTreeMap<Operator, ByClass>,
}

/// How Rhai asks for an assignment.
#[derive(Clone, Copy)]
enum Assignment {
    Property,
    Index,
}

impl Members {
    fn new(state: &Rc<CallState>) -> Members {
        let registry = state.runtime().registry();
        let mut members = Members {
            state: state.clone(),
            methods: BTreeMap::new(),
            getters: BTreeMap::new(),
            setters: BTreeMap::new(),
            operators: BTreeMap::new(),
        };
        for class in registry.classes().iter().map(|class| class.class()) {
            for (export, role) in registry.members(class) {
                let by_class = match role {
                    Role::Static => continue,
                    Role::Method => members.methods.entry(export.def().name).or_default(),
                    Role::Getter(name) => members.getters.entry(name).or_default(),
                    Role::Setter(name) => members.setters.entry(name).or_default(),
                    Role::Operator(operator) => members.operators.entry(operator).or_default(),
                };
                by_class.add(class, &Rc::new(BoundExport::new(state, export)));
            }
        }
        // As Rhai's own lists have it: a function and a property. What a class itself calls so stands first.
        if let Some(length) = members.operators.get(&Operator::Length) {
            for (class, bound) in &length.0 {
                members.methods.entry("len").or_default().add(class, bound);
                members.getters.entry("len").or_default().add(class, bound);
            }
        }
        // Rhai has these for all values; an object has them if its class does.
        for name in ["tag", "set_tag"] {
            members.methods.entry(name).or_default();
        }
        members.getters.entry("tag").or_default();
        members
    }

    fn registry(&self) -> &RegistryData {
        self.state.runtime().registry()
    }

    fn operator(&self, operator: Operator, class: &Class) -> Option<&Rc<BoundExport>> {
        self.operators.get(&operator)?.of(class)
    }

    #[cold]
    fn raise(&self, call: &NativeCallContext<'_>, error: ScriptError) -> Called {
        Err(raise(self.state.runtime(), NativeError::Error(error), call.call_position()))
    }

    /// Calls `object.name(…)`.
    fn call_method(&self, name: &str, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        match find(&self.methods, name, class) {
            Some(bound) => call_export(bound, call, args),
            None => self.raise(call, self.registry().explain_member(class, name)),
        }
    }

    /// Reads `object.name`, for names that some class has.
    fn get_property(&self, name: &str, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        match find(&self.getters, name, class) {
            Some(bound) => call_export(bound, call, args),
            // Then Rhai tries the index of this name.
            None => Err(EvalAltResult::ErrorDotExpr(String::new(), call.call_position()).into()),
        }
    }

    /// Sets `object.name`, for names that some class has.
    fn set_property(&self, name: &str, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        match find(&self.setters, name, class) {
            Some(bound) => call_export(bound, call, args),
            None => self.refuse_assignment(Assignment::Property, class, Some(name), call),
        }
    }

    /// Returns the operator for a key that is no member's name: a text only if it takes texts, since else it is a misspelt name.
    fn index_operator(&self, operator: Operator, class: &Class, name: Option<&str>) -> Option<&Rc<BoundExport>> {
        let takes_it = name.is_none() || self.registry().has_text_keys(class, operator);
        self.operator(operator, class).filter(|_| takes_it)
    }

    /// Reads `object[key]`, and `object.key` where there is no property.
    fn get_index(&self, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        let name = name_in(args);
        let name = name.as_deref();
        if let (Some(name), [object, ..]) = (name, args) {
            if let Some(bound) = find(&self.getters, name, class) {
                let mut object = Dynamic::clone(object);
                return call_export(bound, call, &[&mut object]);
            }
            if find(&self.methods, name, class).is_some() {
                let message = format!("'{name}' of a {} is a function, not a value", class.name);
                let hint = format!("call it: object.{name}(…)");
                return self.raise(call, ScriptError::new(ErrorCode::UnknownFunction, message).with_hint(hint));
            }
        }
        let is_setter = name.is_some_and(|name| find(&self.setters, name, class).is_some());
        match self.index_operator(Operator::Index, class, name).filter(|_| !is_setter) {
            Some(bound) => call_export(bound, call, args),
            None => self.raise(call, self.no_index(class, name)),
        }
    }

    /// Sets `object[key]`, and `object.key` where there is no property.
    fn set_index(&self, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        let name = name_in(args);
        let name = name.as_deref();
        let mut is_member = false;
        if let (Some(name), [object, _, value]) = (name, args) {
            if let Some(bound) = find(&self.setters, name, class) {
                let (mut object, mut value) = (Dynamic::clone(object), Dynamic::clone(value));
                return call_export(bound, call, &[&mut object, &mut value]);
            }
            is_member = find(&self.getters, name, class).or_else(|| find(&self.methods, name, class)).is_some();
        }
        match self.index_operator(Operator::SetIndex, class, name).filter(|_| !is_member) {
            Some(bound) => call_export(bound, call, args),
            None => self.refuse_assignment(Assignment::Index, class, name, call),
        }
    }

    fn no_index(&self, class: &Class, name: Option<&str>) -> ScriptError {
        match name {
            Some(name) => self.registry().explain_member(class, name),
            None => ScriptError::new(ErrorCode::UnknownFunction, format!("a {} has no index", class.name)),
        }
    }

    /// Refuses an assignment to a property, or by an index that is no text.
    ///
    /// Rhai also sets what it has read from an object after a method was called on it. It goes on if there is nothing to set, which
    /// only its own errors tell.
    #[cold]
    fn refuse_assignment(
        &self,
        assignment: Assignment,
        class: &'static Class,
        name: Option<&str>,
        call: &NativeCallContext<'_>,
    ) -> Called {
        let error = match name {
            Some(name) => self.registry().explain_assignment(class, name),
            None => {
                ScriptError::new(ErrorCode::ReadOnly, format!("what is in a {} by index cannot be set", class.name))
            }
        };
        let was_read = name.is_some_and(|name| find(&self.getters, name, class).is_some())
            || self.index_operator(Operator::Index, class, name).is_some();
        if !was_read {
            return self.raise(call, error);
        }
        let (message, position) = (error.message.clone(), call.call_position());
        let name = name.unwrap_or_default().to_owned();
        *self.state.refusals().assignment.borrow_mut() = Some((name, error));
        Err(match assignment {
            Assignment::Property => EvalAltResult::ErrorDotExpr(message, position),
            Assignment::Index => EvalAltResult::ErrorIndexingType(message, position),
        }
        .into())
    }

    /// Returns the text of an object; one that is gone still has the default one.
    fn text(&self, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Called {
        let class = receiver(args)?;
        let Some(handle) = args.first().and_then(|object| ObjectHandle::of(object)) else { return Ok(Dynamic::UNIT) };
        match self.operator(Operator::Text, class) {
            Some(bound) if !handle.object().is_gone() => call_export(bound, call, args),
            _ => Ok(format!("{:?}", handle.object()).into()),
        }
    }

    /// Compares two values, of which one at least is an object.
    fn equal(&self, call: &NativeCallContext<'_>, args: &[&mut Dynamic]) -> Result<bool, Box<EvalAltResult>> {
        let [a, b] = args else { return Ok(false) };
        let (first, second) = if a.is::<ObjectHandle>() { (a, b) } else { (b, a) };
        let (Some(first_handle), second_handle) = (ObjectHandle::of(first), ObjectHandle::of(second)) else {
            return Ok(false);
        };
        let class = first_handle.object().class();
        if let Some(bound) = self.operator(Operator::Equal, class) {
            let other = second_handle.as_ref().map(|handle| handle.object().class());
            let fits = match bound.export().def().params.get(1).map(|param| param.ty) {
                Some(Type::Object(wanted)) => other == Some(wanted),
                _ => true,
            };
            if fits {
                let (mut first, mut second) = (Dynamic::clone(first), Dynamic::clone(second));
                let result = call_export(bound, call, &[&mut first, &mut second])?;
                return Ok(result.as_bool().unwrap_or(false));
            }
        }
        Ok(second_handle.is_some_and(|second| first_handle.object() == second.object()))
    }
}

/// Finds what a class has under a name.
#[inline]
fn find<'a>(members: &'a BTreeMap<&'static str, ByClass>, name: &str, class: &Class) -> Option<&'a Rc<BoundExport>> {
    members.get(name)?.of(class)
}

/// Returns the class of the object that is the first argument, by whose type Rhai has found the function.
fn receiver(args: &[&mut Dynamic]) -> Result<&'static Class, Box<EvalAltResult>> {
    let class = args.first().and_then(|object| class_of(object));
    class.ok_or_else(|| "a function of an object was called without one".into())
}

/// Returns the key of an index, if it is a text.
fn name_in(args: &[&mut Dynamic]) -> Option<ImmutableString> {
    args.get(1)?.read_lock::<ImmutableString>().map(|name| name.clone())
}

/// Lets scripts use objects, if any class is linked.
pub(crate) fn install(engine: &mut Engine, state: &Rc<CallState>) {
    if CLASSES.is_empty() {
        return;
    }
    let members = Rc::new(Members::new(state));
    let mut module = Module::new();
    add_methods(&mut module, &members);
    add_properties(&mut module, &members);
    add_operators(&mut module, &members);
    engine.register_type_with_name::<ObjectHandle>(TYPE_NAME);
    engine.register_global_module(module.into());
    let state = state.clone();
    #[allow(deprecated)]
    engine.on_missing_function(move |name, args, _is_method, mut context| {
        match args.first().and_then(|object| class_of(object)) {
            Some(class) => note_call(&state, class, name),
            None => return as_text(name, args, &mut context),
        }
        Ok(None)
    });
}

/// Notes a function that Rhai does not find for an object, or that has failed.
#[cold]
fn note_call(state: &CallState, class: &'static Class, name: &str) {
    *state.refusals().call.borrow_mut() = Some((class, name.to_owned()));
}

/// Makes a native function of one for an object.
fn native(
    members: &Rc<Members>,
    run: impl Fn(&Members, &NativeCallContext<'_>, &[&mut Dynamic]) -> Called + 'static,
) -> Rc<NativeFn> {
    let members = members.clone();
    Rc::new(move |call: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| match call {
        Some(call) => run(&members, &call, args),
        // Rhai passes a context to each function registered with one.
        None => Err("a function of an object was called without its context".into()),
    })
}

/// Adds a function of an object and of further arguments of any type.
fn add(module: &mut Module, name: FuncRegistration, arguments: usize, function: Rc<NativeFn>) {
    let mut types = vec![TypeId::of::<ObjectHandle>()];
    types.resize(arguments, TypeId::of::<Dynamic>());
    add_typed(module, name, &types, function);
}

fn add_typed(module: &mut Module, name: FuncRegistration, types: &[TypeId], function: Rc<NativeFn>) {
    // None of them changes the value that stands for the object, so nothing has to be written back.
    let function = RhaiFunc::Pure { func: function, has_context: true, is_pure: true, is_volatile: true };
    name.set_into_module_raw(module, types, function);
}

fn add_methods(module: &mut Module, members: &Rc<Members>) {
    for (&name, by_class) in members.methods.iter().filter(|(name, _)| !RHAI_OWN.contains(name)) {
        let function = native(members, move |members, call, args| members.call_method(name, call, args));
        for arguments in 1..=by_class.most_arguments() {
            add(module, FuncRegistration::new(name), arguments, function.clone());
        }
    }
}

fn add_properties(module: &mut Module, members: &Rc<Members>) {
    let names: BTreeSet<&'static str> = members.getters.keys().chain(members.setters.keys()).copied().collect();
    for name in names {
        let get = native(members, move |members, call, args| members.get_property(name, call, args));
        add(module, FuncRegistration::new_getter(name), 1, get);
        let set = native(members, move |members, call, args| members.set_property(name, call, args));
        add(module, FuncRegistration::new(format!("set${name}")), 2, set);
    }
}

fn add_operators(module: &mut Module, members: &Rc<Members>) {
    let get = native(members, |members, call, args| members.get_index(call, args));
    add(module, FuncRegistration::new_index_getter(), 2, get);
    let set = native(members, |members, call, args| members.set_index(call, args));
    add(module, FuncRegistration::new("index$set$"), 3, set);
    for name in ["to_string", "to_debug", "print", "debug"] {
        // A class may call a method of its own so.
        if RHAI_OWN.contains(&name) || !members.methods.contains_key(name) {
            add(
                module,
                FuncRegistration::new(name),
                1,
                native(members, |members, call, args| members.text(call, args)),
            );
        }
    }
    let (object, any) = (TypeId::of::<ObjectHandle>(), TypeId::of::<Dynamic>());
    // Else Rhai itself knows that values of different types differ.
    let mixed = members.operators.contains_key(&Operator::Equal);
    let types = [[object, object], [object, any], [any, object]];
    for types in types.get(..if mixed { 3 } else { 1 }).unwrap_or_default() {
        let equal = native(members, |members, call, args| Ok(members.equal(call, args)?.into()));
        add_typed(module, FuncRegistration::new("=="), types, equal);
        let differ = native(members, |members, call, args| Ok((!members.equal(call, args)?).into()));
        add_typed(module, FuncRegistration::new("!="), types, differ);
    }
}
