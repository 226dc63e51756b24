//! What an append returns: position, id, aggregate version.
//!
//! Owns the plain, frozen Python value. Holds no Python objects, so garbage collection has nothing to follow.

use pyo3::{prelude::*, types::PyString};

use crate::{
    format::{EventId, IdView},
    log::Appended,
};

/// What an append returns. Plain, frozen, hashable, picklable; equality by all four fields.
#[pyclass(name = "Receipt", module = "aresbus._core", frozen, eq, hash)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PyReceipt {
    #[pyo3(get)]
    seq: u64,
    event_id: EventId,
    #[pyo3(get)]
    aggregate_version: Option<u32>,
    #[pyo3(get)]
    duplicate: bool,
}

impl From<&Appended> for PyReceipt {
    fn from(appended: &Appended) -> Self {
        Self {
            seq: appended.seq,
            event_id: appended.event_id.clone(),
            aggregate_version: appended.aggregate_version,
            duplicate: appended.is_duplicate,
        }
    }
}

#[pymethods]
impl PyReceipt {
    #[new]
    #[pyo3(signature = (seq, event_id, aggregate_version, duplicate = false))]
    fn new(seq: u64, event_id: &str, aggregate_version: Option<u32>, duplicate: bool) -> Self {
        Self { seq, event_id: IdView::of(event_id).to_owned(), aggregate_version, duplicate }
    }

    /// Canonical UUID text, or the caller's own id.
    #[getter]
    fn event_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.event_id.view().with_text(|text| PyString::new(py, text))
    }

    fn __repr__(&self) -> String {
        let version = self.aggregate_version.map_or_else(|| "None".to_owned(), |version| version.to_string());
        let duplicate = if self.duplicate { "True" } else { "False" };
        format!(
            "Receipt(seq={}, event_id='{}', aggregate_version={version}, duplicate={duplicate})",
            self.seq,
            self.event_id.to_string().escape_debug()
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, receipt) = (slf.py(), slf.get());
        let fields = (receipt.seq, receipt.event_id(py), receipt.aggregate_version, receipt.duplicate);
        Ok((slf.as_any().get_type(), fields).into_pyobject(py)?.into_any())
    }
}
