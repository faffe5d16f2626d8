//! Tables of configuration text and what comes of it.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn defines(arguments: &[&str]) -> Defines {
    let mut defines = Defines::new();
    for argument in arguments {
        defines.add(argument).unwrap();
    }
    defines
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    parse_with_files(text, &[], &[])
}

/// Reads `text` as `etc/proxy.cfg`, with other files that exist in memory only.
fn parse_with_files(text: &str, arguments: &[&str], files: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let files: HashMap<&Path, &str> = files.iter().map(|(name, text)| (Path::new(*name), *text)).collect();
    let mut loader = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    parse_with(text.as_bytes(), "etc/proxy.cfg", &defines(arguments), &mut loader)
}

/// Every statement in the order of its kind, as one line of text.
fn summary(config: &Config) -> String {
    let mut parts = Vec::new();
    parts.extend(config.settings.iter().map(|s| format!("{}={}", s.name, s.value)));
    parts.extend(config.listen.iter().map(|l| format!("listen={}", l.address)));
    parts.extend(config.aliases.iter().map(|a| format!("alias={}", a.address)));
    parts.extend(config.modules.iter().map(|m| format!("load {}", m.name)));
    parts.extend(config.modparams.iter().map(|m| format!("{}.{}={}", m.modules.join("|"), m.name, m.value)));
    parts.extend(config.engines.iter().map(|e| format!("engine {}", e.name)));
    parts.join("; ")
}

fn schema() -> Schema {
    let schema = Schema::new()
        .global(Param::int("children", 1, 64).default_int(2).doc("Worker threads."))
        .global(Param::int("debug", -5, 5))
        .global(Param::int("port", 1, 65_535).default_int(5060).repeated())
        .global(Param::bool("fork").without_effect("the proxy is one process"))
        .global(Param::str("log_prefix"))
        .global(Param::host("advertised_address"))
        .global(Param::choice("log_facility", &["LOG_DAEMON", "LOG_LOCAL0"]).default_str("LOG_DAEMON"))
        .global(Param::str("kemi.onsend_route_callback"))
        .module(
            Module::new("tm")
                .doc("Transactions.")
                .param(Param::int("fr_timer", 1, 600_000).default_int(30_000))
                .param(Param::bool("auto_inv_100").default_bool(true)),
        )
        .module(Module::new("registrar").param(Param::str("received_avp")))
        .module(Module::new("nathelper").param(Param::str("received_avp")).param(Param::str("sock").repeated()))
        .module(Module::new("kex").without_effect("its functions are built in"))
        .engine("lua", &[])
        .engine("python", &["python3"]);
    assert_eq!(schema.verify(), Ok(()));
    schema
}

