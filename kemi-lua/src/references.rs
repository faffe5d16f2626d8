//! The paths of the root object that a script names, found without running it.
//!
//! The tokens are those of `emmylua_parser`. Its tree is not built: to drop the tree of a long chain such as `1 + 1 + 1 + …`,
//! which Lua compiles without nesting, takes the thread's stack.

use emmylua_parser::{LexerConfig, LuaLanguageLevel, LuaLexer, LuaTokenData, LuaTokenKind as Kind, Reader};
use kemi_core::engine::Reference;

const LANGUAGE: LuaLanguageLevel = if cfg!(luajit) { LuaLanguageLevel::LuaJIT2 } else { LuaLanguageLevel::Lua54 };

/// Lists the paths in a script that begin with a global name.
pub(crate) fn references(text: &str, root: &str) -> Vec<Reference> {
    let tokens = LuaLexer::new(Reader::new(text), LexerConfig::new(LANGUAGE), None).tokenize();
    let tokens = tokens.into_iter().filter(|token| !is_trivia(token.kind)).collect();
    let mut scan = Scan { text, tokens, counted_to: 0, line: 1 };
    let mut found = Vec::new();
    for at in 0..scan.tokens.len() {
        if scan.kind(at) == Kind::TkName && scan.text_of(at) == root && scan.begins_a_path(at) {
            found.push(scan.reference(at));
        }
    }
    found
}

fn is_trivia(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TkWhitespace | Kind::TkEndOfLine | Kind::TkShortComment | Kind::TkLongComment | Kind::TkShebang
    )
}

struct Scan<'a> {
    text: &'a str,
    /// The tokens that are neither comments nor white space.
    tokens: Vec<LuaTokenData>,
    /// Up to where lines are counted, and the line there.
    counted_to: usize,
    line: u32,
}

impl<'a> Scan<'a> {
    fn kind(&self, at: usize) -> Kind {
        self.tokens.get(at).map_or(Kind::TkEof, |token| token.kind)
    }

