//! `#[kemi_export]` on an `impl` block: what a registry knows of a class, and how its functions are called on an object.

use std::rc::Rc;

use kemi_core::abi::Ret;
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::export::{Operator, Role};
use kemi_core::{
    Arg, CallbackId, Callbacks, Engine, ErrorCode, Handle, Instance, Location, NativeError, Outcome, Owner, Registry,
    ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

#[derive(Debug, Default)]
struct Host {
    /// What the methods have told.
    told: Vec<String>,
    session: Option<Owner<Session>>,
}

#[derive(Debug)]
struct Session {
    caller: String,
    timeout: u32,
}

/// A call of somebody.
#[kemi_export(module = "call")]
impl Session {
    /// The most seconds.
    const LONGEST: u32 = 3600;

    /// Calls somebody.
    fn dial(cx: &mut Host, to: &str) -> Result<Self, String> {
        cx.told.push(format!("dial {to}"));
        if to.is_empty() {
            Err("nobody to call".to_owned())
        } else {
            Ok(Session { caller: to.to_owned(), timeout: 30 })
        }
    }

    /// Who calls.
    #[kemi(get)]
    fn caller(&self) -> &str {
        &self.caller
    }

    #[kemi(get)]
    fn timeout(&self) -> u32 {
        self.timeout
    }

    #[kemi(set)]
    fn set_timeout(&mut self, seconds: u32) {
        self.timeout = seconds.min(Session::LONGEST);
    }

    #[kemi(set)]
    fn set_pin(&mut self, _pin: u32) {}

    fn answer(&mut self, cx: &mut Host, code: Option<u16>) -> String {
        cx.told.push(format!("{} {:?}", self.caller, code));
        self.timeout += 1;
        format!("answered {}", code.unwrap_or(200))
    }

    /// Ends the session that the host keeps, perhaps this one.
    fn hang_up<'a>(&'a self, cx: &mut Host) -> &'a str {
        cx.session = None;
        &self.caller
    }

    fn transfer(&self, to: Handle<Self>) -> Result<String, ScriptError> {
        to.with_mut(|other| {
            other.caller.push_str(&self.caller);
            other.caller.clone()
        })
    }

    #[kemi(length)]
    fn len(&self) -> usize {
        self.caller.len()
    }

    #[kemi(text)]
    fn to_text(&self) -> String {
        format!("call of {}", self.caller)
    }

    #[kemi(skip)]
    fn secret(&self) -> &Session {
        self
    }
}

#[derive(Debug)]
struct Other;

#[kemi_export(module = "call", name = "Another")]
impl Other {
    #[kemi(name = "get", deprecated(since = "2.0.0", use = "call.Session.dial"))]
    fn make() -> Option<Other> {
        Some(Other)
    }
}

struct OfRoot;

#[kemi_export(module = "")]
impl OfRoot {
    fn make() -> Self {
        OfRoot
    }
}

/// Its callback calls the export of the path that is the first argument.
#[derive(Debug)]
struct Direct;

struct Calls(Rc<Runtime>);

impl Engine for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn language(&self) -> String {
        "paths".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Ok(Box::new(Calls(runtime)))
    }
}

