//! What the C API of CPython needs and PyO3 does not offer: which interpreter is this, what does a context variable
//! hold, and what is the JSON of a value, read where it lies?
//!
//! Owns the only `unsafe` of the binding.

use std::{ptr, slice, str};

use pyo3::{ffi, prelude::*};

use crate::json::JsonText;

/// Deeper values are left to orjson, which goes to 254.
const MAX_DEPTH: u32 = 100;

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

/// Writes `value` behind what `json` holds, if it is exact JSON all through: dict with text keys, list, str, int of at most
/// 64 bits, finite float, bool and None, none of them a subclass, no lone surrogate, not too deep. False for anything
/// else; then what was written is to be thrown away.
///
/// Runs no Python code, makes and drops no reference: PyO3's iterators count references up and down for each item, a
/// fifth of what a trade costs.
pub fn write_json(value: &Bound<'_, PyAny>, json: &mut JsonText) -> bool {
    // SAFETY: the thread is attached and `value` alive, as `Bound` proves, and stay so: nothing below lets go of either.
    let is_exact = unsafe { write_value(value.as_ptr(), json, MAX_DEPTH) };
    json.finish();
    is_exact
}

/// # Safety
/// The thread is attached; `value` points to a living object that stays alive.
unsafe fn write_value(value: *mut ffi::PyObject, json: &mut JsonText, depth: u32) -> bool {
    // SAFETY: each call only reads, and each cast is to the exact type that was just compared. Items are
    // borrowed from their container, which cannot change meanwhile: it is alive, the thread attached, and neither the
    // calls nor `json`, which knows no objects, run Python code. Written texts are used before anything else happens.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        if kind == &raw mut ffi::PyUnicode_Type {
            let Some(text) = text_of(value) else { return false };
            json.text(text);
        } else if kind == &raw mut ffi::PyFloat_Type {
            let number = ffi::PyFloat_AS_DOUBLE(value);
            if !number.is_finite() {
                return false;
            }
            json.float(number);
        } else if kind == &raw mut ffi::PyLong_Type {
            return write_integer(value, json);
        } else if kind == &raw mut ffi::PyBool_Type {
            json.word(if value == ffi::Py_True() { "true," } else { "false," });
        } else if value == ffi::Py_None() {
            json.word("null,");
        } else if kind == &raw mut ffi::PyDict_Type && depth > 0 {
            return write_dict(value, json, depth - 1);
        } else if kind == &raw mut ffi::PyList_Type && depth > 0 {
            json.open(b'[');
            for at in 0..ffi::PyList_GET_SIZE(value) {
                if !write_value(ffi::PyList_GET_ITEM(value, at), json, depth - 1) {
                    return false;
                }
            }
            json.close(b']');
        } else {
            return false;
        }
    }
    true
}

/// # Safety
/// As [`write_value`]; `dict` is exactly a dict.
unsafe fn write_dict(dict: *mut ffi::PyObject, json: &mut JsonText, depth: u32) -> bool {
    let (mut at, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    json.open(b'{');
    // SAFETY: as in `write_value`; `at` is the dict's own cursor.
    unsafe {
        while ffi::PyDict_Next(dict, &raw mut at, &raw mut key, &raw mut value) != 0 {
            if ffi::Py_TYPE(key) != &raw mut ffi::PyUnicode_Type {
                return false;
            }
            let Some(text) = text_of(key) else { return false };
            json.key(text);
            if !write_value(value, json, depth) {
                return false;
            }
        }
    }
    json.close(b'}');
    true
}

/// # Safety
/// As [`write_value`]; `number` is exactly an int.
unsafe fn write_integer(number: *mut ffi::PyObject, json: &mut JsonText) -> bool {
    let mut overflow = 0;
    // SAFETY: the calls only read; the second sets an error where it fails, which is taken back.
    unsafe {
        let signed = ffi::PyLong_AsLongLongAndOverflow(number, &raw mut overflow);
        if overflow == 0 {
            json.integer(signed);
            return true;
        }
        let unsigned = ffi::PyLong_AsUnsignedLongLong(number);
        if overflow < 0 || !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return false;
        }
        json.unsigned(unsigned);
    }
    true
}

/// The UTF-8 of a text, which lives as long as the text does; `None` where a lone surrogate has none.
///
/// # Safety
/// As [`write_value`]; `text` is exactly a str.
unsafe fn text_of<'a>(text: *mut ffi::PyObject) -> Option<&'a str> {
    let mut bytes = 0;
    // SAFETY: the call gives `bytes` bytes of UTF-8 that the object keeps, or null and an error, which is taken back.
    unsafe {
        let start = ffi::PyUnicode_AsUTF8AndSize(text, &raw mut bytes);
        if start.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(str::from_utf8_unchecked(slice::from_raw_parts(start.cast(), usize::try_from(bytes).ok()?)))
    }
}
