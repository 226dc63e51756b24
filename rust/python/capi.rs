//! What the C API of CPython needs and PyO3 does not offer: which interpreter is this?
//!
//! Owns the only `unsafe` of the binding.

use pyo3::{Python, ffi};

/// Whether the caller runs in the process' first interpreter. Classes, hooks and cached functions are held in
/// statics of this library: in a second interpreter they would be objects of the first one.
pub fn is_main_interpreter(_attached: Python<'_>) -> bool {
    // SAFETY: both calls only read; the first needs an attached thread, which the argument proves.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}
