//! From tokens to the statements of the global part.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::ast::module_name;
use super::lexer::TokenKind;
use super::place::Source;
use super::preprocess::{MAX_ERRORS, Preprocessor, Token};
use super::{
    Address, Alias, Config, ConfigError, ConfigErrors, Defines, EngineChoice, ErrorKind, Listen, LoadModule, ModParam,
    Place, Setting, Value,
};

/// Reads a configuration file and what it includes.
///
/// # Errors
///
/// All errors of the preprocessor and the parser, or that the file cannot be read.
pub fn parse_file(path: impl AsRef<Path>, defines: &Defines) -> Result<Config, ConfigErrors> {
    let path = path.as_ref();
    let name = path.to_string_lossy();
    let bytes = read_file(path).map_err(|error| {
        let text = format!("cannot read the configuration: {error}");
        ConfigError::new(ErrorKind::File, &Place::new(&name, 0), text)
    })?;
    parse_bytes(&bytes, &name, defines)
}

/// Reads a configuration from text; only includes touch the file system.
///
/// The file name stands in errors, and its folder is where relative includes are looked for.
///
/// # Errors
///
/// All errors of the preprocessor and the parser.
pub fn parse_str(text: &str, file_name: &str, defines: &Defines) -> Result<Config, ConfigErrors> {
    parse_bytes(text.as_bytes(), file_name, defines)
}

/// Like [`parse_str`], for text that may not be UTF-8 in comments and skipped blocks.
///
/// # Errors
///
/// All errors of the preprocessor and the parser.
pub fn parse_bytes(bytes: &[u8], file_name: &str, defines: &Defines) -> Result<Config, ConfigErrors> {
    parse_with(bytes, file_name, defines, &mut |path| read_file(path))
}

/// Like [`parse_bytes`], with the caller's way to read included files.
///
/// # Errors
///
/// All errors of the preprocessor and the parser.
pub fn parse_with(
    bytes: &[u8],
    file_name: &str,
    defines: &Defines,
    loader: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, ConfigErrors> {
    let source = Source::main(file_name);
    let mut load = |path: &Path| loader(path);
    let mut preprocessor = Preprocessor::new(defines.clone(), &mut load);
    preprocessor.file(&source, bytes, 0);
    let mut parser = Parser {
        end: Place::in_source(&source, 0),
        tokens: std::mem::take(&mut preprocessor.tokens),
        at: 0,
        native_route_reported: false,
        config: Config::default(),
        errors: std::mem::take(&mut preprocessor.errors),
    };
    parser.statements();
    let mut config = parser.config;
    config.notes = preprocessor.notes;
    config.defines = preprocessor.defines;
    ConfigErrors::or(parser.errors, config)
}

/// A file of reasonable size, in reasonable time: neither a device or a pipe named by mistake nor a file system whose server
/// is gone may hang the start.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let (done, result) = mpsc::channel();
    let owned = path.to_owned();
    // A thread that hangs in the system is left behind.
    thread::Builder::new().name("read".to_owned()).spawn(move || done.send(read_regular(&owned)))?;
    result.recv_timeout(MAX_READ_TIME).unwrap_or_else(|_| {
        let text = format!("it was not read within {MAX_READ_TIME:?}: does its file system answer?");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let irregular = || io::Error::other("this is not a regular file");
    if !path.metadata()?.is_file() {
        return Err(irregular());
    }
    // It may be another one by now, and opening a pipe waits for its other end.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(irregular());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::other(format!("the file is larger than {MAX_FILE_SIZE} bytes")));
    }
    Ok(bytes)
}

const MAX_FILE_SIZE: u64 = 8 * 1024 * 1024;
const MAX_READ_TIME: Duration = Duration::from_secs(10);

/// Statements that open a block of the native routing language.
const NATIVE_ROUTES: &[&str] = &[
    "route",
    "request_route",
    "reply_route",
    "onreply_route",
    "failure_route",
    "branch_route",
    "onsend_route",
    "event_route",
    "error_route",
];

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: Place,
    native_route_reported: bool,
    config: Config,
    errors: Vec<ConfigError>,
}

