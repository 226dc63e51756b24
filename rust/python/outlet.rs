//! `Outlet`: how far a bus has handed out its log, its newest events, and the handing out that takes nobody's turn.
//!
//! Owns the short way of an event inside its publish: it is the next one, all who want it are inline, and each of them was
//! seen free by the long way (inline.py), which puts them among `ready` and takes them from there at whatever changes that.
//! Everything else, a callback that fails above all, is left to the long way. Inherited from by Python's `Frontier`.
//! Invariants: what changes is held for copies only, so that no Python code runs meanwhile; the events are bounded by
//! `max_history`; nothing here refers to a bus.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use pyo3::{
    PyTraverseError, PyVisit, intern,
    prelude::*,
    types::{PyDict, PyList, PyString, PyTuple},
};

use super::{
    capi::{call_in_copied_context, gil_cell::GilCell, thread_ident},
    event::PyEvent,
    fields::let_go,
    histogram::PyHistogram,
    recent::{Recent, seq_of},
    tally::PyTally,
    turn::PyTurn,
};

/// What a publish has left to do once the event is appended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Everybody who wants the event had it.
    Nothing,
    /// The loop of the bus hands it out.
    ToLoop,
    /// The publisher hands it out, the long way.
    ToPublisher,
}

/// What the bus told of itself.
struct Terms {
    tally: Py<PyTally>,
    latency: Option<Py<PyHistogram>>,
    observe: Option<Py<PyAny>>,
    /// The version, by type, that needs no look; "1.0.0" where a type is not among them.
    settled: Py<PyDict>,
    processed: Py<PyAny>,
    handled_event: Py<PyAny>,
}

/// The newest events of a bus, and how far they were handed out.
#[pyclass(name = "Outlet", module = "aresbus._core", subclass, frozen)]
pub struct PyOutlet {
    dispatched: AtomicU64,
    /// Ident of the thread on whose loop the bus delivers; 0 while it does not.
    thread: AtomicU64,
    has_inline: AtomicBool,
    is_on: AtomicBool,
    has_more: AtomicBool,
    recent: Recent,
    entered: GilCell<Option<Py<PyTurn>>>,
    unsettled: GilCell<Vec<Unsettled>>,
    /// By type, everybody who wants it, with their callbacks.
    ready: Py<PyDict>,
    /// A moment, and what Python's monotonic clock said then.
    began: (Instant, f64),
    terms: Terms,
}

/// A callback that did more than to return: its subscription, and what it returned or raised.
type Unsettled = (Py<PyTurn>, Option<Py<PyAny>>, Option<PyErr>);

/// One that is ready: a subscription, and its callback.
fn subscription<'py>(one: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyTurn>, Bound<'py, PyAny>)> {
    let pair = one.cast::<PyTuple>()?;
    Ok((pair.get_item(0)?.cast_into()?, pair.get_item(1)?))
}

impl PyOutlet {
    /// Holds an event that was appended just now, counts it, and hands it out if that can be done at once. `kind` and
    /// `version` are its type and schema version.
    pub fn published(
        &self,
        event: &Bound<'_, PyEvent>,
        kind: &Bound<'_, PyAny>,
        version: Option<&Bound<'_, PyString>>,
    ) -> PyResult<Left> {
        let py = event.py();
        let seq = seq_of(event.get());
        self.recent.put(event);
        self.terms.tally.get().count_published(py);
        if !self.has_inline.load(Relaxed) || self.thread.load(Relaxed) != thread_ident() {
            return Ok(Left::ToLoop);
        }
        if self.is_on.load(Relaxed) {
            // From within a callback: whoever called that hands out this event too.
            self.has_more.store(true, Relaxed);
            return Ok(Left::ToLoop);
        }
        if self.dispatched.load(Relaxed) != seq || !self.is_current(py, kind, version)? {
            return Ok(Left::ToPublisher);
        }
        let Some(ready) = self.ready.bind(py).get_item(kind)? else { return Ok(Left::ToPublisher) };
        let ready = ready.cast::<PyTuple>()?;
        for one in ready.iter_borrowed() {
            if !subscription(&one)?.0.get().is_free(py) {
                return Ok(Left::ToPublisher);
            }
        }
        self.hand_out(event, seq, ready)
    }