#[test]
fn statements_are_read() {
    for (text, expected) in [
        ("", ""),
        ("#!KAMAILIO\ndebug=3 # three\nfork=yes", "debug=3; fork=yes"),
        ("debug=-3 children = 0x10 x=017", "debug=-3; children=16; x=15"),
        ("a=on b=off c=true d=false e=no", "a=yes; b=no; c=yes; d=no; e=no"),
        ("/* a\n b */ debug=1 // c\n", "debug=1"),
        ("log_prefix=\"a\" \"b\"\n  'c\\n'", "log_prefix=\"abc\\\\n\""),
        (r#"x="\t\"\\""#, r#"x="\t\"\\""#),
        ("x=\"# no // comment /* here */\"", "x=\"# no // comment /* here */\""),
        ("kemi.onsend_route_callback=\"none\"", "kemi.onsend_route_callback=\"none\""),
        ("group.x = 5 desc \"five\" debug=1", "group.x=5; debug=1"),
        ("log_facility=LOG_LOCAL0", "log_facility=LOG_LOCAL0"),
        ("advertised_address=sip.my-host.org", "advertised_address=sip.my-host.org"),
        ("advertised_address=127.0.0.1", "advertised_address=127.0.0.1"),
        ("listen=udp:127.0.0.1:5060", "listen=udp:127.0.0.1:5060"),
        ("listen=127.0.0.1:5060\nlisten=tcp:localhost", "listen=127.0.0.1:5060; listen=tcp:localhost"),
        ("listen=\"udp:127.0.0.1:5060\" alias=a.b alias=\"c\"", "listen=udp:127.0.0.1:5060; alias=a.b; alias=c"),
        ("listen=tls:[::1]:5061", "listen=tls:[::1]:5061"),
        ("port=5060\nport=5070", "port=5060; port=5070"),
        ("loadmodule \"tm.so\"\nloadmodule \"/usr/lib/rr\"", "load tm; load rr"),
        ("mpath=\"/a\"\nloadpath \"/b\"", "mpath=\"/a\"; loadpath=\"/b\""),
        ("modparam(\"a|b\", \"n\", -1)", "a|b.n=-1"),
        ("modparam('a',\n 'n',\n \"x\"\n \"y\")", "a.n=\"xy\""),
        ("modparam(\"a\", \"n\", yes)", "a.n=yes"),
        ("cfgengine \"lua\"\ncfgengine=lua", "engine lua; engine lua"),
        ("\u{feff}debug=1\r\nfork=no\r\n", "debug=1; fork=no"),
        // Names that begin a native block are usable as parameters of their own.
        ("route.x=1", "route.x=1"),
    ] {
        let config = parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        assert_eq!(summary(&config), expected, "{text}");
    }
}

#[test]
fn the_preprocessor_works() {
    for (text, arguments, expected) in [
        ("#!define N 4\nchildren=N", &[][..], "children=4"),
        ("//!define N 4\n!!ifdef N\nchildren=N\n//!endif", &[], "children=4"),
        ("#!define A B\n#!define B 3\ndebug=A", &[], "debug=3"),
        ("#!ifdef X\ndebug=1\n#!else\ndebug=2\n#!endif", &[], "debug=2"),
        ("#!ifndef X\ndebug=1\n#!else\ndebug=2\n#!endif", &[], "debug=1"),
        ("#!ifdef X\ndebug=1\n#!else\ndebug=2\n#!endif", &["X"], "debug=1"),
        (
            "#!ifdef NO\nit's \"any /* text\n#!ifdef Y\n#!else\n\u{e4}\n#!endif\n#!else\ndebug=1\n#!endif # NO",
            &[],
            "debug=1",
        ),
        ("#!ifdef A\n#!ifdef B\ndebug=1\n#!endif\ndebug=2\n#!endif", &["A"], "debug=2"),
        ("#!define M \"tm\" \".so\"\nloadmodule M", &[], "load tm"),
        ("#!define M 'app_lua'\nmodparam(M, \"load\", L)", &["L=\"/x\""], "app_lua.load=\"/x\""),
        ("cfgengine E", &["E=\"lua\""], "engine lua"),
        ("#!define HOST 10.0.0.1\n#!define P 5070\nlisten=udp:HOST:P", &[], "listen=udp:10.0.0.1:5070"),
        ("#!define HOST \"10.0.0.1\"\nlisten=udp:HOST:5070", &[], "listen=udp:10.0.0.1:5070"),
        ("#!define S debug=3 fork=no\nS", &[], "debug=3; fork=no"),
        ("#!define S debug=3 \\\n  fork=no\nS\nx=1", &[], "debug=3; fork=no; x=1"),
        ("x=\"pre \" NAME", &["NAME=\"fix\""], "x=\"pre fix\""),
        ("#!define debug 7\ndebug=debug", &[], "debug=7"),
        ("#!trydef N 1\n#!trydef N 2\ndebug=N", &[], "debug=1"),
        ("#!define N 1\n#!redef N 2\ndebug=N", &[], "debug=2"),
        ("#!define N 1\n#!trydef N 3\n#!redef N 2\ndebug=N", &["N=9"], "debug=9"),
        ("#!define E\nE debug=1", &[], "debug=1"),
        (
            "fork=yes\n#!ifndef X\nkemi.a=b\n#!endif\nlisten=h\n#!define Y\nx=1",
            &[],
            "fork=yes; kemi.a=b; x=1; listen=h",
        ),
        ("#!define N 4 # four\ndebug=N", &[], "debug=4"),
        ("debug=1 #!nothing special\n#!!!!!!\n#!/usr/sbin/kamailio", &[], "debug=1"),
    ] {
        let config = parse_with_files(text, arguments, &[]).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        assert_eq!(summary(&config), expected, "{text}");
    }
}

#[test]
fn errors_name_place_and_reason() {
    for (text, expected) in [
        ("\n#!define A 1\n#!define A 1", "etc/proxy.cfg:3: 'A' is already defined at etc/proxy.cfg:2"),
        ("#!ifdef A\n", "etc/proxy.cfg:1: '#!ifdef' has no '#!endif'"),
        ("debug=1\n#!endif", "etc/proxy.cfg:2: '#!endif' without"),
        ("#!else", "etc/proxy.cfg:1: '#!else' without"),
        ("#!ifdef A\n#!else\n#!else\n#!endif", "etc/proxy.cfg:3: second '#!else' for the '#!ifdef' at etc/proxy.cfg:1"),
        ("#!ifndef A\n#!else\n#!else\n#!endif", "etc/proxy.cfg:3: second '#!else'"),
        ("#!ifdf A", "etc/proxy.cfg:1: unknown directive '#!ifdf': did you mean 'ifdef'?"),
        ("#!ifdef A B\n#!endif", "etc/proxy.cfg:1: '#!ifdef' needs exactly one name"),
        ("#!define 9 x", "etc/proxy.cfg:1: '#!define' needs a name"),
        ("#!define A-B x", "etc/proxy.cfg:1: '#!define' needs a name"),
        ("#!substdef \"!a!b!\"", "etc/proxy.cfg:1: the directive '#!substdef' is not supported"),
        ("debug=1 #!define A", "etc/proxy.cfg:1: the directive '#!define' must be the first"),
        ("#!define A B\n#!define B A\ndebug=A", "etc/proxy.cfg:3: the value of 'A' from etc/proxy.cfg:1 contains 'A'"),
        ("x=\"a\n\n", "etc/proxy.cfg:1: this string has no closing quote"),
        ("\n/* ", "etc/proxy.cfg:2: this comment has no closing '*/'"),
        ("x=\"\\.\"", "etc/proxy.cfg:1: unknown escape"),
        ("x=1\n\u{e4}", "etc/proxy.cfg:2: unexpected byte 0xc3"),
        ("debug\nfork=yes", "etc/proxy.cfg:1: expected '=' after 'debug', found the end of the line"),
        ("debug=\nfork=yes", "etc/proxy.cfg:1: expected a value for 'debug=', found the end of the line"),
        ("debug=", "etc/proxy.cfg:1: expected a value for 'debug=', found the end of the configuration"),
        ("debug=12x", "etc/proxy.cfg:1: '12x' is not a number"),
        ("debug=99999999999999999999", "etc/proxy.cfg:1: '99999999999999999999' is not a number, or too large"),
        ("x={ 1 }", "etc/proxy.cfg:1: expected a value for 'x=', found '{'"),
        (
            "loadmodule tm",
            "etc/proxy.cfg:1: expected the name of a module in quotes, found 'tm': is a '#!define' missing?",
        ),
        ("modparam(\"a\" \"b\", 1)", "etc/proxy.cfg:1: expected the name of a parameter in quotes, found '1'"),
        ("modparam(\"a\", \"b\", 1\ndebug=1", "etc/proxy.cfg:1: expected ')' at the end of 'modparam'"),
        ("modparam(\"a.*\", \"b\", 1)", "etc/proxy.cfg:1: 'a.*' is not a module name"),
        ("modparam(\"a||b\", \"b\", 1)", "etc/proxy.cfg:1: 'a||b' is not a module name"),
        ("listen=udp:h:70000", "etc/proxy.cfg:1: port 70000"),
        ("listen=udp:*:5060", "etc/proxy.cfg:1: '*' for all addresses is not supported"),
        ("listen=*", "etc/proxy.cfg:1: '*' for all addresses is not supported"),
        ("listen=\"udp:*:5060\"", "etc/proxy.cfg:1: '*' for all addresses is not supported"),
        ("listen=udp:h:1 advertise x:2", "etc/proxy.cfg:1: the option 'advertise'"),
        ("5=debug", "etc/proxy.cfg:1: expected a statement, found '5'"),
        ("= debug", "etc/proxy.cfg:1: expected a statement, found '='"),
        ("include_file \"no.cfg\"", "etc/proxy.cfg:1: cannot read the included file 'etc/no.cfg'"),
        ("include_file no.cfg", "etc/proxy.cfg:1: 'include_file' needs the name of a file in quotes"),
        ("\nrequest_route {\n if (x) { exit; }\n}\n", "etc/proxy.cfg:2: 'request_route' blocks are not supported"),
        ("route[A] {\n}\n", "etc/proxy.cfg:1: 'route' blocks are not supported"),
    ] {
        let errors = parse(text).expect_err(text);
        assert!(errors.to_string().starts_with(expected), "{text}\n{errors}");
        assert_eq!(errors.as_slice().len(), 1, "{text}\n{errors}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = parse("debug\nroute[A] { x; }\nroute { y; }\nfork=\nport=5060\nlisten=:1").unwrap_err();
    let lines: Vec<u32> = errors.iter().map(|error| error.place().line()).collect();
    assert_eq!(lines, [1, 2, 4, 6]);
    assert_eq!(errors.as_slice()[1].kind(), ErrorKind::NativeRouting);
    let many = parse(&"x\n".repeat(10_000)).unwrap_err();
    assert!(many.as_slice().len() <= 101);
}

#[test]
fn places_lead_through_includes_and_defines() {
    let files = [("etc/sub/a.cfg", "debug=1\ninclude_file \"b.cfg\"\n"), ("etc/sub/b.cfg", "\n\nchildren=WRONG\n")];
    let text = "#!define WRONG {\n#!define DIR \"sub\"\ninclude_file DIR \"/a.cfg\"\nfork=no";
    let errors = parse_with_files(text, &[], &files).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "etc/sub/b.cfg:3: expected a value for 'children=', found '{': does the value of the define lack its quotes? \
         (in the value of 'WRONG' from etc/proxy.cfg:1, included from etc/sub/a.cfg:2, included from \
         etc/proxy.cfg:3)",
    );
    let config = parse_with_files(text, &["WRONG=4"], &files).unwrap();
    assert_eq!(summary(&config), "debug=1; children=4; fork=no");
    assert_eq!(config.settings[1].place.to_string(), "etc/sub/b.cfg:3");
    assert_eq!(config.settings[2].place, Place::new("etc/proxy.cfg", 4));
}

#[test]
fn import_may_be_absent_and_include_is_bounded() {
    let config = parse("import_file \"no.cfg\"\ndebug=1").unwrap();
    assert_eq!(summary(&config), "debug=1");
    assert!(config.notes[0].text.contains("does not exist"));
    let itself = [("etc/proxy.cfg", "#!include_file \"proxy.cfg\"\n")];
    let errors = parse_with_files(itself[0].1, &[], &itself).unwrap_err();
    assert_eq!(errors.as_slice()[0].kind(), ErrorKind::Limit);
    assert!(errors.to_string().contains("does a file include itself?"));
}

#[test]
fn conditions_end_with_their_file() {
    let files = [("etc/open.cfg", "#!ifdef X\n"), ("etc/close.cfg", "#!endif\n")];
    let errors = parse_with_files("include_file \"open.cfg\"\ninclude_file \"close.cfg\"", &[], &files).unwrap_err();
    assert_eq!(errors.as_slice().len(), 2);
    assert!(errors.to_string().starts_with("etc/open.cfg:1: '#!ifdef' has no '#!endif'"));
}

#[test]
fn defines_that_multiply_are_stopped() {
    let mut text = "#!define A0 x\n".to_owned();
    for level in 1..30 {
        text += &format!("#!define A{level} A{0} A{0} A{0}\n", level - 1);
    }
    let errors = parse(&(text + "A29")).unwrap_err();
    assert_eq!(errors.as_slice()[0].kind(), ErrorKind::Limit);
}

#[test]
fn the_command_line_wins_with_a_note() {
    let config = parse_with_files("#!define N 1\ndebug=N", &["N=5"], &[]).unwrap();
    assert_eq!(summary(&config), "debug=5");
    assert_eq!(config.notes[0].to_string(), "etc/proxy.cfg:1: '#!define N' skipped: the command line defines N");
    assert_eq!(config.defines.value("N").as_deref(), Some("5"));
    assert!(!config.defines.contains("M"));
    for wrong in ["", "=x", "9A", "A-B=1"] {
        assert!(Defines::new().add(wrong).is_err(), "{wrong}");
    }
    let errors = parse_with_files("modparam(\"a\", \"load\", L)", &["L=/x.lua"], &[]).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("lack its quotes") && text.contains("from command line"), "{text}");
}

#[test]
fn text_that_is_not_utf8_is_fine_in_comments_only() {
    let parse = |bytes: &[u8]| parse_bytes(bytes, "x.cfg", &Defines::new());
    assert!(parse(b"# gr\xfc\xdfe\ndebug=1").is_ok());
    let errors = parse(b"\nx=\"\xfc\"").unwrap_err();
    assert_eq!(errors.to_string(), "x.cfg:2: this string is not valid UTF-8");
}

#[test]
fn a_file_is_read_from_disk() {
    let errors = parse_file("/nonexistent/proxy.cfg", &Defines::new()).unwrap_err();
    assert!(errors.to_string().starts_with("/nonexistent/proxy.cfg: cannot read the configuration: "));
    let folder = std::env::temp_dir();
    let errors = parse_file(&folder, &Defines::new()).unwrap_err();
    assert!(errors.to_string().contains("not a regular file"));
    let path = folder.join(format!("config-test-{}.cfg", std::process::id()));
    std::fs::write(&path, "debug=2").unwrap();
    let config = parse_file(&path, &Defines::new());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(summary(&config.unwrap()), "debug=2");
}

#[test]
fn the_schema_finds_every_mistake() {
    for (text, expected) in [
        ("childern=4", "etc/proxy.cfg:1: unknown parameter 'childern': did you mean 'children'?"),
        ("zzz=4", "etc/proxy.cfg:1: unknown parameter 'zzz'"),
        ("children=65", "etc/proxy.cfg:1: parameter 'children': 65 is not in 1..64"),
        ("children=\"4\"", "etc/proxy.cfg:1: parameter 'children' takes an integer, not the string \"4\""),
        ("children=yes", "etc/proxy.cfg:1: parameter 'children' takes an integer, not 'yes'"),
        ("fork=2", "etc/proxy.cfg:1: parameter 'fork' takes yes or no, not the number 2"),
        (
            "log_prefix=PREFIX",
            "etc/proxy.cfg:1: parameter 'log_prefix' takes a string in quotes, not the word 'PREFIX': put it in \
             quotes, or is a '#!define' missing?",
        ),
        (
            "log_facility=LOG_LOCAL1",
            "etc/proxy.cfg:1: parameter 'log_facility': 'LOG_LOCAL1' is not one of LOG_DAEMON, LOG_LOCAL0: did you \
             mean 'LOG_LOCAL0'?",
        ),
        (
            "\nloadmodule \"ctl.so\"",
            "etc/proxy.cfg:2: module 'ctl' is not available in this proxy (available: kex, nathelper, registrar, tm)",
        ),
        (
            "loadmodule \"registar\"",
            "etc/proxy.cfg:1: module 'registar' is not available in this proxy: did you mean 'registrar'? \
             (available: kex, nathelper, registrar, tm)",
        ),
        (
            "loadmodule \"tm\"\nmodparam(\"tm\", \"fr_timr\", 1)",
            "etc/proxy.cfg:2: module 'tm' has no parameter 'fr_timr': did you mean 'fr_timer'?",
        ),
        (
            "loadmodule \"tm\"\nmodparam(\"tm\", \"fr_timer\", 0)",
            "etc/proxy.cfg:2: parameter 'fr_timer' of the module 'tm': 0 is not in 1..600000",
        ),
        (
            "modparam(\"tm\", \"fr_timer\", 1)",
            "etc/proxy.cfg:1: parameter 'fr_timer' of the module 'tm', which is not loaded: put loadmodule \
             \"tm.so\" before it",
        ),
        ("modparam(\"xyz\", \"a\", 1)", "etc/proxy.cfg:1: module 'xyz' is not available in this proxy (available: "),
        (
            "cfgengine \"lua\"\ncfgengine \"python3\"",
            "etc/proxy.cfg:2: cfgengine 'python3' contradicts cfgengine 'lua' at etc/proxy.cfg:1",
        ),
        (
            "cfgengine \"luaa\"",
            "etc/proxy.cfg:1: unknown cfgengine 'luaa': did you mean 'lua'? (available: lua, python)",
        ),
        ("cfgengine \"native\"", "etc/proxy.cfg:1: cfgengine 'native' is not supported"),
    ] {
        let errors = schema().check(&parse(text).unwrap()).expect_err(text);
        assert!(errors.to_string().starts_with(expected), "{text}\n{errors}");
        assert_eq!(errors.as_slice().len(), 1, "{text}\n{errors}");
    }
}

#[test]
fn the_schema_reports_all_mistakes_in_order() {
    let text = "cfgengine \"x\"\nfoo=1\nloadmodule \"nope\"\nmodparam(\"nope\", \"a\", 1)\nchildren=0\n";
    let errors = schema().check(&parse(text).unwrap()).unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.place().line(), error.kind())).collect();
    assert_eq!(
        found,
        [
            (1, ErrorKind::Engine),
            (2, ErrorKind::UnknownParameter),
            (3, ErrorKind::UnknownModule),
            (5, ErrorKind::OutOfRange),
        ]
    );
}

