//! `#[derive(Value)]`: a host's type as a value of scripts.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Field, Fields, LitStr, Path, Type};

use crate::expand::core_path;
use crate::mistakes::Mistakes;
use crate::rename::Rule;
use crate::validate::doc;

/// The options of a type: `#[kemi(…)]` above it.
#[derive(Default)]
struct TypeOptions {
    rename: Option<LitStr>,
    rename_all: Option<Rule>,
    open: bool,
    krate: Option<Path>,
}

/// The options of a field or variant.
#[derive(Default)]
struct MemberOptions {
    rename: Option<LitStr>,
    /// `default` alone, or with a function.
    default: Option<Option<Path>>,
}

pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = type_options(&input.attrs, &mut mistakes);
    if let Some(param) = input.generics.params.first() {
        mistakes.at(param, "a type with parameters cannot be derived: scripts see one type, which owns what it holds");
    }
    let expansion = body(input, &options, &mut mistakes);
    mistakes.into_tokens().unwrap_or(expansion)
}

fn body(input: &DeriveInput, options: &TypeOptions, mistakes: &mut Mistakes) -> TokenStream {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => structure(input, options, &fields.named.iter().collect::<Vec<_>>(), mistakes),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => match fields.unnamed.first() {
                Some(field) => newtype(input, options, &field.ty),
                None => TokenStream::new(),
            },
            other => {
                mistakes.at(if other.is_empty() { quote!(#input) } else { quote!(#other) }, STRUCT);
                TokenStream::new()
            }
        },
        Data::Enum(data) => enumeration(input, options, &data.variants.iter().collect::<Vec<_>>(), mistakes),
        Data::Union(data) => {
            mistakes.at(data.union_token, "a union cannot be a value of scripts");
            TokenStream::new()
        }
    }
}

const STRUCT: &str = "a struct with named fields is a map in scripts, and one with a single unnamed field is what that is; \
                      give the fields names, or use `Serde<T>`";

const VARIANT: &str =
    "a variant has no fields, one unnamed field, or named fields; give the fields names, or use `Serde<T>`";

/// What all expansions name.
struct Paths {
    core: TokenStream,
    private: TokenStream,
}

impl Paths {
    fn new(options: &TypeOptions) -> Paths {
        let core = options.krate.as_ref().map_or_else(core_path, |path| quote!(#path));
        let private = quote!(#core::__private);
        Paths { core, private }
    }
}

/// The implementations that every derived type has, around the parts that differ.
fn implementation(
    paths: &Paths,
    name: &Ident,
    statics: &TokenStream,
    ty: &TokenStream,
    from_arg: &TokenStream,
    into_value: &TokenStream,
) -> TokenStream {
    let Paths { core, private } = paths;
    quote! {
        const _: () = {
            #statics

            #[automatically_derived]
            impl<'__a> #private::FromArg<'__a> for #name {
                const TYPE: #private::Type = #ty;
                type Raw = #private::Ret;

                fn from_arg(
                    __arg: &#core::Arg<'__a>,
                ) -> ::core::result::Result<Self, #private::Mismatch> {
                    #from_arg
                }

                fn from_raw(
                    __raw: &'__a #private::Ret,
                ) -> ::core::result::Result<Self, #private::Mismatch> {
                    <Self as #private::FromArg<'__a>>::from_arg(&#private::arg_of(__raw))
                }
            }

            #[automatically_derived]
            impl #private::IntoValue for #name {
                const ELEMENT: #private::Type = #ty;

                fn into_value(
                    self,
                ) -> ::core::result::Result<#core::Value, ::std::boxed::Box<#private::NativeError>> {
                    #into_value
                }
            }

            #core::owned_result!(#name);
        };
    }
}

