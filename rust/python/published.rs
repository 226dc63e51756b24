//! `Published`: an awaitable that is finished already, which is what publish returns in nearly every case.
//!
//! Owns the coroutine's protocol for one value, and the pause that a tight publish loop makes for others. What waits for a
//! disk, or raises, is Python's (publishing.py). Invariants: awaited once, as any coroutine; of any
//! [`PAUSE_EVERY`] in a row in one thread, and so on one loop, one suspends.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU8, Ordering},
};

use pyo3::{
    exceptions::{PyRuntimeError, PyStopIteration, PyTypeError},
    intern,
    prelude::*,
    types::{PyString, PyType},
};

use super::{capi::Steps, event::PyEvent, origin::Origin};
use crate::format::EventId;

/// Below the 1,024 that are promised. A pause costs about 1 µs, so it is lost in the noise.
const PAUSE_EVERY: u32 = 256;

const FRESH: u8 = 0;
const PAUSED: u8 = 1;
const OVER: u8 = 2;

thread_local! {
    /// Awaited without a pause.
    static TURNS: Cell<u32> = const { Cell::new(0) };
}

/// The outcome of a publish that needs to wait for nothing: awaiting it gives the event's id.
#[pyclass(name = "Published", module = "aresbus._core", frozen)]
pub struct PyPublished {
    event_id: EventId,
    state: AtomicU8,
}

impl PyPublished {
    /// Of an event that was appended.
    pub fn of(event_id: EventId) -> Self {
        Self { event_id, state: AtomicU8::new(FRESH) }
    }

    /// Runs to the pause, `None`, or to the end, which gives the id.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.state.load(Ordering::Relaxed) {
            FRESH if is_pause_due() => {
                self.state.store(PAUSED, Ordering::Relaxed);
                Ok(None)
            }
            OVER => Err(reused()),
            _ => {
                self.state.store(OVER, Ordering::Relaxed);
                let id = self.event_id.view().with_text(|text| PyString::new(py, text));
                Ok(Some(id.into_any()))
            }
        }
    }

    /// As [`Self::run`], with an exception for its end, as whoever steps by hand wants it.
    fn step(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py)?.map_or(Ok(()), |id| Err(PyStopIteration::new_err(id.unbind())))
    }
}

impl Steps for PyPublished {
    fn step<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        object.cast::<Self>()?.get().run(object.py())
    }
}

#[pymethods]
impl PyPublished {
    #[new]
    fn new(event: &Bound<'_, PyEvent>) -> PyResult<Self> {
        let origin = event.get().origin();
        let event_id = origin.map(Origin::own_event_id).transpose()?;
        let event_id = event_id.ok_or_else(|| PyRuntimeError::new_err("the event was never stored"))?;
        Ok(Self::of(event_id))
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        match slf.get().state.load(Ordering::Relaxed) {
            FRESH => Ok(slf.clone()),
            _ => Err(reused()),
        }
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    /// `None` where it pauses; `StopIteration` carries the id.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.step(py).map(|()| py.None())
    }

    /// As `next`; nothing here waits for a value.
    #[pyo3(signature = (value, /))]
    fn send(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_none() {
            self.step(value.py())
        } else {
            Err(PyTypeError::new_err("it waits for no value"))
        }
    }

    /// Raise in the place where it waits, or before it began.
    #[pyo3(signature = (kind, value = None, trace = None, /))]
    fn throw<'py>(
        &self,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        trace: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if self.state.swap(OVER, Ordering::Relaxed) == OVER {
            return Err(reused());
        }
        let error = match (kind.cast::<PyType>(), value) {
            (Ok(kind), Some(value)) if !value.is_instance(kind)? => kind.call1((value,))?,
            (Ok(_), Some(value)) => value.clone(),
            (Ok(kind), None) => kind.call0()?,
            (Err(_), _) => kind.clone(),
        };
        if let Some(trace) = trace {
            error.setattr(intern!(kind.py(), "__traceback__"), trace)?;
        }
        Err(PyErr::from_value(error))
    }

    /// Give up waiting; the event stays appended.
    fn close(&self) {
        self.state.store(OVER, Ordering::Relaxed);
    }

    fn __repr__(&self) -> String {
        format!("<Published {}>", self.event_id)
    }
}

fn is_pause_due() -> bool {
    // A thread that ends has no loop to starve.
    let count = |turns: &Cell<u32>| {
        turns.set((turns.get() + 1) % PAUSE_EVERY);
        turns.get() == 0
    };
    TURNS.try_with(count).unwrap_or(false)
}

fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited publication")
}
