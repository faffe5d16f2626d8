//! Objects of the host as the script has them.
//!
//! Such an object has no properties of its own. Its prototype is that of its class, frozen, with an accessor for each member;
//! behind that stands a proxy, which is asked for what the class does not have. Boa's interface has no other way to
//! say no to a name.
//!
//! An object of the host is one object of the script, however often it is given to it, as `===` cannot be overloaded. It is
//! found again by an ephemeron, which keeps neither. A handle lies outside of Boa's heap, which outlives the interpreter: what
//! collects it later must not find an object of the host in there, whose end would be up to the collection then.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};

use boa_engine::object::builtins::JsFunction;
use boa_engine::object::{IntegrityLevel, JsObject};
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{Context, JsArgs, JsData, JsError, JsResult, JsString, JsSymbol, JsValue, NativeFunction, js_string};
use boa_gc::{Ephemeron, Finalize, Gc, Trace};
use kemi_core::engine::HeldObject;
use kemi_core::export::{Operator, Role};
use kemi_core::registry::Export;
use kemi_core::value::{Class, Type};
use kemi_core::{Arg, ErrorCode, NativeError, Object, ScriptError};

use crate::bind::{BoundExport, InstanceRef, define, function_object};
use crate::interpreter::State;
use crate::terminate::raise;
use crate::value::{self, article};
use crate::{memory, string, trampoline};

/// How many objects a script is given at least between two collections because of them.
const BETWEEN_COLLECTIONS: usize = 4096;

/// The data of an object that stands for one of the host.
#[derive(Trace, Finalize, JsData)]
struct HostObject(Gc<Held>);

