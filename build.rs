//! Tells the binding which CPython it is built for: `cfg(Py_3_14)` and the like, where the C API differs.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
