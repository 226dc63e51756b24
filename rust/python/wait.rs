//! Waiting so that Ctrl-C works and no other Python thread stands still.
//!
//! Owns the slices a wait is cut into, and the argument `timeout`. Invariant: the GIL is released while waiting.

use std::time::{Duration, Instant};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::error::raised;

/// Between two looks at pending signals. A person waits 50 ms for Ctrl-C without noticing.
const SLICE: Duration = Duration::from_millis(50);

/// The argument `timeout`: seconds, or None for ever. Negative is now.
#[derive(Clone, Copy)]
pub struct Timeout(pub Option<Duration>);

impl FromPyObject<'_, '_> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        let seconds = value.extract::<f64>()?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("timeout is NaN, it takes seconds or None"));
        }
        // Infinite, or longer than a Duration holds: for ever.
        Ok(Self(Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
    }
}

impl Timeout {
    /// When time is up; `None` is never.
    pub fn deadline(self) -> Option<Instant> {
        self.0.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

/// Calls `attempt` with the GIL released and a slice of the time left, until it answers true or time is up (false).
pub fn in_slices(
    py: Python<'_>,
    timeout: Timeout,
    attempt: impl Fn(Duration) -> crate::error::Result<bool> + Sync,
) -> PyResult<bool> {
    let deadline = timeout.deadline();
    loop {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let slice = left.unwrap_or(SLICE).min(SLICE);
        if raised(py, py.detach(|| attempt(slice)))? {
            return Ok(true);
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= slice) {
            return Ok(false);
        }
    }
}
