//! Lets the binaries of this package find libpython without `LD_LIBRARY_PATH`, and tells the code Python's version.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
}