#[test]
fn a_module_must_be_loaded_before_its_parameters() {
    let text = "modparam(\"tm\", \"fr_timer\", 5)\nloadmodule \"tm\"";
    let errors = schema().check(&parse(text).unwrap()).unwrap_err();
    assert_eq!(errors.as_slice()[0].kind(), ErrorKind::ModuleNotLoaded);
    assert!(errors.to_string().contains("loaded only later, at etc/proxy.cfg:2"), "{errors}");
}

#[test]
fn settings_are_typed() {
    let text = "children=4\nchildren=5\nport=5060 port=5070\nfork=yes\nadvertised_address=1.2.3.4\n\
                kemi.onsend_route_callback=\"none\"\nlisten=udp:127.0.0.1:5060\nalias=me\n\
                loadmodule \"tm\"\nloadmodule \"nathelper\"\nloadmodule \"kex\"\nloadmodule \"tm\"\n\
                modparam(\"tm\", \"auto_inv_100\", 0)\nmodparam(\"nathelper|registrar\", \"received_avp\", \"$avp(R)\")\n\
                modparam(\"nathelper\", \"sock\", \"a\")\nmodparam(\"nathelper\", \"sock\", \"b\")\n\
                cfgengine \"python3\"\ncfgengine \"python\"";
    let settings = schema().check(&parse(text).unwrap()).unwrap();
    assert_eq!(settings.int("children"), Some(5));
    assert_eq!(settings.place("children").map(Place::line), Some(2));
    assert_eq!(settings.place("debug"), None);
    assert_eq!(settings.int("debug"), None);
    assert_eq!(settings.ints("port"), [5060, 5070]);
    assert_eq!(settings.bool("fork"), Some(true));
    assert_eq!(settings.str("advertised_address"), Some("1.2.3.4"));
    assert_eq!(settings.str("log_facility"), Some("LOG_DAEMON"));
    assert_eq!(settings.str("kemi.onsend_route_callback"), Some("none"));
    assert_eq!(settings.module_int("tm", "fr_timer"), Some(30_000));
    assert_eq!(settings.module_bool("tm", "auto_inv_100"), Some(false));
    assert_eq!(settings.module_str("nathelper", "received_avp"), Some("$avp(R)"));
    assert_eq!(settings.module_str("registrar", "received_avp"), None);
    assert_eq!(settings.module_strs("nathelper", "sock"), ["a", "b"]);
    assert_eq!(settings.module_place("nathelper", "sock").map(Place::line), Some(16));
    assert_eq!(settings.engine(), Some("python"));
    assert_eq!(settings.listen().len(), 1);
    assert_eq!(settings.aliases().len(), 1);
    assert!(settings.is_loaded("tm") && !settings.is_loaded("registrar"));
    assert_eq!(settings.modules().collect::<Vec<_>>(), ["kex", "nathelper", "tm"]);
    let notes: Vec<String> = settings.notes().iter().map(Note::to_string).collect();
    assert_eq!(
        notes,
        [
            "etc/proxy.cfg:4: parameter 'fork' has no effect here: the proxy is one process",
            "etc/proxy.cfg:11: module 'kex' has no effect here: its functions are built in",
            "etc/proxy.cfg:12: module 'tm' is already loaded",
            "etc/proxy.cfg:14: parameter 'received_avp' of the module 'registrar', which is not loaded",
        ]
    );
    let defaults = schema().check(&parse("").unwrap()).unwrap();
    assert_eq!(defaults.ints("port"), [5060]);
    assert_eq!(defaults.engine(), None);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "the schema has no global parameter 'childern'")]
