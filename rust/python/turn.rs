//! `Turn`: what a subscription has in hand, and what was said of it.
//!
//! Owns the part of a subscription's state that an event touches on its way through a publish, so that handing it out
//! there runs no Python code but the callback; the rest of a subscription is Python's (subscription.py), which inherits from it.
//! Invariant: the lock is held for copies only, so that no Python code runs under it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::{
    PyTraverseError, PyVisit,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{event::PyEvent, fields::let_go, origin::Origin};

/// The state of a subscription that changes with each event.
#[pyclass(name = "Turn", module = "aresbus._core", subclass, weakref, frozen)]
pub struct PyTurn {
    state: Mutex<State>,
}

struct State {
    is_active: bool,
    current: Option<Py<PyEvent>>,
    busy_since: Option<f64>,
    /// The parked event that is tried again, behind which its place in the log lies.
    redelivered: Option<Py<PyEvent>>,
    said: Option<Py<PyAny>>,
    /// Nothing more may be said.
    is_judged: bool,
    delivered_count: u64,
}

impl PyTurn {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has nothing in hand, and no turn under way.
    pub fn is_free(&self) -> bool {
        let state = self.state();
        state.busy_since.is_none() && state.current.is_none()
    }

    /// Takes `event` in hand, being free; false where it has ended.
    pub fn begin(&self, event: &Bound<'_, PyEvent>, now_seconds: f64) -> bool {
        let mut state = self.state();
        if !state.is_active {
            return false;
        }
        state.busy_since = Some(now_seconds);
        state.current = Some(event.clone().unbind());
        state.is_judged = false;
        let heard = state.said.take();
        // ORDER: the lock is free again before an object goes, which may run Python code.
        drop(state);
        let_go(event.py(), heard);
        true
    }

    /// The callback has returned: the event was taken, unless something else was said of it meanwhile, or the subscription
    /// ended. From now on nothing may be said.
    pub fn take(&self, py: Python<'_>) -> bool {
        let mut state = self.state();
        state.is_judged = true;
        if state.said.is_some() || !state.is_active {
            return false;
        }
        state.busy_since = None;
        state.delivered_count += 1;
        let taken = state.current.take();
        // ORDER: the lock is free again before the event goes, which may run Python code.
        drop(state);
        let_go(py, taken);
        true
    }
}

#[pymethods]
impl PyTurn {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        let state = State {
            is_active: true,
            current: None,
            busy_since: None,
            redelivered: None,
            said: None,
            is_judged: true,
            delivered_count: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// False once it is unsubscribed or disconnected; no further delivery begins then.
    #[getter]
    fn is_active(&self) -> bool {
        self.state().is_active
    }

    #[setter]
    fn set_is_active(&self, value: bool) {
        self.state().is_active = value;
    }

    /// The event that is being handled; it is passed only once it was taken, parked or skipped.
    #[getter]
    fn current<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyEvent>> {
        self.state().current.as_ref().map(|event| event.bind(py).clone())
    }

    #[setter]
    fn set_current(&self, value: Option<Py<PyEvent>>) {
        let replaced = std::mem::replace(&mut self.state().current, value);
        drop(replaced);
    }

    /// By the monotonic clock, in seconds, while its turn lasts.
    #[getter]
    fn busy_since(&self) -> Option<f64> {
        self.state().busy_since
    }

    #[setter]
    fn set_busy_since(&self, value: Option<f64>) {
        self.state().busy_since = value;
    }

    /// The parked event that is tried again. It moves no cursor: its place is behind it.
    #[getter]
    fn redelivered<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyEvent>> {
        self.state().redelivered.as_ref().map(|event| event.bind(py).clone())
    }

    #[setter]
    fn set_redelivered(&self, value: Option<Py<PyEvent>>) {
        let replaced = std::mem::replace(&mut self.state().redelivered, value);
        drop(replaced);
    }

    /// From now on something may be said of the event in hand; nothing was yet.
    fn open_judging(&self) {
        let forgotten = {
            let mut state = self.state();
            state.is_judged = false;
            state.said.take()
        };
        drop(forgotten);
    }

    /// What was said of the event so far; from now on nothing may be. Idempotent.
    fn end_judging<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let mut state = self.state();
        state.is_judged = true;
        state.said.as_ref().map(|said| said.bind(py).clone())
    }

    /// Say `verdict` of the event at `seq`; False where that is not being handled, was judged, or its time is up. From any
    /// thread: whoever ends the judging at that moment has the verdict, or this is False.
    fn _say(&self, seq: Option<u64>, verdict: Py<PyAny>) -> bool {
        let mut state = self.state();
        let handled = state.redelivered.as_ref().or(state.current.as_ref());
        let its = handled.and_then(|event| event.get().origin().map(Origin::seq));
        if state.is_judged || handled.is_none() || its != seq {
            return false;
        }
        state.is_judged = true;
        let replaced = state.said.replace(verdict);
        drop(state);
        drop(replaced);
        true
    }

    /// What the subscriber said of the event that is being handled.
    #[getter]
    fn said<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state().said.as_ref().map(|said| said.bind(py).clone())
    }

    /// Events it has taken.
    #[getter]
    fn delivered_count(&self) -> u64 {
        self.state().delivered_count
    }

    #[setter]
    fn set_delivered_count(&self, value: u64) {
        self.state().delivered_count = value;
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Never waits: the lock is held for copies only, with the GIL.
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        visit.call(&state.current)?;
        visit.call(&state.redelivered)?;
        visit.call(&state.said)
    }

    fn __clear__(&self) {
        let (events, said) = {
            let mut state = self.state();
            ([state.current.take(), state.redelivered.take()], state.said.take())
        };
        drop((events, said));
    }
}
