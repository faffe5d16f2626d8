//! `#[kemi_export]` on constants and enums.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{ItemConst, ItemEnum, LitStr};

use crate::derive;
use crate::expand::core_path;
use crate::mistakes::Mistakes;
use crate::parse::{self, Options};
use crate::rename::Rule;
use crate::validate::doc;

pub(crate) fn export_const(options: TokenStream, item: &ItemConst) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = parse::options(options, &mut mistakes);
    refuse_options_of_functions(&options, &mut mistakes);
    if let Some(errors) = mistakes.into_tokens() {
        return quote!(#item #errors);
    }
    let core = options.krate.as_ref().map_or_else(core_path, |path| quote!(#path));
    let ident = &item.ident;
    let value = quote!(#core::__private::IntoValue::into_value(#ident));
    let described = describe(&core, &options, ident, &doc(&item.attrs), &value);
    quote!(#item #described)
}

pub(crate) fn export_enum(options: TokenStream, item: ItemEnum) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = parse::options(options, &mut mistakes);
    refuse_options_of_functions(&options, &mut mistakes);
    let variants = derive::unit_variants(&item, &mut mistakes);
    if let Some(errors) = mistakes.into_tokens() {
        return quote!(#item #errors);
    }
    let core = options.krate.as_ref().map_or_else(core_path, |path| quote!(#path));
    let entries = variants.iter().map(|(ident, name)| {
        let constant = Rule::ScreamingSnake.apply(&ident.unraw().to_string());
        quote!(.with(#constant, #name)?)
    });
    let value = quote!(::core::result::Result::Ok(#core::__private::MapBuilder::new()#(#entries)*.build()));
    let described = describe(&core, &options, &item.ident, &doc(&item.attrs), &value);
    // The attributes `#[kemi(…)]` are the derive's.
    let derived = derive::expand(&syn::DeriveInput::from(item.clone()));
    let mut item = item;
    strip(&mut item.attrs);
    item.variants.iter_mut().for_each(|variant| strip(&mut variant.attrs));
    quote!(#item #described #derived)
}

pub(crate) fn strip(attributes: &mut Vec<syn::Attribute>) {
    attributes.retain(|attribute| !attribute.path().is_ident("kemi"));
}

pub(crate) fn describe(
    core: &TokenStream,
    options: &Options,
    ident: &Ident,
    documentation: &str,
    value: &TokenStream,
) -> TokenStream {
    let module = options.module.as_ref().map(LitStr::value).unwrap_or_default();
    let name = options.name.as_ref().map_or_else(|| ident.unraw().to_string(), LitStr::value);
    let context = match &options.context {
        Some(ty) => quote!(#ty),
        None => quote!(#core::__private::NoContext),
    };
    quote! {
        const _: () = {
            fn __value() -> ::core::result::Result<#core::Value, ::std::boxed::Box<#core::__private::NativeError>> {
                #value
            }

            #[#core::__private::linkme::distributed_slice(#core::__private::CONSTANTS)]
            #[linkme(crate = #core::__private::linkme)]
            static __KEMI_CONSTANT: #core::__private::ConstantDef = #core::__private::ConstantDef {
                module: #module,
                name: #name,
                doc: #documentation,
                value: __value,
                context: #core::__private::ContextType::of::<#context>(),
                file: ::core::file!(),
                line: ::core::line!(),
            };
        };
    }
}

pub(crate) fn refuse_options_of_functions(options: &Options, mistakes: &mut Mistakes) {
    let what = "a constant has `module`, `name`, `context` and `crate`; this option is for functions";
    if let Some(since) = &options.since {
        mistakes.at(since, what);
    }
    if let Some((since, _)) = &options.deprecated {
        mistakes.at(since, what);
    }
    if let Some(route) = options.callbacks.first() {
        mistakes.at(route, what);
    }
    if let Some(cost) = &options.cost {
        mistakes.at(cost, what);
    }
    if let Some(capability) = &options.capability {
        mistakes.at(capability, what);
    }
    if let Some(blocking) = &options.blocking {
        mistakes.at(blocking, what);
    }
}
