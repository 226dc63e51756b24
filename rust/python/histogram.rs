//! `Histogram`: latencies as Python records them, one crossing for each.
//!
//! Owns where a latency ends, at its clock, and where it begins, at the time of an event's append. The buckets are the
//! engine's ([`crate::histogram`]).

use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    clock::{PyManualClock, default_clock},
    event::PyEvent,
    origin::Origin,
};
use crate::{clock::Clock, histogram::Histogram};

/// Counts of nanoseconds in log-linear buckets, eight for each power of two. Thread-safe.
#[pyclass(name = "Histogram", module = "aresbus._core", subclass, frozen)]
pub struct PyHistogram {
    histogram: Histogram,
    clock: Arc<dyn Clock>,
}

impl PyHistogram {
    /// Counts the time from the event's append to now.
    pub fn note(&self, event: &PyEvent) {
        if let Some(ts_ns) = event.origin().map(Origin::ts_ns) {
            self.histogram.record(self.clock.now_ns().saturating_sub(ts_ns));
        }
    }
}

#[pymethods]
impl PyHistogram {
    #[new]
    #[pyo3(signature = (clock = None))]
    fn new(clock: Option<&Bound<'_, PyManualClock>>) -> Self {
        let clock = clock.map_or_else(default_clock, |manual| manual.get().shared());
        Self { histogram: Histogram::default(), clock }
    }

    /// Count one latency; a negative one (a clock that stepped) counts as 0.
    fn record(&self, ns: i64) {
        self.histogram.record(ns);
    }

    /// Count the time from the event's append to now; of an event that was never stored nothing.
    fn record_since(&self, event: &Bound<'_, PyEvent>) {
        self.note(event.get());
    }

    /// The sum of all.
    #[getter]
    fn total_ns(&self) -> u64 {
        self.histogram.total_ns()
    }

    /// The greatest; 0 while nothing was recorded.
    #[getter]
    fn max_ns(&self) -> u64 {
        self.histogram.max_ns()
    }

    /// Upper end in ns, inclusive, and count of each bucket that counted something, ascending.
    fn buckets(&self) -> Vec<(u64, u64)> {
        self.histogram.buckets()
    }
}