fn a_lookup_the_schema_does_not_know_is_found_in_debug_builds() {
    schema().check(&parse("").unwrap()).unwrap().int("childern");
}

#[test]
fn a_schema_with_a_mistake_is_found() {
    let twice = Schema::new().global(Param::bool("a")).global(Param::bool("a"));
    assert_eq!(twice.verify(), Err("global parameter 'a' is declared twice".to_owned()));
    let default = Schema::new().module(Module::new("m").param(Param::int("a", 0, 1).default_int(2)));
    assert!(default.verify().unwrap_err().contains("2 is not in 0..1"));
    let engine = Schema::new().engine("js", &["jsdt"]).engine("jsdt", &[]);
    assert!(engine.verify().is_err());
}

#[test]
fn help_lists_everything() {
    let help = schema().help();
    for line in [
        "  python (also python3)",
        "  children = integer 1..64, default 2",
        "      Worker threads.",
        "  port = integer 1..65535, default 5060, may be repeated",
        "      Accepted without effect: the proxy is one process",
        "Module tm: Transactions.",
        "  auto_inv_100 = yes|no, default yes",
        "  log_facility = LOG_DAEMON|LOG_LOCAL0, default \"LOG_DAEMON\"",
        "  received_avp = \"text\"",
    ] {
        assert!(help.lines().any(|found| found == line), "{line}\n{help}");
    }
}

