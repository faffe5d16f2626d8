//! Typed calls of the host: tuples in, types out, and what a registry is composed of.

use kemi_core::{Callbacks, ErrorCode, Instance, NativeEngine, Outcome, Registry, Value};
use kemi_macros::{Value, kemi_export};

#[derive(Debug, PartialEq, Value)]
struct Reply {
    status: u16,
}

#[derive(Value)]
struct Request {
    path: String,
}

fn registry(callbacks: Callbacks) -> Registry<u32> {
    Registry::<u32>::builder().root("app").callbacks(callbacks).build().unwrap()
}

fn engine() -> NativeEngine<u32> {
    NativeEngine::new("rust")
        .callback("echo", |count, _, args| {
            *count += 1;
            Ok(args.first().and_then(kemi_core::Arg::to_value).unwrap_or_default())
        })
        .callback("count", |_, _, args| Ok(Value::Int(i64::try_from(args.len()).unwrap_or(-1))))
        .callback("leave", |_, _, _| Err(Box::new(kemi_core::NativeError::Drop)))
}

#[test]
fn a_bound_callback_takes_a_tuple_and_gives_a_type() {
    let mut callbacks = Callbacks::new();
    let echo = callbacks.required("any", "echo", &["value"]);
    let count = callbacks.required("any", "count", &["a", "b", "c"]);
    let leave = callbacks.required("any", "leave", &[]);
    let instance = Instance::load(&engine(), &registry(callbacks), &[]).unwrap();
    let mut calls = 0;

    let text = instance.bind::<(&str,), String>(echo).unwrap();
    let name = String::from("a name that lives shorter than the binding");
    assert_eq!(text.call(&mut calls, (&name,)).unwrap(), name);
    let three = instance.bind::<(Request, Option<i64>, Vec<bool>), usize>(count).unwrap();
    assert_eq!(three.call(&mut calls, (Request { path: "/".into() }, None, vec![true])).unwrap(), 3);

    let map = Value::Map([("status".into(), 404.into())].into());
    assert_eq!(instance.call_as::<Reply>(echo, &mut calls, (&map,)).unwrap(), Reply { status: 404 });
    assert_eq!(instance.call_as::<Outcome>(leave, &mut calls, ()).unwrap(), Outcome::Drop);
    assert_eq!(instance.call_as::<Option<i64>>(leave, &mut calls, ()).unwrap(), None);
    assert_eq!(calls, 2);

    let error = instance.call_as::<Reply>(echo, &mut calls, (5,)).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadResult);
    assert_eq!(error.to_string(), "rust: in echo: result: expected Reply, got integer 5 [bad-result]");
    let error = instance.call_as::<i64>(leave, &mut calls, ()).unwrap_err();
    assert!(error.to_string().contains("result: expected int, got a drop instead of a result"), "{error}");
}

#[test]
fn what_cannot_be_bound_is_told_when_it_is_bound() {
    let mut callbacks = Callbacks::new();
    let echo = callbacks.required("any", "echo", &["value"]);
    let gone = callbacks.optional("any", "gone", &[]);
    let instance = Instance::load(&engine(), &registry(callbacks), &[]).unwrap();
    let mut others = Callbacks::new();
    let foreign = others.required("any", "echo", &["value"]);

    let code = |error: kemi_core::ScriptError| error.code;
    assert_eq!(instance.bind::<(), ()>(foreign).map(|_| ()).map_err(code), Err(ErrorCode::ForeignId));
    assert_eq!(instance.bind::<(), ()>(gone).map(|_| ()).map_err(code), Err(ErrorCode::MissingCallback));
    let error = instance.bind::<(), ()>(echo).unwrap_err();
    assert_eq!(error.code, ErrorCode::ArgumentCount);
    assert!(
        error.to_string().contains("in echo: the host declares 1 parameter(s) for it and binds it with 0"),
        "{error}"
    );

    let mut calls = 0;
    assert_eq!(instance.function::<(i64, i64), i64>("count").unwrap().call(&mut calls, (1, 2)).unwrap(), 2);
    let error = instance.function::<(), ()>("cuont").map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("did you mean 'count'?"), "{error}");
}

/// The context of a library's exports.
struct Mailbox(Vec<String>);

#[kemi_export(module = "mail")]
fn send(mailbox: &mut Mailbox, text: &str) {
    mailbox.0.push(text.to_owned());
}

struct Host {
    mailbox: Mailbox,
}

#[test]
fn a_registry_has_the_functions_of_its_parts_and_its_closures() {
    let builder = || Registry::<Host>::builder().root("app").module("mail");
    let error = builder().build().unwrap_err();
    assert!(error.to_string().contains("there is no module 'mail'"), "{error}");
    let registry = builder()
        .part(|host: &mut Host| &mut host.mailbox)
        .function("text.case", "upper", &["text"], |text: String| text.to_uppercase())
        .function("", "mails", &[], |host: &mut Host| host.mailbox.0.len())
        .build()
        .unwrap();
    assert!(
        registry.find("mail", "send").is_some_and(|export| export.typed().is_none() && export.def().typed.is_some())
    );
    let upper = registry.find("text.case", "upper").unwrap();
    assert_eq!((upper.def().needs_context, upper.def().params[0].name), (false, "text"));
    assert!(registry.find("", "mails").is_some_and(|export| export.def().needs_context));
    assert_eq!(registry.script_name(upper.def()), "app.text.case.upper");

    let twice = builder().part(|host: &mut Host| &mut host.mailbox).part(|host: &mut Host| &mut host.mailbox);
    assert!(twice.build().unwrap_err().to_string().contains("is lent twice"));
    let nameless = builder().part(|host: &mut Host| &mut host.mailbox).function("a", "f", &[], |_n: i64| ());
    assert!(nameless.build().unwrap_err().to_string().contains("takes 1 parameter(s), and not each has a name"));
    let clash = builder().part(|host: &mut Host| &mut host.mailbox).function("mail.send", "f", &[], || ());
    let told = clash.build().unwrap_err().to_string();
    assert!(told.contains("'mail.send' is both a function") && told.contains("and a module (with 'f'"), "{told}");
}

#[kemi_export(module = "files", capability = "files")]
fn remove(_host: &mut Host, path: &str) -> usize {
    path.len()
}

#[test]
fn what_is_not_granted_is_denied_and_the_dump_says_it() {
    let builder = || Registry::<Host>::builder().root("app").module("files");
    let export = |registry: &Registry<Host>| registry.dump()["exports"].as_array().unwrap()[0].clone();
    let all = builder().build().unwrap();
    assert_eq!((export(&all)["capability"].as_str(), all.dump()["capabilities"].is_null()), (Some("files"), true));
    let none = builder().capabilities(&[]).build().unwrap();
    assert_eq!(none.dump()["capabilities"], serde_json::json!([]));
    let told = builder().capabilities(&["flies"]).build().unwrap_err().to_string();
    assert!(told.contains("no export needs the capability 'flies', which is granted; did you mean 'files'?"), "{told}");
}
