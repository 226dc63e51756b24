//! How events are copied and pickled, also into a spawned process.
//!
//! Owns the state that travels: the stored facts as plain values, the fields as far as they were touched, and
//! whatever a subclass keeps. Invariant: the state is set after the object exists, so data that refers back to
//! its own event survives.

use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyString, PyType},
};

use super::{
    event::PyEvent,
    fields::{self, Fields},
    origin::Pickled,
    presented::{self, PresentedState},
};

/// A field in a pickle: a tuple of one, or None for one that was never touched.
type Cell = Option<(Py<PyAny>,)>;

/// Type, data, metadata, status, whether it is a replay, what `object.__getstate__` says of a subclass, and what an event
/// that an upcaster made was made of.
pub type State = (Cell, Cell, Cell, Option<Py<PyAny>>, bool, Option<Py<PyAny>>, Option<PresentedState>);

/// Public by name alone: what a pickle calls to make an event of class `cls`.
#[pyfunction]
#[pyo3(signature = (cls, facts, /))]
pub fn _restore_event<'py>(
    cls: &Bound<'py, PyType>,
    facts: Option<Pickled>,
) -> PyResult<Bound<'py, PyEvent>> {
    restore(cls, facts)
}

fn restore<'py>(cls: &Bound<'py, PyType>, facts: Option<Pickled>) -> PyResult<Bound<'py, PyEvent>> {
    let py = cls.py();
    let none = py.None();
    // Any metadata but None: it is replaced at once, and must not cost the making of a default.
    let arguments = (cls, &none, &none, py.Ellipsis());
    let made = py.get_type::<PyEvent>().call_method1(intern!(py, "__new__"), arguments)?;
    let event = made.cast_into::<PyEvent>()?;
    if let Some(facts) = facts {
        event.get().set_origin(facts.into_origin());
    }
    let placeholders = std::mem::take(&mut *event.get().fields(py));
    drop(placeholders);
    Ok(event)
}

/// What `__reduce__` answers.
pub fn reduce<'py>(event: &Bound<'py, PyEvent>) -> PyResult<Bound<'py, PyAny>> {
    let py = event.py();
    // From the module, so that pickle finds the very same object under its name.
    let function = py.import("aresbus._core")?.getattr(intern!(py, "_restore_event"))?;
    let facts = facts_of(event)?;
    let arguments = (event.get_type(), facts);
    Ok((function, arguments, state_of(event)?).into_pyobject(py)?.into_any())
}

/// The facts of a stored event. A presentation shares those of its stored event, which its state has.
fn facts_of(event: &Bound<'_, PyEvent>) -> PyResult<Option<Pickled>> {
    let origin = event.get().origin().filter(|_| event.get().presented().is_none());
    origin.map(|origin| origin.pickled(event.py())).transpose()
}

fn state_of(event: &Bound<'_, PyEvent>) -> PyResult<State> {
    let py = event.py();
    // Of the base class there is nothing to tell; a subclass may keep attributes.
    let of_subclass = event.call_method0(intern!(py, "__getstate__"))?;
    let presented = presented::state_of(event);
    let fields = event.get().fields(py);
    let copy = |field: &Option<Py<PyAny>>| field.as_ref().map(|value| value.clone_ref(py));
    let cell = |field: &Option<Py<PyAny>>| copy(field).map(|value| (value,));
    let of_subclass = (!of_subclass.is_none()).then(|| of_subclass.unbind());
    Ok((
        cell(&fields.event_type),
        cell(&fields.data),
        cell(&fields.metadata),
        copy(&fields.status),
        fields.is_replay,
        of_subclass,
        presented,
    ))
}

/// What `__setstate__` does.
pub fn set_state(event: &Bound<'_, PyEvent>, state: State) -> PyResult<()> {
    let (event_type, data, metadata, status, is_replay, of_subclass, presented) = state;
    let stored = presented.map(|presented| presented::restore(event, presented));
    let replaced = {
        let mut fields = event.get().fields(event.py());
        std::mem::replace(
            &mut *fields,
            Fields {
                event_type: event_type.map(|(value,)| value),
                data: data.map(|(value,)| value),
                metadata: metadata.map(|(value,)| value),
                status,
                is_replay,
                stored,
            },
        )
    };
    drop(replaced);
    match of_subclass {
        Some(kept) => set_attributes(event, kept.bind(event.py())),
        None => Ok(()),
    }
}

/// `kept` is a dict of attributes, or a pair of that (or None) and a dict of slots.
fn set_attributes(event: &Bound<'_, PyEvent>, kept: &Bound<'_, PyAny>) -> PyResult<()> {
    let (attributes, slots) = match kept.extract::<(Option<Bound<'_, PyDict>>, Option<Bound<'_, PyDict>>)>() {
        Ok(pair) => pair,
        Err(_) => (Some(kept.cast::<PyDict>()?.clone()), None),
    };
    for pair in [attributes, slots].into_iter().flatten().flat_map(|dict| dict.items()) {
        let (name, value) = pair.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
        event.setattr(name, value)?;
    }
    Ok(())
}

/// A copy that shares data and metadata with `event`, as of a dataclass; both are made first if they were not yet.
pub fn shallow_copy<'py>(event: &Bound<'py, PyEvent>) -> PyResult<Bound<'py, PyAny>> {
    fields::data(event)?;
    fields::metadata(event)?;
    let copy = restore(&event.get_type(), facts_of(event)?)?;
    copy.call_method1(intern!(event.py(), "__setstate__"), (state_of(event)?,))?;
    Ok(copy.into_any())
}
