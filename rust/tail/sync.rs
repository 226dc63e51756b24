//! Durability: who syncs, what is durable, where the watermarks are.
//!
//! A sync samples the committed position, syncs, and publishes *that* position (R13); segments before the sampled one are
//! synced whole first. Before each sync the older watermark page takes the result of the last completed one (R16), so that
//! a watermark never claims more than a sync that had returned. A sync that fails poisons the log (R14).

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use super::{CommittedPosition, Tail, as_ns};
use crate::{
    config::Keeper,
    error::{Error, Result},
    format::segment::{Watermark, watermark_offset},
    planted::{Bug, is_planted},
    segment::{CUT_OFF, Segment},
    threads::{
        Condvar, Instant, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    vfs::File,
};

/// A segment that has something to sync, or will.
pub(super) struct Target {
    number: u64,
    epoch: u32,
    path: PathBuf,
    bytes: u64,
    file: Arc<dyn File>,
    /// Of the last watermark stored in it.
    generation: AtomicU64,
}

impl Target {
    pub fn new(segment: &Segment, file: Arc<dyn File>, generation: u64) -> Arc<Self> {
        Arc::new(Self {
            number: segment.header.number,
            epoch: segment.header.epoch,
            path: segment.path(),
            bytes: segment.header.file_bytes,
            file,
            generation: AtomicU64::new(generation),
        })
    }
}

/// What has been synced so far; its lock is the turn to sync.
struct Turn {
    completed: CommittedPosition,
    stored: Option<CommittedPosition>,
}

pub(super) struct Durable {
    turn: Mutex<Turn>,
    /// Oldest first; the last is the segment being written and never leaves.
    unsynced: Mutex<VecDeque<Arc<Target>>>,
    /// Position behind the newest durable event.
    next_seq: AtomicU64,
    /// Taken to wait and to wake, so that no wake is lost.
    waiting: Mutex<()>,
    woken: Condvar,
}

impl Durable {
    /// Everything up to `position` is durable: opening has seen to it.
    pub fn new(active: Arc<Target>, position: CommittedPosition) -> Self {
        Self {
            turn: Mutex::new(Turn { completed: position, stored: None }),
            unsynced: Mutex::new(VecDeque::from([active])),
            next_seq: AtomicU64::new(position.next_seq),
            waiting: Mutex::default(),
            woken: Condvar::new(),
        }
    }

    /// A roll entered `target`.
    pub fn enter(&self, target: Arc<Target>) {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push_back(target);
    }

    fn oldest(&self) -> Option<Arc<Target>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).front().cloned()
    }

    /// All segments before this one were synced whole.
    pub fn oldest_number(&self) -> u64 {
        self.oldest().map_or(0, |target| target.number)
    }

    fn forget_oldest(&self) {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }

    /// Whether a segment that was left still waits for its last sync.
    pub fn has_full_segment(&self) -> bool {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).len() > 1
    }

    fn publish(&self, next_seq: u64) {
        self.next_seq.store(next_seq, Ordering::Release);
        self.wake_all();
    }

    pub fn wake_all(&self) {
        if is_planted(Bug::WaiterNotWoken) {
            return;
        }
        if !is_planted(Bug::LostWake) {
            drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.woken.notify_all();
    }
}

impl Tail {
    /// Newest durable event. Without a disk nothing is more durable than committed.
    pub fn durable_seq(&self) -> Option<u64> {
        let next = if self.place().vfs.is_durable() {
            self.durable.next_seq.load(Ordering::Acquire)
        } else {
            self.committed().next_seq
        };
        next.checked_sub(1)
    }

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync(&self) -> Result<Option<u64>> {
        self.refuse_if_unwell()?;
        self.sync_now()?;
        Ok(self.durable_seq())
    }

