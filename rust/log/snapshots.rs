//! Snapshots of a log's aggregates: stored one at a time, opaque here.

use super::Log;
use crate::{error::Result, threads::PoisonError};

impl Log {
    /// Stores a snapshot, whole or not at all; durable on return.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`], [`Error::DiskFull`], [`Error::Io`].
    pub fn write_snapshot(&self, aggregate_id: &str, seq: u64, payload: &[u8]) -> Result<()> {
        self.tail()?;
        self.refuse_if_closed()?;
        let _turn = self.snapshot_turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.place.write_snapshot(self.id, aggregate_id, seq, payload)
    }

    /// The stored snapshots of an aggregate, newest first; `None` for one that is damaged.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Io`].
    pub fn read_snapshots(&self, aggregate_id: &str) -> Result<Vec<(u64, Option<Vec<u8>>)>> {
        self.refuse_if_closed()?;
        self.place.read_snapshots(self.id, aggregate_id)
    }
}
