//! Waiting on a log: for durability, and for events that are not there yet.
//!
//! Owns what a wait goes by. Every wait ends: when what it is for is there, when time is up, or with the error that stops it.

use std::time::Duration;

use super::{Log, Role};
use crate::{
    control::{self, Awaited, Control},
    error::Result,
    scan::Query,
    threads::Instant,
};

impl Log {
    /// Waits until `seq` is durable; false when `timeout` ran out first.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn wait_durable(&self, seq: u64, timeout: Option<Duration>) -> Result<bool> {
        self.tail()?.wait_durable(seq, timeout)
    }

    /// Waits until an event beyond `after` is committed; false when `timeout` ran out first.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn wait_committed(&self, after: Option<u64>, timeout: Duration) -> Result<bool> {
        let first = after.map_or(0, |after| after.saturating_add(1));
        let start = Instant::now();
        if let Role::Writer(tail) = &self.role {
            let mut position = Position { log: self, first };
            while !position.is_there(false)? {
                if !control::wait(&tail.shelf.link, &mut position, timeout.saturating_sub(start.elapsed()))? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let mut scan = self.follow(Query { after, ..Query::default() })?;
        loop {
            self.refuse_if_closed()?;
            let mut batch = Vec::new();
            scan.next_batch(&mut batch, 1, 1)?;
            if !batch.is_empty() {
                return Ok(true);
            }
            if !scan.wait(timeout.saturating_sub(start.elapsed()))? {
                return Ok(false);
            }
        }
    }
}

/// That a position is committed, for the writer's own process. By the position that every other answer of this handle goes by: a
/// record is there a moment before it counts.
struct Position<'a> {
    log: &'a Log,
    first: u64,
}

impl Awaited for Position<'_> {
    fn is_here(&mut self) -> bool {
        matches!(&self.log.role, Role::Writer(tail) if tail.committed().next_seq > self.first)
    }

    fn is_there(&mut self, _is_thorough: bool) -> Result<bool> {
        self.log.refuse_if_closed()?;
        Ok(self.is_here())
    }

    fn join(&self) -> Option<Control> {
        None
    }
}
