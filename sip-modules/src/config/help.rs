//! The schema as text for people.

use std::fmt::{self, Write};

use super::schema::Param;
use super::{Kind, Schema};

impl Schema {
    /// Describes every parameter, module and engine, for `--help` and the documentation.
    ///
    /// Sections and names are sorted; the wording may change between versions.
    pub fn help(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail; if it ever did, a shorter text is no harm.
        let _ = self.write_help(&mut text);
        text
    }

    fn write_help(&self, out: &mut String) -> fmt::Result {
        if !self.engines.is_empty() {
            out.push_str("Engines (cfgengine \"name\"):\n");
            for engine in &self.engines {
                write!(out, "  {}", engine.name)?;
                if !engine.aliases.is_empty() {
                    write!(out, " (also {})", engine.aliases.join(", "))?;
                }
                out.push('\n');
            }
            out.push('\n');
        }
        if !self.globals.is_empty() {
            out.push_str("Global parameters (name=value):\n");
            params(out, &self.globals)?;
        }
        let mut modules: Vec<_> = self.modules.iter().collect();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        for module in modules {
            write!(out, "\nModule {}", module.name)?;
            if !module.doc.is_empty() {
                write!(out, ": {}", module.doc)?;
            }
            out.push('\n');
            if let Some(why) = &module.no_effect {
                writeln!(out, "  Accepted without effect: {why}")?;
            }
            params(out, &module.params)?;
        }
        Ok(())
    }
}

fn params(out: &mut String, params: &[Param]) -> fmt::Result {
    let mut params: Vec<_> = params.iter().collect();
    params.sort_by(|a, b| a.name.cmp(&b.name));
    for param in params {
        write!(out, "  {} = {}", param.name, form(&param.kind))?;
        if let Some(default) = &param.default {
            write!(out, ", default {default}")?;
        }
        if param.repeated {
            out.push_str(", may be repeated");
        }
        out.push('\n');
        if !param.doc.is_empty() {
            writeln!(out, "      {}", param.doc)?;
        }
        if let Some(why) = &param.no_effect {
            writeln!(out, "      Accepted without effect: {why}")?;
        }
    }
    Ok(())
}

fn form(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "yes|no".to_owned(),
        Kind::Choice(words) => words.join("|"),
        Kind::Host => "host".to_owned(),
        Kind::Int { min, max } => format!("integer {min}..{max}"),
        Kind::Str => "\"text\"".to_owned(),
    }
}
