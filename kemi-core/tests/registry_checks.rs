//! What `RegistryBuilder::build` refuses: descriptions that their entries belie, duplicates, names nobody can write.

use std::rc::Rc;

use kemi_core::abi::{RawRet, Ret};
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::export::{Call, ContextType, EXPORTS, ExportDef, NoContext, Param, Thunk, Typed};
use kemi_core::registry::NameRole;
use kemi_core::value::Type;
use kemi_core::{Callbacks, Engine, ErrorCode, Instance, NativeError, Registry, ScriptError, Source};
use kemi_macros::kemi_export;

const INT: Type = Type::Int { min: i64::MIN, max: i64::MAX };

fn generic<C>(_: &mut C, _: &Call<'_>) -> Result<Ret, Box<NativeError>> {
    Ok(Ret::Nil)
}

const fn param(name: &'static str, ty: Type) -> Param {
    Param { name, ty, optional: false, variadic: false }
}

/// An export of the context `C` that is as it should be.
const fn sound<C: 'static>(name: &'static str, line: u32) -> ExportDef {
    ExportDef {
        module: "m",
        name,
        doc: "",
        params: &[],
        returns: Type::Nil,
        since: None,
        deprecated: None,
        callbacks: &[],
        cost: 1,
        capability: None,
        member: None,
        context: ContextType::of::<C>(),
        needs_context: true,
        blocking: false,
        file: file!(),
        line,
        // SAFETY: no bytes are returned.
        thunk: unsafe { Thunk::new(generic::<C>) },
        typed: None,
    }
}

fn nothing<C>(_: &mut C) -> <() as RawRet>::Abi {
    <()>::to_abi(Ok(()))
}

fn counted<C>(_: &mut C, _: i64) -> <i64 as RawRet>::Abi {
    i64::to_abi(Ok(1))
}

/// Typed entries without parameters and with one.
const fn plain<C: 'static>() -> Option<Typed> {
    // SAFETY: it does not panic and returns no bytes.
    Some(unsafe { Typed::new0::<C, ()>(nothing::<C>) })
}
const fn with_int<C: 'static>() -> Option<Typed> {
    // SAFETY: as above.
    Some(unsafe { Typed::new1::<C, i64, i64>(counted::<C>) })
}

struct Other;

fn mistakes<C: 'static>(builder: kemi_core::registry::RegistryBuilder<C>) -> Vec<String> {
    builder.build().map_or_else(|error| error.mistakes().to_vec(), |_| Vec::new())
}

/// Declares one export that differs from a sound one in some fields, and a test that a registry refuses it, with its
/// place and a reason.
macro_rules! refused {
    ($($test:ident { $($field:ident: $value:expr),* } => $reason:literal;)*) => {$(
        #[test]
        fn $test() {
            struct Cx;
            #[linkme::distributed_slice(EXPORTS)]
            static DEF: ExportDef = ExportDef { $($field: $value,)* ..sound::<Cx>("f", line!()) };
            let mistakes = mistakes(Registry::<Cx>::builder().root("app"));
            let place = format!("{}:{}) ", DEF.file, DEF.line);
            assert!(mistakes.len() == 1 && mistakes[0].contains(&place), "{mistakes:#?}");
            assert!(mistakes[0].ends_with($reason), "{mistakes:#?}");
        }
    )*};
}

const fn other_context() -> Thunk {
    // SAFETY: no bytes are returned.
    unsafe { Thunk::new(generic::<Other>) }
}

const fn no_context() -> Thunk {
    // SAFETY: no bytes are returned.
    unsafe { Thunk::new(generic::<NoContext>) }
}

