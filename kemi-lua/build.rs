//! Decides which Lua the crate is for: with both features it is Lua 5.4, since features may only add.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(luajit)");
    println!("cargo::rerun-if-changed=build.rs");
    let asked_for = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if asked_for("LUAJIT") && !asked_for("LUA54") {
        println!("cargo::rustc-cfg=luajit");
    }
}
