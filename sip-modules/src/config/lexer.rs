//! From bytes to words, strings, signs and directives.

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Letters, digits and `_`, also a number.
    Word(String),
    /// A quoted string without its quotes, escapes resolved.
    Str(String),
    /// Any other visible ASCII character.
    Sign(char),
    /// What could not be read and has been reported.
    Invalid,
}

/// A token and how it stands in the line.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) kind: TokenKind,
    pub(super) line: u32,
    /// No blank, comment or line end before it.
    pub(super) glued: bool,
    /// The first of its line.
    pub(super) first: bool,
    /// A word with a single `=` after it: a parameter's name.
    pub(super) assigned: bool,
}

/// What the lexer finds next.
#[derive(Debug)]
pub(super) enum Lexeme {
    Token(Piece),
    /// The text after `#!`, continued lines joined.
    Directive {
        text: Vec<u8>,
        line: u32,
    },
}

#[derive(Debug)]
pub(super) struct LexError {
    pub(super) line: u32,
    pub(super) text: String,
}

/// Directives of the preprocessor that this reader acts on.
pub(super) const DIRECTIVES: &[&str] =
    &["define", "trydef", "redef", "ifdef", "ifndef", "else", "endif", "include_file", "import_file"];

/// Reads one file or one define's value.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    line_start: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // A byte order mark is what some editors leave before the first line.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self { bytes, at: 0, line: 1, line_start: true }
    }

    /// The next token or directive; `None` at the end.
    ///
    /// After an error reading goes on behind the mistake.
    pub(super) fn next(&mut self) -> Result<Option<Lexeme>, LexError> {
        let before = self.at;
        loop {
            if self.line_start
                && let Some(length) = directive_mark(self.rest())
            {
                let line = self.line;
                self.at += length;
                return Ok(Some(Lexeme::Directive { text: self.directive_text(), line }));
            }
            let Some(byte) = self.peek(0) else {
                return Ok(None);
            };
            match (byte, self.peek(1)) {
                (b'\n', _) => self.newline(),
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'#', Some(b'!')) => self.misplaced_directive()?,
                (b'#', _) | (b'/', Some(b'/')) => self.skip_to_line_end(),
                (b'/', Some(b'*')) => self.block_comment()?,
                _ => break,
            }
        }
        let first = std::mem::replace(&mut self.line_start, false);
        // A directive ends with its line, so the line after it begins without a line end of its own.
        let glued = self.at == before && self.at > 0 && !first;
        let line = self.line;
        let kind = self.token()?;
        let assigned = matches!(kind, TokenKind::Word(_)) && self.equals_follows();
        Ok(Some(Lexeme::Token(Piece { kind, line, glued, first, assigned })))
    }

    /// Skips whole lines up to the next directive and gives it; `None` at the end.
    pub(super) fn next_directive(&mut self) -> Option<(Vec<u8>, u32)> {
        while self.at < self.bytes.len() {
            while matches!(self.peek(0), Some(b' ' | b'\t' | b'\r')) {
                self.at += 1;
            }
            if let Some(length) = directive_mark(self.rest()) {
                let line = self.line;
                self.at += length;
                return Some((self.directive_text(), line));
            }
            self.skip_to_line_end();
            self.newline();
        }
        None
    }

    /// The tokens left in the current line, for a statement that ends with it.
    ///
    /// A string that spans lines is taken whole.
    pub(super) fn rest_of_line(&mut self) -> Result<Vec<Piece>, LexError> {
        let mut pieces = Vec::new();
        loop {
            while matches!(self.peek(0), Some(b' ' | b'\t' | b'\r')) {
                self.at += 1;
            }
            match (self.peek(0), self.peek(1)) {
                (None | Some(b'\n'), _) => return Ok(pieces),
                (Some(b'#'), _) | (Some(b'/'), Some(b'/')) => self.skip_to_line_end(),
                (Some(b'/'), Some(b'*')) => self.block_comment()?,
                _ => {
                    let line = self.line;
                    let kind = self.token()?;
                    pieces.push(Piece { kind, line, glued: false, first: false, assigned: false });
                }
            }
        }
    }

    /// Leaves the rest of the line unread.
    pub(super) fn skip_to_line_end(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }

    fn token(&mut self) -> Result<TokenKind, LexError> {
        let rest = self.rest();
        let Some(&byte) = rest.first() else {
            return Err(self.error("unexpected end"));
        };
        if is_word_byte(byte) {
            let length = rest.iter().position(|&b| !is_word_byte(b)).unwrap_or(rest.len());
            self.at += length;
            // Word bytes are ASCII, so each is one character.
            return Ok(TokenKind::Word(rest.iter().take(length).map(|&b| char::from(b)).collect()));
        }
        if byte == b'"' || byte == b'\'' {
            return self.string(byte);
        }
        if byte.is_ascii_graphic() {
            self.at += 1;
            return Ok(TokenKind::Sign(char::from(byte)));
        }
        // One error for the line is enough for a binary file.
        let error = self.error(format!("unexpected byte 0x{byte:02x} outside a string or comment"));
        self.skip_to_line_end();
        Err(error)
    }

    fn string(&mut self, quote: u8) -> Result<TokenKind, LexError> {
        let opening = self.line;
        let mut bytes = Vec::new();
        let mut mistake = None;
        self.at += 1;
        loop {
            let Some(byte) = self.peek(0) else {
                return Err(LexError { line: opening, text: "this string has no closing quote".to_owned() });
            };
            self.at += 1;
            match byte {
                _ if byte == quote => break,
                // Single quotes take everything literally.
                b'\\' if quote == b'"' => {
                    if let Err(error) = self.escape(&mut bytes) {
                        mistake.get_or_insert(error);
                    }
                }
                b'\n' => {
                    self.line = self.line.saturating_add(1);
                    bytes.push(byte);
                }
                _ => bytes.push(byte),
            }
        }
        if let Some(error) = mistake {
            return Err(error);
        }
        String::from_utf8(bytes)
            .map(TokenKind::Str)
            .map_err(|_| LexError { line: opening, text: "this string is not valid UTF-8".to_owned() })
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), LexError> {
        let Some(byte) = self.peek(0) else {
            // The caller reports the missing quote.
            return Ok(());
        };
        let resolved = match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 0x07,
            b'\\' | b'"' | b'\'' => byte,
            // A backslash at the end of a line joins it with the next.
            b'\n' => {
                self.at += 1;
                self.line = self.line.saturating_add(1);
                return Ok(());
            }
            _ => {
                let shown = char::from(byte).escape_default();
                return Err(self.error(format!(
                    "unknown escape '\\{shown}' in a string: write '\\\\' for a backslash, or use single \
                     quotes, which take everything as it is"
                )));
            }
        };
        self.at += 1;
        bytes.push(resolved);
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), LexError> {
        let opening = self.line;
        self.at += 2;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'*'), Some(b'/')) => {
                    self.at += 2;
                    return Ok(());
                }
                (Some(b'\n'), _) => self.newline(),
                (Some(_), _) => self.at += 1,
                (None, _) => {
                    return Err(LexError { line: opening, text: "this comment has no closing '*/'".to_owned() });
                }
            }
        }
    }

    /// `#!` behind other text of the line: a comment, unless it was meant to be more.
    fn misplaced_directive(&mut self) -> Result<(), LexError> {
        let word = leading_word(self.rest().get(2..).unwrap_or_default());
        let error = DIRECTIVES
            .contains(&word.as_str())
            .then(|| self.error(format!("the directive '#!{word}' must be the first thing on its line")));
        self.skip_to_line_end();
        error.map_or(Ok(()), Err)
    }

    fn directive_text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some(byte) = self.peek(0) {
            let continued = match (byte, self.peek(1), self.peek(2)) {
                (b'\\', Some(b'\n'), _) => 2,
                (b'\\', Some(b'\r'), Some(b'\n')) => 3,
                (b'\n', ..) => break,
                _ => 0,
            };
            if continued > 0 {
                self.at += continued;
                self.line = self.line.saturating_add(1);
                text.push(b' ');
            } else {
                self.at += 1;
                text.push(byte);
            }
        }
        self.newline();
        text
    }

    fn equals_follows(&self) -> bool {
        let rest = self.rest().trim_ascii_start();
        rest.first() == Some(&b'=') && rest.get(1) != Some(&b'=')
    }

    /// Steps over a line end; at the end of the text it does nothing harmful.
    fn newline(&mut self) {
        self.at = self.at.saturating_add(1).min(self.bytes.len());
        self.line = self.line.saturating_add(1);
        self.line_start = true;
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at.checked_add(offset)?).copied()
    }

    fn error(&self, text: impl Into<String>) -> LexError {
        LexError { line: self.line, text: text.into() }
    }
}

/// The word at the start of the text; empty if there is none.
pub(super) fn leading_word(text: &[u8]) -> String {
    text.iter().take_while(|&&b| is_word_byte(b)).map(|&b| char::from(b)).collect()
}

/// The length of `#!`, `!!` or `//!` at the start of the text.
fn directive_mark(text: &[u8]) -> Option<usize> {
    [&b"#!"[..], b"!!", b"//!"].into_iter().find(|mark| text.starts_with(mark)).map(<[u8]>::len)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
