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
    fastcall::place_of,
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
    /// What a mapping may hold: the parameters of `append`.
    pub names: &'static [Py<PyString>; 12],
    /// For what its events do not say.
    pub defaults: Arguments<'py>,
    pub expected: ExpectedVersions<'py>,
    pub durability: Option<Durability>,
}

/// Appends all of `events` or none.
pub fn append<'py>(log: &PyLog, events: &Bound<'py, PyAny>, terms: &Terms<'py>) -> PyResult<Vec<PyReceipt>> {
    let expected = terms.expected.borrow()?;
    let mut texts = Texts::begin(events.py());
    let drafts = drafts(events, terms, log.non_finite, &mut texts)?;
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
    terms: &Terms<'py>,
    non_finite: NonFinite,
    texts: &mut Texts<'_>,
) -> PyResult<Vec<Draft<'py>>> {
    let mut drafts = Vec::with_capacity(events.cast_exact::<PyList>().map_or(0, PyListMethods::len));
    let mut pairs = Vec::new();
    for (at, event) in events.try_iter()?.enumerate() {
        let mut add = |event| {
            let mut arguments = terms.defaults.clone();
            let data = fill(&mut arguments, &event, terms.names, &mut pairs)?;
            drafts.push(Draft { arguments, data: texts.add(&data, non_finite)? });
            Ok(())
        };
        event.and_then(&mut add).inspect_err(|error: &PyErr| {
            // Which of thousands it was; an exception without room for notes is as good without.
            drop(error.add_note(events.py(), format!("event {at} of the batch")));
        })?;
    }
    Ok(drafts)
}

/// What an event says of itself; gives its data. `pairs` is memory for the contents of one mapping after the other.
fn fill<'py>(
    arguments: &mut Arguments<'py>,
    event: &Bound<'py, PyAny>,
    names: &[Py<PyString>; 12],
    pairs: &mut Pairs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let pair = match event.cast::<PyList>() {
        Ok(list) => Some(list.to_tuple()),
        Err(_) => event.cast::<PyTuple>().ok().cloned(),
    };
    if let Some(pair) = pair {
        let (event_type, data) = pair.extract::<(Bound<'py, PyString>, Bound<'py, PyAny>)>()?;
        arguments.event_type = event_type;
        return Ok(data);
    }
    let Ok(mapping) = event.cast::<PyMapping>() else {
        let kind = event.get_type().name()?;
        return Err(PyTypeError::new_err(format!("an event of a batch is a pair or a mapping, not {kind}")));
    };
    pairs.clear();
    read_pairs(mapping, pairs)?;
    fill_from_pairs(arguments, pairs, names)
}

fn fill_from_pairs<'py>(
    arguments: &mut Arguments<'py>,
    pairs: &Pairs<'py>,
    names: &[Py<PyString>; 12],
) -> PyResult<Bound<'py, PyAny>> {
    let (mut slots, mut next) = ([None; 12], 0);
    for (key, value) in pairs {
        let Some((at, slot)) = place_of(names, next, key).and_then(|at| Some((at, slots.get_mut(at)?)))
        else {
            let key = key.cast::<PyString>()?;
            let other = text("a key", key)?;
            return Err(PyTypeError::new_err(format!("an event of a batch takes no {other:?}")));
        };
        *slot = Some(value.as_borrowed());
        next = at + 1;
    }
    let [event_type, data, rest @ .., durability] = &slots;
    if durability.is_some() {
        return Err(PyTypeError::new_err("durability is given for the whole batch, not for one event"));
    }
    let (Some(event_type), Some(data)) = (event_type, data) else {
        return Err(PyTypeError::new_err("an event of a batch needs event_type and data"));
    };
    arguments.event_type = event_type.cast::<PyString>()?.to_owned();
    arguments.fill(rest)?;
    Ok((**data).clone())
}

/// Keys and values.
type Pairs<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// All before the first is looked at: what looks may run Python code, which may change the mapping.
fn read_pairs<'py>(mapping: &Bound<'py, PyMapping>, pairs: &mut Pairs<'py>) -> PyResult<()> {
    // A list of pairs would cost a tuple for each.
    if let Ok(dict) = mapping.cast_exact::<PyDict>() {
        pairs.extend(dict.iter());
        return Ok(());
    }
    for item in mapping.items()?.iter() {
        pairs.push(item.extract()?);
    }
    Ok(())
}
