//! The matcher finds what Boa's own finds.

use proptest::prelude::*;

use super::matcher::Program;
use super::pattern::{Flags, Pattern};

/// The results of both matchers in a text from a place on, or `None` where Boa refuses the pattern.
#[allow(clippy::type_complexity, reason = "a pair of results")]
fn both(
    source: &str,
    flags: Flags,
    text: &str,
    from: usize,
) -> Option<(Option<Vec<Option<std::ops::Range<usize>>>>, Option<Vec<Option<std::ops::Range<usize>>>>)> {
    let pattern: Vec<u32> = match flags.by_points() {
        true => source.chars().map(u32::from).collect(),
        false => source.encode_utf16().map(u32::from).collect(),
    };
    let theirs = regress::Flags {
        icase: flags.icase,
        multiline: flags.multiline,
        dot_all: flags.dot_all,
        no_opt: false,
        unicode: flags.unicode,
        unicode_sets: flags.unicode_sets,
    };
    let regex = regress::Regex::from_unicode(pattern.iter().copied(), theirs).ok()?;
    let units: Vec<u16> = text.encode_utf16().collect();
    let found = match flags.by_points() {
        true => regex.find_from_utf16(&units, from).next(),
        false => regex.find_from_ucs2(&units, from).next(),
    };
    let found = found.map(|found| found.groups().collect::<Vec<_>>());
    let program = Program::new(&Pattern::read(&pattern, flags)?).expect("Boa takes the parts of what it takes");
    let mut questions = 0;
    let ours = program.find(&units, from, false, &mut || {
        questions += 1;
        questions < 1000
    });
    // The original may come to an end by what it knows of the pattern, in less steps.
    Some((found, ours.ok()?))
}

fn same(source: &str, flags: Flags, text: &str) {
    for from in 0..=text.encode_utf16().count().min(3) {
        if let Some((theirs, ours)) = both(source, flags, text, from) {
            assert_eq!(ours, theirs, "/{source}/ {flags:?} in {text:?} from {from}");
        }
    }
}

const PLAIN: Flags = Flags { icase: false, multiline: false, dot_all: false, unicode: false, unicode_sets: false };

#[test]
fn known_patterns_match_alike() {
    let texts = [
        "",
        "a",
        "aaa",
        "abcabc",
        "ab\ncd",
        "AbC_9 é",
        "😀a😀",
        "x=1;y=22",
        "aab",
        "\u{17f}K\u{212a}",
        "<a><b></b></a>",
    ];
    let patterns = [
        "",
        "a",
        "a*",
        "a*?",
        "(a*)*",
        "(a|ab)(c|bcd)(d*)",
        "(?:a|b)+?c",
        "^a",
        "a$",
        "\\bb",
        "\\B.",
        "(a)|b",
        "(?=a)a",
        "(?!a).",
        "(?<=a)b",
        "(?<!a)b",
        "(?<=(a)(b))c",
        "(a)(?=(b))",
        "(?!(a))\\1b",
        "(.)\\1",
        "(?<x>a)\\k<x>",
        "\\k<x>",
        "a{2}",
        "a{1,}",
        "a{0,2}?",
        "{",
        "a{",
        "a{,2}",
        "]",
        "}",
        "[]",
        "[^]",
        "[a-c]+",
        "[^a]",
        "\\d+",
        "\\w\\W",
        "\\s",
        "[\\b]",
        "\\cA",
        "\\c",
        "\\c*",
        "\\0",
        "\\1",
        "\\12",
        "\\8",
        "(a)\\2",
        "\\x41",
        "\\x4",
        "\\u0041",
        "\\u{41}",
        "\\u{1F600}",
        ".",
        ".+",
        "(?:)",
        "(z)((a+)?(b+)?(c))*",
        "(?:(a)|b)*",
        "(?i:A)b",
        "(?-i:a)B",
        "(?s:.)+",
        "(?m:^)c",
        "(?:a?){3}",
        "(a?)*?b",
        "(?:a?)*?$",
        "()*",
        "(?:(?=a))*b",
        "\\p{L}+",
        "\\P{L}",
        "[\\p{Lu}--[A-B]]",
        "[a&&b]",
        "(?<a>x)|(?<a>a)\\k<a>",
        "((a)|(b))*\\3",
        "(?<=\\1(a))b",
        "\\-",
        "\\/",
        "\\uD83D",
        "(?=(a+))a*b\\1",
    ];
    for pattern in patterns {
        for bits in 0..32u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let flags =
                Flags { icase: bit(0), multiline: bit(1), dot_all: bit(2), unicode: bit(3), unicode_sets: bit(4) };
            if flags.unicode && flags.unicode_sets {
                continue;
            }
            for text in texts {
                same(pattern, flags, text);
            }
        }
    }
}

