//! S1: an export of context `A` whose parameter is `&mut B` compiles, and reads an `A` as a `B`.
use kemi::{Callbacks, Instance, Registry, Source, kemi_export};

struct A([u8; 8]);
struct B([u64; 64]);

#[kemi_export(module = "m", context = A)]
fn poke(cx: &mut B) -> i64 {
    cx.0.iter().filter(|word| **word != 0).count() as i64
}

fn main() {
    kemi::link();
    let mut callbacks = Callbacks::new();
    let run = callbacks.required("run", "run", &[]);
    let registry = Registry::<A>::builder().root("app").module("m").callbacks(callbacks).build().unwrap();
    let script = Source::text("s.lua", "function run() return app.m.poke() end");
    let instance = Instance::load(kemi::find_engine("lua").unwrap(), &registry, &[script]).unwrap();
    let outcome = instance.call(run, &mut A([0; 8]), &[]);
    println!("READS BEYOND: a context of {} bytes was read as one of {}: {outcome:?}", size_of::<A>(), size_of::<B>());
    let _ = A([0; 8]).0;
}
