//! The attribute [`macro@kemi_export`]: describes a plain Rust function to every script language.

mod expand;
mod mistakes;
mod parse;
mod validate;

use proc_macro::TokenStream;

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
/// | `module = "name"` | the module in scripts; `""` is the root object | required |
/// | `name = "name"` | the name in scripts | the function's |
/// | `since = "1.2.0"` | the version that brought it | none |
/// | `deprecated(since = "2.0.0", use = "calc.sum")` | scripts are told once to use something else | no |
/// | `callbacks(request, "reply")` | the routes in which it may be called | all |
/// | `cost = 10` | what one call takes from a call budget, in plain calls | 1 |
/// | `blocking` | it waits: for the network, a lock, a process; see below | no |
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
/// # Parameters, in this order
///
/// | Rust | script gives | path |
/// |---|---|---|
/// | `&mut C` or `&C`, first | nothing: the host's context | |
/// | `&Script<'_>`, next | nothing: the running script, to call back into it | generic |
/// | `bool` | boolean | typed |
/// | `i8`…`i64`, `u8`…`u64`, `isize`, `usize` | integer in range | typed |
/// | `f32`, `f64` | float or integer | typed |
/// | `&str` | string of valid UTF-8, borrowed | typed |
/// | `&[u8]` | string of any bytes, borrowed | typed |
/// | `String`, `ByteString` | the same, copied | typed |
/// | `CallbackName<'_>` | the name of a function of the script, checked when the script is loaded | typed |
/// | `Value` | anything | generic |
/// | `Vec<T>`, `BTreeMap<ByteString, T>` | list, map | generic |
/// | `Option<T>`, trailing | the value, nil or nothing | generic |
/// | `Rest<'_>`, last | all remaining arguments | generic |
///
/// The *typed* path reads arguments straight from the interpreter's stack, without allocation, if no parameter needs
/// the generic one and there are at most six.
///
/// # Results
///
/// Nothing, `bool`, integers, floats; `&str` and `&[u8]` borrowed from the context (the fastest way to return text);
/// `String`, `ByteString`, `Value`, `Option<T>`, `Vec<T>`, `BTreeMap<ByteString, T>`; tuples for several results;
/// `Out<'_>` where the type is decided at run time; `Result<T, E>` of all these, where `E` is an error type or text (it becomes
/// the script error's message and `source()`) or is `Control` (which ends the callback).
#[proc_macro_attribute]
pub fn kemi_export(options: TokenStream, item: TokenStream) -> TokenStream {
    match parse::item(item.into()) {
        Ok(function) => expand::export(options.into(), function).into(),
        Err(refused) => refused.into(),
    }
}
