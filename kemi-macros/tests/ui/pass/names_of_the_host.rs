//! Types are told apart by what they are, not by what they are called.

use kemi_core::export::{FromArg, Mismatch};
use kemi_core::value::Type;
use kemi_core::{Arg, Registry};
use kemi_macros::kemi_export;

mod host {
    /// A host's context that is called like the running script.
    pub struct Script {
        pub lines: usize,
    }

    /// Arguments that are called like types of the library.
    pub struct Rest(pub i64);
    pub struct Option(pub i64);
    pub struct Box(pub i64);
}

macro_rules! arguments {
    ($($ty:path),*) => {$(
        impl<'a> FromArg<'a> for $ty {
            const TYPE: Type = i64::TYPE;
            type Raw = i64;

            fn from_arg(arg: &Arg<'a>) -> Result<Self, Mismatch> {
                i64::from_arg(arg).map($ty)
            }

            fn from_raw(raw: &i64) -> Result<Self, Mismatch> {
                i64::from_raw(raw).map($ty)
            }
        }
    )*};
}
arguments! { host::Rest, host::Option, host::Box }

#[kemi_export(module = "m")]
fn own_context(script: &host::Script) -> usize {
    script.lines
}

#[kemi_export(module = "m")]
fn own_context_mutably(script: &mut self::host::Script, running: &kemi_core::Script<'_>) -> bool {
    script.lines += 1;
    running.defines("f")
}

mod inside {
    use super::host::{Box, Option, Rest};

    #[kemi_macros::kemi_export(module = "m")]
    fn own_arguments(_cx: &mut super::host::Script, a: Rest, b: Option, c: Box) -> i64 {
        a.0 + b.0 + c.0
    }
}

mod aliases {
    use kemi_core::export::Rest as Others;
    use kemi_core::{CallbackName as Name, Script as Running};

    type Maybe<T> = Option<T>;
    type Text<'a> = &'a str;
    type Answer = Result<i64, String>;

    #[kemi_macros::kemi_export(module = "m")]
    fn aliased(
        _cx: &super::host::Script,
        running: &Running<'_>,
        _text: Text<'_>,
        name: Name<'_>,
        a: Maybe<i64>,
        others: Others<'_>,
    ) -> Answer {
        Ok(i64::from(name.get().is_some_and(|name| running.defines(name))) + a.unwrap_or(0) + others.len() as i64)
    }

    #[kemi_macros::kemi_export(module = "m", context = super::host::Script)]
    fn script_first(running: &Running<'_>) -> bool {
        running.defines("f")
    }
}

fn main() {
    let registry = Registry::<host::Script>::builder().root("app").module("m").build().unwrap();
    let def = |name: &str| registry.find("m", name).unwrap().def();
    assert!(def("own_context").needs_context && def("own_context_mutably").needs_context);
    assert!(def("own_context_mutably").params.is_empty());
    let shape = def("own_arguments").typed.map(|typed| format!("{:?}", typed.shape()));
    assert_eq!(shape.as_deref(), Some("(iii)->i"));
    assert_eq!((def("own_arguments").min_args(), def("own_arguments").max_args()), (3, Some(3)));
    let aliased = def("aliased");
    assert_eq!((aliased.min_args(), aliased.max_args()), (2, None));
    let params: Vec<String> = aliased.params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
    assert_eq!(params, ["text: string", "name: callback name", "a: int?", "others: any"]);
    assert!(!def("script_first").needs_context && def("script_first").params.is_empty());
}
