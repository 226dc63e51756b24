//! Waiting for durability: for the keeper's sync, or in a group, of which whoever comes first syncs for all.
//!
//! Owns who waits, and how long a group gathers. Who shared the last sync is likely to be back with the next event at once: the
//! first of them waits for the others, at most as long as that sync took, or nobody would share a sync but those who came while
//! another ran. What is durable is [`super::sync`]'s to know.

use std::time::Duration;

use super::Tail;
use crate::{
    config::Keeper,
    error::Result,
    planted::{Bug, is_planted},
    threads::{Condvar, Instant, Mutex, MutexGuard, PoisonError},
};

/// A bound where none was asked for: a lost keeper, or a sync that a defect broke off, is noticed, not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// A slow disk is no reason to gather for long.
const LONGEST_GATHERING: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Count {
    /// Who waits now; whoever was woken does so no more, even if it has yet to run.
    waiting: usize,
    /// How often all were woken.
    wakes: u64,
    /// So many of those have yet to run.
    to_wake: usize,
    /// Who waited when the last sync ended.
    returning: usize,
    /// For so many the next sync waits; 0 where none is gathering.
    awaited: usize,
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Taken to wait and to wake, so that no wake is lost.
    count: Mutex<Count>,
    woken: Condvar,
    gathered: Condvar,
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, and each that runs wakes the next: all at once they would only come to wait for the interpreter's lock, and wake
    /// a second time (2.9 switches an event of 16 threads, 1.9 so).
    pub fn wake_all(&self) {
        if is_planted(Bug::WaiterNotWoken) {
            return;
        }
        if !is_planted(Bug::LostWake) {
            let mut count = self.lock();
            if count.waiting == 0 {
                return; // A wake is a system call.
            }
            count.to_wake += count.waiting;
            (count.waiting, count.wakes) = (0, count.wakes + 1);
        }
        self.woken.notify_one();
    }

    /// Waits to be woken, at most `patience`; whether that ran out.
    fn wait<'a>(
        &'a self,
        mut count: MutexGuard<'a, Count>,
        patience: Duration,
    ) -> (MutexGuard<'a, Count>, bool) {
        count.waiting += 1;
        if count.waiting == count.awaited {
            self.gathered.notify_one();
        }
        let wakes = count.wakes;
        let woken = self.woken.wait_timeout(count, patience);
        let (mut count, end) = woken.unwrap_or_else(PoisonError::into_inner);
        if count.wakes == wakes {
            count.waiting -= 1;
        } else {
            count.to_wake -= 1;
        }
        if count.to_wake > 0 && !is_planted(Bug::WakeKept) {
            self.woken.notify_one();
        }
        (count, end.timed_out())
    }

    /// A sync has ended: who waits now is expected to wait for the next one too.
    pub fn expect_back(&self) {
        let mut count = self.lock();
        count.returning = count.waiting;
    }

    /// Before a sync: waits for those who shared the last one, which took so long.
    pub fn gather(&self, took: Duration) {
        let mut count = self.lock();
        if count.waiting >= count.returning || took.is_zero() {
            return;
        }
        count.awaited = count.returning;
        let is_gathering = |count: &mut Count| count.waiting < count.awaited;
        let gathered = self.gathered.wait_timeout_while(count, took.min(LONGEST_GATHERING), is_gathering);
        gathered.unwrap_or_else(PoisonError::into_inner).0.awaited = 0;
    }

    /// Whoever gathers is to sync now.
    pub fn hurry(&self) {
        let mut count = self.lock();
        if count.awaited > 0 {
            count.awaited = 0;
            self.gathered.notify_one();
        }
    }
}

impl Tail {
    /// Waits until `seq` is durable; false when `timeout` ran out first.
    ///
    /// # Errors
    /// [`Error::Poisoned`](crate::error::Error::Poisoned); [`Error::Closed`](crate::error::Error::Closed) if it was closed without.
    pub fn wait_durable(&self, seq: u64, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.keeper.want_sync();
        if self.options.keeper == Keeper::Manual && self.is_short_of(seq) {
            self.sync_now()?;
        }
        let mut count = self.durable.crowd.lock();
        loop {
            if !self.is_short_of(seq) {
                return Ok(true);
            }
            self.refuse_if_poisoned()?;
            if self.is_closed() {
                drop(count);
                return self.wait_for_close(seq);
            }
            let patience = patience_until(deadline);
            if patience.is_zero() {
                return Ok(false);
            }
            let has_timed_out;
            (count, has_timed_out) = self.durable.crowd.wait(count, patience);
            if has_timed_out {
                // What was appended since the first wish may be in a mode that never syncs.
                self.keeper.want_sync();
            }
        }
    }

    /// A close makes all that is committed durable: who waits for a part of it gets that, not an error.
    fn wait_for_close(&self, seq: u64) -> Result<bool> {
        if seq >= self.committed().next_seq {
            return Err(self.closed());
        }
        self.sync_through(seq).map(|()| true)
    }

    /// Makes `seq` durable, by a sync of the caller's own or by one that somebody else runs, which is waited for at most
    /// `patience`; false when that ran out. So one sync serves all who appended while the last one ran (group commit).
    ///
    /// # Errors
    /// [`Error::Poisoned`](crate::error::Error::Poisoned); [`Error::Closed`](crate::error::Error::Closed) only after [`Tail::abandon`].
    pub fn share_sync(&self, seq: u64, patience: Duration) -> Result<bool> {
        if self.is_abandoned() {
            return Err(self.closed());
        }
        let deadline = Instant::now().checked_add(patience);
        loop {
            // Whoever was served leaves the turn to the others.
            if !self.is_short_of(seq) {
                return Ok(true);
            }
            if let Some(turn) = self.free_turn() {
                return self.sync_group_in(turn, seq).map(|()| true);
            }
            let count = self.durable.crowd.lock();
            if !self.is_short_of(seq) {
                return Ok(true);
            }
            self.refuse_if_poisoned()?;
            let patience = patience_until(deadline);
            if patience.is_zero() {
                return Ok(false);
            }
            // ORDER: who has the turn gives it back and takes this lock to wake: looked at once more, the wake is not missed.
            if self.free_turn().is_none() {
                drop(self.durable.crowd.wait(count, patience));
            }
        }
    }

    fn is_short_of(&self, seq: u64) -> bool {
        self.durable_seq().is_none_or(|durable| durable < seq)
    }
}

fn patience_until(deadline: Option<Instant>) -> Duration {
    deadline.map_or(LONGEST_WAIT, |end| end.saturating_duration_since(Instant::now()).min(LONGEST_WAIT))
}
