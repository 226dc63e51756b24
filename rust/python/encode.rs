//! From Python data to stored JSON and back, through orjson's own functions.
//!
//! Owns the call, its options, and what is said about the result: whether the data held only exact JSON types,
//! and whether a number was lost. Refuses to write anything itself. Invariant (R11): what comes out is bytes;
//! no Python code has to run between here and the append.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyType},
};

use super::{
    error::encode_error,
    walk::{self, Sight},
};

/// What happens to NaN and infinities, which JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// They become null, as in orjson, and the record says so.
    Null,
    /// The data is refused.
    Refuse,
}

/// Data in its stored form.
pub struct Encoded<'py> {
    pub bytes: Bound<'py, PyBytes>,
    /// A NaN or an infinity became null.
    pub lossy: bool,
    /// Decoding the bytes would give an equal object of the same types.
    pub exact: bool,
}

/// orjson's functions, fetched once.
struct Orjson {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    default: Py<PyAny>,
    option: Py<PyAny>,
    encode_error: Py<PyType>,
    decode_error: Py<PyType>,
}

fn orjson(py: Python<'_>) -> PyResult<&Orjson> {
    static ORJSON: PyOnceLock<Orjson> = PyOnceLock::new();
    ORJSON.get_or_try_init(py, || {
        let module = py.import("orjson")?;
        Ok(Orjson {
            dumps: module.getattr("dumps")?.unbind(),
            loads: module.getattr("loads")?.unbind(),
            default: wrap_pyfunction!(decimal_text, py)?.into_any().unbind(),
            option: module.getattr("OPT_SERIALIZE_NUMPY")?.unbind(),
            encode_error: module.getattr("JSONEncodeError")?.cast_into()?.unbind(),
            decode_error: module.getattr("JSONDecodeError")?.cast_into()?.unbind(),
        })
    })
}

/// The one type we know and orjson does not: a Decimal becomes its text.
///
/// Runs no Python code, which could change the data that orjson is in the middle of and only borrows: the type is
/// asked, not `__class__`, and the text is Decimal's own, not that of a subclass' `__str__`.
#[pyfunction]
fn decimal_text<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let decimal = DECIMAL.import(py, "decimal", "Decimal")?;
    if value.get_type().is_subclass(decimal)? {
        let text = TEXT.get_or_try_init(py, || Ok::<_, PyErr>(decimal.getattr("__str__")?.unbind()))?;
        return text.bind(py).call1((value,));
    }
    Err(PyTypeError::new_err("no JSON form"))
}

/// What orjson writes for `data`, or its error.
pub fn dumps<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = data.py();
    let orjson = orjson(py)?;
    let written = orjson.dumps.bind(py).call1((data, &orjson.default, &orjson.option))?;
    Ok(written.cast_into()?)
}

/// Encodes `data`. Without `judge_exactness`, `exact` is not to be relied on: the walk is left out where nothing
/// can have been lost.
pub fn encode<'py>(
    data: &Bound<'py, PyAny>,
    non_finite: NonFinite,
    judge_exactness: bool,
) -> PyResult<Encoded<'py>> {
    let bytes = dumps(data).map_err(|error| explain(data, error))?;
    // A non-finite float always leaves a null behind, so text without one needs no look at the data.
    let may_be_lossy = has_null(bytes.as_bytes());
    let sight = if judge_exactness || may_be_lossy { walk::look(data) } else { Sight::Foreign };
    let lost = match sight {
        Sight::Exact => None,
        _ if !may_be_lossy => None,
        Sight::NonFinite | Sight::Foreign => walk::find_non_finite(data)?,
    };
    match lost {
        Some(path) if non_finite == NonFinite::Refuse => {
            Err(encode_error(data.py(), &path, "NaN and infinities have no JSON form"))
        }
        lost => Ok(Encoded { bytes, lossy: lost.is_some(), exact: matches!(sight, Sight::Exact) }),
    }
}

fn has_null(json: &[u8]) -> bool {
    std::str::from_utf8(json).map_or(true, |text| text.contains("null"))
}

/// Says which value orjson refused. Errors of another kind (no memory, a property that raised) pass unchanged.
#[cold]
fn explain(data: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = data.py();
    let is_orjsons = orjson(py).is_ok_and(|orjson| error.is_instance(py, orjson.encode_error.bind(py)));
    if !is_orjsons {
        return error;
    }
    match walk::find_refused(data) {
        Ok(path) => {
            let explained = encode_error(py, &path, &error.value(py).to_string());
            explained.set_cause(py, Some(error));
            explained
        }
        Err(failure) => failure,
    }
}

/// Decodes stored JSON.
pub fn decode<'py>(json: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let py = json.py();
    orjson(py)?.loads.bind(py).call1((json,))
}

/// Refuses what is not strict JSON.
pub fn validate(json: &Bound<'_, PyBytes>) -> PyResult<()> {
    let py = json.py();
    decode(json).map(drop).map_err(|error| {
        let is_orjsons = orjson(py).is_ok_and(|orjson| error.is_instance(py, orjson.decode_error.bind(py)));
        if is_orjsons { encode_error(py, "$", &format!("no valid JSON: {}", error.value(py))) } else { error }
    })
}
