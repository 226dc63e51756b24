//! What the system may refuse: which operation, with which error, once or for good.

use std::io;

use super::survival::Loss;

/// Kinds of operations that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening, measuring, listing, reading, mapping, locking.
    Read,
    /// Writing into a file; a refused one leaves the first half.
    Write,
    /// Reserving room.
    Allocate,
    /// Making, renaming and removing.
    Name,
    /// Making a file or a directory durable.
    Sync,
}

impl Operation {
    pub(super) fn is_change(self) -> bool {
        self != Self::Read
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// With which operations; `None`: any.
    pub on: Option<Operation>,
    /// So many of them succeed before.
    pub skip: usize,
    /// The system's number for the error.
    pub errno: i32,
    /// For good, or once.
    pub lasts: bool,
    /// What a sync that fails leaves.
    pub leaves: Loss,
}

impl Fault {
    pub(super) fn strikes(&mut self, operation: Operation) -> bool {
        if self.on.is_some_and(|on| on != operation) {
            return false;
        }
        let is_due = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        is_due
    }

    pub(super) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}
