//! The attribute [`macro@kemi_export`], which describes a plain Rust function to every script language, and the derive
//! [`macro@Value`], which makes a type one that crosses.

mod class;
mod constant;
mod derive;
mod expand;
mod mistakes;
mod parse;
mod rename;
mod validate;

use proc_macro::TokenStream;

use self::parse::Exported;

/// Exports a function to scripts.
///
/// ```ignore
/// /// Adds two numbers and counts the call.
/// #[kemi_export(module = "calc")]
/// fn add(cx: &mut Counter, a: i64, b: i64) -> i64 {
///     cx.calls += 1;
///     a + b
/// }
/// ```
///
/// The function stays as it is. Beside it the attribute leaves a static description, collected at link time: names,
/// types, doc comment, and a typed and a generic entry. It knows nothing of the languages that will call it.
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `module = "name"` | the module in scripts; `""` is the root object, `"net.http"` a module within another one | required |
/// | `name = "name"` | the name in scripts | the function's |
/// | `since = "1.2.0"` | the version that brought it | none |
/// | `deprecated(since = "2.0.0", use = "calc.sum")` | scripts are told once to use something else | no |
/// | `callbacks(request, "reply")` | the routes in which it may be called | all |
/// | `cost = 10` | what one call takes from a call budget, in plain calls | 1 |
/// | `blocking` | it waits: for the network, a lock, a process; see below | no |
/// | `capability = "files"` | what a script must be granted to call it, by `RegistryBuilder::capabilities` | none needed |
/// | `context = Type` | binds a function without context parameter to one host's registry | any host |
/// | `crate = path` | where `kemi-core` or `kemi` is found, if renamed beyond recognition | found in `Cargo.toml` |
///
/// # Functions that wait
///
/// While a `blocking` function runs, the lock that all interpreters of a language may share is released, so that scripts
/// on other threads go on, and the clock of `max_time_ms` stands. `max_wait_ms` counts what all such functions of a
/// call take together. It is looked at when one returns: nothing ends a function that waits, so give what it waits for
/// a time-out. The script and its thread wait with it; it takes the generic path and no `&Script<'_>`.
///
/// ```ignore
/// #[kemi_export(module = "http", blocking)]
/// fn get(cx: &mut Client, url: &str) -> Result<String, Error> {
///     cx.agent.get(url).timeout(Duration::from_secs(2)).call()?.text()
/// }
/// ```
///
/// An `async fn` is exported as well. It takes the context as `Lent<'_, C>`, which it has between two awaits only, and owned
/// values. The script's thread waits for its future, which is dropped when `max_wait_ms` is over or the call is cancelled.
///
/// # Parameters, in this order
///
/// | Rust | script gives | path |
/// |---|---|---|
/// | `&mut C` or `&C`, first; `Lent<'_, C>` of an `async fn` | nothing: the host's context | |
/// | `&Script<'_>`, next | nothing: the running script, to call back into it | generic |
/// | `bool` | boolean | typed |
/// | `i8`…`i64`, `u8`…`u64`, `isize`, `usize` | integer in range | typed |
/// | `f32`, `f64` | float or integer | typed |
/// | `&str` | string of valid UTF-8, borrowed | typed |
/// | `&[u8]` | string of any bytes, borrowed | typed |
/// | `String`, `ByteString` | the same, copied | typed |
/// | `CallbackName<'_>` | the name of a function of the script, checked when the script is loaded | typed |
/// | `Blob` | bytes, as the language has them, or a string | generic |
/// | `Function` | a function of the script, kept for later | generic |
/// | `Handle<T>` | an object of the class `T` | generic |
/// | `Value` | anything | generic |
/// | `Vec<T>`, `BTreeMap<String, T>`, `BTreeMap<ByteString, T>` | list, map | generic |
/// | a type with `#[derive(kemi::Value)]`, `Serde<T>` | what it describes | generic |
/// | `Option<T>`, trailing | the value, nil or nothing | generic |
/// | `Rest<'_>`, last | all remaining arguments | generic |
///
/// The *typed* path reads arguments straight from the interpreter's stack, without allocation, if no parameter needs
/// the generic one and there are at most six.
///
/// # Results
///
/// Nothing, `bool`, integers, floats; `&str` and `&[u8]` borrowed from the context (the fastest way to return text);
/// `String`, `ByteString`, `Blob`, `Value`, `Option<T>`, `Vec<T>`, `BTreeMap<String, T>`, types with `#[derive(kemi::Value)]`,
/// `Serde<T>`, `Handle<T>`, a class itself, which becomes a new object; tuples for several results;
/// `Out<'_>` where the type is decided at run time; `Result<T, E>` of all these, where `E` is an error type or text (it becomes
/// the script error's message and `source()`) or is `NativeExit` (which ends the callback).
///
/// # Constants and enums
///
/// On a constant the attribute makes it readable for scripts; on an enum whose variants carry nothing, it makes a name space of
/// constants, and the enum a type of parameters and results as `#[derive(kemi::Value)]` does:
///
/// ```ignore
/// /// The most lines of a page.
/// #[kemi_export(module = "log")]
/// const PAGE: i64 = 50; // app.log.PAGE
///
/// #[kemi_export(module = "log")]
/// #[kemi(rename_all = "lowercase")]
/// enum Level { // app.log.Level.WARN is "warn", and a parameter of type `Level` takes it
///     Debug,
///     Warn,
/// }
/// ```
///
/// They take the options `module`, `name`, `context` and `crate`.
///
/// # Classes
///
/// On an `impl` block the attribute makes the type a class, whose objects scripts hold by handles. Its functions stand in a module
/// of the class's name, `app.call.Session.dial("bob")`; those with `&self` or `&mut self` are called on the object, in Lua by `s:answer(200)`,
/// in other languages by `s.answer(200)`. Context, running script, parameters and results are those of other functions; `Self` as a
/// result gives the script a new object, a parameter `Handle<Session>` takes one.
///
/// ```ignore
/// /// A call.
/// #[kemi_export(module = "call")]
/// impl Session {
///     const LONGEST: u32 = 3600; // app.call.Session.LONGEST
///
///     fn dial(cx: &mut Host, to: &str) -> Result<Self, DialError> {
///         cx.dial(to).map(|timeout| Session { timeout })
///     }
///
///     fn answer(&mut self, cx: &mut Host, code: Option<u16>) -> Result<(), CallError> {
///         cx.reply(code.unwrap_or(200))
///     }
///
///     #[kemi(get)]
///     fn timeout(&self) -> u32 { self.timeout } // s.timeout
///
///     #[kemi(set)]
///     fn set_timeout(&mut self, seconds: u32) { self.timeout = seconds } // s.timeout = 5
///
///     #[kemi(skip)]
///     fn host_only(&self) {}
/// }
/// ```
///
/// | option of a member, as `#[kemi(…)]` | meaning |
/// |---|---|
/// | `get`, `get = "name"` | reads the property of the function's or this name |
/// | `set`, `set = "name"` | sets the property; `set_timeout` sets `timeout` |
/// | `call`, `index`, `set_index`, `length`, `equal`, `text` | the operator, in the languages that have it |
/// | `skip` | is not exported |
/// | `name`, `since`, `deprecated`, `callbacks`, `cost`, `blocking`, `capability`, `context` | as of a function |
///
/// The block takes the options `module`, `name`, `context` and `crate`. A type has one such block.
#[proc_macro_attribute]
pub fn kemi_export(options: TokenStream, item: TokenStream) -> TokenStream {
    match parse::item(item.into()) {
        Ok(Exported::Function(function)) => expand::export(options.into(), *function).into(),
        Ok(Exported::Constant(constant)) => constant::export_const(options.into(), &constant).into(),
        Ok(Exported::Enum(item)) => constant::export_enum(options.into(), *item).into(),
        Ok(Exported::Class(item)) => class::export(options.into(), *item).into(),
        Err(refused) => refused.into(),
    }
}

