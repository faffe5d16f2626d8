//! Checks the function's signature and sorts its parameters.

use quote::ToTokens;
use syn::{
    Expr, FnArg, GenericArgument, GenericParam, ItemFn, Lit, Meta, Pat, PathArguments, ReturnType, Token, Type,
    TypePath, TypeReference,
};

use crate::mistakes::Mistakes;

/// A function whose signature can be exported.
pub(crate) struct Signature {
    /// The context's type and whether it is taken mutably.
    pub(crate) context: Option<(Type, bool)>,
    /// Whether the running script is passed.
    pub(crate) script: bool,
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
    pub(crate) rest: bool,
}

pub(crate) fn signature(function: &ItemFn, mistakes: &mut Mistakes) -> Signature {
    let sig = &function.sig;
    if let Some(token) = &sig.asyncness {
        mistakes.at(token, "an async function cannot be exported: a script waits for its result");
    }
    if let Some(token) = &sig.unsafety {
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
        script: false,
        params: Vec::new(),
        returns: returns(&sig.output, mistakes),
        doc: doc(function),
    };
    for (position, input) in sig.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(receiver) => {
                mistakes.at(receiver, "a method cannot be exported; write a function that takes the context");
            }
            FnArg::Typed(input) => signature.parameter(position, &input.pat, bare(&input.ty), mistakes),
        }
    }
    check_order(&signature.params, mistakes);
    signature
}

impl Signature {
    fn parameter(&mut self, position: usize, pattern: &Pat, ty: &Type, mistakes: &mut Mistakes) {
        if let Some(context) = context(ty) {
            if position == 0 {
                check_context(&context.0, mistakes);
                self.context = Some(context);
            } else {
                mistakes
                    .at(ty, "the host's context comes first, and a script cannot pass a reference to anything else");
            }
            return;
        }
        if let Some(mutability) = script(ty) {
            if let Some(token) = mutability {
                mistakes.at(token, "the running script is shared: take it as `&Script<'_>`");
            }
            if self.script || !self.params.is_empty() {
                mistakes.at(ty, "`&Script<'_>` comes once, right after the context");
            }
            self.script = true;
            return;
        }
        let name = match pattern {
            Pat::Ident(ident) => ident.ident.to_string().trim_start_matches("r#").trim_start_matches('_').to_owned(),
            other => {
                mistakes.at(other, "name the parameter: scripts' error messages and the documentation show its name");
                return;
            }
        };
        check_param(ty, mistakes);
        self.params.push(Param { name, ty: ty.clone(), rest: is(ty, "Rest") });
    }
}

/// `&mut C`, or `&C` where `C` is no string, slice or script.
fn context(ty: &Type) -> Option<(Type, bool)> {
    let Type::Reference(TypeReference { elem, mutability, .. }) = ty else { return None };
    let (elem, mutable) = (bare(elem), mutability.is_some());
    match elem {
        Type::Path(_) if is(elem, "Script") => None,
        Type::Path(path) if !mutable && path.path.is_ident("str") => None,
        // Owned strings and lists behind a reference are a mistake of their own.
        Type::Path(_) if !mutable && ["String", "Vec", "ByteString", "Value"].iter().any(|name| is(elem, name)) => None,
        Type::Path(_) => Some((elem.clone(), mutable)),
        _ => None,
    }
}

/// `&Script`, with its `mut` if it has one.
fn script(ty: &Type) -> Option<Option<&Token![mut]>> {
    match ty {
        Type::Reference(reference) if is(&reference.elem, "Script") => Some(reference.mutability.as_ref()),
        _ => None,
    }
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
        Type::BareFn(_) => {
            mistakes.at(ty, "a script cannot pass a function; take the callback's name as `CallbackName<'_>`")
        }
        _ => check_value(ty, mistakes),
    }
}

/// What is wrong both as a parameter and as a result.
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
        if is(ty, name) {
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

fn check_order(params: &[Param], mistakes: &mut Mistakes) {
    let last = params.len().saturating_sub(1);
    let last_needed = params.iter().rposition(|p| !p.rest && !is(&p.ty, "Option"));
    for (i, param) in params.iter().enumerate() {
        if param.rest && i != last {
            mistakes.at(&param.ty, "`Rest` takes all remaining arguments and must be the last parameter");
        }
        if is(&param.ty, "Option") && last_needed.is_some_and(|needed| i < needed) {
            mistakes.at(&param.ty, "an optional parameter cannot come before one that must be given");
        }
    }
}

fn returns(output: &ReturnType, mistakes: &mut Mistakes) -> Option<Type> {
    let ReturnType::Type(_, ty) = output else { return None };
    match bare(ty) {
        Type::ImplTrait(_) => mistakes.at(ty, "`impl Trait` is generic: name the type"),
        Type::Never(_) => mistakes.at(ty, "a function that never returns cannot be exported"),
        ty => check_value(ty, mistakes),
    }
    Some((**ty).clone())
}

fn doc(function: &ItemFn) -> String {
    let mut lines = Vec::new();
    for attr in function.attrs.iter().filter(|attr| attr.path().is_ident("doc")) {
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