    /// Whether whoever is ready wants the event as it is stored.
    fn is_current(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        version: Option<&Bound<'_, PyString>>,
    ) -> PyResult<bool> {
        let settled = self.terms.settled.bind(py).get_item(kind)?;
        let default = || intern!(py, "1.0.0").as_any();
        let settled = settled.as_ref().unwrap_or_else(default);
        let version = version.map_or_else(default, Bound::as_any);
        if settled.is(version) { Ok(true) } else { settled.eq(version) }
    }

    fn hand_out(&self, event: &Bound<'_, PyEvent>, seq: u64, ready: &Bound<'_, PyTuple>) -> PyResult<Left> {
        self.is_on.store(true, Relaxed);
        let handed_out = self.call_each(event, ready);
        self.dispatched.store(seq + 1, Relaxed);
        self.is_on.store(false, Relaxed);
        handed_out?;
        let left = match &self.terms.observe {
            // Where something may have become due the loop looks.
            Some(observe) if observe.bind(event.py()).call1((seq, event))?.is_truthy()? => Left::ToLoop,
            _ => Left::Nothing,
        };
        let is_over = !self.has_more.load(Relaxed) && self.unsettled.hold(event.py()).is_empty();
        Ok(if is_over { left } else { Left::ToPublisher })
    }

    fn call_each(&self, event: &Bound<'_, PyEvent>, ready: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = event.py();
        let mut is_processed = ready.is_empty();
        for one in ready.iter_borrowed() {
            let (turn, callback) = subscription(&one)?;
            if !turn.get().begin(event, self.monotonic()) {
                continue; // it ended meanwhile, by the callback of another
            }
            self.note_entered(&turn);
            if let Some(latency) = &self.terms.latency {
                latency.get().note(event.get());
            }
            let handled_event = self.terms.handled_event.bind(py);
            let outcome = call_in_copied_context(handled_event, &callback, event.as_any());
            if outcome.as_ref().is_ok_and(PyAnyMethods::is_none) && turn.get().take(py) {
                self.terms.tally.get().count_delivered(py);
                is_processed = true;
            } else {
                self.ready.bind(py).clear();
                let (result, error) = match outcome {
                    Ok(result) => (Some(result.unbind()), None),
                    Err(error) => (None, Some(error)),
                };
                self.unsettled.hold(py).push((turn.unbind(), result, error));
            }
        }
        if is_processed {
            PyEvent::set_status(event, self.terms.processed.bind(py).clone())?;
        }
        Ok(())
    }

    fn note_entered(&self, turn: &Bound<'_, PyTurn>) {
        let replaced = self.entered.hold(turn.py()).replace(turn.clone().unbind());
        let_go(turn.py(), replaced);
    }

    /// What Python's monotonic clock says.
    fn monotonic(&self) -> f64 {
        self.began.1 + self.began.0.elapsed().as_secs_f64()
    }
}

#[pymethods]
impl PyOutlet {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    #[pyo3(signature = (max_history, *, tally, latency, observe, settled, processed, handled_event))]
    fn new(
        py: Python<'_>,
        max_history: u64,
        tally: Py<PyTally>,
        latency: Option<Py<PyHistogram>>,
        observe: Option<Py<PyAny>>,
        settled: Py<PyDict>,
        processed: Py<PyAny>,
        handled_event: Py<PyAny>,
    ) -> PyResult<Self> {
        let clock = py.import("time")?.getattr("monotonic")?;
        Ok(Self {
            dispatched: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            has_inline: AtomicBool::new(false),
            is_on: AtomicBool::new(false),
            has_more: AtomicBool::new(false),
            recent: Recent::new(max_history),
            entered: GilCell::default(),
            unsettled: GilCell::default(),
            ready: PyDict::new(py).unbind(),
            began: (Instant::now(), clock.call0()?.extract()?),
            terms: Terms { tally, latency, observe, settled, processed, handled_event },
        })
    }

    /// Everything before this seq was handed out to subscriptions.
    #[getter]
    fn dispatched(&self) -> u64 {
        self.dispatched.load(Relaxed)
    }

    #[setter]
    fn set_dispatched(&self, value: u64) {
        self.dispatched.store(value, Relaxed);
    }

