//! Any bytes as a configuration: errors with places, never a panic, never a file read.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sip_modules::config::{Config, ConfigErrors, Defines, parse_with};
use sip_modules::proxy::{Configuration, EngineNames};

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Ok(config) => check(&config),
        Err(errors) => every_error_has_its_place(&errors),
    }
});

fn read(bytes: &[u8]) -> Result<Config, ConfigErrors> {
    let mut defines = Defines::new();
    defines.add("GIVEN=7").expect("a define");
    // Includes may be files of text, the file itself again, or missing.
    let mut loader = |path: &Path| match path.to_str() {
        Some(name) if name.ends_with('a') => Ok(b"#!define X 1\nchildren=X\n".to_vec()),
        Some(name) if name.ends_with("self") => Ok(bytes.to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    parse_with(bytes, "fuzz.cfg", &defines, &mut loader)
}

fn check(config: &Config) {
    let engines = [EngineNames { name: "one".to_owned(), aliases: vec!["app_one".to_owned()] }];
    match Configuration::check(config, &engines) {
        Ok(configuration) => {
            assert!((1..=256).contains(&configuration.workers));
            assert!((-5..=5).contains(&configuration.debug));
            assert!(configuration.engine.is_none_or(|engine| engine == "one"));
        }
        Err(errors) => every_error_has_its_place(&errors),
    }
}

fn every_error_has_its_place(errors: &ConfigErrors) {
    assert!(errors.iter().next().is_some(), "a refusal says why");
    for error in errors.iter() {
        assert!(error.to_string().starts_with(&format!("{}:", error.place().file())), "an error without its file");
        assert!(!error.text().is_empty());
    }
}