type Parsed<T> = Result<T, ConfigError>;

impl Parser {
    fn statements(&mut self) {
        loop {
            let start = self.at;
            let Some(token) = self.next() else { return };
            if let Err(error) = self.statement(token) {
                if self.errors.len() >= MAX_ERRORS {
                    return;
                }
                let read =
                    self.tokens.get(start..=self.at.min(self.tokens.len().saturating_sub(1))).unwrap_or_default();
                if !read.iter().any(|token| token.kind == TokenKind::Invalid) {
                    self.errors.push(error);
                }
                // The next line is the best guess for where a statement begins.
                while self.peek().is_some_and(|token| !token.first) {
                    self.at += 1;
                }
            }
        }
    }

    fn statement(&mut self, head: Token) -> Parsed<()> {
        let TokenKind::Word(word) = &head.kind else {
            return Err(syntax(&head.place, format!("expected a statement, found {}", shown(&head.kind))));
        };
        let place = head.place.clone();
        match word.as_str() {
            "loadmodule" => {
                let (written, at) = self.string("the name of a module")?;
                self.config.modules.push(LoadModule {
                    name: module_name(&written).to_owned(),
                    place: at,
                    order: self.at,
                });
            }
            "modparam" => self.modparam(place)?,
            "cfgengine" => {
                self.accept('=');
                let (name, place) = self.engine_name(&place)?;
                self.config.engines.push(EngineChoice { name, place });
            }
            "loadpath" | "mpath" => {
                self.accept('=');
                let (path, _) = self.string("a list of folders")?;
                self.config.settings.push(Setting { name: word.clone(), value: Value::Str(path), place });
            }
            "listen" => {
                self.expect('=', "after 'listen'")?;
                let (address, place) = self.address(&place)?;
                self.refuse_listen_options()?;
                self.config.listen.push(Listen { address, place });
            }
            "alias" => {
                self.expect('=', "after 'alias'")?;
                let (address, place) = self.address(&place)?;
                self.config.aliases.push(Alias { address, place });
            }
            "include_file" | "import_file" => {
                return Err(syntax(&place, format!("'{word}' must be the first word on its line")));
            }
            _ if NATIVE_ROUTES.contains(&word.as_str()) && !self.next_is('=') && !self.next_is('.') => {
                self.native_route(word, &place);
            }
            _ => self.setting(word, place)?,
        }
        Ok(())
    }

