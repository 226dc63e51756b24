//! Looks through Python data: where is a NaN, and which value is it that orjson refused?
//!
//! Owns the searches, which run Python code and are made only once something is amiss. Refuses to know what is done
//! about it. Invariant: every walk is bounded in depth.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType},
};

use super::encode::dumps;

/// Deeper than orjson goes (254), so that a value it has written is never cut short.
const MAX_DEPTH: usize = 256;

/// Text, int, bool or None, none of them of a subclass: always exact, never lossy.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_none()
}

/// Path of the first NaN or infinity in data that orjson has written; `None` where there is none.
pub fn find_non_finite(data: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let mut path = vec!["$".to_owned()];
    Ok(is_found(data, &mut path)?.then(|| path.concat()))
}

fn is_found(value: &Bound<'_, PyAny>, path: &mut Vec<String>) -> PyResult<bool> {
    if is_plain(value) {
        return Ok(false);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(!number.value().is_finite());
    }
    if path.len() > MAX_DEPTH {
        return Ok(false);
    }
    if let Some(is_finite) = numpy_is_finite(value)? {
        return Ok(!is_finite);
    }
    for (step, child) in children(value)? {
        path.push(step);
        if is_found(&child, path)? {
            return Ok(true);
        }
        path.pop();
    }
    Ok(false)
}

/// For NumPy floats, scalars and arrays alike; `None` for everything else.
fn numpy_is_finite(value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    let py = value.py();
    let Some(dtype) = value.getattr_opt("dtype")? else { return Ok(None) };
    let is_float = dtype.getattr_opt("kind")?.is_some_and(|kind| kind.eq("f").unwrap_or(false));
    if !is_float {
        return Ok(None);
    }
    let finite = py.import("numpy")?.getattr("isfinite")?.call1((value,))?;
    finite.call_method0("all")?.is_truthy().map(Some)
}

/// Path of the innermost value whose own encoding fails, where that of `data` has failed.
///
/// Asks orjson itself about each child, so the answer can never disagree with it.
pub fn find_refused(data: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut path = "$".to_owned();
    let mut passed = vec![data.as_ptr()];
    let mut refused = data.clone();
    while passed.len() <= MAX_DEPTH {
        let Some((step, child)) = children(&refused)?.into_iter().find(|(_, child)| dumps(child).is_err())
        else {
            break;
        };
        path.push_str(&step);
        // A value that contains itself fails at every depth: naming where it comes back is what helps.
        if passed.contains(&child.as_ptr()) {
            break;
        }
        passed.push(child.as_ptr());
        refused = child;
    }
    Ok(path)
}

/// What orjson would write inside `value`, each with its step of the path. A copy: Python code may run meanwhile.
fn children<'py>(value: &Bound<'py, PyAny>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    if let Ok(dict) = value.cast::<PyDict>() {
        return dict.items().into_iter().map(|pair| pair.extract().and_then(keyed)).collect();
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.enumerate();
        return items.map(|(at, item)| Ok((format!("[{at}]"), item?))).collect();
    }
    if let Some(inner) = enum_value(value)? {
        return Ok(vec![(String::new(), inner)]);
    }
    let Some(fields) = value.get_type().getattr_opt("__dataclass_fields__")? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in fields.try_iter()? {
        let name = name?.extract::<String>()?;
        if let Some(field) = value.getattr_opt(name.as_str())? {
            found.push((step_of(&name), field));
        }
    }
    Ok(found)
}

fn keyed<'py>((key, value): (Bound<'py, PyAny>, Bound<'py, PyAny>)) -> PyResult<(String, Bound<'py, PyAny>)> {
    let step = match key.extract::<&str>() {
        Ok(text) => step_of(text),
        Err(_) => format!("[{}]", key.repr()?.to_string_lossy()),
    };
    Ok((step, value))
}

fn step_of(key: &str) -> String {
    let is_word = !key.is_empty() && key.chars().all(|sign| sign.is_alphanumeric() || sign == '_');
    if is_word { format!(".{key}") } else { format!("[{key:?}]") }
}

fn enum_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let is_member = value.is_instance(ENUM.import(value.py(), "enum", "Enum")?)?;
    if is_member { value.getattr("value").map(Some) } else { Ok(None) }
}
