//! The JSON of a value, read where it lies.
//!
//! Owns the walk over exact JSON: dict with text keys, list, str, int of at most 64 bits, finite float, bool and None, none of
//! them a subclass, no lone surrogate, not too deep. Refuses anything else, which is orjson's. Runs no Python code, and counts
//! no references of what it walks: PyO3's iterators count them up and down for each item, a fifth of what a trade costs.

use std::ptr;

use pyo3::{ffi, prelude::*, types::PyString};

use super::{gil_cell::GilCell, text_of};
use crate::{json::JsonText, python::key_texts::KeyTexts};

/// Deeper values are left to orjson, which goes to 254.
const MAX_DEPTH: u32 = 100;

static KEY_TEXTS: GilCell<KeyTexts> = GilCell::new(KeyTexts::new());

/// Writes `value` behind what `json` holds, if it is exact JSON all through. False for anything else; then what was written is
/// to be thrown away.
pub fn write_json(value: &Bound<'_, PyAny>, json: &mut JsonText) -> bool {
    // SAFETY: the thread is attached and `value` alive, as `Bound` proves, and stay so: nothing below lets go of either.
    let is_exact = unsafe { write_value(value.py(), value.as_ptr(), json, MAX_DEPTH) };
    json.finish();
    is_exact
}

/// Inlined into the loops over items, most of which need no call.
///
/// # Safety
/// `value` points to a living object that stays alive.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: a call for each number is a tenth of a trade's walk")]
unsafe fn write_value(py: Python<'_>, value: *mut ffi::PyObject, json: &mut JsonText, depth: u32) -> bool {
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
        } else if value == ffi::Py_True() {
            json.word(b"true,");
        } else if value == ffi::Py_False() {
            json.word(b"false,");
        } else if value == ffi::Py_None() {
            json.word(b"null,");
        } else if kind == &raw mut ffi::PyDict_Type && depth > 0 {
            return write_dict(py, value, json, depth - 1);
        } else if kind == &raw mut ffi::PyList_Type && depth > 0 {
            return write_list(py, value, json, depth - 1);
        } else {
            return false;
        }
    }
    true
}

/// # Safety
/// As [`write_value`]; `list` is exactly a list.
#[inline(never)]
unsafe fn write_list(py: Python<'_>, list: *mut ffi::PyObject, json: &mut JsonText, depth: u32) -> bool {
    json.open(b'[');
    // SAFETY: as in `write_value`; nothing changes the list meanwhile.
    unsafe {
        for at in 0..ffi::PyList_GET_SIZE(list) {
            if !write_value(py, ffi::PyList_GET_ITEM(list, at), json, depth) {
                return false;
            }
        }
    }
    json.close(b']');
    true
}

/// # Safety
/// As [`write_value`]; `dict` is exactly a dict.
#[inline(never)]
unsafe fn write_dict(py: Python<'_>, dict: *mut ffi::PyObject, json: &mut JsonText, depth: u32) -> bool {
    let (mut at, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    json.open(b'{');
    // SAFETY: as in `write_value`; `at` is the dict's own cursor.
    unsafe {
        while ffi::PyDict_Next(dict, &raw mut at, &raw mut key, &raw mut value) != 0 {
            if !write_key(Borrowed::from_ptr(py, key), json) || !write_value(py, value, json, depth) {
                return false;
            }
        }
    }
    json.close(b'}');
    true
}

/// Keys come again and again, mostly the very same objects: what is known of one is copied, not looked through for signs to escape.
#[inline]
fn write_key(key: Borrowed<'_, '_, PyAny>, json: &mut JsonText) -> bool {
    if let Some(known) = KEY_TEXTS.hold(key.py()).get(key) {
        json.known(&known.text, known.bytes);
        return true;
    }
    write_new_key(key, json)
}

#[inline(never)]
fn write_new_key(key: Borrowed<'_, '_, PyAny>, json: &mut JsonText) -> bool {
    let Ok(key_text) = key.cast_exact::<PyString>() else { return false };
    let Some(text) = super::text(&key_text) else { return false };
    let begin = json.bytes();
    json.key(text);
    if let Some(written) = json.as_bytes().get(begin..) {
        KEY_TEXTS.hold(key.py()).offer(key, written);
    }
    true
}

/// # Safety
/// As [`write_value`]; `number` is exactly an int.
#[inline]
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
