//! What an event inherits from the one under which it is published: the conversation and the cause.
//!
//! Owns that rule, for the bus's append, which pays for no call of Python, and as a function for every other publisher.
//! Refuses to know who sets the context variable (correlation.py). Invariant: an id that the publisher gives is never
//! replaced.

use pyo3::{intern, prelude::*, types::PyString};

use super::{arguments::Text, event::PyEvent};

/// Correlation and causation id of an event published under `handled`; ids that are given stay.
///
/// The conversation is the handled event's, or begins with it; the cause is the handled event.
#[pyfunction]
pub fn inherit<'py>(
    handled: &Bound<'py, PyAny>,
    correlation_id: Text<'py>,
    causation_id: Text<'py>,
) -> PyResult<(Text<'py>, Text<'py>)> {
    if correlation_id.is_some() && causation_id.is_some() {
        return Ok((correlation_id, causation_id));
    }
    let (conversation, event_id) = ids_of(handled)?;
    let conversation = conversation.filter(|text| text.len().is_ok_and(|length| length > 0));
    Ok((correlation_id.or(conversation).or_else(|| event_id.clone()), causation_id.or(event_id)))
}

fn ids_of<'py>(handled: &Bound<'py, PyAny>) -> PyResult<(Text<'py>, Text<'py>)> {
    let py = handled.py();
    if let Some(origin) = handled.cast_exact::<PyEvent>().ok().and_then(|event| event.get().origin()) {
        return Ok((origin.correlation_id(py)?, Some(origin.event_id(py)?)));
    }
    let named =
        |name: &Bound<'py, PyString>| -> PyResult<Text<'py>> { Ok(handled.getattr(name)?.extract()?) };
    Ok((named(intern!(py, "correlation_id"))?, named(intern!(py, "event_id"))?))
}