refused! {
    a_generic_entry_of_another_context_is_refused {
        thunk: other_context()
    } => "but its generic entry takes 'registry_checks::Other'";
    a_generic_entry_that_takes_the_context_is_refused_where_none_is_needed {
        needs_context: false
    } => "says that it needs no context, but its generic entry takes one";
    an_entry_without_the_context_is_refused_where_it_is_needed {
        thunk: no_context()
    } => "says that it needs the context, but its generic entry takes none";
    a_typed_entry_of_another_context_is_refused {
        typed: plain::<Other>()
    } => "but its typed entry takes 'registry_checks::Other'";
    a_typed_entry_without_the_context_is_refused_beside_a_generic_one_with_it {
        typed: plain::<NoContext>()
    } => "says that it needs the context, but its typed entry takes none";
    a_typed_entry_that_takes_the_context_is_refused_where_none_is_needed {
        needs_context: false, thunk: no_context(), typed: plain::<Cx>()
    } => "says that it needs no context, but its typed entry takes one";
    a_typed_entry_of_a_function_that_waits_is_refused {
        blocking: true, typed: plain::<Cx>()
    } => "waits, but has a typed entry, in which the interpreter's lock would not be released";
    a_typed_entry_with_more_parameters_than_described_is_refused {
        typed: with_int::<Cx>(), returns: INT
    } => "has the parameters (), but its typed entry takes (i)->i";
    a_typed_entry_with_fewer_parameters_than_described_is_refused {
        typed: plain::<Cx>(), params: &[param("a", INT)]
    } => "has the parameters (int), but its typed entry takes ()->-";
    a_typed_entry_with_other_parameters_than_described_is_refused {
        typed: with_int::<Cx>(), params: &[param("a", Type::Str)], returns: INT
    } => "has the parameters (string), but its typed entry takes (i)->i";
    a_typed_entry_of_an_optional_parameter_is_refused_if_it_cannot_pass_nil {
        typed: with_int::<Cx>(), params: &[param("a", Type::Option(&INT))], returns: INT
    } => "has the parameters (int?), but its typed entry takes (i)->i";
    a_typed_entry_of_a_variadic_parameter_is_refused {
        typed: with_int::<Cx>(), params: &[Param { variadic: true, ..param("all", INT) }], returns: INT
    } => "but its typed entry takes (i)->i";
    a_typed_entry_with_another_result_than_described_is_refused {
        typed: with_int::<Cx>(), params: &[param("a", INT)], returns: Type::Str
    } => "returns string, but its typed entry gives (i)->i";
    a_variadic_parameter_that_is_not_the_last_is_refused {
        params: &[Param { variadic: true, optional: true, ..param("all", Type::Any) }, param("b", INT)]
    } => "has 'all', which takes all remaining arguments, before its last parameter";
    an_optional_parameter_before_a_needed_one_is_refused {
        params: &[Param { optional: true, ..param("a", Type::Option(&INT)) }, param("b", INT)]
    } => "has the optional parameter 'a' before one that must be given";
}

#[test]
fn a_description_that_its_entries_agree_with_is_taken() {
    struct Cx;
    #[linkme::distributed_slice(EXPORTS)]
    static WITH_CONTEXT: ExportDef =
        ExportDef { params: &[param("a", INT)], returns: INT, typed: with_int::<Cx>(), ..sound::<Cx>("f", line!()) };
    #[linkme::distributed_slice(EXPORTS)]
    static WITHOUT: ExportDef = ExportDef {
        needs_context: false,
        // SAFETY: no bytes are returned.
        thunk: no_context(),
        typed: plain::<NoContext>(),
        ..sound::<Cx>("g", line!())
    };
    let registry = Registry::<Cx>::builder().root("app").module("m").build().unwrap();
    assert!(registry.find("m", "f").is_some() && registry.find("m", "g").is_some());
}

struct Doubled;

#[kemi_export(module = "")]
fn calc(_cx: &mut Doubled) {}

#[kemi_export(module = "calc", name = "first")]
fn calc_first(_cx: &mut Doubled) {}

#[kemi_export(module = "calc", name = "second")]
fn calc_second(_cx: &mut Doubled) {}

#[test]
fn a_function_of_the_root_and_a_module_may_not_share_a_name() {
    let both = mistakes(Registry::<Doubled>::builder().root("app").all_modules());
    let place = |name: &str| {
        let def = EXPORTS.iter().find(|def| def.name == name && def.context.name().ends_with("Doubled")).unwrap();
        format!("{}:{}", def.file, def.line)
    };
    let expected = format!(
        "'calc' is both a function of the root object ({}) and a module (with 'first' at {})",
        place("calc"),
        place("first")
    );
    assert_eq!(both, [expected]);
    // Where only one of the two is visible there is nothing to mix up.
    assert_eq!(mistakes(Registry::<Doubled>::builder().root("app").module("")), [""; 0]);
    assert_eq!(mistakes(Registry::<Doubled>::builder().root("app").module("calc")), [""; 0]);
}

struct Host;