/// A struct with one unnamed field: what that is.
fn newtype(input: &DeriveInput, options: &TypeOptions, field: &Type) -> TokenStream {
    let paths = Paths::new(options);
    let private = &paths.private;
    implementation(
        &paths,
        &input.ident,
        &TokenStream::new(),
        &quote_spanned!(field.span()=> <#field as #private::FromArg<'static>>::TYPE),
        &quote!(<#field as #private::FromArg<'__a>>::from_arg(__arg).map(Self)),
        &quote!(#private::IntoValue::into_value(self.0)),
    )
}

/// A struct with named fields: a map.
fn structure(input: &DeriveInput, options: &TypeOptions, fields: &[&Field], mistakes: &mut Mistakes) -> TokenStream {
    let paths = Paths::new(options);
    let private = &paths.private;
    let keys = Keys::read(fields, options.rename_all, mistakes);
    let schema = keys.schema(&paths, &type_name(input, options), &doc(&input.attrs));
    let (read, names, write) = (keys.read_all(private), keys.names(), keys.write_all());
    let open = options.open;
    implementation(
        &paths,
        &input.ident,
        &quote!(static __SCHEMA: #private::StructType = #schema;),
        &quote!(#private::Type::Struct(&__SCHEMA)),
        &quote! {
            let __fields = #private::Fields::of(__arg, &__SCHEMA, #open)?;
            ::core::result::Result::Ok(Self { #read })
        },
        &quote! {
            let Self { #(#names),* } = self;
            ::core::result::Result::Ok(#private::MapBuilder::new()#write.build())
        },
    )
}

/// An enum: the name of a variant, or a map from it to what it carries.
fn enumeration(
    input: &DeriveInput,
    options: &TypeOptions,
    variants: &[&syn::Variant],
    mistakes: &mut Mistakes,
) -> TokenStream {
    let paths = Paths::new(options);
    let private = &paths.private;
    if variants.is_empty() {
        mistakes.at(&input.ident, "an enum without variants has no value");
    }
    let mut statics = TokenStream::new();
    let (mut described, mut readers, mut writers) = (Vec::new(), Vec::new(), Vec::new());
    for (i, variant) in variants.iter().enumerate() {
        let ident = &variant.ident;
        let name = member_name(ident, &member_options(&variant.attrs, mistakes), options.rename_all);
        let documentation = doc(&variant.attrs);
        let bytes = syn::LitByteStr::new(name.as_bytes(), ident.span());
        let mut describe = |ty: &TokenStream| {
            described.push(quote!(#private::Variant { name: #name, doc: #documentation, ty: #ty }));
        };
        match &variant.fields {
            Fields::Unit => {
                describe(&quote!(::core::option::Option::None));
                readers.push(quote!(#bytes => __variant.bare().map(|()| Self::#ident)));
                writers.push(quote!(Self::#ident => #private::IntoValue::into_value(#name)));
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let ty = fields.unnamed.first().map(|field| &field.ty);
                describe(&quote!(::core::option::Option::Some(|| <#ty as #private::FromArg<'static>>::TYPE)));
                readers.push(quote!(#bytes => __variant.content::<#ty>().map(Self::#ident)));
                writers.push(quote! {
                    Self::#ident(__content) => {
                        #private::IntoValue::into_value(__content).map(|__content| #private::carrying(#name, __content))
                    }
                });
            }
            Fields::Named(fields) => {
                let keys = Keys::read(&fields.named.iter().collect::<Vec<_>>(), None, mistakes);
                let (own, schema) = (format_ident!("__SCHEMA{i}"), keys.schema(&paths, &name, &documentation));
                let (read, names, write) = (keys.read_all(private), keys.names(), keys.write_all());
                statics.extend(quote!(static #own: #private::StructType = #schema;));
                describe(&quote!(::core::option::Option::Some(|| #private::Type::Struct(&#own))));
                readers.push(quote! {
                    #bytes => {
                        let __fields = __variant.fields(&#own)?;
                        (|| ::core::result::Result::Ok(Self::#ident { #read }))()
                            .map_err(|__mismatch| __variant.within(__mismatch))
                    }
                });
                writers.push(quote! {
                    Self::#ident { #(#names),* } => ::core::result::Result::Ok(
                        #private::carrying(#name, #private::MapBuilder::new()#write.build())
                    )
                });
            }
            Fields::Unnamed(fields) => mistakes.at(fields, VARIANT),
        }
    }
    let (name, documentation) = (type_name(input, options), doc(&input.attrs));
    statics.extend(quote! {
        static __SCHEMA: #private::EnumType = #private::EnumType {
            name: #name, doc: #documentation, variants: &[#(#described),*],
        };
    });
    implementation(
        &paths,
        &input.ident,
        &statics,
        &quote!(#private::Type::Enum(&__SCHEMA)),
        &quote! {
            let __variant = #private::Named::of(__arg, &__SCHEMA)?;
            match __variant.name {
                #(#readers,)*
                _ => ::core::result::Result::Err(__variant.unknown()),
            }
        },
        &quote!(match self { #(#writers),* }),
    )
}

/// A named field with its key in scripts.
struct Key<'f> {
    ident: &'f Ident,
    ty: &'f Type,
    name: String,
    doc: String,
    /// `default` alone, or with a function.
    default: Option<Option<Path>>,
}

/// The named fields of a struct or variant.
struct Keys<'f>(Vec<Key<'f>>);

impl<'f> Keys<'f> {
    fn read(fields: &[&'f Field], rule: Option<Rule>, mistakes: &mut Mistakes) -> Keys<'f> {
        let keys = fields.iter().filter_map(|field| {
            let ident = field.ident.as_ref()?;
            let options = member_options(&field.attrs, mistakes);
            let name = member_name(ident, &options, rule);
            Some(Key { ident, ty: &field.ty, name, doc: doc(&field.attrs), default: options.default })
        });
        let keys = Keys(keys.collect());
        for (i, key) in keys.0.iter().enumerate() {
            if keys.0.iter().take(i).any(|earlier| earlier.name == key.name) {
                mistakes.at(key.ident, format!("two fields have the key `{}` in scripts", key.name));
            }
        }
        keys
    }

    fn schema(&self, paths: &Paths, name: &str, documentation: &str) -> TokenStream {
        let private = &paths.private;
        let fields = self.0.iter().map(|Key { ty, name: key, doc, default, .. }| {
            let from = quote_spanned!(ty.span()=> <#ty as #private::FromArg<'static>>);
            let optional = if default.is_some() { quote!(true) } else { quote!(#from::OPTIONAL) };
            quote!(#private::Field { name: #key, doc: #doc, ty: || #from::TYPE, optional: #optional })
        });
        quote!(#private::StructType { name: #name, doc: #documentation, fields: &[#(#fields),*] })
    }

    fn read_all(&self, private: &TokenStream) -> TokenStream {
        let fields = self.0.iter().map(|Key { ident, ty, name: key, default, .. }| match default {
            None => quote_spanned!(ty.span()=> #ident: #private::Fields::required::<#ty>(&__fields, #key)?),
            Some(None) => {
                quote_spanned!(ty.span()=> #ident: __fields.or::<#ty>(#key, ::core::default::Default::default)?)
            }
            Some(Some(path)) => quote_spanned!(ty.span()=> #ident: __fields.or::<#ty>(#key, #path)?),
        });
        quote!(#(#fields),*)
    }

    fn names(&self) -> Vec<&Ident> {
        self.0.iter().map(|key| key.ident).collect()
    }

    fn write_all(&self) -> TokenStream {
        let fields = self.0.iter().map(|Key { ident, name: key, .. }| quote!(.with(#key, #ident)?));
        quote!(#(#fields)*)
    }
}

fn type_name(input: &DeriveInput, options: &TypeOptions) -> String {
    options.rename.as_ref().map_or_else(|| input.ident.unraw().to_string(), LitStr::value)
}

fn member_name(ident: &Ident, options: &MemberOptions, rule: Option<Rule>) -> String {
    let own = ident.unraw().to_string();
    match (&options.rename, rule) {
        (Some(name), _) => name.value(),
        (None, Some(rule)) => rule.apply(&own),
        (None, None) => own,
    }
}

/// Returns the names of an enum's variants: in Rust, and in scripts. `None` if one of them carries something.
pub(crate) fn unit_variants(input: &syn::ItemEnum, mistakes: &mut Mistakes) -> Vec<(Ident, String)> {
    let mut unused = Mistakes::default();
    let options = type_options(&input.attrs, &mut unused);
    let mut names = Vec::new();
    for variant in &input.variants {
        if !matches!(variant.fields, Fields::Unit) {
            mistakes.at(&variant.fields, "an enum is a name space of constants in scripts: its variants carry nothing");
        }
        let member = member_options(&variant.attrs, &mut unused);
        names.push((variant.ident.clone(), member_name(&variant.ident, &member, options.rename_all)));
    }
    names
}

fn type_options(attributes: &[Attribute], mistakes: &mut Mistakes) -> TypeOptions {
    let mut options = TypeOptions::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kemi")) {
        let read = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                options.rename = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("rename_all") {
                let rule: LitStr = meta.value()?.parse()?;
                options.rename_all = Some(Rule::named(&rule.value()).ok_or_else(|| {
                    syn::Error::new_spanned(&rule, format!("unknown rule; known are: {}", Rule::names()))
                })?);
            } else if meta.path.is_ident("allow_unknown") {
                options.open = true;
            } else if meta.path.is_ident("crate") {
                options.krate = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("unknown option; a type has `rename`, `rename_all`, `allow_unknown`, `crate`"));
            }
            Ok(())
        });
        if let Err(error) = read {
            mistakes.push(error);
        }
    }
    options
}

fn member_options(attributes: &[Attribute], mistakes: &mut Mistakes) -> MemberOptions {
    let mut options = MemberOptions::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kemi")) {
        let read = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                options.rename = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("default") {
                options.default = Some(match meta.value() {
                    Ok(value) => match value.parse()? {
                        Expr::Path(path) => Some(path.path),
                        other => {
                            let what = "a default is the path of a function: `default = Duration::default`";
                            return Err(syn::Error::new_spanned(other, what));
                        }
                    },
                    Err(_) => None,
                });
            } else {
                return Err(meta.error("unknown option; a field has `rename` and `default`, a variant `rename`"));
            }
            Ok(())
        });
        if let Err(error) = read {
            mistakes.push(error);
        }
    }
    options
}
