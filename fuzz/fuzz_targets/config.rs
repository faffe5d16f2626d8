//! Any bytes as a configuration: errors with places, never a panic, never a file read.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sip_modules::config::{Defines, parse_with};
use sip_modules::proxy::{Configuration, EngineNames};

fuzz_target!(|bytes: &[u8]| {
    let mut loader = |path: &Path| match path.to_str() {
        Some(name) if name.ends_with('a') => Ok(b"#!define X 1\nchildren=X\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let mut defines = Defines::new();
    let _ = defines.add("GIVEN=7");
    match parse_with(bytes, "fuzz.cfg", &defines, &mut loader) {
        Ok(config) => {
            let engines = [EngineNames { name: "one".to_owned(), aliases: vec!["app_one".to_owned()] }];
            if let Err(errors) = Configuration::check(&config, &engines) {
                assert!(errors.iter().next().is_some(), "a refusal says why");
            }
        }
        Err(errors) => assert!(errors.to_string().contains(':'), "every error has its place"),
    }
});
