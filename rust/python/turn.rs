//! `Turn`: what a subscription has in hand, and what was said of it.
//!
//! Owns the part of a subscription's state that an event touches on its way through a publish, so that handing it out
//! there runs no Python code but the callback; the rest of a subscription is Python's (subscription.py), which inherits from it.
//! Invariant: the state is held for copies only, so that no Python code runs meanwhile.

use std::cell::RefMut;

use pyo3::{
    PyTraverseError, PyVisit,
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{capi::gil_cell::GilCell, event::PyEvent, fields::let_go, origin::Origin};

/// The state of a subscription that changes with each event.
#[pyclass(name = "Turn", module = "aresbus._core", subclass, weakref, frozen)]
pub struct PyTurn {
    state: GilCell<State>,
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
    fn state<'a>(&'a self, py: Python<'a>) -> RefMut<'a, State> {
        self.state.hold(py)
    }

    /// Whether it has nothing in hand, and no turn under way.
    pub fn is_free(&self, py: Python<'_>) -> bool {
        let state = self.state(py);
        state.busy_since.is_none() && state.current.is_none()
    }

    /// Takes `event` in hand, being free; false where it has ended.
    pub fn begin(&self, event: &Bound<'_, PyEvent>, now_seconds: f64) -> bool {
        let mut state = self.state(event.py());
        if !state.is_active {
            return false;
        }
        state.busy_since = Some(now_seconds);
        state.current = Some(event.clone().unbind());
        state.is_judged = false;
        let heard = state.said.take();
        // ORDER: the state is free again before an object goes, which may run Python code.
        drop(state);
        let_go(event.py(), heard);
        true
    }

    /// The callback has returned: the event was taken, unless something else was said of it meanwhile, or the subscription
    /// ended. From now on nothing may be said.
    pub fn take(&self, py: Python<'_>) -> bool {
        let mut state = self.state(py);
        state.is_judged = true;
        if state.said.is_some() || !state.is_active {
            return false;
        }
        state.busy_since = None;
        state.delivered_count += 1;
        let taken = state.current.take();
        // ORDER: the state is free again before the event goes, which may run Python code.
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
        Self { state: GilCell::new(state) }
    }

    /// False once it is unsubscribed or disconnected; no further delivery begins then.
    #[getter]
    fn is_active(&self, py: Python<'_>) -> bool {
        self.state(py).is_active
    }

    #[setter]
    fn set_is_active(&self, py: Python<'_>, value: bool) {
        self.state(py).is_active = value;
    }

    /// The event that is being handled; it is passed only once it was taken, parked or skipped.
    #[getter]
    fn current<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyEvent>> {
        self.state(py).current.as_ref().map(|event| event.bind(py).clone())
    }

    #[setter]
    fn set_current(&self, py: Python<'_>, value: Option<Py<PyEvent>>) {
        let replaced = std::mem::replace(&mut self.state(py).current, value);
        drop(replaced);
    }

    /// By the monotonic clock, in seconds, while its turn lasts.
    #[getter]
    fn busy_since(&self, py: Python<'_>) -> Option<f64> {
        self.state(py).busy_since
    }

    #[setter]
    fn set_busy_since(&self, py: Python<'_>, value: Option<f64>) {
        self.state(py).busy_since = value;
    }

    /// The parked event that is tried again. It moves no cursor: its place is behind it.
    #[getter]
    fn redelivered<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyEvent>> {
        self.state(py).redelivered.as_ref().map(|event| event.bind(py).clone())
    }

    #[setter]
    fn set_redelivered(&self, py: Python<'_>, value: Option<Py<PyEvent>>) {
        let replaced = std::mem::replace(&mut self.state(py).redelivered, value);
        drop(replaced);
    }

    /// From now on something may be said of the event in hand; nothing was yet.
    fn open_judging(&self, py: Python<'_>) {
        let forgotten = {
            let mut state = self.state(py);
            state.is_judged = false;
            state.said.take()
        };
        drop(forgotten);
    }

    /// What was said of the event so far; from now on nothing may be. Idempotent.
    fn end_judging<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let mut state = self.state(py);
        state.is_judged = true;
        state.said.as_ref().map(|said| said.bind(py).clone())
    }

    /// Say `verdict` of the event at `seq`; False where that is not being handled, was judged, or its time is up. From any
    /// thread: whoever ends the judging at that moment has the verdict, or this is False.
    fn _say(&self, py: Python<'_>, seq: Option<u64>, verdict: Py<PyAny>) -> bool {
        let mut state = self.state(py);
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
        self.state(py).said.as_ref().map(|said| said.bind(py).clone())
    }

    /// Events it has taken.
    #[getter]
    fn delivered_count(&self, py: Python<'_>) -> u64 {
        self.state(py).delivered_count
    }

    #[setter]
    fn set_delivered_count(&self, py: Python<'_>, value: u64) {
        self.state(py).delivered_count = value;
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.peek(&visit) else { return Ok(()) };
        visit.call(&state.current)?;
        visit.call(&state.redelivered)?;
        visit.call(&state.said)
    }

    fn __clear__(&self) {
        Python::attach(|py| {
            let (events, said) = {
                let mut state = self.state(py);
                ([state.current.take(), state.redelivered.take()], state.said.take())
            };
            drop((events, said));
        });
    }
}