/// The shape of a real configuration, with all engines behind conditions.
#[test]
fn a_whole_file_is_read() {
    let text = r#"#!KAMAILIO
#!define FLT_ACC 1
#!ifdef LATLOG
log_prefix="M:$rm:$rU: "
#!else
#!define LATLOG 9
#!endif
debug=1
latency_cfg_log=LATLOG
kemi.onsend_route_callback="none"
loadmodule "tm.so"
modparam("tm", "fr_timer", 30000)
modparam("ctl", "binrpc", CTLADDR)
#!ifdef ENG_LUA
loadmodule "app_lua.so"
modparam("app_lua", "load", KEMILOAD)
cfgengine "lua"
#!endif
#!ifdef ENG_PY
loadmodule "app_python3.so"
cfgengine "python"
#!endif
"#;
    let arguments = ["ENG_LUA", "KEMILOAD=\"/r.lua\"", "CTLADDR=\"udp:127.0.0.1:2049\""];
    let config = parse_with_files(text, &arguments, &[]).unwrap();
    assert_eq!(
        summary(&config),
        "debug=1; latency_cfg_log=9; kemi.onsend_route_callback=\"none\"; load tm; load app_lua; \
         tm.fr_timer=30000; ctl.binrpc=\"udp:127.0.0.1:2049\"; app_lua.load=\"/r.lua\"; engine lua"
    );
}

