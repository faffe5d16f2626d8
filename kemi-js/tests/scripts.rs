//! `require`, from the script's folder.

mod common;

use std::path::PathBuf;

use common::{Loaded, text, try_load};
use kemi_core::{ArgumentPolicy, ErrorCode, ScriptError, Source, Value};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("kemi-js-{name}-{}", std::process::id()));
        for (file, code) in files {
            let path = folder.join("script").join(file);
            std::fs::create_dir_all(path.parent().expect("has a folder")).expect("can write");
            std::fs::write(path, code).expect("can write");
        }
        Folder(folder)
    }

    fn load(&self) -> Result<Loaded, ScriptError> {
        try_load(&[Source::File(self.0.join("script/main.js"))], ArgumentPolicy::Strict)
    }

    fn error(&self) -> ScriptError {
        match self.load() {
            Err(error) => error,
            Ok(mut loaded) => loaded.call(&[]).expect_err("fails"),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn modules_are_found_and_loaded_once() {
    let folder = Folder::new(
        "found",
        &[
            ("main.js", "const h = require('./helper'); const again = require('./lib/../helper.js');
                const { deep } = require('./lib'); const config = require('./config.json');
                function f() { return [h.twice(4), h === again, deep(), config.port, globalThis.hidden === undefined, h.name]; }"),
            ("helper.js", "const hidden = 1; exports.twice = x => KSR.t.add(x, x); exports.name = __filename.split('/').pop();"),
            ("lib/index.js", "const up = require('../helper'); const near = require('./near'); module.exports = { deep: () => up.twice(near) };"),
            ("lib/near.js", "module.exports = 21;"),
            ("config.json", "{ \"port\": 5060 }"),
        ],
    );
    let expected =
        [Value::Int(8), Value::Bool(true), Value::Int(42), Value::Int(5060), Value::Bool(true), text("helper.js")];
    assert_eq!(folder.load().expect("loads").value(&[]), Value::Array(expected.to_vec()));
}

#[test]
fn modules_may_require_each_other() {
    let folder = Folder::new(
        "circle",
        &[
            ("main.js", "const a = require('./a'); function f() { return a.all(); }"),
            ("a.js", "exports.early = 1; const b = require('./b'); exports.all = () => b.seen + exports.early;"),
            ("b.js", "exports.seen = require('./a').early + 10;"),
        ],
    );
    assert_eq!(folder.load().expect("loads").value(&[]), Value::Int(12));
}

#[test]
fn errors_in_modules_name_their_file_and_line() {
    let folder = Folder::new(
        "errors",
        &[
            ("main.js", "const h = require('./helper');\nfunction f() {\n  return h.go();\n}"),
            ("helper.js", "\n\nexports.go = () => {\n  null.x;\n};"),
        ],
    );
    let error = folder.error();
    let place = error.place.as_ref().expect("has a place");
    assert!(place.file.ends_with("script/helper.js"), "{error}");
    assert_eq!(place.line, 4, "{error:#}");

    let folder = Folder::new("syntax", &[("main.js", "\nrequire('./bad');"), ("bad.js", "var a;\nvar = 1;")]);
    let error = folder.error();
    assert_eq!(error.code, ErrorCode::Syntax, "{error}");
    let place = error.place.as_ref().expect("has a place");
    assert!(place.file.ends_with("script/bad.js"), "{error}");
    assert_eq!(place.line, 2, "{error}");
    assert!(!error.message.contains("bad.js"), "the place is not said twice: {error}");
    assert_eq!(
        error.traceback.last().and_then(|frame| frame.place.as_ref()).map(|place| place.line),
        Some(2),
        "{error:#}"
    );
}

#[test]
fn what_is_not_there_or_outside_is_refused() {
    let folder =
        Folder::new("refused", &[("main.js", "function f(name) { return require(name); }"), ("../outside.js", "1")]);
    let mut loaded = folder.load().expect("loads");
    for (name, message) in [
        ("./nothing", "cannot find module"),
        ("../outside", "outside of the folder that modules come from"),
        ("/etc/hostname", "outside of the folder that modules come from"),
        ("../nothing", "outside of the folder that modules come from"),
        ("fs", "cannot find module"),
        ("", "cannot find module"),
        (".", "cannot find module"),
    ] {
        let error = loaded.call(&[name.into()]).expect_err(name);
        let code = if message.starts_with("outside") { ErrorCode::NotPermitted } else { ErrorCode::Runtime };
        assert_eq!(error.code, code, "{name}: {error}");
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(1), "{name}: {error}");
        assert!(error.message.contains(message), "{name}: {error}");
    }
    let mut text = common::load("function f() { return require('./x'); }");
    assert!(text.call(&[]).expect_err("no folder").message.contains("not a file"));
}

#[test]
fn an_exit_while_a_module_loads_ends_the_callback() {
    let folder = Folder::new(
        "exit",
        &[
            ("main.js", "function f() { try { require('./x'); } finally { KSR.t.note('f'); } }"),
            ("x.js", "KSR.x.exit();"),
        ],
    );
    let mut loaded = folder.load().expect("loads");
    assert_eq!(loaded.call(&[]).expect("no error"), kemi_core::Outcome::Exit);
    assert!(loaded.host.notes.is_empty());
}

#[test]
fn a_module_that_does_not_parse_can_be_caught() {
    let folder = Folder::new(
        "caught",
        &[
            (
                "main.js",
                "function f(again) { try { require('./bad'); } catch (e) {
                if (again) throw e;
                return [e instanceof SyntaxError, e.message.includes('bad.js:3: ')]; } }",
            ),
            ("bad.js", "\n\n}"),
        ],
    );
    let mut loaded = folder.load().expect("loads");
    assert_eq!(loaded.value(&[]), Value::Array(vec![Value::Bool(true), Value::Bool(true)]));
    let error = loaded.call(&[1.into()]).expect_err("is thrown again");
    assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (ErrorCode::Syntax, Some(3)));
}

