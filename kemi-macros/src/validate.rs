//! Checks the function's signature and sorts its parameters.

use quote::ToTokens;
use syn::{
    Expr, FnArg, GenericArgument, GenericParam, ItemFn, Lit, Meta, Pat, Path, PathArguments, ReturnType, Type, TypePath,
};

use crate::mistakes::Mistakes;

/// A function whose signature can be exported.
pub(crate) struct Signature {
    /// The context's type and whether it is taken mutably.
    pub(crate) context: Option<(Type, bool)>,
    /// The type by which the running script is taken, if it is.
    pub(crate) script: Option<Type>,
    /// Whether it is an `async fn`.
    pub(crate) is_async: bool,
    /// The arguments a script gives.
    pub(crate) params: Vec<Param>,
    /// The result; `None` for nothing.
    pub(crate) returns: Option<Type>,
    /// The doc comment.
    pub(crate) doc: String,
}

pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) ty: Type,
}

pub(crate) fn signature(function: &ItemFn, krate: Option<&Path>, mistakes: &mut Mistakes) -> Signature {
    let sig = &function.sig;
    if let syn::Safety::Unsafe(token) = &sig.safety {
        mistakes.at(token, "an unsafe function cannot be exported: a script cannot keep its contract");
    }
    if let Some(abi) = &sig.abi {
        mistakes.at(abi, "export a plain Rust function, without an ABI of its own");
    }
    if let Some(variadic) = &sig.variadic {
        mistakes.at(variadic, "take the remaining arguments as `Rest<'_>`");
    }
    for param in &sig.generics.params {
        match param {
            GenericParam::Type(ty) => {
                mistakes.at(&ty.ident, "a generic function cannot be exported: its types must be known here");
            }
            GenericParam::Const(constant) => {
                mistakes.at(&constant.ident, "a generic function cannot be exported: its constants must be known here");
            }
            GenericParam::Lifetime(_) => {}
        }
    }

    let mut signature = Signature {
        context: None,
        script: None,
        is_async: sig.asyncness.is_some(),
        params: Vec::new(),
        returns: returns(&sig.output, mistakes),
        doc: doc(&function.attrs),
    };
    for (position, input) in sig.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(receiver) => {
                mistakes.at(
                    receiver,
                    "a method is exported with its class: put `#[kemi_export(module = \"…\")]` on the `impl` block",
                );
            }
            FnArg::Typed(input) => signature.parameter(position, &input.pat, bare(&input.ty), krate, mistakes),
        }
    }
    check_order(&signature.params, mistakes);
    signature
}

impl Signature {
    fn parameter(&mut self, position: usize, pattern: &Pat, ty: &Type, krate: Option<&Path>, mistakes: &mut Mistakes) {
        if is_library(ty, "Lent")
            && let Some(context) = argument(ty)
        {
            if !self.is_async {
                mistakes.at(ty, "`Lent` is for an `async fn`; this function takes the context as `&mut C`");
            } else if position > 0 {
                mistakes.at(ty, "the host's context comes first");
            }
            check_context(context, mistakes);
            self.context = Some((context.clone(), true));
            return;
        }
        if self.is_async
            && let Type::Reference(reference) = ty
        {
            mistakes.at(
                ty,
                if matches!(bare(&reference.elem), Type::Path(path) if is_script(path, krate)) {
                    "an async function cannot call back into the script: leave `&Script` out"
                } else if borrowed(&reference.elem) {
                    "an async function takes owned values: `String` for `&str`, `ByteString` for `&[u8]`"
                } else {
                    "an async function takes the context as `Lent<'_, C>`: it has it between two awaits only"
                },
            );
            return;
        }
        if let Type::Reference(reference) = ty {
            let mutable = reference.mutability.as_ref();
            match self.referent(position, bare(&reference.elem), mutable.is_some(), krate) {
                Referent::Argument => {}
                Referent::Context(context) => {
                    check_context(&context, mistakes);
                    self.context = Some((context, mutable.is_some()));
                    return;
                }
                Referent::Script(script) => {
                    if let Some(token) = mutable {
                        mistakes.at(token, "the running script is shared: take it as `&Script<'_>`");
                    }
                    if self.script.is_some() || !self.params.is_empty() {
                        mistakes.at(ty, "`&Script<'_>` comes once, right after the context");
                    }
                    self.script = Some(script);
                    return;
                }
                Referent::Mistake(message) => {
                    mistakes.at(ty, message);
                    return;
                }
            }
        }
        let name = match pattern {
            Pat::Ident(ident) => ident.ident.to_string().trim_start_matches("r#").trim_start_matches('_').to_owned(),
            other => {
                mistakes.at(other, "name the parameter: scripts' error messages and the documentation show its name");
                return;
            }
        };
        if position == 0
            && let Some(pointer) = ["Arc", "Rc"].into_iter().find(|name| is_library(ty, name) && argument(ty).is_some())
        {
            mistakes.at(ty, format!("the host's context comes as `&mut C`; put the `{pointer}` into it"));
        } else {
            check_param(ty, mistakes);
        }
        self.params.push(Param { name, ty: ty.clone() });
    }

