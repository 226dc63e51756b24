//! The three changeable fields of an event, and when each is made: at the first touch, never before.
//!
//! Owns the lazy making of type, data and metadata, and their assignment. Invariants: the fields are held for
//! pointer copies only, so no Python code runs meanwhile; a first touch in two threads gives both the same object.

use std::{cell::RefMut, sync::OnceLock};

use pyo3::{prelude::*, types::PyString};

use super::{
    capi::gil_cell::GilCell,
    decode,
    event::PyEvent,
    hooks::hooks,
    metadata,
    origin::{Origin, Place},
    presented::Presented,
};
use crate::format::Codec;

/// The fields that may still be made, or assigned.
#[derive(Default)]
pub struct Fields {
    pub event_type: Option<Py<PyAny>>,
    pub data: Option<Py<PyAny>>,
    pub metadata: Option<Py<PyAny>>,
    /// The bus's view of the delivery; `None` is pending.
    pub status: Option<Py<PyAny>>,
    pub is_replay: bool,
    /// What an event that an upcaster made was made of.
    pub stored: Option<Py<PyEvent>>,
}

/// One of the fields that are made at the first touch.
pub type Slot = fn(&mut Fields) -> &mut Option<Py<PyAny>>;

impl PyEvent {
    /// An event read from a log.
    pub fn stored(origin: Origin) -> Self {
        Self::made(Fields::default(), Some(origin))
    }

    /// An event published just now. Without `data` it is decoded from the stored bytes when touched.
    pub fn live(origin: Origin, event_type: Option<Py<PyAny>>, data: Option<Py<PyAny>>) -> Self {
        Self::made(Fields { event_type, data, ..Fields::default() }, Some(origin))
    }

    pub(super) fn made(fields: Fields, origin: Option<Origin>) -> Self {
        let (restored, presented) = (OnceLock::new(), OnceLock::new());
        Self { fields: GilCell::new(fields), origin, restored, presented }
    }

    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref().or_else(|| self.restored.get().map(AsRef::as_ref))
    }

    /// What it says otherwise than its record, if an upcaster made it.
    pub fn presented(&self) -> Option<&Presented> {
        self.presented.get().map(AsRef::as_ref)
    }

    /// Gives an event that was just made its place in a log; one that has a place keeps it.
    pub fn set_origin(&self, origin: Origin) {
        // A second origin is dropped: unpickling sets it once, on an event nobody else knows.
        if self.origin.is_none() {
            drop(self.restored.set(Box::new(origin)));
        }
    }

    pub fn fields<'a>(&'a self, py: Python<'a>) -> RefMut<'a, Fields> {
        self.fields.hold(py)
    }

    pub fn place(&self) -> PyResult<Option<Place>> {
        self.origin().map(Origin::place).transpose()
    }

    pub fn known<'py>(&self, py: Python<'py>, slot: Slot) -> Option<Bound<'py, PyAny>> {
        slot(&mut self.fields(py)).as_ref().map(|value| value.bind(py).clone())
    }

    /// Fills an empty slot; where another thread was faster, its value stays and is returned.
    fn fill<'py>(&self, slot: Slot, made: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        let py = made.py();
        let mut fields = self.fields(py);
        slot(&mut fields).get_or_insert_with(|| made.clone().unbind()).bind(py).clone()
    }

    pub fn assign(&self, slot: Slot, value: Bound<'_, PyAny>) {
        let py = value.py();
        let replaced = slot(&mut self.fields(py)).replace(value.unbind());
        // ORDER: they are free again before the old value goes, which may run Python code.
        let_go(py, replaced);
    }
}

/// Drops a reference here and now. In a call that PyO3 did not make it would be put on a list, under a lock, until PyO3 looks:
/// 300 instructions instead of three.
pub fn let_go<T>(py: Python<'_>, object: Option<Py<T>>) {
    drop(object.map(|object| object.into_bound(py)));
}

/// The event's type: what was assigned, else the registered object of the stored text, else that text.
pub fn event_type<'py>(event: &Bound<'py, PyEvent>) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (event.py(), event.get());
    if let Some(known) = this.known(py, |fields| &mut fields.event_type) {
        return Ok(known);
    }
    let Some(origin) = this.origin() else { return Ok(py.None().into_bound(py)) };
    let text = match this.presented().and_then(|shown| shown.event_type.as_ref()) {
        Some(text) => text.bind(py).clone(),
        None => origin.event_type(py)?,
    };
    let made = registered(&text)?;
    Ok(this.fill(|fields| &mut fields.event_type, &made))
}

/// The registered object that stands for `text`, else the text.
pub fn registered<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let known = hooks(text.py())?.event_types.bind(text.py()).get_item(text)?;
    Ok(known.unwrap_or_else(|| text.clone().into_any()))
}

/// The event's data, decoded now if nobody has touched it yet.
pub fn data<'py>(event: &Bound<'py, PyEvent>) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (event.py(), event.get());
    if let Some(known) = this.known(py, |fields| &mut fields.data) {
        return Ok(known);
    }
    let Some(origin) = this.origin() else { return Ok(py.None().into_bound(py)) };
    let made = match origin.stored_bytes(py)? {
        (json, Codec::Json | Codec::JsonGiven) => decode::decode(py, json)?,
        (_, Codec::Bytes) => origin.payload(py)?.into_any(),
    };
    Ok(this.fill(|fields| &mut fields.data, &made))
}

/// The event's metadata, made now if nobody has touched it yet.
pub fn metadata<'py>(event: &Bound<'py, PyEvent>) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (event.py(), event.get());
    if let Some(known) = this.known(py, |fields| &mut fields.metadata) {
        return Ok(known);
    }
    let Some(origin) = this.origin() else { return Ok(py.None().into_bound(py)) };
    let made = metadata::of_record(event, origin)?;
    Ok(this.fill(|fields| &mut fields.metadata, &made))
}

/// A fact of a stored event; of one that was never stored, what its metadata says.
pub fn fact<'py>(
    event: &Bound<'py, PyEvent>,
    name: &Bound<'py, PyString>,
    stored: impl FnOnce(&Origin) -> PyResult<Option<Bound<'py, PyString>>>,
) -> PyResult<Bound<'py, PyAny>> {
    match event.get().origin() {
        Some(origin) => {
            Ok(stored(origin)?.map_or_else(|| event.py().None().into_bound(event.py()), Bound::into_any))
        }
        None => metadata(event)?.getattr(name),
    }
}
