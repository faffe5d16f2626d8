//! The host that all scenarios run in: its context, its callbacks and the functions it gives to scripts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use kemi::abi::Out;
use kemi::error::IntoNativeError;
use kemi::export::Rest;
use kemi::{
    Arg, Blob, ByteString, CallbackId, Function, Handle, Instance, NativeError, NativeExit, Outcome, Owner, RouteId,
    Script, ScriptError, Value, kemi_export,
};

use crate::notation::{show, show_call};

/// The context: keeps a trace of the native calls.
#[derive(Debug)]
pub(crate) struct Host {
    trace: Vec<String>,
    named: RouteId,
    chosen: Option<CallbackId>,
    kept: Vec<Function>,
    owned: Vec<Owner<Counter>>,
    mailbox: Mailbox,
    scratch: Vec<u8>,
}

/// The part of the context that the functions of `mail` take, as those of a library would.
#[derive(Debug, Default)]
pub(crate) struct Mailbox(Vec<String>);

impl Host {
    /// Creates the context; `named` is the route of callbacks whose names scripts choose.
    pub(crate) fn new(named: RouteId) -> Host {
        Host {
            trace: Vec::new(),
            named,
            chosen: None,
            kept: Vec::new(),
            owned: Vec::new(),
            mailbox: Mailbox::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes the trace since the last time.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    fn note(&mut self, name: &str, args: &[Value]) {
        self.trace.push(show_call(name, args));
    }

    /// Lends the part that the functions of `mail` take.
    pub(crate) fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.mailbox
    }

    fn nested(&mut self, script: &Script<'_>, name: &str, args: &[Arg<'_>]) -> Result<String, ScriptError> {
        let callback = script.callback(self.named, name)?;
        Ok(match script.call(callback, self, args)? {
            Outcome::Value(value) => format!("value {}", show(&value)),
            Outcome::Exit => "exit".to_owned(),
            Outcome::Drop => "drop".to_owned(),
        })
    }
}

/// An interpreter with the callbacks that may be looked up in it.
type Looked = (Rc<Instance<Host>>, BTreeMap<String, CallbackId>);

thread_local! {
    /// Which interpreter [`look`] looks into: hosts keep theirs in such a place.
    static LOOKED: RefCell<Option<Looked>> = const { RefCell::new(None) };
}

/// Runs something in which [`look`] looks into this interpreter.
pub(crate) fn looking_at<R>(
    instance: &Rc<Instance<Host>>,
    callbacks: &BTreeMap<String, CallbackId>,
    run: impl FnOnce() -> R,
) -> R {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            LOOKED.take();
        }
    }
    LOOKED.set(Some((instance.clone(), callbacks.clone())));
    let _back = Back;
    run()
}

/// Adds two numbers; on the root object.
#[kemi_export(module = "")]
fn sum(cx: &mut Host, a: i64, b: i64) -> i64 {
    cx.note("sum", &[a.into(), b.into()]);
    a.wrapping_add(b)
}

/// Takes anything and gives nothing back.
#[kemi_export(module = "probe")]
fn record(cx: &mut Host, all: Rest<'_>) {
    let shown: Vec<String> = all
        .iter()
        .map(|arg| arg.to_value().map_or_else(|| format!("<{}>", arg.type_name()), |value| show(&value)))
        .collect();
    cx.trace.push(format!("record({})", shown.join(", ")));
}

/// Gives back what it was given.
#[kemi_export(module = "probe")]
fn echo(cx: &mut Host, value: Value) -> Value {
    cx.note("echo", std::slice::from_ref(&value));
    value
}

/// Gives back an integer.
#[kemi_export(module = "probe")]
fn int(cx: &mut Host, n: i64) -> i64 {
    cx.note("int", &[n.into()]);
    n
}

/// Gives back a port number.
#[kemi_export(module = "probe")]
fn port(cx: &mut Host, n: u16) -> u16 {
    cx.note("port", &[n.into()]);
    n
}

/// Gives back a float.
#[kemi_export(module = "probe")]
fn float(cx: &mut Host, x: f64) -> f64 {
    cx.note("float", &[x.into()]);
    x
}