#[test]
fn a_callback_may_be_declared_once_whatever_its_route_and_parameters() {
    for again in [("request", &[][..]), ("request", &["a"][..]), ("reply", &[][..])] {
        let mut callbacks = Callbacks::new();
        callbacks.required("request", "f", &[]);
        let first = line!() - 1;
        callbacks.optional(again.0, "f", again.1);
        let second = line!() - 1;
        callbacks.named("retry", &[]);
        callbacks.named("retry", &["code"]);
        callbacks.named("request", &[]);
        let at = |line: u32| format!("{}:{line}", file!());
        assert_eq!(
            mistakes(Registry::<Host>::builder().root("app").callbacks(callbacks)),
            [
                format!("the callback 'f' is declared twice: at {} and at {}", at(first), at(second)),
                format!(
                    "the route of callbacks named at run time 'retry' is declared twice: at {} and at {}",
                    at(second + 2),
                    at(second + 3)
                ),
            ]
        );
    }
}

#[test]
fn a_root_that_is_no_identifier_is_refused_and_an_identifier_is_taken() {
    for name in ["a.b", "my-app", "1x", " ", "a b", "a\n", "größe", "a:b", "a\0", "app.", ".app", "$x"] {
        let mistakes = mistakes(Registry::<Host>::builder().root(name));
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(&format!("the root object '{name}' ")), "{mistakes:?}");
    }
    for name in ["app", "App", "_", "_x", "a1"] {
        assert_eq!(mistakes(Registry::<Host>::builder().root(name)), [""; 0], "{name}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut callbacks = Callbacks::new();
    callbacks.required("request", "on-request", &[]);
    callbacks.optional("request", "", &[]);
    callbacks.optional("request", "app", &[]);
    callbacks.optional("request", "app", &[]);
    let mistakes = mistakes(Registry::<Host>::builder().root("app").module("nosuch").callbacks(callbacks));
    assert_eq!(mistakes.len(), 6, "{mistakes:#?}");
}

/// A language in which `end` is a keyword, and which has a library of its own.
#[derive(Debug)]
struct Toy;

impl Engine for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn language(&self) -> String {
        "Toy".to_owned()
    }

    fn reserved(&self, name: &str, role: NameRole) -> Option<&'static str> {
        match (name, role) {
            ("end", _) => Some("a keyword"),
            ("lib", NameRole::Root | NameRole::Callback) => Some("a name of the library"),
            _ => None,
        }
    }

    fn load(&self, _: Rc<Runtime>, _: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        Err(ScriptError::new(ErrorCode::Runtime, "was asked to load"))
    }
}

struct Words;

#[kemi_export(module = "m", name = "end")]
fn end_of_m(_cx: &mut Words) {}

#[kemi_export(module = "lib", name = "lib")]
fn lib(_cx: &mut Words) {}

#[test]
fn an_engine_that_is_not_linked_is_asked_about_the_names_when_it_loads() {
    let load = |registry: &Registry<Words>| Instance::load(&Toy, registry, &[]).unwrap_err();
    let refused = load(&Registry::builder().root("app").all_modules().build().unwrap());
    assert_eq!((refused.code, refused.engine), (ErrorCode::ReservedName, "toy"));
    assert!(
        refused.message.starts_with("'m.end' (") && refused.message.ends_with("): 'end' is a keyword in toy"),
        "{refused}"
    );

    let refused = load(&Registry::builder().root("lib").build().unwrap());
    assert_eq!(refused.message, "the root object 'lib': 'lib' is a name of the library in toy");

    let mut callbacks = Callbacks::new();
    callbacks.optional("request", "lib", &[]);
    let refused = load(&Registry::builder().root("app").callbacks(callbacks).build().unwrap());
    assert_eq!(refused.code, ErrorCode::ReservedName, "{refused}");

    // As a member it is a name like any other.
    let loaded = load(&Registry::builder().root("app").module("lib").build().unwrap());
    assert_eq!(loaded.message, "was asked to load");
}

#[test]
fn a_registry_without_a_context_is_taken() {
    assert!(Registry::<NoContext>::builder().root("app").build().is_ok());
}

#[test]
fn a_registry_whose_root_has_no_name_is_refused() {
    let error = Registry::<u8>::builder().build().unwrap_err();
    assert_eq!(error.mistakes(), ["the root object has no name: give it one by `RegistryBuilder::root`"]);
}