    fn text_of(&self, at: usize) -> &'a str {
        let Some(token) = self.tokens.get(at) else { return "" };
        self.text.get(token.range.start_offset..token.range.start_offset + token.range.length).unwrap_or_default()
    }

    /// Returns the text of a string literal that has no escapes.
    fn plain_text(&self, at: usize) -> Option<&'a str> {
        let literal = self.text_of(at);
        match self.kind(at) {
            Kind::TkString => {
                let inner = literal.get(1..literal.len().checked_sub(1)?)?;
                (!inner.contains('\\')).then_some(inner)
            }
            Kind::TkLongString => {
                let width = literal.get(1..)?.find('[')? + 2;
                literal.get(width..literal.len().checked_sub(width)?)
            }
            _ => None,
        }
    }

    /// Tells whether a name stands for a variable: not for a member, a label, a key or a new local.
    fn begins_a_path(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map_or(Kind::None, |before| self.kind(before));
        !matches!(before, Kind::TkDot | Kind::TkColon | Kind::TkDbColon | Kind::TkGoto)
    }

    fn reference(&mut self, at: usize) -> Reference {
        let mut reference = Reference { line: self.line_of(at), ..Reference::default() };
        let mut next = at + 1;
        loop {
            match self.kind(next) {
                Kind::TkDot | Kind::TkColon if self.kind(next + 1) == Kind::TkName => {
                    reference.path.push(self.text_of(next + 1).to_owned());
                    next += 2;
                }
                Kind::TkLeftBracket if self.kind(next + 2) == Kind::TkRightBracket => {
                    let Some(name) = self.plain_text(next + 1) else { break };
                    reference.path.push(name.to_owned());
                    next += 3;
                }
                _ => break,
            }
        }
        match self.kind(next) {
            Kind::TkLeftParen => {
                reference.called = true;
                reference.texts = self.texts(next + 1);
            }
            Kind::TkString | Kind::TkLongString => {
                reference.called = true;
                reference.texts = self.plain_text(next).map(|text| (0, text.to_owned())).into_iter().collect();
            }
            Kind::TkLeftBrace => reference.called = true,
            _ => {}
        }
        reference
    }

    /// Collects the arguments that are plain text, from behind the parenthesis.
    fn texts(&self, mut at: usize) -> Vec<(usize, String)> {
        /// The most tokens that are read, so that calls in calls do not take time for each other.
        const MOST: usize = 1_000;
        let end = at + MOST;
        let mut texts = Vec::new();
        let (mut depth, mut position, mut first) = (0, 0, at);
        while at < end {
            match self.kind(at) {
                Kind::TkEof => break,
                Kind::TkLeftParen
                | Kind::TkLeftBrace
                | Kind::TkLeftBracket
                | Kind::TkFunction
                | Kind::TkIf
                | Kind::TkDo
                | Kind::TkRepeat => depth += 1,
                Kind::TkComma | Kind::TkRightParen if depth == 0 => {
                    if at == first + 1
                        && let Some(text) = self.plain_text(first)
                    {
                        texts.push((position, text.to_owned()));
                    }
                    if self.kind(at) == Kind::TkRightParen {
                        break;
                    }
                    position += 1;
                    first = at + 1;
                }
                Kind::TkRightParen | Kind::TkRightBrace | Kind::TkRightBracket | Kind::TkEnd | Kind::TkUntil => {
                    depth -= 1;
                }
                _ => {}
            }
            at += 1;
        }
        texts
    }

    /// Returns the line of a token; they are asked for in order.
    fn line_of(&mut self, at: usize) -> u32 {
        let start = self.tokens.get(at).map_or(0, |token| token.range.start_offset);
        let between = self.text.as_bytes().get(self.counted_to..start).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', between).count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.counted_to = self.counted_to.max(start);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, line, whether it is called, and plain arguments.
    type Found = (String, u32, bool, Vec<(usize, String)>);

    fn found(text: &str) -> Vec<Found> {
        let all = references(text, "app").into_iter();
        all.map(|found| (found.path.join("."), found.line, found.called, found.texts)).collect()
    }

    fn one(path: &str, line: u32, called: bool) -> (String, u32, bool, Vec<(usize, String)>) {
        (path.to_owned(), line, called, Vec::new())
    }

    #[test]
    fn comments_and_strings_name_nothing() {
        for text in [
            "-- app.m.gte()",
            "--[[ app.m.gte() ]]",
            "--[==[\napp.m.gte()\n]]\n]==]",
            "local x = [==[ app.m.gte() ]] ]==]",
            "local x = 'app.m.gte()' .. \"\\\" app.m.gte()\"",
            "#!/usr/bin/lua app.m.gte()",
            "x.app.m.gte() y:app()",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn calls_are_told_from_other_uses() {
        assert_eq!(found("if app.m.start then app.m.start() end"), [one("m.start", 1, false), one("m.start", 1, true)]);
        assert_eq!(
            found("local m = app.m\nlocal f = app . m\n. start"),
            [one("m", 1, false), one("m.start", 2, false)]
        );
        assert_eq!(found("app['m'].start {}"), [one("m.start", 1, true)]);
        assert_eq!(found("app.a.b['c'].d.e.f()"), [one("a.b.c.d.e.f", 1, true)]);
        assert_eq!(found("app.x:exit()"), [one("x.exit", 1, true)]);
        assert_eq!(found("app[name].start()"), [one("", 1, false)]);
        assert_eq!(found("app.x.exit --[[ now ]] ()"), [one("x.exit", 1, true)]);
    }

    #[test]
    fn arguments_that_are_plain_text_are_told_with_their_positions() {
        let texts = |text: &str| found(text).swap_remove(0).3;
        let one = |at, text: &str| vec![(at, text.to_owned())];
        assert_eq!(texts("app.m.on_reply('on_reply')"), one(0, "on_reply"));
        assert_eq!(texts("app.m.on_reply \"on_reply\""), one(0, "on_reply"));
        assert_eq!(texts("app.m.on_reply [=[on_reply]=]"), one(0, "on_reply"));
        assert_eq!(
            texts("app.f.g({1, 2}, function(a, b) local c, d = 1, 2 if a then b(1, 2) end end, (x), 'y')"),
            one(3, "y")
        );
        assert_eq!(texts("app.f.g(a .. 'x', f('y'), 'z\\n')"), []);
        assert_eq!(texts("app.f.g()"), []);
        assert_eq!(texts("app.f.g('x'"), []);
    }

    #[test]
    fn no_text_makes_it_fail_or_recurse() {
        for text in [
            "'",
            "[[",
            "--[[",
            "[==",
            "app",
            "app.",
            "app.x[",
            "app['",
            "app.x(",
            "\0app.x()",
            "app.ä.é()",
            "\u{feff}app.x()",
        ] {
            let _ = found(text);
        }
        for (begin, link, end) in
            [("x = 1", " + 1", ""), ("x = f", ".a", ""), ("f", "()", ""), ("x = 'a'", " .. 'a'", ""), ("x = ", "(", "")]
        {
            let text = format!("{begin}{}{end} app.x.exit()", link.repeat(200_000));
            assert_eq!(found(&text).len(), 1, "{link}");
        }
        let nested = "app.f.g(".repeat(20_000);
        assert_eq!(found(&nested).len(), 20_000);
    }
}