    fn setting(&mut self, word: &str, place: Place) -> Parsed<()> {
        if !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(syntax(&place, format!("expected a statement, found '{word}'")));
        }
        let mut name = word.to_owned();
        while self.accept('.') {
            let token = self.take("a name after '.'")?;
            let TokenKind::Word(part) = token.kind else {
                return Err(syntax(&token.place, format!("expected a name after '.', found {}", shown(&token.kind))));
            };
            name.push('.');
            name.push_str(&part);
        }
        self.expect('=', &format!("after '{name}'"))?;
        let (value, _) = self.value(&format!("'{name}='"), &place)?;
        // A group's parameter may carry a description, which has no effect.
        if name.contains('.') && self.next_is_word("desc") && !self.second_is('=') {
            self.at += 1;
            self.string("a description")?;
        }
        self.config.settings.push(Setting { name, value, place });
        Ok(())
    }

    fn modparam(&mut self, place: Place) -> Parsed<()> {
        self.expect('(', "after 'modparam'")?;
        let (modules, _) = self.string("the name of a module")?;
        self.expect(',', "between the arguments of 'modparam'")?;
        let (name, _) = self.string("the name of a parameter")?;
        self.expect(',', "between the arguments of 'modparam'")?;
        let (value, _) = self.value("the third argument of 'modparam'", &place)?;
        self.expect(')', "at the end of 'modparam'")?;
        let modules: Vec<String> = modules.split('|').map(|name| name.trim().to_owned()).collect();
        let plain = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !modules.iter().all(plain) {
            let text = format!(
                "'{}' is not a module name, nor several with '|' between them; other patterns are not supported",
                modules.join("|")
            );
            return Err(syntax(&place, text));
        }
        self.config.modparams.push(ModParam { modules, name, value, place, order: self.at });
        Ok(())
    }

    /// A quoted name or a bare word.
    fn engine_name(&mut self, after: &Place) -> Parsed<(String, Place)> {
        match self.value("'cfgengine'", after)? {
            (Value::Str(name) | Value::Word(name), place) => Ok((name, place)),
            (other, place) => Err(syntax(&place, format!("expected the name of an engine, found {other}"))),
        }
    }

    fn address(&mut self, after: &Place) -> Parsed<(Address, Place)> {
        let (text, place) = match self.peek().map(|token| &token.kind) {
            Some(TokenKind::Str(_)) => self.string("an address")?,
            Some(TokenKind::Sign('*')) => (String::new(), after.clone()),
            _ => self.glued_text("an address", after)?,
        };
        // The sign ends what is read as one word.
        if self.next_is('*') {
            return Err(syntax(&place, NO_WILDCARD.to_owned()));
        }
        let address = Address::parse(&text).map_err(|why| syntax(&place, why))?;
        Ok((address, place))
    }

    fn refuse_listen_options(&mut self) -> Parsed<()> {
        let options = ["advertise", "name", "virtual"];
        let found = options.iter().find(|option| self.next_is_word(option) && !self.second_is('='));
        match (found, self.peek()) {
            (Some(option), Some(token)) => {
                Err(syntax(&token.place, format!("the option '{option}' of 'listen' is not supported: leave it out")))
            }
            _ => Ok(()),
        }
    }

    fn value(&mut self, what: &str, after: &Place) -> Parsed<(Value, Place)> {
        let Some(token) = self.peek() else {
            return Err(self.missing(&format!("a value for {what}")));
        };
        let place = token.place.clone();
        match &token.kind {
            TokenKind::Str(_) => {
                let (text, place) = self.string("a value")?;
                Ok((Value::Str(text), place))
            }
            TokenKind::Sign('-') => {
                self.at += 1;
                let (text, _) = self.glued_text("a number after '-'", after)?;
                let number = integer(&text).ok_or_else(|| syntax(&place, format!("'-{text}' is not a number")))?;
                Ok((Value::Int(-number), place))
            }
            _ => {
                let (text, place) = self.glued_text(&format!("a value for {what}"), after)?;
                let value = word_value(text).map_err(|why| syntax(&place, why))?;
                Ok((value, place))
            }
        }
    }

    /// One or more string literals, which are joined.
    fn string(&mut self, what: &str) -> Parsed<(String, Place)> {
        let token = self.take(&format!("{what} in quotes"))?;
        let TokenKind::Str(mut text) = token.kind else {
            let hint = match token.kind {
                TokenKind::Word(_) => ": is a '#!define' missing?",
                _ => quotes_hint(&token.place),
            };
            let text = format!("expected {what} in quotes, found {}{hint}", shown(&token.kind));
            return Err(syntax(&token.place, text));
        };
        while let Some(TokenKind::Str(more)) = self.peek().map(|token| &token.kind) {
            text.push_str(more);
            self.at += 1;
        }
        Ok((text, token.place))
    }

    /// A word and what follows it without a blank: a host name, an address, a number.
    fn glued_text(&mut self, what: &str, after: &Place) -> Parsed<(String, Place)> {
        let begins = |token: &Token| match &token.kind {
            TokenKind::Word(_) => true,
            TokenKind::Sign(sign) => *sign == '[',
            TokenKind::Str(_) | TokenKind::Invalid => false,
        };
        let Some(token) = self.peek() else {
            return Err(self.missing(what));
        };
        // A word on the next line begins the next statement.
        if token.first {
            return Err(syntax(after, format!("expected {what}, found the end of the line")));
        }
        if !begins(token) {
            let hint = quotes_hint(&token.place);
            return Err(syntax(&token.place, format!("expected {what}, found {}{hint}", shown(&token.kind))));
        }
        let place = token.place.clone();
        let mut text = String::new();
        while let Some(token) = self.peek() {
            match &token.kind {
                _ if !text.is_empty() && !token.glued => break,
                TokenKind::Word(part) | TokenKind::Str(part) => text.push_str(part),
                TokenKind::Sign(sign @ ('.' | ':' | '-' | '[' | ']')) => text.push(*sign),
                TokenKind::Sign(_) | TokenKind::Invalid => break,
            }
            self.at += 1;
        }
        Ok((text, place))
    }

    /// Reports the first block and passes over all of them.
    fn native_route(&mut self, word: &str, place: &Place) {
        if !self.native_route_reported && self.errors.len() < MAX_ERRORS {
            self.native_route_reported = true;
            self.errors.push(ConfigError::new(
                ErrorKind::NativeRouting,
                place,
                format!(
                    "'{word}' blocks are not supported: routing in the native language is not available, write \
                     it in a script and choose its language with cfgengine"
                ),
            ));
        }
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            match &token.kind {
                TokenKind::Sign('{') => depth += 1,
                TokenKind::Sign('}') => depth = depth.saturating_sub(1),
                // The brace may stand on a line of its own, anything else begins a statement.
                _ if depth == 0 && token.first => return,
                _ => {}
            }
            let closed = depth == 0 && token.kind == TokenKind::Sign('}');
            self.at += 1;
            if closed {
                return;
            }
        }
    }

    fn expect(&mut self, sign: char, context: &str) -> Parsed<()> {
        if self.accept(sign) {
            return Ok(());
        }
        match self.peek() {
            Some(token) if token.first && self.at > 0 => {
                let before = self.tokens.get(self.at - 1).unwrap_or(token);
                Err(syntax(&before.place, format!("expected '{sign}' {context}, found the end of the line")))
            }
            Some(token) => {
                Err(syntax(&token.place, format!("expected '{sign}' {context}, found {}", shown(&token.kind))))
            }
            None => Err(self.missing(&format!("'{sign}' {context}"))),
        }
    }

    fn accept(&mut self, sign: char) -> bool {
        let found = self.next_is(sign);
        self.at += usize::from(found);
        found
    }

    fn next_is(&self, sign: char) -> bool {
        self.peek().is_some_and(|token| token.kind == TokenKind::Sign(sign))
    }

    fn second_is(&self, sign: char) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| token.kind == TokenKind::Sign(sign))
    }

    fn next_is_word(&self, word: &str) -> bool {
        matches!(self.peek().map(|token| &token.kind), Some(TokenKind::Word(found)) if found == word)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn take(&mut self, what: &str) -> Parsed<Token> {
        self.next().ok_or_else(|| self.missing(what))
    }

    fn missing(&self, what: &str) -> ConfigError {
        let place = self.tokens.last().map_or(&self.end, |token| &token.place);
        syntax(place, format!("expected {what}, found the end of the configuration"))
    }
}