/// What only such an object refers to.
#[derive(Trace, Finalize)]
struct Held(#[unsafe_ignore_trace] Rc<HeldCell>);

/// The handle; `None` once the interpreter is closed.
type HeldCell = RefCell<Option<HeldObject>>;

/// An object that the script has been given.
struct Given {
    held: Weak<HeldCell>,
    object: Ephemeron<Held, JsObject>,
}

/// The objects of the host that the script of one interpreter has.
#[derive(Default)]
pub(crate) struct Objects {
    /// By the address of the host's object, which is its own as long as the handle is there.
    given: RefCell<HashMap<usize, Given>>,
    /// The number of given objects at which garbage is collected.
    due_at: Cell<usize>,
    prototypes: RefCell<Vec<(&'static Class, JsObject)>>,
}

impl Objects {
    fn find(&self, object: &Object) -> Option<JsObject> {
        let given = self.given.borrow();
        let found = given.get(&object.address())?.object.value()?;
        Some(found.clone())
    }

    /// Forgets the objects that are gone, so that there are not many more than the script holds.
    fn make_room(&self, state: &State) {
        if self.given.borrow().len() < self.due_at.get().max(BETWEEN_COLLECTIONS) {
            return;
        }
        memory::collect(state.runtime());
        let mut given = self.given.borrow_mut();
        given.retain(|_, given| given.held.strong_count() > 0);
        self.due_at.set(given.len().saturating_mul(2));
    }

    fn prototype(&self, class: &'static Class, state: &State, context: &mut Context) -> JsResult<JsObject> {
        let known = self.prototypes.borrow().iter().find(|(known, _)| *known == class).map(|(_, known)| known.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let prototype = prototype(class, state, context)?;
        self.prototypes.borrow_mut().push((class, prototype.clone()));
        Ok(prototype)
    }

    /// Lets all objects go. No script runs any more.
    pub(crate) fn clear(&self) {
        for given in self.given.take().into_values() {
            if let Some(held) = given.held.upgrade() {
                held.take();
            }
        }
        self.prototypes.take();
    }
}

/// Returns the script's object for one of the host.
///
/// # Errors
/// Boa refuses to make it, since a limit of the call is reached.
pub(crate) fn give(object: &Object, state: &State, context: &mut Context) -> JsResult<JsObject> {
    let objects = state.objects();
    if let Some(found) = objects.find(object) {
        return Ok(found);
    }
    objects.make_room(state);
    // It may drop objects, which the host has allocated. From here on the last handle is none of the caller's.
    let held = state.runtime().host_side(|| state.runtime().hold(object.clone()));
    let prototype = objects.prototype(object.class(), state, context)?;
    let cell = Rc::new(RefCell::new(Some(held)));
    let held = Rc::downgrade(&cell);
    let key = Gc::new(Held(cell));
    // The shape is that of all objects of the class, which Boa's caches go by.
    let made = JsObject::new(context.root_shape(), prototype, HostObject(key.clone())).upcast();
    made.set_integrity_level(IntegrityLevel::Sealed, context)?;
    let given = Given { held, object: Ephemeron::new(&key, made.clone()) };
    objects.given.borrow_mut().insert(object.address(), given);
    Ok(made)
}

/// Returns the object of the host that an object of the script stands for.
pub(crate) fn behind(object: &JsObject) -> Option<Object> {
    let held = object.downcast_ref::<HostObject>()?;
    let held = held.0.0.borrow();
    held.as_deref().cloned()
}

/// Returns the object of the host that a value stands for.
pub(crate) fn behind_value(value: &JsValue) -> Option<Object> {
    behind(&value.as_object()?)
}

/// Returns the text that the class makes of an object, if it does, for people.
pub(crate) fn text(value: &JsValue, state: &State, context: &mut Context) -> Option<String> {
    let object = behind_value(value)?;
    let export = state.runtime().registry().operator(object.class(), Operator::Text)?;
    let text = trampoline::call_with(state, export, &[Arg::Object(&object)], context).ok()?;
    Some(string::lossy(&text.as_string()?))
}

/// Makes `instanceof` of the object in which the functions of a class stand mean its objects.
pub(crate) fn define_instances(module: &JsObject, class: &'static Class, context: &mut Context) -> JsResult<()> {
    let is_instance = NativeFunction::from_copy_closure(move |_, args, _| {
        Ok(behind_value(args.get_or_undefined(0)).is_some_and(|object| object.class() == class).into())
    });
    let is_instance = function_object("[Symbol.hasInstance]", 1, is_instance, context);
    let hidden = PropertyDescriptor::builder().value(is_instance).enumerable(false).writable(false).configurable(false);
    module.define_property_or_throw(JsSymbol::has_instance(), hidden, context)?;
    Ok(())
}

/// A class of the registry as its prototype is made.
#[derive(Clone, Copy)]
struct Binding {
    instance: InstanceRef,
    class: &'static Class,
}

impl Binding {
    /// # Safety
    /// As for [`InstanceRef::state`].
    unsafe fn state<'a>(self) -> &'a State {
        // SAFETY: as the caller's.
        unsafe { self.instance.state() }
    }

    /// Makes the error of reading a name that the class does not have.
    #[cold]
    fn unknown(self, name: &str, context: &mut Context) -> JsError {
        // SAFETY: a function object of the instance's context runs this.
        let state = unsafe { self.state() };
        let mut error = state.runtime().registry().explain_member(self.class, name);
        error.place = state.place_of_member(name, context);
        thrown(state, error, context)
    }

    /// Makes the error of assigning to what cannot be set.
    #[cold]
    fn fixed(self, name: &str, context: &mut Context) -> JsError {
        // SAFETY: a function object of the instance's context runs this.
        let state = unsafe { self.state() };
        thrown(state, state.runtime().registry().explain_assignment(self.class, name), context)
    }

    /// Defines a property that all objects of the class have. What `get` is called on is the object.
    fn define(
        self,
        prototype: &JsObject,
        name: &'static str,
        get: NativeFunction,
        set: Option<NativeFunction>,
        context: &mut Context,
    ) -> JsResult<()> {
        let set = set
            .unwrap_or_else(|| NativeFunction::from_copy_closure(move |_, _, context| Err(self.fixed(name, context))));
        let property = PropertyDescriptor::builder()
            .get(function_object(&format!("get {name}"), 0, get, context))
            .set(function_object(&format!("set {name}"), 1, set, context))
            .enumerable(false)
            .configurable(false);
        prototype.define_property_or_throw(string::to_js(name.as_bytes()), property, context)?;
        Ok(())
    }

    /// Defines a function that all objects of the class have: a getter gives it, since an assignment must be refused, and Boa
    /// refuses one to plain properties in strict code only.
    fn define_function(
        self,
        prototype: &JsObject,
        name: &'static str,
        length: usize,
        function: NativeFunction,
        context: &mut Context,
    ) -> JsResult<()> {
        let function = function_object(name, length, function, context);
        let get = |_: &JsValue, _: &[JsValue], function: &JsFunction, _: &mut Context| Ok(function.clone().into());
        let get = NativeFunction::from_copy_closure_with_captures(get, function);
        self.define(prototype, name, get, None, context)
    }
}

/// Makes the prototype of a class.
fn prototype(class: &'static Class, state: &State, context: &mut Context) -> JsResult<JsObject> {
    let registry = state.runtime().registry();
    let binding = Binding { instance: InstanceRef::new(state), class };
    let bound = |export: &Export| BoundExport::new(binding.instance, export);
    let prototype = JsObject::with_null_proto();
    let mut properties: BTreeMap<&'static str, [Option<BoundExport>; 2]> = BTreeMap::new();
    let mut functions: BTreeMap<&'static str, (usize, NativeFunction)> = BTreeMap::new();
    // The language asks for these; a member of the name stands for it.
    functions.insert("toString", (0, default_text(binding)));
    functions.insert("toJSON", (0, no_data(binding)));
    if let Some(export) = registry.operator(class, Operator::Text) {
        functions.insert("toString", (0, trampoline::method(bound(export))));
    }
    if let Some(export) = registry.operator(class, Operator::Length) {
        properties.insert("length", [Some(bound(export)), None]);
    }
    for (export, role) in registry.members(class) {
        let def = export.def();
        match role {
            Role::Method => {
                let length = def.min_args().saturating_sub(1);
                // `JSON.stringify` passes a key, which such a method seldom wants.
                let is_asked = def.name == "toJSON" && def.max_args() == Some(1);
                let call = if is_asked { trampoline::method_without_arguments } else { trampoline::method };
                functions.insert(def.name, (length, call(bound(export))));
            }
            Role::Getter(name) => properties.entry(name).or_default()[0] = Some(bound(export)),
            Role::Setter(name) => properties.entry(name).or_default()[1] = Some(bound(export)),
            Role::Static | Role::Operator(_) => {}
        }
    }
    for (name, [get, set]) in properties {
        functions.remove(name);
        let get = get.map_or_else(|| write_only(binding, name), trampoline::method);
        binding.define(&prototype, name, get, set.map(trampoline::method), context)?;
    }
    for (name, (length, function)) in functions {
        binding.define_function(&prototype, name, length, function, context)?;
    }
    let tag = PropertyDescriptor::builder().value(js_string!(class.name)).writable(false).enumerable(false);
    prototype.define_property_or_throw(JsSymbol::to_string_tag(), tag.configurable(false), context)?;
    let unknown = unknown_members(
        binding,
        registry.operator(class, Operator::Index).map(bound),
        registry.operator(class, Operator::SetIndex).map(bound),
        context,
    )?;
    prototype.set_prototype(Some(unknown));
    prototype.set_integrity_level(IntegrityLevel::Frozen, context)?;
    Ok(prototype)
}

/// Makes the text of an object that the class has none for; it runs no code of the host.
fn default_text(binding: Binding) -> NativeFunction {
    NativeFunction::from_copy_closure(move |this, _, _| {
        Ok(match behind_value(this) {
            Some(object) => string::to_js(format!("{object:?}").as_bytes()).into(),
            None => string::to_js(binding.class.name.as_bytes()).into(),
        })
    })
}

/// Makes the function by which `JSON.stringify` asks an object for its data.
fn no_data(binding: Binding) -> NativeFunction {
    NativeFunction::from_copy_closure(move |_, _, context| {
        let message = format!("{} is an object of the host, not data for JSON", article(binding.class.name));
        // SAFETY: a function object of the instance's context runs this.
        let state = unsafe { binding.state() };
        Err(thrown(state, ScriptError::new(ErrorCode::ValueNotConvertible, message), context))
    })
}

fn write_only(binding: Binding, name: &'static str) -> NativeFunction {
    NativeFunction::from_copy_closure(move |_, _, context| {
        let message = format!("'{name}' of {} can only be set", article(binding.class.name));
        // SAFETY: a function object of the instance's context runs this.
        let state = unsafe { binding.state() };
        Err(thrown(state, ScriptError::new(ErrorCode::UnknownFunction, message), context))
    })
}

/// Makes the proxy that is asked for what the class does not have.
fn unknown_members(
    binding: Binding,
    index: Option<BoundExport>,
    set_index: Option<BoundExport>,
    context: &mut Context,
) -> JsResult<JsObject> {
    let get = NativeFunction::from_copy_closure(move |_, args, context| {
        let Some(target) = args.get_or_undefined(0).as_object() else { return Ok(JsValue::undefined()) };
        let (key, object) = (args.get_or_undefined(1).to_property_key(context)?, args.get_or_undefined(2));
        let Some(name) = name_of(&key) else { return target.get(key, context) };
        match name.as_str() {
            "__proto__" => {
                let prototype = object.as_object().and_then(|object| object.prototype());
                return Ok(prototype.map_or_else(JsValue::null, JsValue::from));
            }
            // What is awaited is asked whether it is a promise.
            "then" => return Ok(JsValue::undefined()),
            // `constructor` and the like, which every object has.
            _ if target.has_property(key.clone(), context)? => return target.get(key, context),
            _ => {}
        }
        match index {
            Some(index) if behind_value(object).is_some() => match index_of(key, index, context)? {
                Some(key) => trampoline::call_on(index, object, &[key], context),
                None => Err(binding.unknown(&name, context)),
            },
            _ => Err(binding.unknown(&name, context)),
        }
    });
    let set = NativeFunction::from_copy_closure(move |_, args, context| {
        let Some(target) = args.get_or_undefined(0).as_object() else { return Ok(false.into()) };
        let (key, value) = (args.get_or_undefined(1).to_property_key(context)?, args.get_or_undefined(2));
        let object = args.get_or_undefined(3);
        if behind_value(object).is_none() {
            // Something of the script's own that has the object, or the class, as its prototype.
            let Some(own) = object.as_object() else { return Ok(false.into()) };
            return own.create_data_property(key, value.clone(), context).map(JsValue::new);
        }
        let name = match name_of(&key) {
            Some(name) => name,
            None => return Err(binding.fixed(&value::describe(&key.into(), context), context)),
        };
        match set_index {
            Some(set_index) if !target.has_property(key.clone(), context)? => {
                let Some(key) = index_of(key, set_index, context)? else { return Err(binding.fixed(&name, context)) };
                trampoline::call_on(set_index, object, &[key, value.clone()], context)?;
                Ok(true.into())
            }
            _ => Err(binding.fixed(&name, context)),
        }
    });
    let handler = JsObject::with_null_proto();
    define(&handler, "get", 3, get, context)?;
    define(&handler, "set", 4, set, context)?;
    let target = JsObject::with_object_proto(context.intrinsics());
    target.set_integrity_level(IntegrityLevel::Frozen, context)?;
    let proxy = context.intrinsics().constructors().proxy().constructor();
    proxy.construct(&[target.into(), handler.into()], None, context)
}

/// Returns the name that a key is; `None` for a symbol.
fn name_of(key: &PropertyKey) -> Option<String> {
    match key {
        PropertyKey::String(name) => Some(string::lossy(name)),
        PropertyKey::Index(index) => Some(index.get().to_string()),
        PropertyKey::Symbol(_) => None,
    }
}

/// Returns the key as the export behind an index takes it: the language makes no difference between `o[1]` and `o["1"]`.
///
/// `None` for a text where the export takes none: a misspelt name.
fn index_of(key: PropertyKey, index: BoundExport, context: &mut Context) -> JsResult<Option<JsValue>> {
    // SAFETY: a function object of the instance's context runs this.
    let ty = unsafe { index.export() }.def().params.get(1).map(|param| param.ty);
    let ty = if let Some(Type::Option(inner)) = ty { Some(*inner) } else { ty };
    match (key, ty) {
        (PropertyKey::Index(index), Some(Type::Str | Type::Bytes | Type::Blob | Type::Enum(_))) => {
            Ok(Some(JsString::from(index.get().to_string().as_str()).into()))
        }
        (PropertyKey::Index(index), _) => Ok(Some(JsValue::new(index.get()))),
        (PropertyKey::String(name), Some(Type::Int { .. } | Type::Float)) => {
            // `o[-1]` and `o[0.5]`.
            let number = JsValue::from(name.clone()).to_number(context)?;
            let same = JsValue::new(number).to_string(context)? == name;
            Ok(same.then(|| JsValue::new(number)))
        }
        (PropertyKey::String(_), Some(Type::Bool | Type::Object(_))) => Ok(None),
        (key, _) => Ok(Some(key.into())),
    }
}

/// Makes the error that a script gets of one of the host's.
#[cold]
fn thrown(state: &State, error: ScriptError, context: &mut Context) -> JsError {
    raise(state.diagnostics(), NativeError::Error(error), context)
}
