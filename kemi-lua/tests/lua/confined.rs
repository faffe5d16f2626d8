//! What a profile keeps from scripts, and what it does not.

use std::path::{Path, PathBuf};

use kemi_core::limits::{Facility, Imports};
use kemi_core::{Callbacks, ErrorCode, Instance, Outcome, Profile, Registry, ScriptError, Source, Value};
use kemi_lua::LuaEngine;

use crate::host::text;

/// Loads a script under a profile and calls its `main`.
fn run(profile: Profile, source: Source) -> Result<Value, ScriptError> {
    let mut callbacks = Callbacks::new();
    let main = callbacks.required("main", "main", &[]);
    let registry = Registry::<()>::builder().root("KSR").callbacks(callbacks).profile(profile).build().unwrap();
    match Instance::load(&LuaEngine, &registry, &[source])?.call(main, &mut (), &[])? {
        Outcome::Value(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

fn body(profile: Profile, body: &str) -> Result<Value, ScriptError> {
    run(profile, Source::text("test.lua", format!("function main()\n{body}\nend")))
}

/// What reaches out of a script: the facility that allows it, what it is called in the error, and the code.
const ESCAPES: &[(Option<Facility>, &str, &str)] = &[
    (Some(Facility::Files), "io.open", "io.open('/etc/passwd')"),
    (Some(Facility::Files), "io.lines", "io.lines('/etc/passwd')"),
    (Some(Facility::Files), "io.input", "io.input('/etc/passwd')"),
    (Some(Facility::Files), "io.output", "io.output('/dev/null')"),
    (Some(Facility::Files), "io.read", "io.read()"),
    (Some(Facility::Files), "io.write", "io.write('')"),
    (Some(Facility::Files), "io.close", "io.close()"),
    (Some(Facility::Files), "io.flush", "io.flush()"),
    (Some(Facility::Files), "io.type", "io.type(1)"),
    (Some(Facility::Files), "io.tmpfile", "io.tmpfile()"),
    (Some(Facility::Files), "os.remove", "os.remove('/nothing/there')"),
    (Some(Facility::Files), "os.rename", "os.rename('/nothing/there', '/nothing/here')"),
    (Some(Facility::Files), "os.tmpname", "os.remove(os.tmpname())"),
    (Some(Facility::Processes), "io.popen", "io.popen('true')"),
    (Some(Facility::Processes), "os.execute", "os.execute('true')"),
    (Some(Facility::Environment), "os.getenv", "os.getenv('PATH')"),
    (Some(Facility::Clock), "os.clock", "os.clock()"),
    (Some(Facility::Clock), "os.time without a time", "os.time()"),
    (Some(Facility::Clock), "os.date without a time", "os.date('%Y')"),
    (None, "string.dump", "string.dump(main)"),
    (None, "debug.getinfo", "debug.getinfo(1)"),
    (None, "loadfile", "loadfile('/etc/passwd')"),
    (None, "dofile", "dofile('/dev/null')"),
    (None, "package.searchpath", "package.searchpath('x', '/?')"),
    (None, "require", "require('nothing')"),
];

#[test]
fn every_escape_is_refused_by_name_with_its_place() {
    for profile in [Profile::confined(), Profile::default()] {
        for (_, name, code) in ESCAPES {
            let error = body(profile.clone(), &format!("local x = 1\n{code}")).expect_err(code);
            assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
            let message = format!("{name} is not available: the host confines scripts (profile 'confined')");
            assert_eq!(error.message, message, "{code}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("'open'")), "{error}");
            assert_eq!(error.place.as_ref().map(|place| place.line), Some(3), "{code}: {error:#}");
        }
    }
    let error = body(Profile::confined(), "os.exit()").unwrap_err();
    assert!(error.message.starts_with("os.exit is not available"), "{error}");
}

#[test]
fn a_facility_gives_what_it_is_for_and_nothing_else() {
    let all = [Facility::Clock, Facility::Files, Facility::Processes, Facility::Environment];
    for allowed in all {
        for (needs, _, code) in ESCAPES {
            // Whether it works or fails, it is not the profile.
            let refused = body(Profile::confined().allow(allowed), code)
                .is_err_and(|error| error.code == ErrorCode::NotPermitted);
            assert_eq!(refused, *needs != Some(allowed), "{code} with {allowed}");
        }
    }
    for (_, _, code) in ESCAPES {
        let refused = body(Profile::open(), code).is_err_and(|error| error.code == ErrorCode::NotPermitted);
        assert!(!refused, "{code}");
    }
}

#[test]
fn nothing_leads_around_a_profile() {
    for code in [
        "return package.loadlib",
        "return package.loaded.io.open ~= io.open and io.open('/etc/passwd')",
        "return package.loaded.ffi",
        "return debug.getregistry or debug.sethook or debug.getupvalue or debug.setmetatable",
        "return load('\\27Lua')",
        "return load(function() return nil end, 'x', 'b', {}) and nil",
        "local ok = pcall(require, 'ffi') return ok or nil",
        "local ok = pcall(string.dump, main) return ok or nil",
        "setmetatable(_G, { __index = function() return print end }) return rawget(os, 'execute')",
        "return getmetatable(os) or getmetatable(io) or nil",
        "local ok = pcall(setmetatable, os, {}) return ok or nil",
        "for name in pairs(io) do return name end",
        "local ok = pcall(getmetatable('').__index.dump, main) return ok or nil",
        "return (function(...) return select('#', ...) > 0 or nil end)(math.randomseed())",
        "local ok, err = pcall(io.open, '/etc/passwd') return ok or nil",
        "package.path = '/etc/?' package.searchers = nil local ok = pcall(require, 'passwd') return ok or nil",
        "local ok, err = pcall(package.preload.io or function() error() end) return ok or nil",
        "local s = package.searchers or package.loaders local ok = pcall(s[2], 'x') return ok or s[3] or s[4]",
        "return coroutine.wrap(function() local ok = pcall(os.getenv, 'PATH') return ok or nil end)()",
    ] {
        match body(Profile::confined(), code) {
            Ok(Value::Nil | Value::Bool(false)) => {}
            Err(error) if matches!(error.code, ErrorCode::NotPermitted | ErrorCode::Runtime) => {}
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[test]
fn the_language_itself_is_whole() {
    for (code, value) in [
        ("return load('return 1 + 1')()", Value::Int(2)),
        (
            "return os.time({ year = 2000, month = 1, day = 1 }) - os.time({ year = 2000, month = 1, day = 2 })",
            (-86400).into(),
        ),
        ("return os.date('!%Y', 0)", text("1970")),
        ("return os.difftime(2, 1) == 1", true.into()),
        ("return require('string') == string and require('io') == io", true.into()),
        ("return type(debug.traceback())", text("string")),
        ("return io.nothing == nil and os.nothing == nil and string.nothing == nil", true.into()),
        ("return ('x'):rep(3)", text("xxx")),
        ("math.randomseed(7) return math.random(1, 1)", 1.into()),
        ("collectgarbage() return collectgarbage('count') > 0", true.into()),
    ] {
        let found = body(Profile::confined(), code).unwrap_or_else(|error| panic!("{code}: {error:#}"));
        let as_int = match found {
            Value::Float(x) if x.fract() == 0.0 => Value::Int(x as i64),
            other => other,
        };
        assert_eq!(as_int, value, "{code}");
    }
}

/// A folder of modules with a link out of it, beside a script and a file that is not for it.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("kemi-lua-confined-{name}-{}", std::process::id()));
        for (file, content) in [
            ("tenant/m.lua", "return 'm'"),
            ("tenant/deep/n.lua", "return 'n' .. require('m')"),
            ("tenant/main.lua", "function main() return require('deep.n') end"),
            ("secret.lua", "return 'secret'"),
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret.lua", root.join("tenant/link.lua")).unwrap();
        Tree(root)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn modules_come_from_the_folder_and_not_from_beyond() {
    let tree = Tree::new("folder");
    let profile = Profile::confined().imports(Imports::Folder(tree.0.join("tenant")));
    let (secret, link) = (tree.path("secret.lua"), tree.path("tenant/link.lua"));
    for (code, value) in [
        ("return require('m')".to_owned(), text("m")),
        ("return require('deep.n')".to_owned(), text("nm")),
        (format!("return dofile('{}')", tree.path("tenant/m.lua")), text("m")),
        (format!("return loadfile('{}')()", tree.path("tenant/deep/../m.lua")), text("m")),
    ] {
        assert_eq!(body(profile.clone(), &code).unwrap_or_else(|error| panic!("{code}: {error:#}")), value, "{code}");
    }
    for code in [
        format!("dofile('{secret}')"),
        format!("loadfile('{secret}')"),
        format!("dofile('{}')", tree.path("tenant/../secret.lua")),
        format!("dofile('{}')", tree.path("tenant/../not there")),
        format!("dofile('{link}')"),
        "dofile('/etc/passwd')".to_owned(),
    ] {
        let error = body(profile.clone(), &code).expect_err(&code);
        assert_eq!(error.code, ErrorCode::NotPermitted, "{code}: {error}");
        assert!(error.message.contains("outside of the folder"), "{code}: {error}");
        assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{code}: {error:#}");
    }
    for code in [
        "require('secret')".to_owned(),
        "require('link')".to_owned(),
        "require('../secret')".to_owned(),
        format!("package.path = '{}/?.lua' require('secret')", tree.0.display()),
        format!("package.path = '?' require('{secret}')"),
    ] {
        let error = body(profile.clone(), &code).expect_err(&code);
        assert!(!error.message.contains("secret'\n") && error.code != ErrorCode::Syntax, "{code}: {error}");
    }
    let found = body(profile, &format!("return (package.searchpath('secret', '{}/?.lua'))", tree.0.display()));
    assert_eq!(found.unwrap(), Value::Nil);
}

#[test]
fn modules_beside_the_script_are_found_where_the_profile_says_so() {
    let tree = Tree::new("beside");
    let source = || Source::File(tree.0.join("tenant/main.lua"));
    for profile in [Profile::strictest().imports(Imports::BesideScripts), Profile::open()] {
        assert_eq!(run(profile, source()).unwrap(), text("nm"));
    }
    let error = run(Profile::confined(), source()).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotPermitted, "{error}");
    let missing = Profile::confined().imports(Imports::Folder(Path::new("/nothing/there").into()));
    assert_eq!(run(missing, source()).unwrap_err().code, ErrorCode::Unreadable);
}

#[cfg(target_os = "linux")]
#[test]
fn a_confined_script_holds_no_file_of_the_system() {
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let registry = Registry::<()>::builder().root("KSR").build().unwrap();
    let load = || Instance::load(&LuaEngine, &registry, &[Source::text("test.lua", "x = 1")]).unwrap();
    let first = load();
    let before = open_files();
    let many: Vec<_> = (0..64).map(|_| load()).collect();
    // Tests beside this one open some.
    assert!(open_files() < before + 32, "{before} before, {} after", open_files());
    drop((first, many));
}