/// Gives back a truth value.
#[kemi_export(module = "probe")]
fn truth(cx: &mut Host, b: bool) -> bool {
    cx.note("truth", &[b.into()]);
    b
}

/// Gives back a text, borrowed from the context.
#[kemi_export(module = "probe")]
fn text<'c>(cx: &'c mut Host, s: &'c str) -> &'c str {
    cx.note("text", &[s.into()]);
    s
}

/// Gives back the second text if there is one, else the first, borrowed from the arguments.
#[kemi_export(module = "probe")]
fn either<'a>(cx: &mut Host, first: &'a str, second: Option<&'a str>) -> &'a str {
    cx.note("either", &[first.into(), second.map_or(Value::Nil, Value::from)]);
    second.unwrap_or(first)
}

/// Gives back bytes, borrowed from the context.
#[kemi_export(module = "probe")]
fn octets<'c>(cx: &'c mut Host, s: &[u8]) -> &'c [u8] {
    cx.note("octets", &[s.into()]);
    cx.scratch.clear();
    cx.scratch.extend_from_slice(s);
    &cx.scratch
}

/// Joins a text and a number.
#[kemi_export(module = "probe")]
fn label(cx: &mut Host, name: &str, n: i64) -> String {
    cx.note("label", &[name.into(), n.into()]);
    format!("{name}-{n}")
}

/// Gives back a list of integers.
#[kemi_export(module = "probe")]
fn list(cx: &mut Host, items: Vec<i64>) -> Vec<i64> {
    cx.note("list", &[Value::Array(items.iter().copied().map(Value::Int).collect())]);
    items
}

/// Gives back a map.
#[kemi_export(module = "probe")]
fn map(cx: &mut Host, entries: BTreeMap<ByteString, Value>) -> BTreeMap<ByteString, Value> {
    cx.note("map", &[Value::Map(entries.clone())]);
    entries
}

/// Gives back its second argument, if there is one.
#[kemi_export(module = "probe")]
fn optional(cx: &mut Host, n: i64, text: Option<&str>) -> Option<String> {
    cx.note("optional", &[n.into(), text.map_or(Value::Nil, Value::from)]);
    text.map(str::to_owned)
}

/// Counts its arguments.
#[kemi_export(module = "probe")]
fn count(cx: &mut Host, first: &str, rest: Rest<'_>) -> usize {
    cx.note("count", &[first.into(), Value::Int(rest.len() as i64)]);
    rest.len()
}

/// Takes more than a typed trampoline does.
#[kemi_export(module = "probe")]
#[allow(clippy::too_many_arguments)]
fn seven(cx: &mut Host, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64, g: i64) -> i64 {
    cx.note("seven", &[a, b, c, d, e, f, g].map(Value::Int));
    a + b + c + d + e + f + g
}

/// Gives two results.
#[kemi_export(module = "probe")]
fn pair(cx: &mut Host, n: i64, text: &str) -> (String, i64) {
    cx.note("pair", &[n.into(), text.into()]);
    (text.to_owned(), n)
}

/// Gives nothing.
#[kemi_export(module = "probe")]
fn nothing(cx: &mut Host) {
    cx.note("nothing", &[]);
}

/// Gives a result whose type its argument names.
#[kemi_export(module = "probe")]
fn kind<'c>(cx: &'c mut Host, name: &str) -> Result<Out<'c>, String> {
    cx.note("kind", &[name.into()]);
    Ok(match name {
        "nil" => Out::Nil,
        "bool" => Out::Bool(true),
        "int" => Out::Int(i64::MIN),
        "float" => Out::Float(0.5),
        "bytes" => {
            cx.scratch = vec![b'a', 0, 0xff];
            Out::Bytes(&cx.scratch)
        }
        "list" => Out::Value(Value::Array(vec![Value::Nil, Value::Bool(false)])),
        other => return Err(format!("there is no kind '{other}'")),
    })
}

/// Gives a string of that many `x`.
#[kemi_export(module = "probe")]
fn big(cx: &mut Host, n: u32) -> String {
    cx.note("big", &[n.into()]);
    "x".repeat(n as usize)
}

