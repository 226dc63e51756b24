//! Iterating over stored events: read ahead without the GIL, hand out one by one.
//!
//! Owns who hears of events that are no longer kept, and the queue between the engine's batches and Python's `next`. What matches, and in which order, is the
//! scan's. Invariants: the scan's lock is held while reading, always with the GIL released; the GIL is never
//! taken under it; `position` never runs ahead of the events handed out.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pyo3::{PyTraverseError, PyVisit, intern, prelude::*};

use super::{
    error::{closed_error, raised},
    event::PyEvent,
    fork::Life,
    origin::Origin,
    wait::Timeout,
};
use crate::{
    error::{Error, Result},
    scan::{Scan, StoredEvent},
};

/// Most events read ahead: their cost of crossing into the engine is shared, their memory stays small.
const BATCH_EVENTS: usize = 256;
/// Most bytes read ahead, but for one event that is larger.
const BATCH_BYTES: usize = 256 * 1024;
/// A follower looks at signals, and at whether its log was closed, this often.
const FOLLOW_SLICE: Duration = Duration::from_millis(100);
/// Stands for "no position yet": one less than position 0.
const NO_POSITION: u64 = u64::MAX;

/// What an iterator does at the end of what is committed.
#[derive(Clone, Copy)]
pub enum AtEnd {
    Stop,
    Wait(Timeout),
}

/// Iterator over stored events, in the order of the log or against it. Reads ahead with the GIL released.
#[pyclass(name = "EventIterator", module = "aresbus._core", frozen)]
pub struct PyEventIterator {
    ahead: Mutex<Ahead>,
    at_end: AtEnd,
    life: Arc<Life>,
    position: AtomicU64,
    skipped: AtomicU64,
    /// Who would rather be told of lost events than get an error.
    tell: Option<Py<PyAny>>,
}

/// What an iterator that tells its reader knows of events that are no longer kept.
#[derive(Clone, Copy)]
pub struct Lost {
    /// Where the read was to begin.
    pub from: u64,
    /// The oldest event kept, where that is behind it and was not told yet.
    pub before: Option<u64>,
}

/// The scan and what was read from it and not yet handed out.
struct Ahead {
    scan: Scan,
    queue: VecDeque<StoredEvent>,
    /// What ended the last batch: raised once the events before it were handed out.
    fault: Option<Error>,
    is_exhausted: bool,
    /// Where lost events are told of.
    lost: Option<Lost>,
}

/// What one look yielded.
enum Look {
    Event(StoredEvent),
    /// Events from the first position up to, not including, the second are no longer kept.
    Lost(u64, u64),
    NothingYet,
    End,
}

impl Ahead {
    /// The next event or message; waits up to `patience` at the end.
    fn next(&mut self, patience: Option<Duration>) -> Result<Look> {
        if self.scan.is_forward()
            && let Some(told) = self.told()
        {
            return Ok(told);
        }
        match (self.read_on(patience), &mut self.lost) {
            (Err(Error::Truncated { first_seq }), Some(lost)) if first_seq > 0 => {
                let from = self.scan.go_on_from(first_seq).unwrap_or(lost.from);
                Ok(Look::Lost(from, first_seq))
            }
            (Ok(Look::End), Some(_)) => Ok(self.told().unwrap_or(Look::End)),
            (look, _) => look,
        }
    }

    /// What was lost before the read began: forward the first that is said, backward the last.
    fn told(&mut self) -> Option<Look> {
        let lost = self.lost.as_mut()?;
        Some(Look::Lost(lost.from, lost.before.take()?))
    }

    /// The next event, from the queue or the scan.
    fn read_on(&mut self, patience: Option<Duration>) -> Result<Look> {
        if let Some(event) = self.queue.pop_front() {
            return Ok(Look::Event(event));
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.is_exhausted {
            return Ok(Look::End);
        }
        let Some(patience) = patience else {
            self.read_ahead(BATCH_EVENTS)?;
            let event = self.queue.pop_front();
            self.is_exhausted = event.is_none();
            return Ok(event.map_or(Look::End, Look::Event));
        };
        self.read_newest()?;
        // At once, without a look at Python in between: whoever follows waits for just this.
        if self.queue.is_empty() && self.scan.wait(patience)? {
            self.read_newest()?;
        }
        Ok(self.queue.pop_front().map_or(Look::NothingYet, Look::Event))
    }

    /// As [`Ahead::read_ahead`], but what is the last event for now is had before anybody looks why there is no other.
    fn read_newest(&mut self) -> Result<()> {
        self.read_ahead(1)?;
        if !self.queue.is_empty() && !self.scan.is_at_end() {
            self.read_ahead(BATCH_EVENTS)?;
        }
        Ok(())
    }

    /// Reads events into the queue.
    fn read_ahead(&mut self, max_events: usize) -> Result<()> {
        let mut events = Vec::from(std::mem::take(&mut self.queue));
        let read = self.scan.next_batch(&mut events, max_events, BATCH_BYTES);
        self.queue = events.into();
        match read {
            // Everything before the damage reads as it was written.
            Err(fault) if !self.queue.is_empty() => self.fault = Some(fault),
            other => other?,
        }
        Ok(())
    }

    /// Everything on the way to the next event in the queue was handed out or did not match.
    fn position(&self) -> Option<u64> {
        match self.queue.front() {
            Some(next) => self.scan.position_before(next.fixed.seq),
            None => self.scan.position(),
        }
    }
}

impl PyEventIterator {
    pub fn new(scan: Scan, at_end: AtEnd, life: Arc<Life>) -> Self {
        Self::of(scan, at_end, life, None, None)
    }

