//! What calls leave behind in an interpreter that lives on Rust's own allocator, and what they give to the host.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::rc::Rc;

use kemi_core::abi::Ret;
use kemi_core::engine::{Interpreter, Runtime};
use kemi_core::limits::held_bytes;
use kemi_core::{
    Arg, ByteString, CallbackId, Callbacks, CountingAllocator, Engine, ErrorCode, Instance, Limits, Location, Outcome,
    Registry, Script, ScriptError, Source, Value,
};
use kemi_macros::kemi_export;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

const LIMIT: u64 = 4 << 20;
const LARGE: usize = 1 << 20;
const LEAK: usize = 20_000;

/// A host that keeps what its functions give it.
#[derive(Default)]
struct Cx {
    kept: Vec<Vec<u8>>,
    leak: Option<CallbackId>,
}

#[kemi_export(module = "test")]
fn upload(cx: &mut Cx, script: &Script<'_>) -> ByteString {
    cx.kept.push(vec![0; LARGE]);
    if let Some(leak) = cx.leak {
        script.call(leak, cx, &[]).expect("there is room");
    }
    ByteString::from(vec![1; LARGE])
}

/// An engine on Rust's own allocator, whose script consists of the names of its callbacks.
#[derive(Debug)]
struct Hoarder;

struct HoarderInterpreter {
    runtime: Rc<Runtime>,
    heap: RefCell<Vec<Vec<u8>>>,
}

impl Engine for Hoarder {
    fn name(&self) -> &'static str {
        "hoarder"
    }

    fn language(&self) -> String {
        "names".to_owned()
    }

    fn load(&self, runtime: Rc<Runtime>, _sources: &[Source]) -> Result<Box<dyn Interpreter>, ScriptError> {
        assert!(runtime.count_memory());
        Ok(Box::new(HoarderInterpreter { runtime, heap: RefCell::new(vec![vec![0; 1000]]) }))
    }
}

impl Interpreter for HoarderInterpreter {
    fn resolve(&self, _name: &str) -> bool {
        true
    }

    fn functions(&self) -> Vec<String> {
        Vec::new()
    }

    fn call(&self, callback: CallbackId, _args: &[Arg<'_>]) -> Result<Value, ScriptError> {
        let name = self.runtime.registry().callback_name(callback).expect("it is declared");
        match &*name {
            "leak" => self.heap.borrow_mut().push(vec![0; LEAK]),
            "result" => {
                let text = vec![b'x'; LARGE];
                return Ok(self.runtime.host_side(|| Value::Str(text.as_slice().into())));
            }
            "fail" => return Err(ScriptError::new(ErrorCode::Runtime, "x".repeat(LARGE))),
            _ => {
                let export = self.runtime.registry().find("test", "upload").expect("it is linked");
                let result = self.runtime.host_side(|| self.runtime.invoke(export, &[], self));
                let copy = match &result {
                    Ok(Ret::Value(Value::Str(text))) => text.to_vec(),
                    _ => Vec::new(),
                };
                self.runtime.host_side(|| drop(result));
                drop(copy);
            }
        }
        self.runtime.poll(self);
        Ok(Value::Nil)
    }

    fn place(&self) -> Option<Location> {
        None
    }
}

struct Host {
    instance: Instance<Cx>,
    ids: [CallbackId; 4],
}

const NAMES: [&str; 4] = ["leak", "result", "fail", "native"];

fn host() -> Host {
    let mut callbacks = Callbacks::new();
    let ids = NAMES.map(|name| callbacks.required("request", name, &[]));
    let limits = Limits { max_memory: LIMIT, ..Limits::default() };
    let registry = Registry::<Cx>::builder()
        .root("app")
        .all_modules()
        .callbacks(callbacks)
        .limits(limits)
        .build()
        .expect("it is sound");
    Host { instance: Instance::load(&Hoarder, &registry, &[]).expect("there is room"), ids }
}

impl Host {
    fn call(&self, name: &str, cx: &mut Cx) -> Result<Outcome, ScriptError> {
        let at = NAMES.iter().position(|known| *known == name).expect("it is one of these");
        self.instance.call(self.ids[at], cx, &[])
    }
}

#[test]
fn results_that_the_host_has_freed_never_use_up_a_scripts_memory() {
    let host = host();
    let before = held_bytes();
    for _ in 0..1_000 {
        host.call("result", &mut Cx::default()).expect("what the host frees does not count");
    }
    assert!(held_bytes() - before < LEAK as i64);
}

#[test]
fn errors_that_the_host_has_freed_never_use_up_a_scripts_memory() {
    let host = host();
    for _ in 0..1_000 {
        let error = host.call("fail", &mut Cx::default()).expect_err("it fails");
        assert_eq!(error.code, ErrorCode::Runtime);
    }
}

#[test]
fn what_native_functions_keep_never_uses_up_a_scripts_memory() {
    let host = host();
    let mut cx = Cx::default();
    for _ in 0..200 {
        host.call("native", &mut cx).expect("what the host keeps does not count");
    }
    drop(cx);
    for _ in 0..200 {
        host.call("native", &mut Cx::default()).expect("nor what it has freed");
    }
}

#[test]
fn small_leaks_of_many_calls_use_up_a_scripts_memory() {
    let host = host();
    let calls = (0..1_000).take_while(|_| host.call("leak", &mut Cx::default()).is_ok()).count();
    let expected = usize::try_from(LIMIT).expect("it fits") / LEAK;
    assert!((expected - 10..=expected + 1).contains(&calls), "{calls} calls");
    let error = host.call("leak", &mut Cx::default()).expect_err("nothing was freed");
    assert_eq!(error.code, ErrorCode::MemoryLimit);
}

#[test]
fn leaks_of_a_callback_that_a_native_function_calls_count_as_well() {
    let host = host();
    let leak = Some(host.ids[0]);
    let calls = (0..1_000).take_while(|_| host.call("native", &mut Cx { leak, ..Cx::default() }).is_ok()).count();
    assert!((50..=usize::try_from(LIMIT).expect("it fits") / LEAK).contains(&calls), "{calls} calls");
}
