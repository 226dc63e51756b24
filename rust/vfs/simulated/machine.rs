//! The life of a simulated machine: how far it has come, where it ends, and what is to go wrong.
//!
//! Owns the counting of points (every change to a file or a name, every store of the appending thread), the crash at one of
//! them, and the faults of the system. From the crash on the machine is off: what is done then is seen by nobody.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    cache::CachedFile,
    faults::{Fault, Operation},
    names::{Change, Names},
};

#[derive(Default)]
pub(super) struct Machine {
    pub names: Mutex<Names>,
    pub locked: Arc<Mutex<BTreeSet<PathBuf>>>,
    pub life: Mutex<Life>,
}

/// How far a machine has come, and what is to befall it.
#[derive(Default)]
pub(super) struct Life {
    pub points: usize,
    pub crash_at: Option<usize>,
    /// Of a record whose bytes were being stored at the crash, so many had been.
    pub stored_bytes: Option<usize>,
    pub in_flight: Option<InFlight>,
    /// What a crash found; from then on the machine is off.
    pub found: Option<Names>,
    pub fault: Option<Fault>,
    pub struck: Vec<Operation>,
}

/// Bytes that the appending thread stores one after another.
pub(super) struct InFlight {
    pub file: Weak<CachedFile>,
    pub offset: usize,
    pub before: Vec<u8>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn off() -> io::Error {
    io::Error::other("the machine is off")
}

impl Machine {
    /// Before a change: the point at which the life may end.
    pub fn pass(&self) -> io::Result<()> {
        let mut life = lock(&self.life);
        if life.found.is_some() {
            return Err(off());
        }
        if life.crash_at == Some(life.points) {
            if let (Some(stored), Some(flight)) = (life.stored_bytes, &life.in_flight)
                && let (Some(file), Some(lost)) = (flight.file.upgrade(), flight.before.get(stored..))
            {
                file.undo(flight.offset + stored, lost);
            }
            life.found = Some(lock(&self.names).copy()?);
            return Err(off());
        }
        life.points += 1;
        life.in_flight = None;
        Ok(())
    }

    /// Before an operation: a refusal, or what is to go wrong with it.
    pub fn begin(&self, operation: Operation) -> io::Result<Option<Fault>> {
        if operation.is_change() {
            self.pass()?;
        }
        let mut life = lock(&self.life);
        if life.found.is_some() {
            return Err(off());
        }
        let Some(fault) = &mut life.fault else { return Ok(None) };
        if !fault.strikes(operation) {
            return Ok(None);
        }
        let struck = *fault;
        if !fault.lasts {
            life.fault = None;
        }
        life.struck.push(operation);
        Ok(Some(struck))
    }

    /// As [`Machine::begin`], for operations that have no effect when they fail.
    pub fn attempt(&self, operation: Operation) -> io::Result<()> {
        self.begin(operation)?.map_or(Ok(()), |fault| Err(fault.error()))
    }

    pub fn change(&self, change: Change) {
        lock(&self.names).change(change);
    }
}