    /// Waits until `seq` is durable; false when `timeout` ran out first.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Closed`] if it was closed without.
    pub fn wait_durable(&self, seq: u64, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.keeper.want_sync();
        if self.options.keeper == Keeper::Manual && self.is_short_of(seq) {
            self.sync_now()?;
        }
        let mut waiting = self.durable.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if !self.is_short_of(seq) {
                return Ok(true);
            }
            self.refuse_if_poisoned()?;
            if self.is_closed() {
                drop(waiting);
                return self.wait_for_close(seq);
            }
            // A bound even where none was asked for: a lost keeper is noticed, not waited for.
            let patience =
                deadline.map_or(Duration::from_secs(1), |end| end.saturating_duration_since(Instant::now()));
            if patience.is_zero() {
                return Ok(false);
            }
            let woken = self.durable.woken.wait_timeout(waiting, patience.min(Duration::from_secs(1)));
            let (guard, end) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if end.timed_out() {
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

    /// Makes everything committed so far durable, and says where that ends.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync_position(&self) -> Result<CommittedPosition> {
        self.refuse_if_unwell()?;
        self.sync_now()
    }

    fn is_short_of(&self, seq: u64) -> bool {
        self.durable_seq().is_none_or(|durable| durable < seq)
    }

    /// Makes `seq` durable, which a sync that was waited for may have done already.
    pub(super) fn sync_through(&self, seq: u64) -> Result<()> {
        if self.is_abandoned() {
            return Err(self.closed());
        }
        let turn = self.turn();
        if turn.completed.next_seq > seq { Ok(()) } else { self.sync_in(turn).map(|_durable| ()) }
    }

    /// One sync; returns the position it made durable.
    pub(super) fn sync_now(&self) -> Result<CommittedPosition> {
        self.sync_in(self.turn())
    }

    fn sync_in(&self, mut turn: MutexGuard<'_, Turn>) -> Result<CommittedPosition> {
        self.refuse_if_poisoned()?;
        let sampled = self.committed();
        if turn.completed == sampled {
            return Ok(sampled);
        }
        if is_planted(Bug::AckBeforeSync) {
            self.durable.publish(sampled.next_seq);
        }
        if is_planted(Bug::WatermarkBeforeSync) {
            turn.completed = sampled;
        }
        while let Some(target) = self.durable.oldest() {
            if target.number == sampled.segment {
                self.store_completed(&mut turn, &target)?;
            }
            if target.number == sampled.segment || !is_planted(Bug::RollWithoutSync) {
                self.sync_target(&target)?;
            }
            if target.number == sampled.segment {
                break;
            }
            self.durable.forget_oldest();
        }
        let sampled = if is_planted(Bug::ResampledPosition) { self.committed() } else { sampled };
        turn.completed = sampled;
        self.durable.publish(sampled.next_seq);
        Ok(sampled)
    }

    /// Stores the watermark of the last sync and makes it durable: at close, and when nothing else happens.
    pub(super) fn store_watermark(&self) -> Result<()> {
        let mut turn = self.turn();
        self.refuse_if_poisoned()?;
        if turn.stored == Some(turn.completed) {
            return Ok(());
        }
        match self.durable.oldest() {
            Some(target) if target.number == turn.completed.segment => {
                self.store_completed(&mut turn, &target)?;
                self.sync_target(&target)
            }
            _ => Ok(()),
        }
    }

    /// ORDER: what is stored here was durable before this call; the sync that follows makes the watermark so too.
    fn store_completed(&self, turn: &mut Turn, target: &Target) -> Result<()> {
        let completed = turn.completed;
        if completed.segment != target.number || turn.stored == Some(completed) {
            return Ok(());
        }
        let generation = target.generation.load(Ordering::Relaxed) + 1;
        let watermark = Watermark {
            generation,
            epoch: target.epoch,
            segment: target.number,
            durable_seq: completed.next_seq.checked_sub(1),
            durable_offset: completed.offset,
        };
        let offset = watermark_offset(generation) as u64;
        if let Err(error) = target.file.write_at(offset, &watermark.encode()) {
            return Err(
                self.poison(format!("writing the watermark of {} failed: {error}", target.path.display()))
            );
        }
        target.generation.store(generation, Ordering::Relaxed);
        turn.stored = Some(completed);
        Ok(())
    }

    fn sync_target(&self, target: &Target) -> Result<()> {
        let start = Instant::now();
        // What was cut off is synced with success: there is nothing left to write.
        let whole = target.file.sync_data().and_then(|()| Ok(target.file.bytes()? >= target.bytes));
        match whole {
            Ok(true) => {}
            Ok(false) => return Err(self.poison(format!("{}: {CUT_OFF}", target.path.display()))),
            Err(error) => {
                return Err(self.poison(format!("syncing {} failed: {error}", target.path.display())));
            }
        }
        let took = as_ns(start.elapsed());
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.sync_ns.fetch_add(took, Ordering::Relaxed);
        self.counters.sync_ns_max.fetch_max(took, Ordering::Relaxed);
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        // A panic while syncing leaves `completed` behind what is durable, never ahead.
        self.durable.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_if_poisoned(&self) -> Result<()> {
        match self.poisoned() {
            Some(reason) => Err(Error::Poisoned { reason: reason.to_owned(), committed: None }),
            None => Ok(()),
        }
    }

    /// Whether everything committed is durable and the watermark says so.
    pub(super) fn is_settled(&self) -> (bool, bool) {
        let turn = self.turn();
        (turn.completed == self.committed(), turn.stored == Some(turn.completed))
    }
}