    /// One that calls `tell` where events are no longer kept, and goes on with what is.
    pub fn telling(scan: Scan, at_end: AtEnd, life: Arc<Life>, tell: Py<PyAny>, lost: Lost) -> Self {
        Self::of(scan, at_end, life, Some(tell), Some(lost))
    }

    fn of(scan: Scan, at_end: AtEnd, life: Arc<Life>, tell: Option<Py<PyAny>>, lost: Option<Lost>) -> Self {
        let ahead = Ahead { scan, queue: VecDeque::new(), fault: None, is_exhausted: false, lost };
        let position = AtomicU64::new(ahead.position().unwrap_or(NO_POSITION));
        Self { ahead: Mutex::new(ahead), at_end, life, position, skipped: AtomicU64::new(0), tell }
    }

    /// Says what was lost, in the reader's own thread; what the callable raises is the reader's.
    fn tell_of(&self, py: Python<'_>, from: u64, to: u64) -> PyResult<()> {
        let Some(tell) = &self.tell else { return Ok(()) };
        let message = py.import("aresbus.places")?.getattr(intern!(py, "Lost"))?.call1((from, to))?;
        tell.call1(py, (message,)).map(drop)
    }

    fn look(&self, patience: Option<Duration>) -> Result<Look> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let look = ahead.next(patience);
        self.tell(&ahead);
        look
    }

    fn tell(&self, ahead: &Ahead) {
        self.position.store(ahead.position().unwrap_or(NO_POSITION), Ordering::Release);
        self.skipped.store(ahead.scan.skipped_records(), Ordering::Relaxed);
    }

    /// The next event if it has been read ahead already and no other thread is at it.
    fn at_hand(&self) -> Option<StoredEvent> {
        let mut ahead = self.ahead.try_lock().ok()?;
        let event = ahead.queue.pop_front()?;
        self.tell(&ahead);
        Some(event)
    }

    fn finish(&self) {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).is_exhausted = true;
    }
}

#[pymethods]
impl PyEventIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyEvent>> {
        if self.life.is_over() {
            return Err(closed_error(py, self.life.path()));
        }
        if let Some(event) = self.at_hand() {
            return Ok(Some(PyEvent::stored(Origin::Record(event))));
        }
        let deadline = match self.at_end {
            AtEnd::Stop => None,
            AtEnd::Wait(timeout) => timeout.deadline(),
        };
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let patience = match self.at_end {
                AtEnd::Stop => None,
                AtEnd::Wait(_) => Some(left.unwrap_or(FOLLOW_SLICE).min(FOLLOW_SLICE)),
            };
            match raised(py, py.detach(|| self.look(patience)))? {
                Look::Event(event) => return Ok(Some(PyEvent::stored(Origin::Record(event)))),
                Look::Lost(from, to) => {
                    self.tell_of(py, from, to)?;
                    continue; // what is kept comes at once, also when time is up
                }
                Look::End => return Ok(None),
                Look::NothingYet => py.check_signals()?,
            }
            if self.life.is_over() {
                return Err(closed_error(py, self.life.path()));
            }
            if left.is_some_and(|left| left.is_zero()) {
                py.detach(|| self.finish());
                return Ok(None);
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.tell.as_ref().map_or(Ok(()), |tell| visit.call(tell))
    }

    /// `seq` up to which (backward: down to which) everything was examined, matching or not; `None` before the first.
    #[getter]
    fn position(&self) -> Option<u64> {
        Some(self.position.load(Ordering::Acquire)).filter(|position| *position != NO_POSITION)
    }

    /// Ignorable records of kinds this build does not know, skipped so far.
    #[getter]
    fn skipped_records(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}
