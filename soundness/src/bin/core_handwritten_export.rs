//! A description written by hand keeps the contract of `Thunk::new` and still makes a registry read one context as another,
//! or use a pointer to nothing.   core_handwritten_export other|none
use kemi::{
    Call, Callbacks, ContextType, EXPORTS, ExportDef, Fault, Instance, NoContext, Registry, Ret, Source, Thunk, Type,
};

struct Small([u8; 8]);
struct Large([u64; 64]);

fn sum(cx: &mut Large, _: &Call<'_>) -> Result<Ret, Box<Fault>> {
    let words = cx.0.iter().filter(|word| **word != 0).count();
    Ok(Ret::Int(i64::try_from(words).unwrap_or(-1)))
}

const fn def(name: &'static str, context: ContextType, needs_context: bool) -> ExportDef {
    ExportDef {
        module: "m",
        name,
        doc: "",
        params: &[],
        returns: Type::Any,
        since: None,
        deprecated: None,
        callbacks: &[],
        cost: 1,
        context,
        needs_context,
        file: file!(),
        line: line!(),
        // SAFETY: the result has no bytes, which is all that the contract asks for.
        thunk: unsafe { Thunk::new::<Large>(sum) },
        typed: None,
    }
}

#[kemi::__private::linkme::distributed_slice(EXPORTS)]
#[linkme(crate = kemi::__private::linkme)]
static OTHER: ExportDef = def("other", ContextType::of::<Small>(), true);

#[kemi::__private::linkme::distributed_slice(EXPORTS)]
#[linkme(crate = kemi::__private::linkme)]
static NONE: ExportDef = def("none", ContextType::of::<NoContext>(), false);

fn main() {
    kemi::link();
    let way = std::env::args().nth(1).unwrap_or_else(|| "other".to_owned());
    if way == "none" && std::env::args().nth(2).is_none() {
        let child = std::process::Command::new(std::env::current_exe().unwrap()).args(["none", "child"]).status().unwrap();
        println!("READS NOWHERE: a function that takes a context was called without one; the process ended with {child}");
        return;
    }
    let mut callbacks = Callbacks::new();
    let run = callbacks.optional("run", "run", &[]);
    let registry = match Registry::<Small>::builder().root("app").module("m").callbacks(callbacks).build() {
        Ok(registry) => registry,
        Err(error) => {
            println!("REFUSED: {error}");
            return;
        }
    };
    let text = match way.as_str() {
        "other" => "function run() return app.m.other() end",
        // While a script is loaded there is no context at all: the function gets a dangling pointer.
        _ => "print(app.m.none())",
    };
    println!("{way}: about to read {} bytes of a context that has {}", size_of::<Large>(), size_of::<Small>());
    let instance = Instance::load(kemi::find_engine("lua").unwrap(), &registry, &[Source::text("s.lua", text)]);
    match instance {
        Ok(instance) => {
            let outcome = instance.call(run, &mut Small([1; 8]), &[]);
            println!("READS BEYOND: a context of 8 bytes was read as one of {}: {outcome:?}", size_of::<Large>());
        }
        Err(error) => println!("loading failed: {error}"),
    }
    let _ = Small([0; 8]).0;
}
