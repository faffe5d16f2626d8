//! `#[kemi_export]` on an `impl` block: a class of the host.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{FnArg, ImplItem, ImplItemConst, ImplItemFn, ItemFn, ItemImpl, LitStr, Path, Receiver, ReceiverKind, Type};

use crate::constant;
use crate::expand::{self, Called, core_path};
use crate::mistakes::Mistakes;
use crate::parse::{self, MemberOptions, Options, RoleOption};
use crate::validate::{self, doc};

pub(crate) fn export(options: TokenStream, mut item: ItemImpl) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = parse::options(options, &mut mistakes);
    constant::refuse_options_of_functions(&options, &mut mistakes);
    let class = Class::new(&options, &item, &mut mistakes);
    let mut described = Vec::new();
    for member in &mut item.items {
        match member {
            ImplItem::Fn(function) => {
                let member = parse::member(&function.attrs, &mut mistakes);
                constant::strip(&mut function.attrs);
                described.extend(class.function(function, member, &mut mistakes));
            }
            ImplItem::Const(constant) => {
                let member = parse::member(&constant.attrs, &mut mistakes);
                constant::strip(&mut constant.attrs);
                described.extend(class.constant(constant, member, &mut mistakes));
            }
            _ => {}
        }
    }
    match mistakes.into_tokens() {
        Some(errors) => quote!(#item #errors),
        None => {
            let class = class.describe(&item);
            quote!(#item #class #(#described)*)
        }
    }
}

/// A class, as its members see it.
struct Class {
    core: TokenStream,
    krate: Option<Path>,
    /// The type.
    ty: Type,
    name: String,
    module: String,
    /// The module of its members.
    path: LitStr,
    context: Option<Type>,
}

impl Class {
    fn new(options: &Options, item: &ItemImpl, mistakes: &mut Mistakes) -> Class {
        if let Some((of, _)) = &item.trait_ {
            mistakes.at(of, "the methods of a class stand in an `impl` block of its own, not in that of a trait");
        }
        if !item.generics.params.is_empty() {
            mistakes.at(&item.generics, "a class is one type: a generic one cannot be exported");
        }
        let ident = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.unraw().to_string()),
            _ => None,
        };
        if ident.is_none() {
            mistakes.at(&item.self_ty, "a class is a type of the host: a struct or an enum");
        }
        let name = options.name.as_ref().map_or_else(|| ident.unwrap_or_default(), LitStr::value);
        let module = options.module.as_ref().map(LitStr::value).unwrap_or_default();
        let path = if module.is_empty() { name.clone() } else { format!("{module}.{name}") };
        Class {
            core: options.krate.as_ref().map_or_else(core_path, |path| quote!(#path)),
            krate: options.krate.clone(),
            ty: (*item.self_ty).clone(),
            name,
            module,
            path: LitStr::new(&path, proc_macro2::Span::call_site()),
            context: options.context.clone(),
        }
    }

    fn describe(&self, item: &ItemImpl) -> TokenStream {
        let Class { core, ty, name, module, path, .. } = self;
        let doc = doc(&item.attrs);
        quote! {
            impl #core::__private::ObjectClass for #ty {
                const CLASS: &'static #core::__private::Class = &#core::__private::Class {
                    name: #name,
                    module: #module,
                    path: #path,
                    doc: #doc,
                    ty: ::core::any::TypeId::of::<#ty>(),
                    file: ::core::file!(),
                    line: ::core::line!(),
                };
            }
            impl #core::__private::IntoValue for #ty {
                const ELEMENT: #core::__private::Type =
                    #core::__private::Type::Object(<#ty as #core::__private::ObjectClass>::CLASS);
                fn into_value(
                    self,
                ) -> ::core::result::Result<#core::Value, ::std::boxed::Box<#core::__private::NativeError>> {
                    ::core::result::Result::Ok(#core::Value::Object(#core::__private::Handle::new(self).into_object()))
                }
            }
            #core::owned_result!(#ty);
            const _: () = {
                #[#core::__private::linkme::distributed_slice(#core::__private::CLASSES)]
                #[linkme(crate = #core::__private::linkme)]
                static __KEMI_CLASS: &#core::__private::Class = <#ty as #core::__private::ObjectClass>::CLASS;
            };
        }
    }

    /// Describes a constant of the class.
    fn constant(&self, item: &ImplItemConst, member: MemberOptions, mistakes: &mut Mistakes) -> Option<TokenStream> {
        if member.skip {
            return None;
        }
        if let Some((word, _)) = &member.role {
            mistakes.at(word, "a constant is read by its name; this option is for functions");
        }
        constant::refuse_options_of_functions(&member.options, mistakes);
        let mut options = self.of_class(member.options);
        options.context = options.context.or_else(|| self.context.clone());
        let Class { core, ty, .. } = self;
        let ident = &item.ident;
        let value = quote!(#core::__private::IntoValue::into_value(<#ty>::#ident));
        Some(constant::describe(core, &options, ident, &doc(&item.attrs), &value))
    }

    /// Describes a function of the class.
    fn function(&self, item: &ImplItemFn, member: MemberOptions, mistakes: &mut Mistakes) -> Option<TokenStream> {
        if member.skip {
            return None;
        }
        let mut function = ItemFn {
            attrs: item.attrs.clone(),
            vis: item.vis.clone(),
            modifiers: item.modifiers.clone(),
            sig: item.sig.clone(),
            block: Box::new(item.block.clone()),
        };
        let receiver = function.sig.receiver().cloned();
        if receiver.is_some() {
            function.sig.inputs = function.sig.inputs.iter().skip(1).cloned().collect();
        }
        // Outside of the block `Self` means nothing.
        ReplaceSelf(&self.ty).visit_signature_mut(&mut function.sig);
        let mut options = self.of_class(member.options);
        let signature = validate::signature(&function, self.krate.as_ref(), mistakes);
        if signature.context.is_none() {
            options.context = options.context.or_else(|| self.context.clone());
        } else if let Some(context) = &options.context {
            mistakes
                .at(context, "the context parameter already says whose it is; `context` is for functions without one");
        }
        if let (Some(flag), Some(_)) = (&options.blocking, &signature.script) {
            mistakes
                .at(flag, "a function that waits cannot call back into the script; take `&Script` or `blocking` away");
        }
        if let (Some(token), Some(_)) = (&item.sig.asyncness, &receiver) {
            mistakes.at(token, "an async function of an object would keep it in use while it waits: take its `Handle` instead of `self`");
        }
        if let (Some(flag), true) = (&options.blocking, signature.is_async) {
            mistakes.at(flag, "an async function waits anyway; take `blocking` away");
        }
        let ident = &item.sig.ident;
        let role = self.role(ident, member.role.as_ref(), receiver.as_ref(), &signature, mistakes);
        let (core, ty) = (&self.core, &self.ty);
        let called = Called {
            path: quote!(<#ty>::#ident),
            receiver: receiver.as_ref().and_then(|receiver| self.receiver(receiver, mistakes)),
            member: Some(quote!(#core::__private::ClassMember {
                class: <#ty as #core::__private::ObjectClass>::CLASS,
                role: #role,
            })),
        };
        Some(expand::describe(&options, &function, &signature, &called))
    }

    /// Completes the options of a member by those of the class.
    fn of_class(&self, options: Options) -> Options {
        Options { module: Some(self.path.clone()), krate: self.krate.clone(), ..options }
    }

    /// Returns the class and whether the method changes its object.
    fn receiver(&self, receiver: &Receiver, mistakes: &mut Mistakes) -> Option<(Type, bool)> {
        let ReceiverKind::Reference(_, _, mutable) = &receiver.kind else {
            mistakes
                .at(receiver, "take `&self` or `&mut self`: scripts hold handles of the object, and the host keeps it");
            return None;
        };
        Some((self.ty.clone(), mutable.is_some()))
    }

    /// Returns the `Role` of a function.
    fn role(
        &self,
        ident: &Ident,
        role: Option<&(Ident, RoleOption)>,
        receiver: Option<&Receiver>,
        signature: &validate::Signature,
        mistakes: &mut Mistakes,
    ) -> TokenStream {
        let core = &self.core;
        let Some((word, role)) = role else {
            return match receiver {
                Some(_) => quote!(#core::__private::Role::Method),
                None => quote!(#core::__private::Role::Static),
            };
        };
        if receiver.is_none() {
            mistakes.at(word, format!("`{word}` is for functions with `&self` or `&mut self`"));
        }
        let name = ident.unraw().to_string();
        let (arguments, role) = match role {
            RoleOption::Getter(property) => {
                let property = property.as_ref().map_or(name, LitStr::value);
                (Some(0), quote!(Getter(#property)))
            }
            RoleOption::Setter(property) => {
                let own = name.strip_prefix("set_").map(str::to_owned);
                if own.is_none() && property.is_none() {
                    mistakes.at(ident, "name the property: `set = \"name\"`, or call the function `set_name`");
                }
                let property = property.as_ref().map(LitStr::value).or(own).unwrap_or_default();
                (Some(1), quote!(Setter(#property)))
            }
            RoleOption::Operator(variant, arguments) => {
                let variant = Ident::new(variant, word.span());
                (*arguments, quote!(Operator(#core::__private::Operator::#variant)))
            }
        };
        if let Some(arguments) = arguments.filter(|arguments| *arguments != signature.params.len()) {
            let s = if arguments == 1 { "" } else { "s" };
            mistakes.at(word, format!("`{word}` takes {arguments} argument{s} beside `self` and the context"));
        }
        quote!(#core::__private::Role::#role)
    }
}

/// Writes a type where `Self` stands for it.
struct ReplaceSelf<'a>(&'a Type);

impl VisitMut for ReplaceSelf<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(path) = ty
            && path.qself.is_none()
            && path.path.is_ident("Self")
        {
            *ty = self.0.clone();
            return;
        }
        syn::visit_mut::visit_type_mut(self, ty);
    }

    fn visit_fn_arg_mut(&mut self, argument: &mut FnArg) {
        if let FnArg::Typed(typed) = argument {
            self.visit_type_mut(&mut typed.ty);
        }
    }
}
