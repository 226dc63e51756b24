//! `Tally`: the two counts of a bus that change with every event. The rest is Python's (metrics.py), which inherits from it.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

/// How many events a bus has published, and how many deliveries its handlers took.
#[pyclass(name = "Tally", module = "aresbus._core", subclass, frozen)]
#[derive(Default)]
pub struct PyTally {
    published: AtomicU64,
    delivered: AtomicU64,
}

impl PyTally {
    pub fn count_published(&self, attached: Python<'_>) {
        count(attached, &self.published);
    }

    pub fn count_delivered(&self, attached: Python<'_>) {
        count(attached, &self.delivered);
    }
}

/// One more; the GIL keeps others away, so that it takes no locked addition.
fn count(_attached: Python<'_>, counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[pymethods]
impl PyTally {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    /// Events appended by publish.
    #[getter]
    fn events_published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_events_published(&self, value: u64) {
        self.published.store(value, Ordering::Relaxed);
    }

    /// Deliveries that a handler took.
    #[getter]
    fn events_delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_events_delivered(&self, value: u64) {
        self.delivered.store(value, Ordering::Relaxed);
    }
}
