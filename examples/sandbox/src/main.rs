//! Two tenants with different rights in one process; one of them tries to escape.
//!
//! ```text
//! cargo run -p sandbox -- --cfgengine lua
//! ```
//!
//! `rhai` and `js` do the same in their language; `python` cannot be confined and says how to go on.

use std::{env, error::Error, path::Path};

use kemi::limits::{Facility, Imports};
use kemi::{ErrorCode, Instance, Profile, Registry, Source, find_engine, kemi_export};

/// Sends a mail, if the tenant is granted that.
#[kemi_export(module = "mail", capability = "mail")]
fn send(to: &str, text: &str) -> String {
    format!("mail to {to}: {text}")
}

fn main() -> Result<(), Box<dyn Error>> {
    kemi::link();
    let engine = env::args().skip_while(|arg| arg != "--cfgengine").nth(1);
    let engine = find_engine(engine.as_deref().unwrap_or("lua"))?;
    let ending = if engine.name() == "python" { "py" } else { engine.name() };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tenants");

    // The shop has a clock, a module in its own folder, and mail; the guest has nothing but its language.
    let of_shop = Profile::confined().allow(Facility::Clock).imports(Imports::Folder(folder.join("shop")));
    let shop = ("shop", of_shop, &["mail"][..], &["order", "clock"][..]);
    let guest = ("guest", Profile::confined(), &[][..], &["order", "mail", "clock", "steal"][..]);
    for (tenant, profile, granted, functions) in [shop, guest] {
        let registry = Registry::<()>::builder().root("app").module("mail");
        let registry = registry.capabilities(granted).profile(profile).build()?;
        let script = folder.join(tenant).join("main").with_extension(ending);
        let instance = match Instance::load(engine, &registry, &[Source::File(script)]) {
            Err(error) if error.code == ErrorCode::CannotConfine => {
                println!("{tenant} is not loaded: {}\n  {}", error.message, error.hint.as_deref().unwrap_or_default());
                continue;
            }
            loaded => loaded?,
        };
        for name in functions {
            match instance.function::<(&str,), String>(name)?.call(&mut (), ("tea",)) {
                Ok(answer) => println!("{tenant} {name}: {answer}"),
                Err(refusal) => println!("{tenant} {name}: refused, {} [{}]", refusal.message, refusal.code),
            }
        }
    }
    Ok(())
}
