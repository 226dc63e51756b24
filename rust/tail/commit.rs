//! Where the log ends at this moment, readable without the tail lock.
//!
//! A sequence lock: the one writer makes the version odd, stores, makes it even; a reader that saw an odd or a changed
//! version looks again. Source of the scheme and its orderings: H.-J. Boehm, "Can seqlocks get along with programming
//! language memory models?", MSPC 2012.

use crate::{
    planted::{Bug, is_planted},
    threads::{
        atomic::{AtomicU64, Ordering, fence},
        spin_loop,
    },
};

/// The end of what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedPosition {
    /// The segment being written.
    pub segment: u64,
    /// Offset behind its last record.
    pub offset: u64,
    /// Position of the next event.
    pub next_seq: u64,
}

#[derive(Debug)]
pub(super) struct CommittedCell {
    version: AtomicU64,
    segment: AtomicU64,
    offset: AtomicU64,
    next_seq: AtomicU64,
}

impl CommittedCell {
    pub fn new(position: CommittedPosition) -> Self {
        Self {
            version: AtomicU64::new(0),
            segment: AtomicU64::new(position.segment),
            offset: AtomicU64::new(position.offset),
            next_seq: AtomicU64::new(position.next_seq),
        }
    }

    /// Publishes `position`. Only under the tail lock: there is one writer.
    pub fn store(&self, position: CommittedPosition) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // ORDER: a reader that sees one of the new values below sees the odd version too.
        if !is_planted(Bug::TornPosition) {
            fence(Ordering::Release);
        }
        self.segment.store(position.segment, Ordering::Relaxed);
        self.offset.store(position.offset, Ordering::Relaxed);
        self.next_seq.store(position.next_seq, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// A position that was published as a whole.
    pub fn load(&self) -> CommittedPosition {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let position = CommittedPosition {
                segment: self.segment.load(Ordering::Relaxed),
                offset: self.offset.load(Ordering::Relaxed),
                next_seq: self.next_seq.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return position;
            }
            spin_loop();
        }
    }
}