/// Makes a type of the host one that parameters, results and arguments of callbacks may have.
///
/// ```ignore
/// /// An order of the shop.
/// #[derive(kemi::Value)]
/// #[kemi(rename_all = "camelCase")]
/// struct Order {
///     id: u64,
///     items: Vec<Item>,
///     #[kemi(default)]
///     tags: Vec<String>,
///     note: Option<String>,
/// }
/// ```
///
/// | Rust | in scripts |
/// |---|---|
/// | a struct with named fields | a map |
/// | a struct with one unnamed field | what that is |
/// | an enum's variant without fields | its name, a string |
/// | a variant with one unnamed field, or with named ones | a map from its name to that |
///
/// The types of the fields are those that parameters may have, owned. A value that does not fit is a bad argument with the way to
/// it: `argument 1 'order': items[2].price: expected float, got string "free"`. The registry's dump describes the type with its
/// doc comments.
///
/// # Options, as `#[kemi(…)]`
///
/// | option | on | meaning |
/// |---|---|---|
/// | `rename = "name"` | type, field, variant | the name in scripts; of a type, in messages and the dump |
/// | `rename_all = "rule"` | type | `lowercase`, `UPPERCASE`, `PascalCase`, `camelCase`, `snake_case`, `SCREAMING_SNAKE_CASE` or `kebab-case` for its fields or variants |
/// | `default`, `default = path` | field | the value of a key that is missing or nil |
/// | `allow_unknown` | struct | ignores keys that no field has; otherwise they are an error |
/// | `crate = path` | type | where `kemi-core` or `kemi` is found, if renamed beyond recognition |
#[proc_macro_derive(Value, attributes(kemi))]
pub fn derive_value(input: TokenStream) -> TokenStream {
    derive::expand(&syn::parse_macro_input!(input as syn::DeriveInput)).into()
}
