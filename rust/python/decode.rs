//! From stored JSON to Python data: what orjson.loads gives of the same bytes.
//!
//! Owns the making of objects for [`crate::json::reading`], which reads what programs store; what that declines, damaged text
//! above all, is orjson's, whose error is then raised. Invariants: nothing is held while an object is made, which may collect
//! garbage and so run any Python code; what is made is nobody else's, but for keys.

use std::vec::Drain;

use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList},
};

use super::{capi, encode, recurring_texts::recurring_text};
use crate::json::reading::{self, Objects};

/// Decodes stored JSON. `orjson.JSONDecodeError` for what is none.
pub fn decode<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match reading::read(json, &mut Makes { py }) {
        Some(made) => Ok(made),
        None => encode::loads(&PyBytes::new(py, json)),
    }
}

struct Makes<'py> {
    py: Python<'py>,
}

impl<'py> Objects for Makes<'py> {
    type Object = Bound<'py, PyAny>;
    type Dict = Bound<'py, PyDict>;

    #[inline]
    fn text(&mut self, utf8: &[u8]) -> Option<Self::Object> {
        capi::text_of_utf8(self.py, utf8).map(Bound::into_any)
    }

    #[inline]
    fn integer(&mut self, number: i64) -> Option<Self::Object> {
        Some(PyInt::new(self.py, number).into_any())
    }

    #[inline]
    fn float(&mut self, number: f64) -> Option<Self::Object> {
        Some(PyFloat::new(self.py, number).into_any())
    }

    #[inline]
    fn truth(&mut self, is_true: bool) -> Option<Self::Object> {
        Some(PyBool::new(self.py, is_true).to_owned().into_any())
    }

    #[inline]
    fn null(&mut self) -> Option<Self::Object> {
        Some(self.py.None().into_bound(self.py))
    }

    #[inline]
    fn list(&mut self, items: Drain<'_, Self::Object>) -> Option<Self::Object> {
        PyList::new(self.py, items).ok().map(Bound::into_any)
    }

    #[inline]
    fn dict(&mut self) -> Option<Self::Dict> {
        Some(PyDict::new(self.py))
    }

    #[inline]
    fn put(&mut self, dict: &Self::Dict, key: &[u8], value: Self::Object) -> Option<()> {
        dict.set_item(recurring_text(self.py, key)?, value).ok()
    }

    #[inline]
    fn filled(&mut self, dict: Self::Dict) -> Self::Object {
        dict.into_any()
    }
}