impl Interpreter for Calls {
    fn resolve(&self, _: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, _: CallbackId, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let (Some(Arg::Str(path)), Some(args)) = (args.first(), args.get(1..)) else { panic!("{args:?}") };
        let (module, name) = std::str::from_utf8(path).unwrap().rsplit_once('.').unwrap();
        let export = self.0.registry().find(module, name).unwrap_or_else(|| panic!("no {module}.{name}"));
        match self.0.invoke(export, args, self) {
            Ok(Ret::Value(value)) => Ok(value),
            Ok(Ret::Int(i)) => Ok(Value::Int(i)),
            Ok(Ret::Nil) => Ok(Value::Nil),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => match *fault {
                NativeError::Error(error) => Err(error),
                other => panic!("{other:?}"),
            },
        }
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

struct Caller(Instance<Host>, CallbackId, Host, Registry<Host>);

impl Caller {
    fn new() -> Caller {
        let mut callbacks = Callbacks::new();
        let run = callbacks.required("any", "run", &["path", "arguments"]);
        let registry = Registry::<Host>::builder().root("app").module("call").callbacks(callbacks).build().unwrap();
        Caller(Instance::load(&Direct, &registry, &[Source::text("a", "")]).unwrap(), run, Host::default(), registry)
    }

    fn call(&mut self, path: &str, args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let args: Vec<Arg<'_>> = [Arg::from(path)].into_iter().chain(args.iter().copied()).collect();
        match self.0.call(self.1, &mut self.2, &args)? {
            Outcome::Value(value) => Ok(value),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_registry_knows_the_members_of_its_classes() {
    let caller = Caller::new();
    let registry = caller.3.clone();
    let class = registry.classes().iter().find(|class| class.class().name == "Session").unwrap().class();
    assert_eq!((class.path, class.doc), ("call.Session", "A call of somebody."));
    let members: Vec<(&str, Role)> = registry.members(class).map(|(export, role)| (export.def().name, role)).collect();
    let expected = [
        ("answer", Role::Method),
        ("caller", Role::Getter("caller")),
        ("dial", Role::Static),
        ("hang_up", Role::Method),
        ("len", Role::Operator(Operator::Length)),
        ("set_pin", Role::Setter("pin")),
        ("set_timeout", Role::Setter("timeout")),
        ("timeout", Role::Getter("timeout")),
        ("to_text", Role::Operator(Operator::Text)),
        ("transfer", Role::Method),
    ];
    assert_eq!(members, expected);
    let answer = registry.find("call.Session", "answer").unwrap().def();
    let params: Vec<(&str, String)> = answer.params.iter().map(|param| (param.name, param.ty.to_string())).collect();
    assert_eq!(params, [("self", "Session".to_owned()), ("code", "int(0..65535)?".to_owned())]);
    let dial = registry.find("call.Session", "dial").unwrap().def();
    assert_eq!((dial.returns.to_string(), dial.doc), ("Session".to_owned(), "Calls somebody."));
    let module = &registry.module().modules()[0].modules()[1];
    assert_eq!((module.path(), module.constants()[0].value()), ("call.Session", &Value::Int(3600)));
    let missing = registry.explain_member(class, "anwser");
    assert_eq!(
        (missing.message.as_str(), missing.hint.as_deref()),
        ("a Session has no 'anwser'", Some("did you mean 'answer'?"))
    );
    assert_eq!(registry.explain_member(class, "pin").message, "'pin' of a Session can only be set");
    assert_eq!(registry.explain_assignment(class, "caller").code, ErrorCode::ReadOnly);
    assert_eq!(registry.explain_assignment(class, "secret").code, ErrorCode::UnknownFunction);
    let dump = registry.dump().to_string();
    assert!(dump.contains(r#""class":"call.Session""#) && dump.contains(r#""role":{"setter":"timeout"}"#), "{dump}");
}

#[test]
fn a_class_is_there_with_its_module_only() {
    let registry = Registry::<Host>::builder().root("app").build().unwrap();
    assert!(registry.classes().is_empty());
    let none = Registry::<Host>::builder().root("app").module("call").build().unwrap();
    assert_eq!(none.classes().len(), 2);
    let of_root = Registry::<Host>::builder().root("app").module("").build().unwrap();
    let names: Vec<&str> = of_root.classes().iter().map(|class| class.class().path).collect();
    assert_eq!((names, of_root.find("OfRoot", "make").is_some()), (vec!["OfRoot"], true));
}

#[test]
fn functions_are_called_on_the_object() {
    let mut caller = Caller::new();
    let Value::Object(object) = caller.call("call.Session.dial", &["bob".into()]).unwrap() else { panic!() };
    let session = object.clone().downcast::<Session>().unwrap();
    let this = Arg::Object(&object);
    assert_eq!(caller.call("call.Session.caller", &[this]).unwrap(), Value::from("bob"));
    assert_eq!(caller.call("call.Session.answer", &[this]).unwrap(), Value::from("answered 200"));
    assert_eq!(caller.call("call.Session.answer", &[this, 486.into()]).unwrap(), Value::from("answered 486"));
    assert_eq!(caller.call("call.Session.timeout", &[this]).unwrap(), Value::Int(32));
    assert_eq!(caller.call("call.Session.set_timeout", &[this, 5000.into()]).unwrap(), Value::Nil);
    assert_eq!(caller.call("call.Session.len", &[this]).unwrap(), Value::Int(3));
    assert_eq!(caller.call("call.Session.to_text", &[this]).unwrap(), Value::from("call of bob"));
    assert_eq!(
        session.with(|session| (session.timeout, session.secret().caller.clone())).unwrap(),
        (3600, "bob".into())
    );
    assert_eq!(caller.2.told, ["dial bob", "bob None", "bob Some(486)"]);
}

#[test]
fn what_is_no_object_of_the_class_is_a_bad_argument() {
    let mut caller = Caller::new();
    let other = caller.call("call.Another.get", &[]).unwrap();
    for (args, got) in
        [(vec![], "argument"), (vec![Arg::Int(1)], "got integer 1"), (vec![Arg::from(&other)], "got Another")]
    {
        let error = caller.call("call.Session.answer", &args).unwrap_err();
        assert!(error.message.contains(got), "{error}");
    }
    let error = caller.call("call.Session.caller", &[Arg::from(&other)]).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::BadArgument, "argument 1 'self': expected Session, got Another")
    );
    let Value::Object(object) = caller.call("call.Session.dial", &["bob".into()]).unwrap() else { panic!() };
    let error = caller.call("call.Session.transfer", &[Arg::Object(&object), Arg::from(&other)]).unwrap_err();
    assert_eq!(error.message, "argument 2 'to': expected Session, got Another");
}

#[test]
fn an_object_that_is_gone_or_in_use_is_an_error() {
    let mut caller = Caller::new();
    let owner = Owner::new(Session { caller: "eve".to_owned(), timeout: 1 });
    let object = owner.handle().into_object();
    caller.2.session = Some(owner);
    let this = Arg::Object(&object);
    let busy = caller.call("call.Session.transfer", &[this, this]).unwrap_err();
    assert_eq!(busy.code, ErrorCode::ObjectBusy);
    // It ends while it runs, and its result is there all the same.
    assert_eq!(caller.call("call.Session.hang_up", &[this]).unwrap(), Value::from("eve"));
    let gone = caller.call("call.Session.caller", &[this]).unwrap_err();
    assert_eq!(
        (gone.code, gone.message.as_str()),
        (ErrorCode::ObjectGone, "the Session is gone: the host has ended it")
    );
}
