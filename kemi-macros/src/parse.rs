//! Reads the attribute's options and the function below it.

use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ItemConst, ItemEnum, ItemFn, ItemImpl, Lit, LitInt, LitStr, Path, Token, Type};

use crate::mistakes::Mistakes;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) module: Option<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) since: Option<LitStr>,
    pub(crate) deprecated: Option<(LitStr, LitStr)>,
    pub(crate) callbacks: Vec<LitStr>,
    pub(crate) cost: Option<LitInt>,
    pub(crate) blocking: Option<Ident>,
    pub(crate) capability: Option<LitStr>,
    pub(crate) context: Option<Type>,
    pub(crate) krate: Option<Path>,
}

const KNOWN: &str = "module, name, since, deprecated, callbacks, cost, blocking, capability, context, crate";

/// An item that can be exported.
pub(crate) enum Exported {
    Function(Box<ItemFn>),
    Constant(Box<ItemConst>),
    Enum(Box<ItemEnum>),
    Class(Box<ItemImpl>),
}

/// Reads the item.
///
/// # Errors
/// The expansion of a mistake: the item as it is, so that its users add no errors of their own, and the mistake.
pub(crate) fn item(tokens: TokenStream) -> Result<Exported, TokenStream> {
    match syn::parse2::<syn::Item>(tokens.clone()) {
        Ok(syn::Item::Const(item)) => return Ok(Exported::Constant(Box::new(item))),
        Ok(syn::Item::Enum(item)) => return Ok(Exported::Enum(Box::new(item))),
        Ok(syn::Item::Impl(item)) => return Ok(Exported::Class(Box::new(item))),
        _ => {}
    }
    syn::parse2(tokens.clone()).map(|function| Exported::Function(Box::new(function))).map_err(|error| {
        let what = "#[kemi_export] goes on a function with a body, a constant, an enum or an `impl` block";
        // The parser's own message points into the middle of whatever the item is; the item itself is the mistake.
        match syn::parse2::<syn::Item>(tokens) {
            Ok(item) => {
                let error = syn::Error::new_spanned(first_token(&item), what).to_compile_error();
                quote::quote!(#item #error)
            }
            Err(_) => error.to_compile_error(),
        }
    })
}

fn first_token(item: &syn::Item) -> TokenStream {
    quote::quote!(#item).into_iter().take(1).collect()
}

/// Reads the options; every mistake is noted, the sound ones are kept.
pub(crate) fn options(tokens: TokenStream, mistakes: &mut Mistakes) -> Options {
    let mut options = Options::default();
    let mut seen: Vec<String> = Vec::new();
    let entries = match Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(entries) => entries,
        Err(error) => {
            mistakes.push(error);
            // The rest cannot be read; an absent module would be a second message for the same mistake.
            options.module = Some(LitStr::new("", Span::call_site()));
            return options;
        }
    };
    for entry in entries {
        let key = entry.key.unraw().to_string();
        if seen.contains(&key) {
            mistakes.at(&entry.key, format!("option `{key}` is given twice"));
            continue;
        }
        options.set(&key, &entry, mistakes);
        seen.push(key);
    }
    if !seen.iter().any(|key| key == "module") {
        mistakes.push(syn::Error::new(
            Span::call_site(),
            "#[kemi_export] needs `module = \"name\"`; use `module = \"\"` for the root object",
        ));
    }
    options
}

/// The use that scripts make of a function of a class.
pub(crate) enum RoleOption {
    Getter(Option<LitStr>),
    Setter(Option<LitStr>),
    /// The operator's variant in `kemi_core::export::Operator`, and how many arguments it has beside the object, if that is known.
    Operator(&'static str, Option<usize>),
}

/// What `#[kemi(…)]` says of a member of a class.
#[derive(Default)]
pub(crate) struct MemberOptions {
    pub(crate) options: Options,
    /// The role, with the word that names it.
    pub(crate) role: Option<(Ident, RoleOption)>,
    /// It is the host's alone.
    pub(crate) skip: bool,
}

const KNOWN_OF_MEMBER: &str = "get, set, call, index, set_index, length, equal, text, skip, name, since, deprecated, callbacks, \
                               cost, blocking, capability, context";

/// Reads the options of a member of a class.
pub(crate) fn member(attributes: &[Attribute], mistakes: &mut Mistakes) -> MemberOptions {
    let mut member = MemberOptions::default();
    let mut seen: Vec<String> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kemi")) {
        let entries = match attribute.parse_args_with(Punctuated::<Entry, Token![,]>::parse_terminated) {
            Ok(entries) => entries,
            Err(error) => {
                mistakes.push(error);
                continue;
            }
        };
        for entry in entries {
            let key = entry.key.unraw().to_string();
            if seen.contains(&key) {
                mistakes.at(&entry.key, format!("option `{key}` is given twice"));
                continue;
            }
            member.set(&key, &entry, mistakes);
            seen.push(key);
        }
    }
    member
}

impl MemberOptions {
    fn set(&mut self, key: &str, entry: &Entry, mistakes: &mut Mistakes) {
        let property = |mistakes: &mut Mistakes| match entry.value {
            EntryValue::None => None,
            _ => entry.name(false, mistakes),
        };
        let role = match key {
            "get" => RoleOption::Getter(property(mistakes)),
            "set" => RoleOption::Setter(property(mistakes)),
            "call" => RoleOption::Operator("Call", None),
            "index" => RoleOption::Operator("Index", Some(1)),
            "set_index" => RoleOption::Operator("SetIndex", Some(2)),
            "length" => RoleOption::Operator("Length", Some(0)),
            "equal" => RoleOption::Operator("Equal", Some(1)),
            "text" => RoleOption::Operator("Text", Some(0)),
            "skip" => {
                self.skip = entry.flag(mistakes).is_some();
                return;
            }
            "module" | "crate" => {
                mistakes.at(&entry.key, format!("`{key}` is an option of the class: `#[kemi_export({key} = …)]`"));
                return;
            }
            _ => return self.options.set_known(key, entry, KNOWN_OF_MEMBER, mistakes),
        };
        if let RoleOption::Operator(..) = role {
            entry.flag(mistakes);
        }
        if let Some((first, _)) = &self.role {
            mistakes.at(&entry.key, format!("it is `{first}` already; a function has one use"));
        }
        self.role = Some((entry.key.clone(), role));
    }
}

impl Options {
    fn set(&mut self, key: &str, entry: &Entry, mistakes: &mut Mistakes) {
        self.set_known(key, entry, KNOWN, mistakes);
    }

    fn set_known(&mut self, key: &str, entry: &Entry, known: &str, mistakes: &mut Mistakes) {
        match key {
            "module" => self.module = entry.name(true, mistakes),
            "name" => self.name = entry.name(false, mistakes),
            "since" => self.since = entry.text(mistakes),
            "deprecated" => self.deprecated = entry.deprecated(mistakes),
            "callbacks" => self.callbacks = entry.names(mistakes),
            "cost" => self.cost = entry.integer(mistakes),
            "blocking" => self.blocking = entry.flag(mistakes),
            "capability" => self.capability = entry.name(false, mistakes),
            "context" => self.context = entry.parsed("a type: `context = Type`", mistakes),
            "crate" => self.krate = entry.parsed("a path: `crate = path`", mistakes),
            _ => mistakes.at(&entry.key, format!("unknown option `{key}`; known are: {known}")),
        }
    }
}

/// One option: `key`, `key = value` or `key(list)`.
struct Entry {
    key: Ident,
    value: EntryValue,
}

enum EntryValue {
    None,
    Assigned(TokenStream),
    List(TokenStream),
}

impl syn::parse::Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            EntryValue::Assigned(until_comma(input)?)
        } else if input.peek(syn::token::Paren) {
            let content;
            syn::parenthesized!(content in input);
            EntryValue::List(content.parse()?)
        } else {
            EntryValue::None
        };
        Ok(Entry { key, value })
    }
}

