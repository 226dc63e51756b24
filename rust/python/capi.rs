//! What the C API of CPython needs and PyO3 does not offer: which interpreter is this, and what does a context variable
//! hold?
//!
//! Owns the only `unsafe` of the binding.

use std::ptr;

use pyo3::{ffi, prelude::*};

/// Whether the caller runs in the process' first interpreter. Classes, hooks and cached functions are held in
/// statics of this library: in a second interpreter they would be objects of the first one.
pub fn is_main_interpreter(_attached: Python<'_>) -> bool {
    // SAFETY: both calls only read; the first needs an attached thread, which the argument proves.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}

/// What `variable` holds in this context, its default where it was not set; `None` for Python's None too. `TypeError` for
/// what is no context variable.
pub fn value_in_context<'py>(variable: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = variable.py();
    let mut value = ptr::null_mut();
    // SAFETY: the thread is attached and `variable` alive, as `Bound` proves; the call refuses what is no context variable,
    // and stores a new reference, or null, where it succeeds.
    let found = unsafe {
        let status = ffi::PyContextVar_Get(variable.as_ptr(), ptr::null_mut(), &raw mut value);
        if status < 0 {
            return Err(PyErr::fetch(py));
        }
        Bound::from_owned_ptr_or_opt(py, value)
    };
    Ok(found.filter(|value| !value.is_none()))
}