#[test]
fn it_stops_when_it_is_told() {
    let pattern: Vec<u32> = "(a+)+b".chars().map(u32::from).collect();
    let program = Program::new(&Pattern::read(&pattern, PLAIN).expect("it reads")).expect("it is made");
    let text: Vec<u16> = std::iter::repeat_n(u16::from(b'a'), 60).collect();
    let mut questions = 0;
    let found = program.find(&text, 0, false, &mut || {
        questions += 1;
        questions < 5
    });
    assert_eq!((found, questions), (Err(super::Stopped::Asked), 5));
}

#[test]
fn what_grows_without_bounds_is_dear() {
    let steps = |source: &str, length| {
        let units: Vec<u32> = source.chars().map(u32::from).collect();
        super::cost::steps(&Pattern::read(&units, PLAIN).expect("it reads"), length, false)
    };
    for (source, length) in
        [("(a+)+b", 40), (".*.*.*.*.*b", 3000), ("(a|a)*b", 60), ("(?:a?){40}a{40}", 40), ("(.*)\\1\\1", 100_000)]
    {
        assert!(steps(source, length) > super::CHEAP, "{source}");
    }
    for (source, length) in
        [("^sip:([^@]+)@(.+)$", 100), ("[0-9]+", 2000), ("a", 1_000_000), ("^\\+?[1-9]\\d{1,14}$", 1000)]
    {
        assert!(steps(source, length) <= super::CHEAP, "{source}: {}", steps(source, length));
    }
}

/// Parts of patterns, put together at random.
fn pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        "[abcAB.]".boxed(),
        Just("\\d".to_owned()).boxed(),
        Just("\\w".to_owned()).boxed(),
        Just("[a-c]".to_owned()).boxed(),
        Just("[^b]".to_owned()).boxed(),
        Just("\\b".to_owned()).boxed(),
        Just("^".to_owned()).boxed(),
        Just("$".to_owned()).boxed(),
        Just("\\1".to_owned()).boxed(),
        Just("\\2".to_owned()).boxed(),
        Just("😀".to_owned()).boxed(),
    ];
    atom.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            (inner.clone(), "(\\*|\\+|\\?|\\{1,2\\}|\\{2\\}|\\*\\?|\\+\\?|\\?\\?)")
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
            (inner.clone(), "(\\*|\\+|\\?|\\{0,2\\}\\?)").prop_map(|(part, times)| format!("({part}){times}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}{b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
            inner.clone().prop_map(|part| format!("({part})")),
            (prop_oneof![Just("?="), Just("?!"), Just("?<="), Just("?<!")], inner.clone())
                .prop_map(|(kind, part)| format!("({kind}{part})")),
            inner.prop_map(|part| format!("(?i:{part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_pattern_matches_alike(
        source in pattern(),
        text in "[abcABC1 \n😀]{0,10}",
        bits in 0..16u8,
    ) {
        let bit = |n: u8| bits & (1 << n) != 0;
        let flags = Flags { icase: bit(0), multiline: bit(1), dot_all: bit(2), unicode: bit(3), unicode_sets: false };
        same(&source, flags, &text);
    }
}
