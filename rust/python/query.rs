//! The arguments of a read, from Python's hands to the engine's [`Query`].
//!
//! Owns positions, times, types, tags and the direction: what is accepted, and what an error says. What matches is the
//! engine's.

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBool, PyDateTime, PyDelta, PyDeltaAccess, PyInt, PyString, PyTzInfo},
};

use super::{arguments::Tags, error::config_error};
use crate::scan::{Direction, TimeOf};

const NS_PER_US: i64 = 1_000;
const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A position or a count: an int from 0, or None.
#[derive(Clone, Copy, Default)]
pub struct Count(pub Option<u64>);

impl FromPyObject<'_, '_> for Count {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        if !value.is_instance_of::<PyInt>() {
            // NumPy's integers are no `int`, yet positions.
            return value.extract::<u64>().map(|count| Self(Some(count)));
        }
        let count = value.extract::<u64>();
        count.map(|count| Self(Some(count))).map_err(|_| {
            PyValueError::new_err(format!("a position or a limit is 0 to {}, not {}", u64::MAX, &*value))
        })
    }
}

/// A moment: an aware datetime, ns since 1970 UTC, or None.
#[derive(Clone, Copy, Default)]
pub struct Moment(pub Option<i64>);

impl FromPyObject<'_, '_> for Moment {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        if let Ok(time) = value.cast::<PyDateTime>() {
            return ns_of(&time).map(|ns| Self(Some(ns)));
        }
        if value.is_instance_of::<PyBool>() {
            return Err(PyTypeError::new_err("a time is an aware datetime or ns since 1970, not bool"));
        }
        value.extract::<i64>().map(|ns| Self(Some(ns))).map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(value.py()) {
                return PyValueError::new_err(format!("{} is no time in ns since 1970", &*value));
            }
            let kind = value.get_type().name().map_or_else(|_| "that".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!("a time is an aware datetime or ns since 1970, not {kind}"))
        })
    }
}

/// Nanoseconds since 1970 UTC, exactly. `ValueError` for a naive datetime: its zone is unknown.
fn ns_of(time: &Bound<'_, PyDateTime>) -> PyResult<i64> {
    static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
    let py = time.py();
    if time.call_method0(intern!(py, "utcoffset"))?.is_none() {
        let text = time.call_method0(intern!(py, "isoformat"))?;
        return Err(PyValueError::new_err(format!(
            "naive datetime {text}: its zone is unknown; use an aware one"
        )));
    }
    let epoch = EPOCH.get_or_try_init(py, || {
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&*utc)).map(Bound::unbind)
    })?;
    let since = time.sub(epoch)?.cast_into::<PyDelta>()?;
    let seconds = i64::from(since.get_days()) * SECONDS_PER_DAY + i64::from(since.get_seconds());
    seconds
        .checked_mul(US_PER_SECOND)
        .and_then(|micros| micros.checked_add(i64::from(since.get_microseconds())))
        .and_then(|micros| micros.checked_mul(NS_PER_US))
        .ok_or_else(|| PyValueError::new_err(format!("{time} is too far from 1970 for 64 bits of ns")))
}

/// The argument `types`: one text, several, or None for all. An empty iterable matches nothing.
#[derive(Clone, Default)]
pub struct Types(pub Option<Vec<String>>);

impl FromPyObject<'_, '_> for Types {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        if let Ok(one) = value.cast::<PyString>() {
            return Ok(Self(Some(vec![one.to_str()?.to_owned()])));
        }
        let types = value.try_iter()?.map(|one| {
            let one = one?;
            Ok(one.cast::<PyString>()?.to_str()?.to_owned())
        });
        types.collect::<PyResult<_>>().map(|types| Self(Some(types)))
    }
}

/// The argument `tags` of a read: a mapping of text to text, all of which must match; None or empty for all events.
#[derive(Clone, Default)]
pub struct WantedTags(pub Vec<(String, String)>);

impl FromPyObject<'_, '_> for WantedTags {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let given = value.extract::<Tags<'_>>()?.0.into_iter();
        let wanted = given.map(|(key, value)| Ok((key.to_str()?.to_owned(), value.to_str()?.to_owned())));
        wanted.collect::<PyResult<_>>().map(Self)
    }
}

/// The argument `on_message`: a callable that is told of events that are no longer kept, or None.
#[derive(Default)]
pub struct Listener(pub Option<Py<PyAny>>);

impl FromPyObject<'_, '_> for Listener {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        if !value.is_callable() {
            return Err(PyTypeError::new_err("on_message takes a callable, or None"));
        }
        Ok(Self(Some(value.to_owned().unbind())))
    }
}

/// The argument `direction`: whether the oldest event comes first, or the newest.
#[derive(Clone, Copy)]
pub struct DirectionChoice(pub Direction);

impl FromPyObject<'_, '_> for DirectionChoice {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.cast::<PyString>()?.to_str()? {
            "forward" => Ok(Self(Direction::Forward)),
            "backward" => Ok(Self(Direction::Backward)),
            other => {
                let problem = format!("direction is {other:?}, it takes \"forward\" or \"backward\"");
                Err(config_error(value.py(), vec![problem]))
            }
        }
    }
}

/// The argument `time`: which of an event's two times `since` and `until` are held against.
#[derive(Clone, Copy)]
pub struct TimeChoice(pub TimeOf);

impl FromPyObject<'_, '_> for TimeChoice {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.cast::<PyString>()?.to_str()? {
            "append" => Ok(Self(TimeOf::Append)),
            "event" => Ok(Self(TimeOf::Event)),
            other => {
                let problem = format!("time is {other:?}, it takes \"append\" or \"event\"");
                Err(config_error(value.py(), vec![problem]))
            }
        }
    }
}
