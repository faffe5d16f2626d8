use kemi_core::export::Rest as Others;
use kemi_macros::kemi_export;

struct Cx;

type Maybe = Option<i64>;

struct Needed;

impl<'a> kemi_core::export::FromArg<'a> for Needed {
    const TYPE: kemi_core::value::Type = kemi_core::value::Type::Bool;
    type Raw = bool;

    fn from_arg(_: &kemi_core::Arg<'a>) -> Result<Needed, kemi_core::export::Mismatch> {
        Ok(Needed)
    }

    fn from_raw(_: &bool) -> Result<Needed, kemi_core::export::Mismatch> {
        Ok(Needed)
    }
}

#[kemi_export(module = "m")]
fn rest_first(_cx: &mut Cx, _others: Others<'_>, _n: i64) {}

#[kemi_export(module = "m")]
fn optional_first(_cx: &mut Cx, _a: Maybe, _b: i64) {}

#[kemi_export(module = "m")]
fn needed_last(_cx: &mut Cx, _a: Option<i64>, _b: Needed) {}

fn main() {}
