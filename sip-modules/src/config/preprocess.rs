//! Directives, includes and the replacement of defined names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::define::is_name;
use super::lexer::{DIRECTIVES, LexError, Lexeme, Lexer, Piece, TokenKind, leading_word};
use super::place::{Expansion, Source};
use super::{ConfigError, Defines, ErrorKind, Note, Place, suggest};

/// A token of the text that is left when the preprocessor is done.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) place: Place,
    pub(super) glued: bool,
    pub(super) first: bool,
}

impl Token {
    /// Stands for what was reported, so that the statement it belongs to is not reported again.
    fn invalid(place: &Place) -> Self {
        Self { kind: TokenKind::Invalid, place: place.clone(), glued: false, first: false }
    }
}

/// Reads the bytes of an included file.
pub(super) type Loader<'l> = dyn FnMut(&Path) -> io::Result<Vec<u8>> + 'l;

/// The state while one configuration is read.
pub(super) struct Preprocessor<'l> {
    loader: &'l mut Loader<'l>,
    steps: usize,
    includes: usize,
    stopped: bool,
    pub(super) defines: Defines,
    pub(super) tokens: Vec<Token>,
    pub(super) notes: Vec<Note>,
    pub(super) errors: Vec<ConfigError>,
}

impl<'l> Preprocessor<'l> {
    pub(super) fn new(defines: Defines, loader: &'l mut Loader<'l>) -> Self {
        Self {
            loader,
            steps: 0,
            includes: 0,
            stopped: false,
            defines,
            tokens: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Reads one file and everything it includes.
    pub(super) fn file(&mut self, source: &Arc<Source>, bytes: &[u8], depth: usize) {
        let mut lexer = Lexer::new(bytes);
        let mut blocks: Vec<Block> = Vec::new();
        while !self.stopped {
            match lexer.next() {
                Ok(None) => break,
                Ok(Some(Lexeme::Directive { text, line })) => {
                    let place = Place::in_source(source, line);
                    self.directive(&text, &place, depth, &mut blocks);
                    if blocks.last().is_some_and(|block| block.skipping) {
                        self.skip(&mut lexer, source, &mut blocks);
                    }
                }
                Ok(Some(Lexeme::Token(piece))) => {
                    let place = Place::in_source(source, piece.line);
                    match include_kind(&piece) {
                        Some(kind) => match lexer.rest_of_line() {
                            Ok(pieces) => self.include(kind, pieces, &place, depth),
                            Err(error) => self.lex_error(error, source),
                        },
                        None => {
                            let mut out = std::mem::take(&mut self.tokens);
                            self.expand(piece, &place, &mut Vec::new(), &mut out);
                            self.tokens = out;
                        }
                    }
                }
                Err(error) => {
                    let place = Place::in_source(source, error.line);
                    self.lex_error(error, source);
                    self.tokens.push(Token::invalid(&place));
                }
            }
        }
        if self.stopped {
            return;
        }
        for block in blocks {
            self.error(
                ErrorKind::Preprocessor,
                &block.place,
                format!("'#!{}' has no '#!endif' in this file", block.word),
            );
        }
    }

    fn directive(&mut self, text: &[u8], place: &Place, depth: usize, blocks: &mut Vec<Block>) {
        let word = leading_word(text);
        let rest = text.get(word.len()..).unwrap_or_default().trim_ascii();
        match word.as_str() {
            // Something like `#!/usr/sbin/kamailio` or a line of signs: a comment.
            "" => {}
            // The dialects that a first line may name; the global part is the same in all.
            "KAMAILIO" | "OPENSER" | "SER" | "ALL" | "MAXCOMPAT" => {}
            "define" | "trydef" | "redef" => self.define(&word, rest, place),
            "ifdef" | "ifndef" => {
                let Some(name) = self.condition(&word, rest, place) else {
                    // Taken as true, so that the mistake is not followed by others.
                    blocks.push(Block::new(&word, place, false));
                    return;
                };
                let wanted = word == "ifdef";
                blocks.push(Block::new(&word, place, self.defines.contains(&name) != wanted));
            }
            "else" => self.alternative(place, blocks),
            "endif" => {
                if blocks.pop().is_none() {
                    self.error(ErrorKind::Preprocessor, place, "'#!endif' without '#!ifdef' or '#!ifndef'");
                }
            }
            "include_file" | "import_file" => {
                let kind = if word == "include_file" { Include::Required } else { Include::Optional };
                match Lexer::new(rest).rest_of_line() {
                    Ok(pieces) => self.include(kind, pieces, place, depth),
                    Err(error) => self.error(ErrorKind::Preprocessor, place, error.text),
                }
            }
            "defenv" | "defenvs" | "trydefenv" | "trydefenvs" | "defexp" | "defexps" | "ifexp" | "subst"
            | "substdef" | "substdefs" => {
                self.error(
                    ErrorKind::Preprocessor,
                    place,
                    format!("the directive '#!{word}' is not supported: use '#!define' or -A on the command line"),
                );
                if word == "ifexp" {
                    blocks.push(Block::new(&word, place, false));
                }
            }
            _ => {
                let hint = suggest::hint(&word, DIRECTIVES.iter().copied());
                self.error(ErrorKind::Preprocessor, place, format!("unknown directive '#!{word}'{hint}"));
            }
        }
    }

    fn alternative(&mut self, place: &Place, blocks: &mut [Block]) {
        match blocks.last_mut() {
            None => {
                self.error(ErrorKind::Preprocessor, place, "'#!else' without '#!ifdef' or '#!ifndef'");
            }
            Some(block) if block.has_else => {
                let text = format!("second '#!else' for the '#!{}' at {}", block.word, block.place);
                self.error(ErrorKind::Preprocessor, place, text);
            }
            Some(block) => {
                block.has_else = true;
                block.skipping = !block.skipping;
            }
        }
    }

    /// Passes over a false block, whose text may be anything, up to its `#!else` or `#!endif`.
    fn skip(&mut self, lexer: &mut Lexer<'_>, source: &Arc<Source>, blocks: &mut Vec<Block>) {
        let mut nested = 0usize;
        while let Some((text, line)) = lexer.next_directive() {
            match leading_word(&text).as_str() {
                "ifdef" | "ifndef" | "ifexp" => nested += 1,
                "endif" if nested == 0 => {
                    blocks.pop();
                    return;
                }
                "endif" => nested -= 1,
                "else" if nested == 0 => {
                    self.alternative(&Place::in_source(source, line), blocks);
                    if blocks.last().is_some_and(|block| !block.skipping) {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn define(&mut self, word: &str, rest: &[u8], place: &Place) {
        let name = leading_word(rest);
        let value = rest.get(name.len()..).unwrap_or_default();
        if !is_name(&name) || value.first().is_some_and(|b| !b.is_ascii_whitespace()) {
            let text = format!("'#!{word}' needs a name of letters, digits and '_', then a blank and the value");
            self.error(ErrorKind::Preprocessor, place, text);
            return;
        }
        match self.defines.find(&name) {
            Some(_) if word == "trydef" => return,
            Some(known) if known.from_command_line => {
                let text = format!("'#!{word} {name}' skipped: the command line defines {name}");
                self.notes.push(Note::new(place, text));
                return;
            }
            Some(known) if word == "define" => {
                let text = format!(
                    "'{name}' is already defined at {}: use '#!redef' to change it, '#!trydef' to set a default",
                    known.place
                );
                self.error(ErrorKind::Preprocessor, place, text);
                return;
            }
            _ => {}
        }
        self.defines.set(&name, value.trim_ascii().to_vec(), place.clone());
    }

    /// The name after `#!ifdef` or `#!ifndef`.
    fn condition(&mut self, word: &str, rest: &[u8], place: &Place) -> Option<String> {
        let name = leading_word(rest);
        let after = rest.get(name.len()..).unwrap_or_default().trim_ascii_start();
        let comment =
            after.is_empty() || after.starts_with(b"#") || after.starts_with(b"//") || after.starts_with(b"/*");
        if is_name(&name) && comment {
            return Some(name);
        }
        self.error(ErrorKind::Preprocessor, place, format!("'#!{word}' needs exactly one name"));
        None
    }

    /// Replaces a defined name by its value, and the names in that.
    fn expand(&mut self, piece: Piece, place: &Place, open: &mut Vec<String>, out: &mut Vec<Token>) {
        if self.stopped || !self.step(place) {
            return;
        }
        let define = match &piece.kind {
            TokenKind::Word(word) if !piece.assigned => self.defines.find(word).map(|d| (word.clone(), d.clone())),
            _ => None,
        };
        let Some((name, define)) = define else {
            out.push(Token { kind: piece.kind, place: place.clone(), glued: piece.glued, first: piece.first });
            return;
        };
        if open.contains(&name) {
            let text = format!("the value of '{name}' from {} contains '{name}' itself", define.place);
            self.error(ErrorKind::Preprocessor, place, text);
            out.push(Token::invalid(place));
            return;
        }
        if open.len() >= MAX_NESTED_DEFINES {
            let text = format!("defines are nested more than {MAX_NESTED_DEFINES} deep at '{name}'");
            self.error(ErrorKind::Limit, place, text);
            out.push(Token::invalid(place));
            return;
        }
        let inner = place.expanded(&Arc::new(Expansion { name: name.clone(), place: define.place.clone() }));
        open.push(name);
        // The first token of the value stands where the name stood.
        let mut lead = Some((piece.glued, piece.first));
        let mut lexer = Lexer::new(&define.value);
        loop {
            match lexer.next() {
                Ok(None) => break,
                Ok(Some(Lexeme::Token(mut token))) => {
                    (token.glued, token.first) = lead.take().unwrap_or((token.glued, false));
                    self.expand(token, &inner, open, out);
                }
                Ok(Some(Lexeme::Directive { .. })) => {
                    self.error(ErrorKind::Preprocessor, &inner, "a value cannot be a directive");
                    out.push(Token::invalid(&inner));
                }
                Err(error) => {
                    self.error(ErrorKind::Preprocessor, &inner, error.text);
                    out.push(Token::invalid(&inner));
                }
            }
        }
        open.pop();
    }

    fn include(&mut self, kind: Include, pieces: Vec<Piece>, place: &Place, depth: usize) {
        let mut tokens = Vec::new();
        for piece in pieces {
            self.expand(piece, place, &mut Vec::new(), &mut tokens);
        }
        if self.stopped {
            return;
        }
        let mut name = String::new();
        for token in &tokens {
            let TokenKind::Str(part) = &token.kind else {
                name.clear();
                break;
            };
            name.push_str(part);
        }
        if name.is_empty() {
            let text = format!("'{}' needs the name of a file in quotes and nothing else", kind.word());
            self.error(ErrorKind::Preprocessor, place, text);
            return;
        }
        if depth >= MAX_INCLUDE_DEPTH {
            let text = format!(
                "includes are nested more than {MAX_INCLUDE_DEPTH} deep at '{name}': does a file include itself?"
            );
            self.error(ErrorKind::Limit, place, text);
            return;
        }
        self.includes += 1;
        if self.includes > MAX_INCLUDES {
            self.stop(place, format!("more than {MAX_INCLUDES} files are included"));
            return;
        }
        let path = beside(place.file(), &name);
        match (self.loader)(&path) {
            Ok(bytes) => {
                let source = Source::included(&path.to_string_lossy(), place.clone());
                self.file(&source, &bytes, depth + 1);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && matches!(kind, Include::Optional) => {
                let text = format!("'{}' does not exist, import_file goes on without it", path.display());
                self.notes.push(Note::new(place, text));
            }
            Err(error) => {
                let text = format!("cannot read the included file '{}': {error}", path.display());
                self.error(ErrorKind::File, place, text);
            }
        }
    }

    /// Counts work that the size of the text does not bound: defines within defines.
    fn step(&mut self, place: &Place) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            self.stop(
                place,
                format!("the configuration grows beyond {MAX_STEPS} words: do defines multiply each other?"),
            );
            return false;
        }
        true
    }

    fn stop(&mut self, place: &Place, text: String) {
        if !self.stopped {
            self.errors.push(ConfigError::new(ErrorKind::Limit, place, text));
        }
        self.stopped = true;
    }

    fn lex_error(&mut self, error: LexError, source: &Arc<Source>) {
        self.error(ErrorKind::Syntax, &Place::in_source(source, error.line), error.text);
    }

    fn error(&mut self, kind: ErrorKind, place: &Place, text: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(ConfigError::new(kind, place, text));
        } else {
            self.stop(place, format!("more than {MAX_ERRORS} errors, the rest is not read"));
        }
    }
}

/// Errors after which reading stops; nobody reads more.
pub(super) const MAX_ERRORS: usize = 100;

const MAX_INCLUDE_DEPTH: usize = 10;
const MAX_INCLUDES: usize = 1000;
const MAX_NESTED_DEFINES: usize = 32;
const MAX_STEPS: usize = 1_000_000;

/// An open `#!ifdef` or `#!ifndef`.
struct Block {
    word: String,
    place: Place,
    skipping: bool,
    has_else: bool,
}

impl Block {
    fn new(word: &str, place: &Place, skipping: bool) -> Self {
        Self { word: word.to_owned(), place: place.clone(), skipping, has_else: false }
    }
}

#[derive(Clone, Copy)]
enum Include {
    /// `include_file`: the file must exist.
    Required,
    /// `import_file`: it may be absent.
    Optional,
}

impl Include {
    fn word(self) -> &'static str {
        match self {
            Self::Required => "include_file",
            Self::Optional => "import_file",
        }
    }
}

fn include_kind(piece: &Piece) -> Option<Include> {
    match &piece.kind {
        TokenKind::Word(word) if piece.first && word == "include_file" => Some(Include::Required),
        TokenKind::Word(word) if piece.first && word == "import_file" => Some(Include::Optional),
        _ => None,
    }
}

/// The path of a file named in another one: relative to that one's folder.
fn beside(file: &str, name: &str) -> PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).join(name)
}