#[test]
fn a_module_that_is_not_text_is_a_syntax_error() {
    let folder = Folder::new("bytes", &[("main.js", "require('./bad');"), ("bad.js", "")]);
    std::fs::write(folder.0.join("script/bad.js"), b"var a;\n\xFF").expect("can write");
    let error = folder.error();
    assert_eq!((error.code, error.place.as_ref().map(|place| place.line)), (ErrorCode::Syntax, Some(2)));
}

#[test]
fn a_module_may_begin_with_a_line_for_the_shell_or_a_byte_order_mark() {
    let folder = std::env::temp_dir().join(format!("kemi-js-prefix-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("shell", "#!/usr/bin/env node\nmodule.exports = 1;"),
        ("mark", "\u{feff}module.exports = 2;"),
        ("both", "\u{feff}#!/usr/bin/env node\r\nmodule.exports = 3;"),
        ("only", "#!/usr/bin/env node"),
        ("broken", "#!/usr/bin/env node\nlet = ;"),
    ] {
        std::fs::write(folder.join(format!("{name}.js")), text).unwrap();
    }
    std::fs::write(folder.join("data.json"), "\u{feff}{\"a\": 4}").unwrap();
    std::fs::write(
        folder.join("main.js"),
        "#!/usr/bin/env node\nfunction f(name) { try { return require(name); } catch (e) { return e.message; } }",
    )
    .unwrap();
    let mut loaded = try_load(&[Source::File(folder.join("main.js"))], ArgumentPolicy::Strict).unwrap();
    let results = ["./shell", "./mark", "./both"].map(|name| loaded.value(&[name.into()]));
    let (only, json) = (loaded.value(&["./only".into()]), loaded.value(&["./data.json".into()]));
    let broken = loaded.value(&["./broken".into()]).to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(results, [Value::Int(1), Value::Int(2), Value::Int(3)]);
    assert_eq!(only, Value::Map(kemi_core::Map::new()));
    assert_eq!(json.to_string(), "{\"a\": 4}");
    assert!(broken.contains("broken.js:2"), "{broken}");
}
