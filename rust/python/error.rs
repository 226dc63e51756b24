//! From the engine's errors to the classes of `aresbus.errors`: one exhaustive match.
//!
//! Owns which class stands for which error, its fields, and the `errno` where the system gave none. Refuses to
//! know when an error arises. Invariant: the match names every variant, so a new one cannot be forgotten.

use std::path::Path;

use pyo3::{exceptions::PyFileNotFoundError, prelude::*, sync::PyOnceLock, types::PyDict};
use rustix::io::Errno;

use super::expected::PyExpected;
use crate::error::{Committed, Conflict, Error};

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
    let draft = match error {
        Error::Io { path, source, .. } => {
            let errno = source.raw_os_error();
            let is_full = [Errno::NOSPC, Errno::DQUOT].iter().any(|full| errno == Some(full.raw_os_error()));
            let class = if is_full { "DiskFullError" } else { "StorageError" };
            Draft::at(py, class, &path)?.with("errno", errno)?
        }
        Error::DiskFull { path, .. } => Draft::at(py, "DiskFullError", &path)?,
        Error::Locked { path, pid, host, started } => Draft::at(py, "LogLockedError", &path)?
            .with("pid", pid)?
            .with("host", host)?
            .with("started", started)?,
        Error::Poisoned { reason, committed } => {
            let draft = Draft::new(py, "LogPoisonedError").with("reason", reason)?;
            match committed {
                Some(Committed { seq, event_id }) => {
                    draft.with("committed", true)?.with("seq", seq)?.with("event_id", event_id)?
                }
                None => draft,
            }
        }
        Error::Closed { path } => Draft::at(py, "LogClosedError", &path)?,
        Error::Corrupt { path, offset, reason } => {
            Draft::at(py, "CorruptionError", &path)?.with("offset", offset)?.with("reason", reason)?
        }
        Error::Version { path, found, supported } => {
            Draft::at(py, "FormatVersionError", &path)?.with("found", found)?.with("supported", supported)?
        }
        Error::Limit { what, got, limit } => {
            Draft::new(py, "LimitError").with("what", what)?.with("got", got)?.with("limit", limit)?
        }
        Error::Config { problems } => Draft::new(py, "ConfigError").with("problems", problems)?,
        Error::Conflict { conflicts } => {
            let all =
                conflicts.iter().map(|conflict| fields_of(py, conflict)).collect::<PyResult<Vec<_>>>()?;
            let first = all.first().map_or_else(|| Ok(PyDict::new(py)), PyDictMethods::copy)?;
            Draft { class: "VersionConflictError", fields: first }.with("conflicts", all)?
        }
        Error::Duplicate { event_id, seq } => {
            Draft::new(py, "DuplicateEventError").with("event_id", event_id)?.with("seq", seq)?
        }
        Error::Truncated { first_seq } => Draft::new(py, "TruncatedError").with("first_seq", first_seq)?,
        Error::ReadOnly { path } => Draft::refused(py, Errno::BADF, &path)?,
        Error::UnsupportedFilesystem { path, .. } => Draft::refused(py, Errno::OPNOTSUPP, &path)?,
        Error::Missing { path } => {
            let errno = Errno::NOENT.raw_os_error();
            return Ok(PyFileNotFoundError::new_err((errno, message, path.as_os_str().to_os_string())));
        }
        Error::WouldBlock => {
            Draft::new(py, "StorageError").with("errno", Errno::WOULDBLOCK.raw_os_error())?
        }
    };
    Ok(draft.raised(&message))
}

fn fields_of<'py>(py: Python<'py>, conflict: &Conflict) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("aggregate_id", &conflict.aggregate_id)?;
    fields.set_item("expected", PyExpected::show(py, conflict.expected)?)?;
    fields.set_item("actual", conflict.actual)?;
    fields.set_item("conflicting_seq", conflict.seq)?;
    fields.set_item("conflicting_type", conflict.event_type.as_deref())?;
    Ok(fields)
}

/// An error in the making: its class and its fields.
struct Draft<'py> {
    class: &'static str,
    fields: Bound<'py, PyDict>,
}

impl<'py> Draft<'py> {
    fn new(py: Python<'py>, class: &'static str) -> Self {
        Self { class, fields: PyDict::new(py) }
    }

    fn at(py: Python<'py>, class: &'static str, path: &Path) -> PyResult<Self> {
        Self::new(py, class).with("path", path.as_os_str())
    }

    /// A `StorageError` of a call that the system was never asked for.
    fn refused(py: Python<'py>, errno: Errno, path: &Path) -> PyResult<Self> {
        Self::at(py, "StorageError", path)?.with("errno", errno.raw_os_error())
    }

    fn with(self, name: &str, value: impl IntoPyObject<'py>) -> PyResult<Self> {
        self.fields.set_item(name, value)?;
        Ok(self)
    }

    fn raised(&self, message: &str) -> PyErr {
        let made = errors(self.fields.py())
            .and_then(|errors| errors.getattr(self.class))
            .and_then(|class| class.call((message,), Some(&self.fields)));
        match made {
            Ok(value) => PyErr::from_value(value),
            Err(failure) => failure,
        }
    }
}

/// `EncodeError` for the value at `value_path`.
#[cold]
pub fn encode_error(py: Python<'_>, value_path: &str, reason: &str) -> PyErr {
    let message = format!("{} cannot be stored: {reason}", shortened(value_path));
    match Draft::new(py, "EncodeError").with("value_path", value_path) {
        Ok(draft) => draft.raised(&message),
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

fn errors(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    ERRORS
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("aresbus.errors")?.unbind()))
        .map(|module| module.bind(py))
}