    /// Ident of the thread on whose loop the bus delivers; None while it does not.
    #[getter]
    fn thread(&self) -> Option<u64> {
        Some(self.thread.load(Relaxed)).filter(|ident| *ident != 0)
    }

    #[setter]
    fn set_thread(&self, value: Option<u64>) {
        self.thread.store(value.unwrap_or(0), Relaxed);
    }

    /// Some callbacks run inside a publish.
    #[getter]
    fn has_inline(&self) -> bool {
        self.has_inline.load(Relaxed)
    }

    #[setter]
    fn set_has_inline(&self, value: bool) {
        self.has_inline.store(value, Relaxed);
    }

    /// A publish is handing out.
    #[getter]
    fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    #[setter]
    fn set_is_on(&self, value: bool) {
        self.is_on.store(value, Relaxed);
    }

    /// Events were published by callbacks while a publish was handing out.
    #[getter]
    fn has_more(&self) -> bool {
        self.has_more.load(Relaxed)
    }

    #[setter]
    fn set_has_more(&self, value: bool) {
        self.has_more.store(value, Relaxed);
    }

    /// By type, everybody who wants it and their callbacks, while all of them can have the next event at once.
    #[getter]
    fn ready<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.ready.bind(py).clone()
    }

    /// Whose turn began last: the suspect when the loop is held.
    #[getter]
    fn entered<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyTurn>> {
        self.entered.hold(py).as_ref().map(|turn| turn.bind(py).clone())
    }

    #[setter]
    fn set_entered(&self, py: Python<'_>, value: Option<Py<PyTurn>>) {
        let replaced = std::mem::replace(&mut *self.entered.hold(py), value);
        drop(replaced);
    }

    /// There are some.
    #[getter]
    fn has_unsettled(&self, py: Python<'_>) -> bool {
        !self.unsettled.hold(py).is_empty()
    }

    /// Callbacks of the short way that did more than to return: subscription, and what each returned or raised. Theirs is
    /// the event in hand.
    fn take_unsettled<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let taken = std::mem::take(&mut *self.unsettled.hold(py));
        let plain =
            |(turn, result, error): Unsettled| (turn, result, error.map(|error| error.into_value(py)));
        PyList::new(py, taken.into_iter().map(plain))
    }

    /// Hold a live event. From any thread.
    fn hold(&self, event: &Bound<'_, PyEvent>) {
        self.recent.put(event);
    }

    /// The event at `seq`, if it is held.
    fn held<'py>(&self, py: Python<'py>, seq: u64) -> Option<Bound<'py, PyEvent>> {
        self.recent.at(py, seq).filter(|event| seq_of(event.get()) == seq)
    }

    /// The one object that stands for the event, if it is among the newest.
    fn shared<'py>(&self, event: &Bound<'py, PyEvent>) -> Bound<'py, PyEvent> {
        let seq = seq_of(event.get());
        match self.recent.at(event.py(), seq) {
            Some(held) if seq_of(held.get()) == seq => held,
            Some(held) if seq_of(held.get()) > seq => event.clone(),
            _ => {
                self.recent.put(event);
                event.clone()
            }
        }
    }

    /// The newest events held, oldest first.
    fn recent<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyEvent>> {
        self.recent.all(py)
    }

    /// Hold no event at or behind `seq`.
    fn forget_from(&self, py: Python<'_>, seq: u64) {
        self.recent.forget_from(py, seq);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Terms { tally, latency, observe, settled, processed, handled_event } = &self.terms;
        visit.call(tally)?;
        visit.call(latency)?;
        visit.call(observe)?;
        visit.call(settled)?;
        visit.call(processed)?;
        visit.call(handled_event)?;
        visit.call(&self.ready)?;
        self.recent.visit(&visit)?;
        if let Some(unsettled) = self.unsettled.peek(&visit) {
            for (turn, result, _error) in &*unsettled {
                visit.call(turn)?;
                visit.call(result)?;
            }
        }
        self.entered.peek(&visit).map_or(Ok(()), |entered| visit.call(&*entered))
    }

    fn __clear__(&self) {
        Python::attach(|py| {
            self.recent.forget_from(py, 0);
            let unsettled = std::mem::take(&mut *self.unsettled.hold(py));
            let entered = self.entered.hold(py).take();
            drop((unsettled, entered));
        });
    }
}
