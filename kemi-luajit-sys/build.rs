//! Builds LuaJIT from its vendored source.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    luajit_src::Build::new().build().print_cargo_metadata();
}