    /// Sorts a reference by what it leads to.
    fn referent(&self, position: usize, elem: &Type, mutable: bool, krate: Option<&Path>) -> Referent {
        let first = position == 0;
        match elem {
            Type::TraitObject(_) | Type::ImplTrait(_) if first => {
                Referent::Mistake("the host's context is one concrete type: name it")
            }
            Type::TraitObject(_) | Type::ImplTrait(_) => {
                Referent::Mistake("a script cannot pass a reference to an object of the host")
            }
            Type::Path(path) if path.path.is_ident("str") && !mutable => Referent::Argument,
            Type::Path(path) if is_script(path, krate) => Referent::Script(elem.clone()),
            // A context has no lifetime, so this can only be the running script under another name.
            Type::Path(path) if !mutable && borrows(path) && self.script.is_none() && self.params.is_empty() => {
                Referent::Script(elem.clone())
            }
            Type::Path(_) if first => Referent::Context(elem.clone()),
            // Owned strings and lists behind a reference are a mistake of their own.
            Type::Path(_) if !mutable && ["String", "Vec", "ByteString", "Value"].iter().any(|name| is(elem, name)) => {
                Referent::Argument
            }
            Type::Path(_) if mutable && self.context.is_some() => Referent::Mistake(
                "a function has one context, its first parameter: put what it needs into that; a script cannot pass a \
                 reference",
            ),
            Type::Path(_) => Referent::Mistake(
                "the host's context comes first, and a script cannot pass a reference to anything else",
            ),
            _ => Referent::Argument,
        }
    }
}

/// Whether it is what a script's value can be borrowed as.
fn borrowed(elem: &Type) -> bool {
    match bare(elem) {
        Type::Path(path) => path.path.is_ident("str"),
        Type::Slice(_) => true,
        _ => false,
    }
}

/// The meaning of a parameter that is a reference.
enum Referent {
    /// A value that a script passes.
    Argument,
    /// The host's context.
    Context(Type),
    /// The running script.
    Script(Type),
    /// Nothing that there is.
    Mistake(&'static str),
}

/// Whether a path names the running script: `Script` by itself, by the crate it is found in, or with a lifetime.
///
/// Any other path to a `Script` is to a type of the host's.
fn is_script(ty: &TypePath, krate: Option<&Path>) -> bool {
    let Some(last) = ty.path.segments.last().filter(|last| last.ident == "Script") else { return false };
    match &last.arguments {
        PathArguments::None => {}
        PathArguments::AngleBracketed(_) | PathArguments::Parenthesized(_) => return borrows(ty),
    }
    let mut leading: Vec<String> = ty.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    leading.pop();
    let told: Option<Vec<String>> = krate.map(|path| path.segments.iter().map(|s| s.ident.to_string()).collect());
    leading.is_empty() || told.as_ref() == Some(&leading) || matches!(leading.as_slice(), [one] if is_core(one))
}

/// Whether a crate of this name has the types.
fn is_core(name: &str) -> bool {
    ["kemi-core", "kemi"].into_iter().any(|package| match proc_macro_crate::crate_name(package) {
        Ok(proc_macro_crate::FoundCrate::Name(own)) => own == name,
        Ok(proc_macro_crate::FoundCrate::Itself) => package.replace('-', "_") == name || name == "crate",
        Err(_) => package.replace('-', "_") == name,
    })
}

/// Whether a path has a lifetime that is not `'static`.
fn borrows(ty: &TypePath) -> bool {
    ty.path.segments.iter().any(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(args) => {
            args.args.iter().any(|arg| matches!(arg, GenericArgument::Lifetime(lifetime) if lifetime.ident != "static"))
        }
        _ => false,
    })
}

/// Looks through parentheses and the invisible group around a type that a `macro_rules!` has passed on.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Whether the last segment of a path is this name.
fn is(ty: &Type, name: &str) -> bool {
    matches!(bare(ty), Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == name))
}

/// Whether a type is that of the standard library or of KEMI with this name, as far as its path tells: a host may have one
/// of that name in a module of its own.
fn is_library(ty: &Type, name: &str) -> bool {
    let Type::Path(TypePath { path, .. }) = bare(ty) else { return false };
    let first = path.segments.first().map(|segment| segment.ident.to_string()).unwrap_or_default();
    is(ty, name)
        && (path.segments.len() == 1 || ["std", "core", "alloc", "kemi", "kemi_core"].contains(&first.as_str()))
}

/// Returns the single type argument, as in `Option<T>`.
fn argument(ty: &Type) -> Option<&Type> {
    let Type::Path(TypePath { path, .. }) = bare(ty) else { return None };
    let PathArguments::AngleBracketed(args) = &path.segments.last()?.arguments else { return None };
    args.args.iter().find_map(|arg| if let GenericArgument::Type(ty) = arg { Some(ty) } else { None })
}

