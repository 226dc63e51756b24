//! Events as upcasters show them: the facts of a stored event with other data, schema version, type.
//!
//! Owns the making of such an event and what it says otherwise than its record. Refuses to know which step made the data.
//! Invariants: every fact of the record is shared, not decoded and stored again; a presentation of a presentation refers to
//! the stored event itself; no Python object kept here can be part of a reference cycle.

use std::sync::OnceLock;

use pyo3::{exceptions::PyValueError, prelude::*, types::PyString};

use super::{event::PyEvent, fields::Fields, origin::exact};

/// What a presented event says otherwise than its record.
pub struct Presented {
    pub schema_version: Py<PyString>,
    /// `None`: as stored.
    pub event_type: Option<Py<PyString>>,
    /// Which of several parts of the stored event it is.
    pub part: Option<u32>,
}

/// A presentation as it is pickled: the stored event, and the fields of [`Presented`].
pub type PresentedState = (Py<PyEvent>, Py<PyString>, Option<Py<PyString>>, Option<u32>);

/// Presents `event`, which was stored, with other data.
pub fn present(
    event: &Bound<'_, PyEvent>,
    data: Py<PyAny>,
    schema_version: Bound<'_, PyString>,
    part: Option<u32>,
    event_type: Option<Bound<'_, PyString>>,
) -> PyResult<PyEvent> {
    let (py, this) = (event.py(), event.get());
    let Some(origin) = this.origin() else {
        return Err(PyValueError::new_err("the event was never stored: make a new Event of it instead"));
    };
    let event_type = match event_type {
        Some(given) => Some(exact(given)?),
        None => this.presented().and_then(|shown| shown.event_type.as_ref().map(|text| text.clone_ref(py))),
    };
    let presented = Presented { schema_version: exact(schema_version)?, event_type, part };
    let stored = stored(event).unbind();
    let (is_replay, status) = {
        let fields = this.fields(py);
        (fields.is_replay, fields.status.as_ref().map(|status| status.clone_ref(py)))
    };
    let fields = Fields { data: Some(data), status, is_replay, stored: Some(stored), ..Fields::default() };
    let presented = OnceLock::from(Box::new(presented));
    Ok(PyEvent { presented, ..PyEvent::made(fields, Some(origin.clone())) })
}

/// The event as it was stored; the event itself unless it is a presentation.
pub fn stored<'py>(event: &Bound<'py, PyEvent>) -> Bound<'py, PyEvent> {
    let fields = event.get().fields(event.py());
    fields.stored.as_ref().map_or_else(|| event.clone(), |stored| stored.bind(event.py()).clone())
}

/// What a pickle keeps of a presentation.
pub fn state_of(event: &Bound<'_, PyEvent>) -> Option<PresentedState> {
    let py = event.py();
    let shown = event.get().presented()?;
    let event_type = shown.event_type.as_ref().map(|text| text.clone_ref(py));
    Some((stored(event).unbind(), shown.schema_version.clone_ref(py), event_type, shown.part))
}

/// The inverse of [`state_of`], on an event that nobody else knows; returns the stored event.
pub fn restore(event: &Bound<'_, PyEvent>, state: PresentedState) -> Py<PyEvent> {
    let (stored, schema_version, event_type, part) = state;
    let this = event.get();
    if let Some(origin) = stored.get().origin() {
        this.set_origin(origin.clone());
    }
    // A second presentation is dropped, as a second origin is.
    drop(this.presented.set(Box::new(Presented { schema_version, event_type, part })));
    stored
}
