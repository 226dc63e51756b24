//! From Python data to stored JSON.
//!
//! Exact JSON is written by our own walk ([`capi::exact_json`]); everything else goes through orjson, whose output the
//! walk's is byte for byte. Owns that choice, orjson's options, and what is said about the result: whether the data held
//! only exact JSON types, and whether a number was lost. Invariant (R11): what comes out is bytes; no Python code
//! has to run between here and the append.

use std::ops::Range;

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyType},
};

use super::{
    capi::{self, gil_cell::GilCell},
    error::encode_error,
    walk,
};
use crate::json::JsonText;

/// The memory of the last text or batch is kept, up to this size: a thousand trades take half of it.
const KEPT_BYTES: usize = 256 * 1024;

static SPARE: GilCell<Option<Box<JsonText>>> = GilCell::new(None);

/// A text in the memory that is kept, taken out, not borrowed: an append from inside an append, or by another thread while this
/// one waits, finds none and makes its own.
pub struct Lent<'py> {
    /// One word: a value just made is waited for where it is moved in pieces. There until it is dropped.
    text: Option<Box<JsonText>>,
    py: Python<'py>,
}

impl<'py> Lent<'py> {
    fn take(py: Python<'py>) -> Self {
        Self { text: Some(SPARE.hold(py).take().unwrap_or_default()), py }
    }

    fn text(&mut self) -> &mut JsonText {
        self.text.get_or_insert_default()
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.as_ref().map_or(&[], |text| text.as_bytes())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(mut text) = self.text.take() {
            text.empty(KEPT_BYTES);
            let _other = SPARE.hold(self.py).replace(text);
        }
    }
}

/// What happens to NaN and infinities, which JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// They become null, as in orjson, and the record says so.
    Null,
    /// The data is refused.
    Refuse,
}

/// Data in its stored form.
pub enum Encoded<'py> {
    /// Decoding it would give an equal object of the same types.
    Exact(Lent<'py>),
    /// What orjson wrote.
    Foreign {
        json: Bound<'py, PyBytes>,
        /// A NaN or an infinity became null.
        lossy: bool,
    },
}

impl<'py> Encoded<'py> {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Exact(json) => json.as_bytes(),
            Self::Foreign { json, .. } => json.as_bytes(),
        }
    }

    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::Foreign { lossy: true, .. })
    }

    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// The same as an object of Python.
    pub fn to_py(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match self {
            Self::Exact(json) => PyBytes::new(py, json.as_bytes()),
            Self::Foreign { json, .. } => json.clone(),
        }
    }
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

/// Encodes `data`; runs no Python code where it is exact JSON.
pub fn encode<'py>(data: &Bound<'py, PyAny>, non_finite: NonFinite) -> PyResult<Encoded<'py>> {
    let mut json = Lent::take(data.py());
    if capi::exact_json::write_json(data, json.text()) {
        return Ok(Encoded::Exact(json));
    }
    drop(json);
    let (json, lossy) = encode_by_orjson(data, non_finite)?;
    Ok(Encoded::Foreign { json, lossy })
}

/// What is no exact JSON, and whether a number was lost.
fn encode_by_orjson<'py>(
    data: &Bound<'py, PyAny>,
    non_finite: NonFinite,
) -> PyResult<(Bound<'py, PyBytes>, bool)> {
    let json = dumps(data).map_err(|error| explain(data, error))?;
    // A non-finite float always leaves a null behind, so text without one needs no look at the data.
    let lost = if has_null(json.as_bytes()) { walk::find_non_finite(data)? } else { None };
    match lost {
        Some(path) if non_finite == NonFinite::Refuse => {
            Err(encode_error(data.py(), &path, "NaN and infinities have no JSON form"))
        }
        lost => Ok((json, lost.is_some())),
    }
}

/// The data of a batch in its stored form, one text behind the other: each in memory of its own, a thousand of them would have
/// left the cache before they are stored.
pub struct Texts<'py>(Lent<'py>);

/// One of them: where it lies, and whether a number was lost.
pub struct Written {
    place: Range<usize>,
    pub lossy: bool,
}

impl<'py> Texts<'py> {
    /// None yet, in the memory that is kept.
    pub fn begin(py: Python<'py>) -> Self {
        Self(Lent::take(py))
    }

    /// Encodes `data` as [`encode`] does, behind the others.
    pub fn add(&mut self, data: &Bound<'_, PyAny>, non_finite: NonFinite) -> PyResult<Written> {
        let text = self.0.text();
        let begin = text.bytes();
        let mut lossy = false;
        if !capi::exact_json::write_json(data, text) {
            text.cut(begin);
            let (json, is_lossy) = encode_by_orjson(data, non_finite)?;
            text.append(json.as_bytes());
            lossy = is_lossy;
        }
        Ok(Written { place: begin..text.bytes(), lossy })
    }

    pub fn get(&self, written: &Written) -> &[u8] {
        self.0.as_bytes().get(written.place.clone()).unwrap_or_default()
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

/// What orjson reads, or its error.
pub fn loads<'py>(json: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let py = json.py();
    orjson(py)?.loads.bind(py).call1((json,))
}

/// Refuses what is not strict JSON.
pub fn validate(json: &Bound<'_, PyBytes>) -> PyResult<()> {
    let py = json.py();
    loads(json).map(drop).map_err(|error| {
        let is_orjsons = orjson(py).is_ok_and(|orjson| error.is_instance(py, orjson.decode_error.bind(py)));
        if is_orjsons { encode_error(py, "$", &format!("no valid JSON: {}", error.value(py))) } else { error }
    })
}
