//! Finds what a script names of the registry without running it.

use crate::references::Reference;
use crate::registry::RegistryData;

/// How a language writes comments and strings, as far as it takes to skip them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexis {
    /// What begins a comment that ends with the line.
    pub line_comment: &'static str,
    /// What begins and ends a comment over several lines; the first that fits counts.
    pub comments: &'static [(&'static str, &'static str)],
    /// What begins and ends a string over several lines; the first that fits counts.
    pub long_strings: &'static [(&'static str, &'static str)],
    /// The quotes of strings that end with the same quote, with `\` as the escape.
    pub quotes: &'static [u8],
}

/// Lists what a script's text names of the root object.
pub(crate) fn references(registry: &RegistryData, lexis: &Lexis, text: &[u8]) -> Vec<Reference> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let reference = |path: Path<'_>| {
        let text = |position| argument(lexis, path.behind, position).map(|text| (position, name(text)));
        let texts: Vec<_> = (0..8).filter_map(text).collect();
        let called = !texts.is_empty() || blank(lexis, path.behind).starts_with(b"(");
        let path_names = [Some(path.module), path.function].into_iter().flatten().map(name).collect();
        Reference { path: path_names, line: path.line, called, texts }
    };
    paths(registry.root().as_bytes(), lexis, text).into_iter().map(reference).collect()
}

/// Returns the argument at a position of the call that the text begins with, if it is a plain string.
fn argument<'a>(lexis: &Lexis, text: &'a [u8], position: usize) -> Option<&'a [u8]> {
    let Some(mut text) = blank(lexis, text).strip_prefix(b"(") else {
        // In Lua a single string needs no brackets.
        let spaces = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
        return string(lexis, text.get(spaces..)?).filter(|_| position == 0).and_then(plain);
    };
    for _ in 0..position {
        text = behind_comma(lexis, text)?;
    }
    let text = blank(lexis, text);
    let quoted = string(lexis, text)?;
    let behind = text.get(quoted.whole..).unwrap_or_default();
    matches!(blank(lexis, behind).first(), Some(b',' | b')')).then(|| plain(quoted)).flatten()
}

struct Path<'a> {
    module: &'a [u8],
    function: Option<&'a [u8]>,
    line: u32,
    /// The text after it.
    behind: &'a [u8],
}

fn paths<'a>(root: &[u8], lexis: &Lexis, text: &'a [u8]) -> Vec<Path<'a>> {
    let mut paths = Vec::new();
    let mut at = 0;
    let mut line = 1;
    // Whether a name that begins here would be a part of something longer.
    let mut inside_name = false;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let skipped = skip(lexis, rest);
        if skipped > 0 {
            line += newlines(rest.get(..skipped).unwrap_or_default());
            at += skipped;
            inside_name = false;
            continue;
        }
        if !inside_name
            && let Some(behind) = rest.strip_prefix(root)
            && let Some((module, behind)) = member(behind)
        {
            let function = member(behind);
            let behind = function.map_or(behind, |(_, behind)| behind);
            paths.push(Path { module, function: function.map(|(name, _)| name), line, behind });
            let length = rest.len() - behind.len();
            line += newlines(rest.get(..length).unwrap_or_default());
            at += length;
            inside_name = true;
            continue;
        }
        line += u32::from(byte == b'\n');
        inside_name = is_name(byte) || byte == b'.';
        at += 1;
    }
    paths
}

/// Returns how many bytes of comment or string the text begins with.
fn skip(lexis: &Lexis, text: &[u8]) -> usize {
    match comment(lexis, text) {
        0 => string(lexis, text).map_or(0, |quoted| quoted.whole),
        length => length,
    }
}

/// Returns how many bytes of comment the text begins with.
fn comment(lexis: &Lexis, text: &[u8]) -> usize {
    if let Some(block) = block(lexis.comments, text) {
        return block.whole;
    }
    if text.starts_with(lexis.line_comment.as_bytes()) {
        return text.iter().position(|&b| b == b'\n').unwrap_or(text.len());
    }
    0
}

/// A string with its quotes, or a comment.
struct Quoted<'a> {
    inside: &'a [u8],
    /// The length of it all.
    whole: usize,
}

/// Takes the string that the text begins with; one that is not closed ends with its line.
fn string<'a>(lexis: &Lexis, text: &'a [u8]) -> Option<Quoted<'a>> {
    if let Some(block) = block(lexis.long_strings, text) {
        return Some(block);
    }
    let quote = text.first().filter(|quote| lexis.quotes.contains(quote))?;
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' => break,
            byte if byte == quote => {
                return Some(Quoted { inside: text.get(1..at).unwrap_or_default(), whole: at + 1 });
            }
            _ => {}
        }
        at += 1;
    }
    Some(Quoted { inside: b"\\", whole: at.min(text.len()) })
}

fn block<'a>(kinds: &[(&str, &str)], text: &'a [u8]) -> Option<Quoted<'a>> {
    let (open, close) = kinds.iter().find(|(open, _)| text.starts_with(open.as_bytes()))?;
    let inside = text.get(open.len()..).unwrap_or_default();
    let length = find(inside, close.as_bytes());
    let whole = open.len() + length.map_or(inside.len(), |length| length + close.len());
    Some(Quoted { inside: inside.get(..length.unwrap_or(inside.len())).unwrap_or_default(), whole })
}

/// Returns what a string holds, unless it has escapes or parts to be computed.
fn plain(quoted: Quoted<'_>) -> Option<&[u8]> {
    let plain = |byte: &u8| !byte.is_ascii_control() && !matches!(byte, b'\\' | b'$' | b'{');
    quoted.inside.iter().all(plain).then_some(quoted.inside)
}

/// Skips spaces, line ends and comments.
fn blank<'a>(lexis: &Lexis, mut text: &'a [u8]) -> &'a [u8] {
    loop {
        text = text.trim_ascii_start();
        match comment(lexis, text) {
            0 => return text,
            length => text = text.get(length..).unwrap_or_default(),
        }
    }
}

/// Returns what follows the next comma of an argument list, if its call does not end before.
fn behind_comma<'a>(lexis: &Lexis, mut text: &'a [u8]) -> Option<&'a [u8]> {
    let mut depth = 0u32;
    loop {
        text = text.get(skip(lexis, text)..)?;
        let (byte, behind) = text.split_first()?;
        match byte {
            b',' if depth == 0 => return Some(behind),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        text = behind;
    }
}

/// Takes `.name` off the text.
fn member(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let name = text.strip_prefix(b".")?;
    let length = name.iter().position(|&b| !is_name(b)).unwrap_or(name.len());
    (length > 0).then(|| name.split_at(length))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn newlines(text: &[u8]) -> u32 {
    u32::try_from(text.iter().filter(|&&b| b == b'\n').count()).unwrap_or(u32::MAX)
}