fn until_comma(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<proc_macro2::TokenTree>()?]);
    }
    if tokens.is_empty() { Err(input.error("expected a value after `=`")) } else { Ok(tokens) }
}

impl Entry {
    fn wrong(&self, expected: &str, mistakes: &mut Mistakes) {
        let message = format!("option `{}` takes {expected}", self.key.unraw());
        match &self.value {
            EntryValue::Assigned(tokens) => mistakes.at(tokens, message),
            EntryValue::None | EntryValue::List(_) => mistakes.at(&self.key, message),
        }
    }

    fn parsed<T: syn::parse::Parse>(&self, expected: &str, mistakes: &mut Mistakes) -> Option<T> {
        if let EntryValue::Assigned(tokens) = &self.value
            && let Ok(parsed) = syn::parse2(tokens.clone())
        {
            return Some(parsed);
        }
        self.wrong(expected, mistakes);
        None
    }

    fn text(&self, mistakes: &mut Mistakes) -> Option<LitStr> {
        let expected = format!("a string: `{} = \"…\"`", self.key.unraw());
        self.parsed(&expected, mistakes)
    }

    /// A text that every language can spell as a name; the root module has none.
    fn name(&self, root: bool, mistakes: &mut Mistakes) -> Option<LitStr> {
        let name = self.text(mistakes)?;
        let text = name.value();
        let spelled = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .enumerate()
                    .all(|(i, c)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit()))
        };
        // A module may stand in another one: `net.http`.
        let fits = if root { text.is_empty() || text.split('.').all(spelled) } else { spelled(&text) };
        if !fits {
            let what = "a name in scripts has ASCII letters, digits and `_`, and does not begin with a digit";
            let dots = if root && text.contains('.') {
                "; dots separate the names of a module within another one"
            } else {
                ""
            };
            mistakes.at(&name, format!("{what}{dots}"));
        }
        Some(name)
    }

    fn integer(&self, mistakes: &mut Mistakes) -> Option<LitInt> {
        let expected = "a number of plain calls, at most 4294967295: `cost = 10`";
        let number: LitInt = self.parsed(expected, mistakes)?;
        if number.base10_parse::<u32>().is_err() {
            self.wrong(expected, mistakes);
            return None;
        }
        Some(number)
    }

    /// An option that is on where it is named.
    fn flag(&self, mistakes: &mut Mistakes) -> Option<Ident> {
        if matches!(self.value, EntryValue::None) {
            return Some(self.key.clone());
        }
        self.wrong("nothing: `blocking` alone switches it on", mistakes);
        None
    }

    fn names(&self, mistakes: &mut Mistakes) -> Vec<LitStr> {
        let expected = "a list of route names: `callbacks(request, reply)`";
        let EntryValue::List(tokens) = &self.value else {
            self.wrong(expected, mistakes);
            return Vec::new();
        };
        let Ok(items) = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone()) else {
            self.wrong(expected, mistakes);
            return Vec::new();
        };
        if items.is_empty() {
            self.wrong(expected, mistakes);
        }
        let mut names: Vec<LitStr> = Vec::new();
        for item in &items {
            let name = match item {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.clone(),
                Expr::Path(path) if path.path.get_ident().is_some() => {
                    LitStr::new(&path.path.get_ident().map(|i| i.unraw().to_string()).unwrap_or_default(), item.span())
                }
                other => {
                    mistakes.at(other, "expected a route name");
                    continue;
                }
            };
            if names.iter().any(|known| known.value() == name.value()) {
                mistakes.at(item, format!("route `{}` is named twice", name.value()));
            }
            names.push(name);
        }
        names
    }

    fn deprecated(&self, mistakes: &mut Mistakes) -> Option<(LitStr, LitStr)> {
        let expected = "`deprecated(since = \"version\", use = \"module.function\")`";
        let EntryValue::List(tokens) = &self.value else {
            self.wrong(expected, mistakes);
            return None;
        };
        let Ok(entries) = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens.clone()) else {
            self.wrong(expected, mistakes);
            return None;
        };
        let (mut since, mut instead) = (None, None);
        for entry in &entries {
            match entry.key.unraw().to_string().as_str() {
                "since" if since.is_none() => since = entry.text(mistakes),
                "use" if instead.is_none() => instead = entry.text(mistakes),
                "since" | "use" => mistakes.at(&entry.key, format!("`{}` is given twice", entry.key)),
                _ => mistakes.at(&entry.key, "`deprecated` takes `since` and `use`"),
            }
        }
        if since.is_none() || instead.is_none() {
            self.wrong(expected, mistakes);
        }
        Some((since?, instead?))
    }
}
