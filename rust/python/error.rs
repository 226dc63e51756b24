//! From the engine's errors to the classes of `aresbus.errors`: one exhaustive match.
//!
//! Owns which class stands for which error, its fields, and the `errno` where the system gave none. Refuses to
//! know when an error arises. Invariant: the match names every variant, so a new one cannot be forgotten.

use std::path::Path;

use pyo3::{IntoPyObjectExt, exceptions::PyFileNotFoundError, prelude::*, sync::PyOnceLock, types::PyDict};
use rustix::io::Errno;

use super::expected::PyExpected;
use crate::error::{Committed, Error};

/// Longest path that a message shows whole; a screen's width is what a reader takes in.
const SHOWN_PATH_CHARS: usize = 80;

/// A result of the engine as Python's.
pub fn raised<T>(py: Python<'_>, result: crate::error::Result<T>) -> PyResult<T> {
    result.map_err(|error| to_python(py, error))
}

/// The exception for `error`. Failing to build it gives the failure instead: something is raised in any case.
#[cold]
pub fn to_python(py: Python<'_>, error: Error) -> PyErr {
    build(py, error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let message = error.to_string();
    let fields = PyDict::new(py);
    let class = match error {
        Error::Io { path, source, .. } => {
            let errno = source.raw_os_error();
            set_path(&fields, &path)?;
            fields.set_item("errno", errno)?;
            let is_full = [Errno::NOSPC, Errno::DQUOT].iter().any(|full| errno == Some(full.raw_os_error()));
            if is_full { "DiskFullError" } else { "StorageError" }
        }
        Error::DiskFull { path, .. } => {
            set_path(&fields, &path)?;
            "DiskFullError"
        }
        Error::Locked { path, pid, host, started } => {
            set_path(&fields, &path)?;
            fields.set_item("pid", pid)?;
            fields.set_item("host", host)?;
            fields.set_item("started", started)?;
            "LogLockedError"
        }
        Error::Poisoned { reason, committed } => {
            fields.set_item("reason", reason)?;
            if let Some(Committed { seq, event_id }) = committed {
                fields.set_item("committed", true)?;
                fields.set_item("seq", seq)?;
                fields.set_item("event_id", event_id)?;
            }
            "LogPoisonedError"
        }
        Error::Closed { path } => {
            set_path(&fields, &path)?;
            "LogClosedError"
        }
        Error::Corrupt { path, offset, reason } => {
            set_path(&fields, &path)?;
            fields.set_item("offset", offset)?;
            fields.set_item("reason", reason)?;
            "CorruptionError"
        }
        Error::Version { path, found, supported } => {
            set_path(&fields, &path)?;
            fields.set_item("found", found)?;
            fields.set_item("supported", supported)?;
            "FormatVersionError"
        }
        Error::Limit { what, got, limit } => {
            fields.set_item("what", what)?;
            fields.set_item("got", got)?;
            fields.set_item("limit", limit)?;
            "LimitError"
        }
        Error::Config { problems } => {
            fields.set_item("problems", problems)?;
            "ConfigError"
        }
        Error::Conflict { aggregate_id, expected, actual, seq, event_type } => {
            fields.set_item("aggregate_id", aggregate_id)?;
            fields.set_item("expected", PyExpected::show(py, expected)?)?;
            fields.set_item("actual", actual)?;
            fields.set_item("conflicting_seq", seq)?;
            fields.set_item("conflicting_type", event_type)?;
            "VersionConflictError"
        }
        Error::Truncated { first_seq } => {
            fields.set_item("first_seq", first_seq)?;
            "TruncatedError"
        }
        Error::ReadOnly { path } => {
            set_path(&fields, &path)?;
            fields.set_item("errno", Errno::BADF.raw_os_error())?;
            "StorageError"
        }
        Error::UnsupportedFilesystem { path, .. } => {
            set_path(&fields, &path)?;
            fields.set_item("errno", Errno::OPNOTSUPP.raw_os_error())?;
            "StorageError"
        }
        Error::Missing { path } => {
            let errno = Errno::NOENT.raw_os_error();
            return Ok(PyFileNotFoundError::new_err((errno, message, path.as_os_str().to_os_string())));
        }
        Error::WouldBlock => {
            fields.set_item("errno", Errno::WOULDBLOCK.raw_os_error())?;
            "StorageError"
        }
    };
    Ok(make(py, class, &message, &fields))
}

/// `EncodeError` for the value at `value_path`.
#[cold]
pub fn encode_error(py: Python<'_>, value_path: &str, reason: &str) -> PyErr {
    let fields = PyDict::new(py);
    let message = format!("{} cannot be stored: {reason}", shortened(value_path));
    match fields.set_item("value_path", value_path) {
        Ok(()) => make(py, "EncodeError", &message, &fields),
        Err(failure) => failure,
    }
}

/// A path as a message shows it: of a very deep one its two ends. The field has it whole.
fn shortened(path: &str) -> String {
    let signs = path.chars().count();
    if signs <= SHOWN_PATH_CHARS {
        return path.to_owned();
    }
    let half = SHOWN_PATH_CHARS / 2;
    let head = path.chars().take(half);
    let tail = path.chars().skip(signs - half);
    head.chain("…".chars()).chain(tail).collect()
}

/// `ConfigError` with these problems.
#[cold]
pub fn config_error(py: Python<'_>, problems: Vec<String>) -> PyErr {
    to_python(py, Error::Config { problems })
}

/// `LogClosedError` for a handle without a path at hand.
#[cold]
pub fn closed_error(py: Python<'_>, path: Option<&Path>) -> PyErr {
    to_python(py, Error::Closed { path: path.unwrap_or(Path::new("memory")).to_path_buf() })
}

/// `error`, telling that the event is in the log all the same. Keeps the exception's class: a Ctrl-C stays one.
#[cold]
pub fn committed(py: Python<'_>, error: PyErr, seq: u64, event_id: &str) -> PyErr {
    let value = error.value(py);
    let told = value
        .setattr("committed", true)
        .and_then(|()| value.setattr("seq", seq))
        .and_then(|()| value.setattr("event_id", event_id));
    match told {
        // An exception class that takes no attributes still says what went wrong.
        Ok(()) | Err(_) => error,
    }
}

fn set_path(fields: &Bound<'_, PyDict>, path: &Path) -> PyResult<()> {
    fields.set_item("path", path.as_os_str().into_bound_py_any(fields.py())?)
}

fn make(py: Python<'_>, class: &str, message: &str, fields: &Bound<'_, PyDict>) -> PyErr {
    let made = errors(py)
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call((message,), Some(fields)));
    match made {
        Ok(value) => PyErr::from_value(value),
        Err(failure) => failure,
    }
}

fn errors(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    ERRORS
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("aresbus.errors")?.unbind()))
        .map(|module| module.bind(py))
}