/// Pieces of configurations, which meet the parser's branches more often than bytes do.
fn fragment() -> impl Strategy<Value = String> {
    const FRAGMENTS: &[&str] = &[
        "#!define A ",
        "#!redef B A",
        "#!ifdef A",
        "#!ifndef B",
        "#!else",
        "#!endif",
        "#!",
        "\n",
        " ",
        "=",
        "\"",
        "'",
        "A",
        "B",
        "debug",
        "listen",
        "alias",
        "udp:",
        "[::1]",
        ":",
        "5060",
        "-",
        "0x",
        "loadmodule ",
        "\"tm\"",
        "/*",
        "*/",
        "//",
        "\\",
        "\\\n",
        "modparam(",
        ",",
        ")",
        "cfgengine ",
        "route",
        "{",
        "}",
        ".",
        "yes",
        "include_file ",
        "import_file \"x\"",
        "desc",
    ];
    proptest::sample::select(FRAGMENTS).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut loader = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        if let Ok(config) = parse_with(&bytes, "x.cfg", &Defines::new(), &mut loader) {
            let _ = schema().check(&config);
        }
    }

    #[test]
    fn arbitrary_fragments_never_panic(parts in proptest::collection::vec(fragment(), 0..60)) {
        let text = parts.concat();
        let mut loader = |_: &Path| Ok(text.clone().into_bytes());
        if let Ok(config) = parse_with(text.as_bytes(), "x.cfg", &defines(&["A=B"]), &mut loader) {
            let _ = schema().check(&config);
        }
    }
}
