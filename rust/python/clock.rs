//! The clock that a log reads: the machine's, or for Python tests one that stands still until told.
//!
//! Owns nothing but the shared handle: the engine reads the very clock that Python moves.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::{
    clock::{Clock, ManualClock, SystemClock},
    planted::{Bug, is_planted},
};

/// The clock of a log that was given none.
pub fn default_clock() -> Arc<dyn Clock> {
    if is_planted(Bug::GilLockOrder) { Arc::new(GilClock) } else { Arc::new(SystemClock) }
}

/// The planted half of a lock-order bug: the engine asks for the time under its locks, and this asks for the GIL.
struct GilClock;

impl Clock for GilClock {
    fn now_ns(&self) -> i64 {
        Python::attach(|_| SystemClock.now_ns())
    }
}

/// A clock that stands still until told; for tests. Thread-safe.
#[pyclass(name = "ManualClock", module = "aresbus._core", frozen)]
pub struct PyManualClock(Arc<ManualClock>);

impl PyManualClock {
    pub fn shared(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0) as Arc<dyn Clock>
    }
}

#[pymethods]
impl PyManualClock {
    #[new]
    #[pyo3(signature = (ns = 0))]
    fn new(ns: i64) -> Self {
        Self(Arc::new(ManualClock::new(ns)))
    }

    /// Nanoseconds since 1970 UTC that the clock shows.
    fn time_ns(&self) -> i64 {
        self.0.now_ns()
    }

    /// Put the clock to `ns`, forward or back.
    fn set_ns(&self, ns: i64) {
        self.0.set(ns);
    }

    /// Move the clock by `ns`, forward or back.
    fn advance_ns(&self, ns: i64) {
        self.0.advance(ns);
    }

    fn __repr__(&self) -> String {
        format!("ManualClock({})", self.0.now_ns())
    }
}