/// Gives the bytes that hexadecimal digits stand for.
#[kemi_export(module = "probe")]
fn unhex(cx: &mut Host, digits: &str) -> Result<ByteString, String> {
    cx.note("unhex", &[digits.into()]);
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|error| format!("'{pair}': {error}"))
    });
    Ok(bytes.collect::<Result<Vec<u8>, String>>()?.into())
}

/// Gives hexadecimal digits for bytes.
#[kemi_export(module = "probe")]
fn hex(cx: &mut Host, s: &[u8]) -> String {
    let digits: String = s.iter().map(|byte| format!("{byte:02x}")).collect();
    cx.note("hex", &[digits.as_str().into()]);
    digits
}

/// Works without the context, also while the script is being loaded.
#[kemi_export(module = "probe", context = Host)]
fn double(n: i64) -> i64 {
    n.wrapping_mul(2)
}

/// Fails.
#[kemi_export(module = "probe")]
fn fail(cx: &mut Host, message: &str) -> Result<i64, String> {
    cx.note("fail", &[message.into()]);
    Err(message.to_owned())
}

/// Panics.
#[kemi_export(module = "probe")]
fn panic(cx: &mut Host, message: &str) -> i64 {
    cx.note("panic", &[message.into()]);
    // Unwinds as `panic!` does, but without the report on standard error, which would look like a failed test.
    std::panic::resume_unwind(Box::new(message.to_owned()))
}

/// Ends the callback: "exit" or "drop".
#[kemi_export(module = "probe")]
fn leave(cx: &mut Host, how: &str) -> Result<(), Box<NativeError>> {
    cx.note("leave", &[how.into()]);
    Err(match how {
        "exit" => NativeExit::Exit.into_native_error(),
        "drop" => NativeExit::Drop.into_native_error(),
        other => format!("cannot leave by '{other}'").into_native_error(),
    })
}

/// Calls a function of the script and says how it ended.
#[kemi_export(module = "probe")]
fn invoke(cx: &mut Host, script: &Script<'_>, name: &str, argument: Option<Value>) -> Result<String, ScriptError> {
    cx.note("invoke", &[vec![name.into()], argument.iter().cloned().collect()].concat());
    let args: Vec<Arg<'_>> = argument.iter().map(Arg::from).collect();
    cx.nested(script, name, &args)
}

/// Calls a function of the script and gives back the code of its error.
#[kemi_export(module = "probe")]
fn attempt(cx: &mut Host, script: &Script<'_>, name: &str) -> String {
    cx.note("attempt", &[name.into()]);
    cx.nested(script, name, &[]).unwrap_or_else(|error| format!("error {}", error.code))
}

/// Chooses a function of the script for [`fire`].
#[kemi_export(module = "probe")]
fn choose(cx: &mut Host, script: &Script<'_>, name: &str) -> Result<bool, ScriptError> {
    cx.note("choose", &[name.into()]);
    cx.chosen = Some(script.callback(cx.named, name)?);
    Ok(true)
}

/// Calls the chosen function.
#[kemi_export(module = "probe")]
fn fire(cx: &mut Host, script: &Script<'_>) -> Result<bool, Box<NativeError>> {
    cx.note("fire", &[]);
    let Some(callback) = cx.chosen else { return Err("no function is chosen".into_native_error()) };
    script.call(callback, cx, &[])?;
    Ok(true)
}

/// Asks the interpreter whether there is a function, without lending it the context that the caller holds.
#[kemi_export(module = "probe")]
fn look(cx: &mut Host, name: &str) -> bool {
    cx.note("look", &[name.into()]);
    let looked = LOOKED.with_borrow(|looked| {
        let (instance, callbacks) = looked.as_ref()?;
        Some((instance.clone(), *callbacks.get(name)?))
    });
    let calls = cx.trace.len();
    let found = looked.is_some_and(|(instance, callback)| instance.has(callback));
    found && cx.trace.len() == calls
}

