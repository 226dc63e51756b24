//! The events of `append_many`: pairs or mappings, from Python's hands to the engine's slice.
//!
//! Owns their two spellings and the defaults they share. Invariant (R11): every event is encoded before the first
//! is appended, so whatever an iterable or a value does in Python is over by then.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyList, PyMapping, PyString, PyTuple},
};

use super::{
    arguments::{Arguments, Payload, text},
    encode::{NonFinite, Texts, Written},
    expected::ExpectedVersions,
    log::PyLog,
    receipt::PyReceipt,
};
use crate::{config::Durability, format::Codec};

/// One event of a batch, ready but for borrowing.
struct Draft<'py> {
    arguments: Arguments<'py>,
    data: Written,
}

/// What is said once for a whole batch.
pub struct Terms<'py> {
    /// For what its events do not say.
    pub defaults: Arguments<'py>,
    pub expected: ExpectedVersions<'py>,
    pub durability: Option<Durability>,
}

/// Appends all of `events` or none.
pub fn append<'py>(log: &PyLog, events: &Bound<'py, PyAny>, terms: &Terms<'py>) -> PyResult<Vec<PyReceipt>> {
    let expected = terms.expected.borrow()?;
    let mut texts = Texts::begin();
    let drafts = drafts(events, &terms.defaults, log.non_finite, &mut texts)?;
    let tags = drafts.iter().map(|draft| draft.arguments.tags.borrow()).collect::<PyResult<Vec<_>>>()?;
    let new_events = drafts
        .iter()
        .zip(&tags)
        .map(|(draft, tags)| draft.arguments.new_event(payload(&texts, &draft.data), tags));
    let new_events = new_events.collect::<PyResult<Vec<_>>>()?;
    log.append_batch(events.py(), &new_events, &expected, terms.durability)
}

fn payload<'a>(texts: &'a Texts, data: &Written) -> Payload<'a> {
    Payload { bytes: texts.get(data), codec: Codec::Json, lossy: data.lossy }
}

fn drafts<'py>(
    events: &Bound<'py, PyAny>,
    defaults: &Arguments<'py>,
    non_finite: NonFinite,
    texts: &mut Texts,
) -> PyResult<Vec<Draft<'py>>> {
    let mut drafts = Vec::with_capacity(events.cast_exact::<PyList>().map_or(0, PyListMethods::len));
    for (at, event) in events.try_iter()?.enumerate() {
        let draft = event.and_then(|event| draft(&event, defaults, non_finite, texts)).inspect_err(|error| {
            // Which of thousands it was; an exception without room for notes is as good without.
            drop(error.add_note(events.py(), format!("event {at} of the batch")));
        });
        drafts.push(draft?);
    }
    Ok(drafts)
}

fn draft<'py>(
    event: &Bound<'py, PyAny>,
    defaults: &Arguments<'py>,
    non_finite: NonFinite,
    texts: &mut Texts,
) -> PyResult<Draft<'py>> {
    let pair = match event.cast::<PyList>() {
        Ok(list) => Some(list.to_tuple()),
        Err(_) => event.cast::<PyTuple>().ok().cloned(),
    };
    let (arguments, data) = if let Some(pair) = pair {
        let (event_type, data) = pair.extract::<(Bound<'py, PyString>, Bound<'py, PyAny>)>()?;
        (Arguments { event_type, ..defaults.clone() }, data)
    } else if let Ok(mapping) = event.cast::<PyMapping>() {
        from_mapping(mapping, defaults)?
    } else {
        let kind = event.get_type().name()?;
        return Err(PyTypeError::new_err(format!("an event of a batch is a pair or a mapping, not {kind}")));
    };
    Ok(Draft { arguments, data: texts.add(&data, non_finite)? })
}

fn from_mapping<'py>(
    mapping: &Bound<'py, PyMapping>,
    defaults: &Arguments<'py>,
) -> PyResult<(Arguments<'py>, Bound<'py, PyAny>)> {
    let mut arguments = defaults.clone();
    let (mut event_type, mut data) = (None, None);
    for (key, value) in pairs_of(mapping)? {
        let key = key.cast::<PyString>()?;
        match text("a key", key)? {
            "event_type" => event_type = Some(value.cast_into::<PyString>()?),
            "data" => data = Some(value),
            "source" => arguments.source = value.extract()?,
            "correlation_id" => arguments.correlation_id = value.extract()?,
            "causation_id" => arguments.causation_id = value.extract()?,
            "aggregate_id" => arguments.aggregate_id = value.extract()?,
            "tags" => arguments.tags = value.extract()?,
            "event_id" => arguments.event_id = value.extract()?,
            "event_time_ns" => arguments.event_time_ns = value.extract()?,
            "schema_version" => arguments.schema_version = value.extract()?,
            "expected_version" => arguments.expected_version = value.extract()?,
            "durability" => {
                return Err(PyTypeError::new_err(
                    "durability is given for the whole batch, not for one event",
                ));
            }
            other => return Err(PyTypeError::new_err(format!("an event of a batch takes no {other:?}"))),
        }
    }
    match (event_type, data) {
        (Some(event_type), Some(data)) => Ok((Arguments { event_type, ..arguments }, data)),
        _ => Err(PyTypeError::new_err("an event of a batch needs event_type and data")),
    }
}

/// Keys and values, all before the first is looked at: what looks may run Python code, which may change the mapping.
fn pairs_of<'py>(mapping: &Bound<'py, PyMapping>) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    match mapping.cast_exact::<PyDict>() {
        // A list of pairs would cost a tuple for each.
        Ok(dict) => Ok(dict.iter().collect()),
        Err(_) => mapping.items()?.iter().map(|item| item.extract()).collect(),
    }
}

/// Arguments that say nothing but what a batch's keywords say.
pub fn no_event_type(py: Python<'_>) -> Bound<'_, PyString> {
    PyString::new(py, "")
}
