//! The newest events of a bus, as the one object each that stands for them in this process.
//!
//! Owns the ring. Invariants: at most as many events as it was made for; the ring is held for copies only, so that no Python
//! code runs meanwhile.

use pyo3::{PyTraverseError, PyVisit, prelude::*};

use super::{capi::gil_cell::GilCell, event::PyEvent, fields::let_go, origin::Origin};

/// The newest events, each in the place that its position gives it.
pub struct Recent {
    most: u64,
    slots: GilCell<Vec<Option<Py<PyEvent>>>>,
}

/// The position of a stored event.
pub fn seq_of(event: &PyEvent) -> u64 {
    event.origin().map_or(0, Origin::seq)
}

impl Recent {
    /// At most `most` events, but one at least. Room is taken as it is needed.
    pub fn new(most: u64) -> Self {
        Self { most: most.max(1), slots: GilCell::default() }
    }

    fn slot(&self, seq: u64) -> usize {
        usize::try_from(seq % self.most).unwrap_or(0)
    }

    pub fn put(&self, event: &Bound<'_, PyEvent>) {
        let slot = self.slot(seq_of(event.get()));
        let mut slots = self.slots.hold(event.py());
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let replaced = slots.get_mut(slot).and_then(|held| held.replace(event.clone().unbind()));
        // ORDER: the ring is free again before an event goes, which may run Python code.
        drop(slots);
        let_go(event.py(), replaced);
    }

    /// What is held in the place of `seq`: that event, or an older or newer one.
    pub fn at<'py>(&self, py: Python<'py>, seq: u64) -> Option<Bound<'py, PyEvent>> {
        Some(self.slots.hold(py).get(self.slot(seq))?.as_ref()?.bind(py).clone())
    }

    /// All, oldest first.
    pub fn all<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyEvent>> {
        let mut held: Vec<_> =
            self.slots.hold(py).iter().flatten().map(|event| event.bind(py).clone()).collect();
        held.sort_by_key(|event| seq_of(event.get()));
        held
    }

    /// Holds nothing at or behind `seq` any more.
    pub fn forget_from(&self, py: Python<'_>, seq: u64) {
        let is_behind = |event: &mut Py<PyEvent>| seq_of(event.get()) >= seq;
        let gone: Vec<_> =
            self.slots.hold(py).iter_mut().filter_map(|held| held.take_if(is_behind)).collect();
        drop(gone);
    }

    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(slots) = self.slots.peek(visit) else { return Ok(()) };
        slots.iter().try_for_each(|event| visit.call(event))
    }
}