fn check_context(ty: &Type, mistakes: &mut Mistakes) {
    let Type::Path(path) = ty else { return };
    for segment in &path.path.segments {
        if let PathArguments::AngleBracketed(args) = &segment.arguments {
            for arg in &args.args {
                if matches!(arg, GenericArgument::Lifetime(lifetime) if lifetime.ident != "static") {
                    mistakes.at(arg, "the context type must not borrow: it has to be `'static`");
                }
            }
        }
    }
}

fn check_param(ty: &Type, mistakes: &mut Mistakes) {
    match ty {
        Type::ImplTrait(_) => mistakes.at(ty, "`impl Trait` is generic: name the type"),
        Type::Reference(reference) => match bare(&reference.elem) {
            Type::Path(path) if path.path.is_ident("str") => {}
            Type::Slice(slice) if slice.elem.to_token_stream().to_string() == "u8" => {}
            Type::Path(_) if is(&reference.elem, "String") => mistakes.at(ty, "take `&str` instead of `&String`"),
            Type::Path(_) if is(&reference.elem, "ByteString") => {
                mistakes.at(ty, "take `&[u8]` instead of `&ByteString`");
            }
            Type::Slice(_) => mistakes.at(ty, "take a list as `Vec<T>`; only `&[u8]` can be borrowed from a script"),
            _ => mistakes.at(ty, "only `&str` and `&[u8]` can be borrowed from a script; take the type by value"),
        },
        Type::Tuple(_) => mistakes.at(ty, "a script cannot pass a tuple; take the parts as parameters"),
        Type::FnPtr(_) => {
            mistakes.at(ty, "a script cannot pass a function; take the callback's name as `CallbackName<'_>`")
        }
        _ => check_value(ty, mistakes),
    }
}

/// Reports a type that is neither a parameter nor a result.
fn check_value(ty: &Type, mistakes: &mut Mistakes) {
    for (name, advice) in [
        ("i128", "no script language has 128-bit integers; use `i64`"),
        ("u128", "no script language has 128-bit integers; use `u64`"),
        ("char", "use `&str` or `String`"),
        ("HashMap", "use `BTreeMap<ByteString, T>`, whose order is stable"),
        ("Box", "use the type inside the box"),
        ("Rc", "use the type inside the `Rc`"),
        ("Arc", "use the type inside the `Arc`"),
    ] {
        // A host's own type of such a name has no parameters, or another path.
        let primitive = matches!(name, "i128" | "u128" | "char");
        if is_library(ty, name) && (primitive || argument(ty).is_some()) {
            mistakes.at(ty, advice);
            return;
        }
    }
    match argument(ty) {
        Some(element) if is(ty, "Vec") && is(element, "u8") => {
            mistakes.at(ty, "`Vec<u8>` would be a list of integers; use `ByteString` for a string of bytes");
        }
        Some(element) if is(ty, "Vec") || is(ty, "Option") || is(ty, "Result") => check_value(element, mistakes),
        _ => {}
    }
}

/// Checks the order as far as names tell; for all other types the expansion asks the compiler.
fn check_order(params: &[Param], mistakes: &mut Mistakes) {
    let optional = |param: &Param| is_library(&param.ty, "Option") && argument(&param.ty).is_some();
    let rest = |param: &Param| match &param.ty {
        Type::Path(path) => is_library(&param.ty, "Rest") && borrows(path),
        _ => false,
    };
    let last = params.len().saturating_sub(1);
    // Of a type with another name only the compiler knows whether it must be given.
    let needed =
        |param: &Param| matches!(&param.ty, Type::Reference(_)) || NEEDED.iter().any(|name| is(&param.ty, name));
    let last_needed = params.iter().rposition(needed);
    for (i, param) in params.iter().enumerate() {
        if rest(param) && i != last {
            mistakes.at(&param.ty, "`Rest` takes all remaining arguments and must be the last parameter");
        }
        if optional(param) && last_needed.is_some_and(|needed| i < needed) {
            mistakes.at(&param.ty, "an optional parameter cannot come before one that must be given");
        }
    }
}

/// Types that are certainly no optional parameters.
const NEEDED: &[&str] =
    &["bool", "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize", "f32", "f64", "String", "Vec"];

fn returns(output: &ReturnType, mistakes: &mut Mistakes) -> Option<Type> {
    let ReturnType::Type(_, ty) = output else { return None };
    match bare(ty) {
        Type::ImplTrait(_) => mistakes.at(ty, "`impl Trait` is generic: name the type"),
        Type::Never(_) => mistakes.at(ty, "a function that never returns cannot be exported"),
        ty => check_value(ty, mistakes),
    }
    Some((**ty).clone())
}

/// Returns a doc comment.
pub(crate) fn doc(attributes: &[syn::Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attributes.iter().filter(|attr| attr.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attr.meta
            && let Expr::Lit(literal) = &pair.value
            && let Lit::Str(text) = &literal.lit
        {
            let text = text.value();
            lines.push(text.strip_prefix(' ').unwrap_or(&text).trim_end().to_owned());
        }
    }
    lines.join("\n").trim().to_owned()
}
