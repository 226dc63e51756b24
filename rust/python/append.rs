//! The way of an append: patient or not, told to whoever listens, settled as its durability asks.
//!
//! Owns when the GIL is held (R12: a first try with it, without waiting for anything; then again without it) and
//! what an error raised after the commit carries (R15). Encoding is over before anything here begins.

use pyo3::{exceptions::PyException, prelude::*, types::PyString};

use super::{
    arguments::{Arguments, Payload},
    encode,
    error::{committed, raised, to_python},
    event::PyEvent,
    fields::registered,
    log::PyLog,
    origin::Origin,
    outlet::{Left, PyOutlet},
    published::PyPublished,
    receipt::PyReceipt,
    wait::{Timeout, in_slices},
};
use crate::{
    config::{Durability, Expected, Patience},
    error::{Error, Result},
    format::{Codec, NewEvent},
    log::Appended,
    planted::{Bug, is_planted},
};

impl PyLog {
    /// Encodes, appends, settles.
    pub(super) fn append_data<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        arguments: &Arguments<'py>,
        durability: Option<Durability>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let encoded = encode::encode(data, self.non_finite)?;
        let payload = Payload::of(&encoded);
        self.append_payload(data.py(), payload, arguments, durability)
    }

    /// Appends bytes that are as they are to be stored, and settles.
    pub(super) fn append_payload<'py>(
        &self,
        py: Python<'py>,
        payload: Payload<'_>,
        arguments: &Arguments<'py>,
        durability: Option<Durability>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let tags = arguments.tags.borrow()?;
        let event = arguments.new_event(payload, &tags)?;
        let outcome = self.append_patiently(py, &event);
        let appended = match outcome {
            Ok(ref appended) => appended,
            Err(error) => return Err(to_python(py, error)),
        };
        self.tell_listener(py).map_err(|error| told(py, error, appended))?;
        self.settle(py, appended, durability)?;
        let receipt = Bound::new(py, PyReceipt::from(appended)).map_err(|error| told(py, error, appended))?;
        Ok(receipt.into_any())
    }

    /// Encodes and commits. What is returned is, of a retry, the first one's receipt, for that was delivered; else the live
    /// event; and where `outlet` has handed that out, or leaves it to the loop, the finished publication, unless the
    /// event is wanted.
    pub(super) fn publish_data<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        event_type: &Bound<'py, PyAny>,
        arguments: Arguments<'py>,
        outlet: Option<&PyOutlet>,
        wants_event: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = data.py();
        let encoded = encode::encode(data, self.non_finite)?;
        let raw = encoded.to_py(py);
        let appended = {
            let tags = arguments.tags.borrow()?;
            let event = arguments.new_event(Payload::of(&encoded), &tags)?;
            raised(py, self.append_patiently(py, &event))?
        };
        if appended.is_duplicate {
            return Ok(Bound::new(py, PyReceipt::from(&appended))?.into_any());
        }
        let is_plain_text = event_type.is_exact_instance_of::<PyString>();
        let finish = || {
            let known = if is_plain_text { registered(&arguments.event_type)? } else { event_type.clone() };
            let data = encoded.is_exact().then(|| data.clone().unbind());
            let version = arguments.schema_version.clone();
            let origin = Origin::published(&appended, arguments, raw, Codec::Json, encoded.is_lossy())?;
            let event = Bound::new(py, PyEvent::live(origin, Some(known.clone().unbind()), data))?;
            let handed_out = outlet.map(|outlet| outlet.published(&event, &known, version.as_ref()));
            let left = handed_out.transpose()?.unwrap_or(Left::ToPublisher);
            if left != Left::Nothing {
                self.tell_listener(py)?;
            }
            if wants_event || left == Left::ToPublisher {
                return Ok(event.into_any());
            }
            Ok(Bound::new(py, PyPublished::of(appended.event_id.clone()))?.into_any())
        };
        finish().map_err(|error| told(py, error, &appended))
    }

    fn append_patiently(&self, py: Python<'_>, event: &NewEvent<'_>) -> Result<Appended> {
        // Replaced where it is: handed on by a match it would be copied.
        let mut outcome = self.engine.append(event, first_patience());
        if matches!(outcome, Err(Error::WouldBlock)) {
            outcome = py.detach(|| self.engine.append(event, Patience::Wait));
        }
        outcome
    }

    /// Appends all of `events` or none, if all of `expected` is met, and settles.
    pub(super) fn append_batch(
        &self,
        py: Python<'_>,
        events: &[NewEvent<'_>],
        expected: &[(&str, Expected)],
        durability: Option<Durability>,
    ) -> PyResult<Vec<PyReceipt>> {
        let outcome = match self.engine.append_checked(events, expected, first_patience()) {
            Err(Error::WouldBlock) => {
                py.detach(|| self.engine.append_checked(events, expected, Patience::Wait))
            }
            outcome => outcome,
        };
        let appended = raised(py, outcome)?;
        if let Some(last) = appended.last() {
            self.tell_listener(py).map_err(|error| told(py, error, last))?;
            self.settle(py, last, durability)?;
        }
        Ok(appended.iter().map(PyReceipt::from).collect())
    }

    /// Calls what `_on_commit` was given. Its failure is no failure of the append, which stands; only an interrupt
    /// (Ctrl-C, an exit) goes on.
    fn tell_listener(&self, py: Python<'_>) -> PyResult<()> {
        let Some(listener) = self.listener(py) else { return Ok(()) };
        match listener.call0() {
            Ok(_) => Ok(()),
            Err(error) if error.is_instance_of::<PyException>(py) => {
                error.write_unraisable(py, Some(&listener));
                Ok(())
            }
            Err(interrupt) => Err(interrupt),
        }
    }

    /// Gives a committed event the durability it was asked for, in slices so that Ctrl-C works.
    fn settle(&self, py: Python<'_>, appended: &Appended, durability: Option<Durability>) -> PyResult<()> {
        if !self.engine.needs_settling(durability) {
            return Ok(());
        }
        let outcome = match durability.unwrap_or(self.durability) {
            // One sync by this very thread: a system call that nothing can interrupt.
            Durability::Always => raised(py, py.detach(|| self.engine.settle(appended, durability))),
            Durability::Group => {
                in_slices(py, Timeout(None), |slice| self.engine.settle_within(appended, slice)).map(drop)
            }
            Durability::None | Durability::Interval => raised(py, self.engine.settle(appended, durability)),
        };
        outcome.map_err(|error| told(py, error, appended))
    }
}

/// With the GIL held, an append waits for nothing (R12).
fn first_patience() -> Patience {
    if is_planted(Bug::GilLockOrder) { Patience::Wait } else { Patience::Try }
}

#[cold]
fn told(py: Python<'_>, error: PyErr, appended: &Appended) -> PyErr {
    committed(py, error, appended.seq, &appended.event_id.to_string())
}