/// Calls a function of the script with a context of its own, which also goes while the script is being loaded.
#[kemi_export(module = "probe", context = Host)]
fn apart(script: &Script<'_>, name: &str) -> Result<bool, ScriptError> {
    let Some(route) = script.route("nested") else { return Ok(false) };
    let callback = script.callback(route, name)?;
    script.call(callback, &mut Host::new(route), &[])?;
    Ok(true)
}

/// Tells where in the script it was called from.
#[kemi_export(module = "probe")]
fn place(cx: &mut Host, script: &Script<'_>) -> Option<i64> {
    cx.note("place", &[]);
    script.place().map(|place| place.line.into())
}

/// Still works.
#[kemi_export(module = "probe", deprecated(since = "1.0", use = "probe.int"))]
fn old(cx: &mut Host, n: i64) -> i64 {
    cx.note("old", &[n.into()]);
    n
}

/// May be called in the route `request` only.
#[kemi_export(module = "only", callbacks(request))]
fn request(cx: &mut Host) -> bool {
    cx.note("only.request", &[]);
    true
}

/// In a module that scenarios leave out unless they name it.
#[kemi_export(module = "nathelper")]
fn fix_contact(cx: &mut Host) -> i64 {
    cx.note("nathelper.fix_contact", &[]);
    1
}

/// Keeps a function of the script; gives its number.
#[kemi_export(module = "keep")]
fn add(cx: &mut Host, function: Function) -> usize {
    cx.note("keep.add", &[]);
    cx.kept.push(function);
    cx.kept.len() - 1
}

/// Keeps all functions of a list.
#[kemi_export(module = "keep")]
fn add_all(cx: &mut Host, functions: Vec<Function>) -> usize {
    cx.note("keep.add_all", &[functions.len().try_into().map_or(Value::Nil, |count: i64| count.into())]);
    cx.kept.extend(functions);
    cx.kept.len()
}

/// Calls a kept function, whatever interpreter it is of, and says how it ended.
#[kemi_export(module = "keep")]
fn call(cx: &mut Host, script: &Script<'_>, index: usize, args: Rest<'_>) -> Result<String, ScriptError> {
    cx.note("keep.call", &[index.try_into().map_or(Value::Nil, |index: i64| index.into())]);
    let Some(function) = cx.kept.get(index).cloned() else { return Ok("there is none".to_owned()) };
    Ok(match script.call_function(&function, cx, &args)? {
        Outcome::Value(value) => format!("value {}", show(&value)),
        Outcome::Exit => "exit".to_owned(),
        Outcome::Drop => "drop".to_owned(),
    })
}

/// Gives a kept function back.
#[kemi_export(module = "keep")]
fn get(cx: &mut Host, index: usize) -> Option<Function> {
    cx.note("keep.get", &[index.try_into().map_or(Value::Nil, |index: i64| index.into())]);
    cx.kept.get(index).cloned()
}

/// Lets all kept functions go.
#[kemi_export(module = "keep")]
fn clear(cx: &mut Host) {
    cx.note("keep.clear", &[]);
    cx.kept.clear();
}

/// Gives the bytes that hexadecimal digits stand for, as bytes.
#[kemi_export(module = "blob")]
fn make(cx: &mut Host, digits: &str) -> Result<Blob, String> {
    Ok(Blob(unhex(cx, digits)?.into_vec()))
}

/// Gives hexadecimal digits for bytes or text.
#[kemi_export(module = "blob")]
fn show_hex(cx: &mut Host, bytes: Blob) -> String {
    hex(cx, &bytes.0)
}

/// Tells what kind of value it was given, as the host sees it.
#[kemi_export(module = "blob")]
fn kind_of(cx: &mut Host, value: Value) -> String {
    cx.note("blob.kind_of", &[]);
    value.type_name().to_owned()
}

/// How loud.
#[kemi_export(module = "log.level")]
#[kemi(rename_all = "lowercase")]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Quiet,
    VeryLoud,
}

/// The most lines of a page.
#[kemi_export(module = "log.level")]
const LINES: u16 = 50;

/// Says how loud.
#[kemi_export(module = "log.level")]
fn name_of(cx: &mut Host, level: Level) -> String {
    cx.note("log.level.name_of", &[]);
    format!("{level:?}")
}

