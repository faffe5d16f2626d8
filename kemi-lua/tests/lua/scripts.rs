use std::fs;
use std::path::PathBuf;

use kemi_core::{ArgumentPolicy, ErrorCode, Source, Value};

use crate::host::{text, try_load};

/// A folder that is removed at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("kemi-lua-{}-{name}", std::process::id()));
        for (file, content) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("the folder can be made");
            fs::write(path, content).expect("the file can be written");
        }
        Folder(folder)
    }

    fn source(&self, file: &str) -> Source {
        Source::File(self.0.join(file))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn require_finds_modules_beside_the_script() {
    let folder = Folder::new(
        "require",
        &[
            (
                "main.lua",
                "#!/usr/bin/env lua\nlocal m = require('lib.numbers') function main() return m.two() .. require('pkg') end",
            ),
            ("lib/numbers.lua", "return { two = function() return KSR.t.add(1, 1) end }"),
            ("pkg/init.lua", "return 'pkg'"),
        ],
    );
    let mut script = try_load(ArgumentPolicy::Strict, &[folder.source("main.lua")]).unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(script.value(&[]), text("2pkg"));
}

#[test]
fn errors_in_a_module_have_its_file_and_line() {
    let folder = Folder::new(
        "module-error",
        &[
            ("main.lua", "local m = require('m')\nfunction main() return m() end"),
            ("m.lua", "return function()\n  error('inside')\nend"),
            ("broken.lua", "require('worse')"),
            ("worse.lua", "local x = = 1"),
        ],
    );
    let mut script = try_load(ArgumentPolicy::Strict, &[folder.source("main.lua")]).unwrap_or_else(|e| panic!("{e:#}"));
    let e = script.call(&[]).expect_err("the module raises");
    let place = e.place.clone().expect("it has a place");
    assert_eq!((place.file, place.line), (folder.0.join("m.lua").display().to_string(), 2));
    assert_eq!(e.message, "inside");
    let e = try_load(ArgumentPolicy::Strict, &[folder.source("broken.lua")]).expect_err("the module does not parse");
    assert_eq!(e.code, ErrorCode::Syntax);
    let place = e.place.clone().expect("it has a place");
    assert_eq!((place.file, place.line), (folder.0.join("worse.lua").display().to_string(), 1));
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let folder = Folder::new(
        "fifo",
        &[(
            "main.lua",
            "function main(what)
        local fifo = FOLDER .. '/fifo'
        if what == 'require' then return require('fifo') end
        if what == 'dofile' then return dofile(fifo) end
        if what == 'loadfile' then return select(2, loadfile(fifo)) end
        if what == 'searchpath' then return select(2, package.searchpath('fifo', FOLDER .. '/?')) end
        if what == 'folder' then return select(2, loadfile(FOLDER)) end
        if what == 'stdin' then return loadfile() end
        return select(2, pcall(dofile))
    end",
        )],
    );
    let path = folder.0.join("fifo.lua");
    for path in [&path, &folder.0.join("fifo")] {
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        // SAFETY: the name ends in NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    }
    let set = Source::text("set.lua", format!("FOLDER = '{}'", folder.0.display()));
    let mut script =
        try_load(ArgumentPolicy::Strict, &[set, folder.source("main.lua")]).unwrap_or_else(|e| panic!("{e:#}"));
    for what in ["require", "dofile", "stdin"] {
        let error = script.call(&[what.into()]).expect_err(what);
        assert_eq!(error.code, ErrorCode::Runtime, "{what}: {error:#}");
    }
    for what in ["loadfile", "searchpath", "folder", ""] {
        let said = script.value(&[what.into()]).to_string();
        assert!(said.contains("regular file") || said.contains("folder\"") || what.is_empty(), "{what}: {said}");
    }
}

#[test]
fn require_tells_where_it_has_looked() {
    let e = crate::host::error("package.path = './?.lua;/nowhere/?/init.lua' require('a.b%c')");
    assert_eq!(e.code, ErrorCode::Runtime);
    for part in [
        "module 'a.b%c' not found:",
        "\n\tno field package.preload['a.b%c']",
        "\n\tno file './a/b%c.lua'\n\tno file '/nowhere/a/b%c/init.lua'",
    ] {
        assert!(e.message.contains(part), "{}", e.message);
    }
}

#[test]
fn several_files_share_one_global_scope_in_order() {
    let folder = Folder::new(
        "several",
        &[("a.lua", "list = {'a'} function helper() return #list end"), ("b.lua", "list[#list + 1] = 'b'")],
    );
    let sources =
        [folder.source("a.lua"), folder.source("b.lua"), Source::text("c", "function main() return helper() end")];
    let mut script = try_load(ArgumentPolicy::Strict, &sources).unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(script.value(&[]), Value::Int(2));
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_path() {
    let e = try_load(ArgumentPolicy::Strict, &[Source::File("/nowhere/x.lua".into())]).expect_err("there is none");
    assert_eq!(e.code, ErrorCode::Unreadable);
    assert!(e.message.contains("/nowhere/x.lua"), "{e}");
}

#[test]
fn no_file_runs_when_another_does_not_parse() {
    let folder = Folder::new("parse-first", &[]);
    let proof = folder.0.join("proof");
    let sources = [
        Source::text("a.lua", format!("io.open([[{}]], 'w'):close()", proof.display())),
        Source::text("b.lua", "local = 1"),
    ];
    fs::create_dir_all(&folder.0).expect("the folder can be made");
    let e = try_load(ArgumentPolicy::Strict, &sources).expect_err("b does not parse");
    assert_eq!(e.code, ErrorCode::Syntax);
    assert!(!proof.exists());
}