fn syntax(place: &Place, text: impl Into<String>) -> ConfigError {
    ConfigError::new(ErrorKind::Syntax, place, text)
}

/// What a bare word means.
/// What is said of `listen=*`.
pub(super) const NO_WILDCARD: &str = "'*' for all addresses is not supported: name the address to listen on";

fn word_value(text: String) -> Result<Value, String> {
    match text.as_str() {
        "yes" | "on" | "true" => return Ok(Value::Bool(true)),
        "no" | "off" | "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let number_like = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['.', ':', '-']);
    match integer(&text) {
        Some(number) => Ok(Value::Int(number)),
        None if number_like => Err(format!("'{text}' is not a number, or too large for one")),
        None => Ok(Value::Word(text)),
    }
}

fn integer(text: &str) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign, which has been read before.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()
}

/// What to do when a value came from a define without quotes.
fn quotes_hint(place: &Place) -> &'static str {
    match place.define() {
        Some(_) => ": does the value of the define lack its quotes?",
        None => "",
    }
}

fn shown(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Word(word) => format!("'{word}'"),
        TokenKind::Str(text) => format!("the string {text:?}"),
        TokenKind::Sign(sign) => format!("'{sign}'"),
        TokenKind::Invalid => "an unreadable word".to_owned(),
    }
}