/// Sends a mail; the context is a part of the host's.
#[kemi_export(module = "mail")]
fn send(mailbox: &mut Mailbox, text: &str) -> usize {
    mailbox.0.push(text.to_owned());
    mailbox.0.len()
}

/// Something that counts.
#[derive(Debug)]
struct Counter {
    name: String,
    count: i64,
}

/// A counter with a name.
#[kemi_export(module = "object")]
impl Counter {
    /// The most that it counts.
    const MOST: i64 = 1000;

    /// Makes one.
    fn create(cx: &mut Host, name: &str) -> Self {
        cx.note("object.Counter.create", &[name.into()]);
        Counter { name: name.to_owned(), count: 0 }
    }

    #[kemi(get)]
    fn name(&self) -> &str {
        &self.name
    }

    #[kemi(get)]
    fn count(&self) -> i64 {
        self.count
    }

    #[kemi(set)]
    fn set_count(&mut self, count: i64) {
        self.count = count.min(Counter::MOST);
    }

    /// Counts on.
    fn add(&mut self, cx: &mut Host, by: Option<i64>) -> i64 {
        cx.note("object.Counter.add", &[by.into()]);
        self.count += by.unwrap_or(1);
        self.count
    }

    /// Adds what another one has counted.
    fn take_over(&mut self, other: Handle<Self>) -> Result<i64, ScriptError> {
        self.count += other.with_mut(|other| std::mem::take(&mut other.count))?;
        Ok(self.count)
    }

    /// Calls a kept function while it is in use.
    fn busy(&mut self, cx: &mut Host, script: &Script<'_>) -> Result<String, ScriptError> {
        cx.note("object.Counter.busy", &[]);
        let Some(function) = cx.kept.first().cloned() else { return Ok("there is none".to_owned()) };
        script.call_function(&function, cx, &[]).map(|outcome| format!("{outcome:?}"))
    }

    #[kemi(length)]
    fn len(&self) -> i64 {
        self.count
    }

    #[kemi(equal)]
    fn same(&self, other: Handle<Self>) -> Result<bool, ScriptError> {
        other.with(|other| other.name == self.name)
    }

    #[kemi(text)]
    fn text(&self) -> String {
        format!("{}: {}", self.name, self.count)
    }

    #[kemi(index)]
    fn letter(&self, index: usize) -> Option<String> {
        self.name.chars().nth(index).map(String::from)
    }
}

/// Makes a counter that the host ends when it is asked to.
#[kemi_export(module = "object")]
fn own(cx: &mut Host, name: &str) -> Handle<Counter> {
    cx.note("object.own", &[name.into()]);
    let owner = Owner::new(Counter { name: name.to_owned(), count: 0 });
    let handle = owner.handle();
    cx.owned.push(owner);
    handle
}

/// Ends all counters that the host owns.
#[kemi_export(module = "object")]
fn end_all(cx: &mut Host) {
    cx.note("object.end_all", &[]);
    cx.owned.clear();
}

/// Gives the same counters back, in a list and a map.
#[kemi_export(module = "object")]
fn wrap(cx: &mut Host, counters: Vec<Handle<Counter>>) -> BTreeMap<String, Vec<Handle<Counter>>> {
    cx.note("object.wrap", &[]);
    BTreeMap::from([("all".to_owned(), counters)])
}

/// An order of a shop.
#[derive(Debug, kemi::Value)]
struct Order {
    id: u64,
    items: Vec<Item>,
    #[kemi(default)]
    tags: BTreeMap<String, String>,
    note: Option<String>,
    state: State,
}

/// An item of an order.
#[derive(Debug, kemi::Value)]
struct Item {
    name: String,
    price: f64,
}

/// The state of an order.
#[derive(Debug, kemi::Value)]
#[kemi(rename_all = "snake_case")]
enum State {
    New,
    Paid { at: i64 },
}

/// Gives back an order.
#[kemi_export(module = "shop")]
fn order(cx: &mut Host, order: Order) -> Order {
    let (items, state) = (i64::try_from(order.items.len()).unwrap_or(-1), format!("{:?}", order.state));
    cx.note("order", &[items.into(), state.into()]);
    order
}
