//! Prints the function and its description.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{ItemFn, Lifetime, Path, Type};

use crate::mistakes::Mistakes;
use crate::parse::{self, Options};
use crate::validate::{self, Signature};

/// More parameters than this and only the generic entry is made; `Shape::MAX_PARAMS` in the core.
const MAX_TYPED: usize = 6;

pub(crate) fn export(options: TokenStream, function: ItemFn) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = parse::options(options, &mut mistakes);
    let signature = validate::signature(&function, options.krate.as_ref(), &mut mistakes);
    if let (Some(ty), Some(_)) = (&options.context, &signature.context) {
        mistakes.at(ty, "the context parameter already says whose it is; `context` is for functions without one");
    }
    if let (Some(flag), Some(_)) = (&options.blocking, &signature.script) {
        mistakes.at(flag, "a function that waits cannot call back into the script; take `&Script` or `blocking` away");
    }
    if let (Some(flag), true) = (&options.blocking, signature.is_async) {
        mistakes.at(flag, "an async function waits anyway; take `blocking` away");
    }
    match mistakes.into_tokens() {
        // The function itself stays, so that its callers do not add errors of their own.
        Some(errors) => quote!(#function #errors),
        None => {
            let ident = &function.sig.ident;
            let called = Called { path: quote!(#ident), receiver: None, member: None };
            let description = describe(&options, &function, &signature, &called);
            quote!(#function #description)
        }
    }
}

/// How an exported function is called, and what it is of a class.
pub(crate) struct Called {
    /// The path of the function, for a call.
    pub(crate) path: TokenStream,
    /// The class whose objects it takes, and whether it may change them.
    pub(crate) receiver: Option<(Type, bool)>,
    /// Its `ClassMember`.
    pub(crate) member: Option<TokenStream>,
}

pub(crate) fn describe(options: &Options, function: &ItemFn, signature: &Signature, called: &Called) -> TokenStream {
    let core = options.krate.as_ref().map_or_else(core_path, |path| quote!(#path));
    let cfgs = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    let module = options.module.as_ref().map(syn::LitStr::value).unwrap_or_default();
    let name = match &options.name {
        Some(name) => name.value(),
        None => function.sig.ident.unraw().to_string(),
    };
    let doc = &signature.doc;
    let since = option(options.since.as_ref());
    let capability = option(options.capability.as_ref());
    let deprecated = match &options.deprecated {
        Some((since, instead)) => {
            quote!(::core::option::Option::Some(#core::__private::Deprecated { since: #since, instead: #instead }))
        }
        None => quote!(::core::option::Option::None),
    };
    let callbacks = &options.callbacks;
    let cost = options.cost.as_ref().map_or_else(|| quote!(1u32), |cost| quote!(#cost as u32));
    let needs_context = signature.context.is_some();
    let argument_context = match &signature.context {
        Some((ty, _)) => quote!(#ty),
        None => quote!(#core::__private::NoContext),
    };
    let owner = options.context.as_ref().map_or_else(|| argument_context.clone(), |ty| quote!(#ty));
    let params = signature.params.iter().map(|param| {
        let (name, ty) = (&param.name, with_lifetimes(&param.ty, "'static"));
        let from = quote_spanned!(param.ty.span()=> <#ty as #core::__private::Parameter<'_>>);
        quote!(#core::__private::Param {
            name: #name, ty: #from::TYPE, optional: #from::OPTIONAL, variadic: #from::VARIADIC
        })
    });
    let receiver = called.receiver.as_ref().map(|(class, _)| {
        quote!(#core::__private::Param {
            name: "self",
            ty: <#core::__private::Handle<#class> as #core::__private::FromArg<'_>>::TYPE,
            optional: false,
            variadic: false,
        },)
    });
    let member = match &called.member {
        Some(member) => quote!(::core::option::Option::Some(#member)),
        None => quote!(::core::option::Option::None),
    };
    // Which of them must be given and which takes all the rest, their types know.
    let order = signature.params.iter().enumerate().take(signature.params.len().saturating_sub(1)).map(
        |(i, param)| quote_spanned!(place(&param.ty)=> const _: () = #core::__private::check_order(__KEMI_PARAMS, #i);),
    );
    let context_check = signature.context.as_ref().map(|(ty, mutable)| {
        let constant = if *mutable { quote!(UNIQUE) } else { quote!(SHARED) };
        quote_spanned!(place(ty)=> const _: () = {
            #[allow(unused_imports)]
            use #core::__private::AnyContext as _;
            #core::__private::check_context(<#core::__private::ContextProbe<#ty>>::#constant)
        };)
    });
    let result = result_type(signature);
    let returns = quote_spanned!(result.span()=> <#result as #core::__private::IntoRet>::RETURNS);
    let thunk = thunk(&core, signature, called, &argument_context);
    let blocking = options.blocking.is_some() || signature.is_async;
    // The typed entry is for functions that return at once: no engine looks there whether one waits.
    let typed = if blocking {
        quote!(::core::option::Option::None)
    } else {
        typed(&core, signature, called, &argument_context, &result)
    };

    quote! {
        #(#cfgs)*
        const _: () = {
            #thunk
            #context_check
            const __KEMI_PARAMS: &[#core::__private::Param] = &[#receiver #(#params),*];
            #(#order)*

            #[#core::__private::linkme::distributed_slice(#core::__private::EXPORTS)]
            #[linkme(crate = #core::__private::linkme)]
            static __KEMI_EXPORT: #core::__private::ExportDef = #core::__private::ExportDef {
                module: #module,
                name: #name,
                doc: #doc,
                params: __KEMI_PARAMS,
                returns: #returns,
                since: #since,
                deprecated: #deprecated,
                callbacks: &[#(#callbacks),*],
                cost: #cost,
                capability: #capability,
                member: #member,
                context: #core::__private::ContextType::of::<#owner>(),
                needs_context: #needs_context,
                blocking: #blocking,
                file: ::core::file!(),
                line: ::core::line!(),
                // SAFETY: what the exported function returns borrows from its own parameters or is static.
                thunk: unsafe { #core::__private::Thunk::new::<#argument_context>(__kemi_thunk) },
                typed: #typed,
            };
        };
    }
}

/// The generic entry: takes each argument out of the slice by its type.
fn thunk(core: &TokenStream, signature: &Signature, called: &Called, context: &TokenStream) -> TokenStream {
    let Called { path, receiver, .. } = called;
    let first = usize::from(receiver.is_some());
    let leading = leading_arguments(core, signature);
    let args = signature.params.iter().enumerate().map(|(i, param)| {
        let i = i + first;
        let ty = with_lifetimes(&param.ty, "'_");
        let call = Ident::new("__call", Span::call_site());
        quote_spanned!(param.ty.span()=> <#ty as #core::__private::Parameter<'_>>::take(#call, #i)?)
    });
    let object = receiver.as_ref().map(|_| quote!(__object,));
    let wait = signature.is_async.then(|| quote!(.await));
    let result = converted(core, signature, &quote!(#path(#object #(#leading,)* #(#args),*)#wait));
    let body = quote!(::core::result::Result::Ok(#core::__private::RawRet::into_ret(#result?)));
    let body = if signature.is_async {
        let slot = signature.context.as_ref().map(|_| quote!(let __slot = #core::__private::Slot::new(__cx);));
        quote! {
            #slot
            __call.wait(async { #body })
        }
    } else {
        body
    };
    let body = match receiver {
        Some((class, true)) => quote!(__call.on_object_mut::<#class>(|__object| { #body })),
        Some((class, false)) => quote!(__call.on_object::<#class>(|__object| { #body })),
        None => body,
    };
    quote! {
        #[allow(unused_variables, clippy::all, clippy::pedantic)]
        fn __kemi_thunk(
            __cx: &mut #context,
            __call: &#core::__private::Call<'_>,
        ) -> ::core::result::Result<#core::__private::Ret, ::std::boxed::Box<#core::__private::NativeError>> {
            #body
        }
    }
}

/// The typed entry, if the signature can have one.
fn typed(
    core: &TokenStream,
    signature: &Signature,
    called: &Called,
    context: &TokenStream,
    result: &Type,
) -> TokenStream {
    let none = quote!(::core::option::Option::None);
    if signature.script.is_some() {
        return none;
    }
    let Called { path, receiver, .. } = called;
    let first = usize::from(receiver.is_some());
    if signature.params.len() + first > MAX_TYPED {
        return none;
    }
    let leading = leading_arguments(core, signature);
    let names: Vec<Ident> = (0..signature.params.len()).map(|i| format_ident!("__a{i}")).collect();
    let raws: Vec<TokenStream> = signature
        .params
        .iter()
        .map(|param| {
            let ty = with_lifetimes(&param.ty, "'static");
            quote_spanned!(param.ty.span()=> <#ty as #core::__private::Parameter<'_>>::Raw)
        })
        .collect();
    let args = signature.params.iter().zip(&names).enumerate().map(|(i, (param, name))| {
        let i = i + first;
        let ty = with_lifetimes(&param.ty, "'_");
        quote_spanned! {param.ty.span()=>
            <#ty as #core::__private::Parameter<'_>>::from_raw(&#name)
                .map_err(|__mismatch| #core::__private::bad_argument(&__KEMI_EXPORT, #i, __mismatch))?
        }
    });
    let object = receiver.as_ref().map(|_| quote!(__object,));
    let call = converted(core, signature, &quote!(#path(#object #(#leading,)* #(#args),*)));
    let call = match receiver {
        Some((class, true)) => {
            quote!(#core::__private::on_raw_object_mut::<#class, _>(&__KEMI_EXPORT, __self, |__object| #call))
        }
        Some((class, false)) => {
            quote!(#core::__private::on_raw_object::<#class, _>(&__KEMI_EXPORT, __self, |__object| #call))
        }
        None => call,
    };
    let names: Vec<Ident> = receiver.iter().map(|_| format_ident!("__self")).chain(names.iter().cloned()).collect();
    let raws: Vec<TokenStream> = receiver.iter().map(|_| quote!(#core::__private::RawObject)).chain(raws).collect();
    let raw_result = quote_spanned!(result.span()=> <#result as #core::__private::IntoRet>::Raw);
    let new = format_ident!("new{}", names.len());
    // A function with a signature would repeat every error about a type that stands in it.
    quote! {{
        #[allow(unused_variables, clippy::all, clippy::pedantic)]
        let __typed = |__cx: &mut #context, #(#names),*| {
            #core::__private::RawRet::to_abi(#core::__private::caught(&__KEMI_EXPORT, || {
                #call
            }))
        };
        if #core::__private::has_shape(&[#(<#raws as #core::__private::RawArg>::KIND),*]) {
            // SAFETY: a panic is caught, and what the exported function returns borrows from its own parameters or is
            // static.
            ::core::option::Option::Some(unsafe {
                #core::__private::Typed::#new::<#context, #(#raws,)* #raw_result>(__typed)
            })
        } else {
            #none
        }
    }}
}

/// Calls the function and converts what it returns; an error that can be kept is kept.
fn converted(core: &TokenStream, signature: &Signature, call: &TokenStream) -> TokenStream {
    let span = signature.returns.as_ref().map_or_else(Span::call_site, Spanned::span);
    quote_spanned! {span=> {
        #[allow(unused_imports)]
        use #core::__private::{KeepsError as _, TakesText as _};
        let __result = #call;
        <_ as #core::__private::IntoRet>::into_raw((&#core::__private::result(&__result)).way().keep(__result))
    }}
}

fn leading_arguments(core: &TokenStream, signature: &Signature) -> Vec<TokenStream> {
    let mut leading = Vec::new();
    match &signature.context {
        Some(_) if signature.is_async => leading.push(quote!(__slot.lent())),
        Some((_, true)) => leading.push(quote!(__cx)),
        Some((_, false)) => leading.push(quote!(&*__cx)),
        None => {}
    }
    if let Some(ty) = &signature.script {
        let running = with_lifetimes(ty, "'_");
        leading.push(quote_spanned! {place(ty)=>
            <#running as #core::__private::RunningScript<'_>>::of(__call.script)
        });
    }
    leading
}

fn result_type(signature: &Signature) -> Type {
    match &signature.returns {
        Some(ty) => with_lifetimes(ty, "'static"),
        None => syn::parse_quote!(()),
    }
}

/// Replaces every lifetime but `'static`, and gives references that have none this one.
fn with_lifetimes(ty: &Type, lifetime: &str) -> Type {
    struct Replace(Lifetime);
    impl VisitMut for Replace {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                *lifetime = self.0.clone();
            }
        }

        fn visit_type_reference_mut(&mut self, reference: &mut syn::TypeReference) {
            if reference.lifetime.is_none() {
                reference.lifetime = Some(self.0.clone());
            }
            syn::visit_mut::visit_type_reference_mut(self, reference);
        }
    }
    let mut ty = ty.clone();
    Replace(Lifetime::new(lifetime, Span::call_site())).visit_type_mut(&mut ty);
    ty
}

/// Where errors about a type point to; names resolve as in the rest of the expansion, also if a `macro_rules!` was
/// given the type from outside.
fn place(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

fn option(text: Option<&syn::LitStr>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}

/// Finds the crate that has the types, under whatever name the user's `Cargo.toml` gives it.
pub(crate) fn core_path() -> TokenStream {
    for (package, own_name) in [("kemi-core", "kemi_core"), ("kemi", "kemi")] {
        let name = match crate_name(package) {
            Ok(FoundCrate::Itself) => own_name.to_owned(),
            Ok(FoundCrate::Name(name)) => name,
            Err(_) => continue,
        };
        let ident = Ident::new(&name, Span::call_site());
        return quote!(::#ident);
    }
    let fallback: Path = syn::parse_quote!(::kemi_core);
    quote!(#fallback)
}
