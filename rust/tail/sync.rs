//! Durability: who syncs, what is durable, where the watermarks are.
//!
//! A sync samples the committed position, syncs, and publishes *that* position (R13); segments before the sampled one are
//! synced whole first. Before each sync the older watermark page takes the result of the last completed one (R16), so that
//! a watermark never claims more than a sync that had returned. A sync that fails poisons the log (R14).

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, TryLockError},
    time::Duration,
};

use super::{CommittedPosition, Tail, as_ns, crowd::Crowd};
use crate::{
    error::{Error, Result},
    format::segment::{Watermark, watermark_offset},
    planted::{Bug, is_planted},
    segment::{CUT_OFF, Segment},
    threads::{
        Instant, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    vfs::File,
};

/// Why a log is poisoned whose segment somebody removed.
const REMOVED: &str = "the file was removed while the log was being written";

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
pub(super) struct Turn {
    completed: CommittedPosition,
    stored: Option<CommittedPosition>,
    /// Time that the last sync took.
    took: Duration,
}

impl Turn {
    /// Positions of one log come one behind the other, but an event's is not told from that of a roll or a new text before it.
    fn has_completed(&self, wanted: CommittedPosition) -> bool {
        self.completed == wanted || self.completed.next_seq > wanted.next_seq
    }
}

pub(super) struct Durable {
    turn: Mutex<Turn>,
    /// Oldest first; the last is the segment being written and never leaves.
    unsynced: Mutex<VecDeque<Arc<Target>>>,
    /// Position behind the newest durable event.
    next_seq: AtomicU64,
    /// Who waits for that to grow, for poison, for a close, or for the turn.
    pub crowd: Crowd,
}

impl Durable {
    /// Everything up to `position` is durable: opening has seen to it.
    pub fn new(active: Arc<Target>, position: CommittedPosition) -> Self {
        Self {
            turn: Mutex::new(Turn { completed: position, stored: None, took: Duration::ZERO }),
            unsynced: Mutex::new(VecDeque::from([active])),
            next_seq: AtomicU64::new(position.next_seq),
            crowd: Crowd::default(),
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

    /// Makes everything committed so far durable, and says where that ends.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync_position(&self) -> Result<CommittedPosition> {
        self.refuse_if_unwell()?;
        self.sync_now()
    }

    /// Makes `seq` durable, at once, which a sync that was waited for may have done already.
    pub(super) fn sync_through(&self, seq: u64) -> Result<()> {
        if self.is_abandoned() {
            return Err(self.closed());
        }
        self.in_turn(self.turn(), |turn| self.sync_through_in(turn, seq))
    }

    /// As [`Tail::sync_through`], for a group, which is gathered first.
    pub(super) fn sync_group_in(&self, turn: MutexGuard<'_, Turn>, seq: u64) -> Result<()> {
        self.in_turn(turn, |turn| {
            if turn.completed.next_seq <= seq {
                self.durable.crowd.gather(turn.took);
            }
            self.sync_through_in(turn, seq)
        })
    }

    fn sync_through_in(&self, turn: &mut Turn, seq: u64) -> Result<()> {
        if turn.completed.next_seq > seq { Ok(()) } else { self.sync_in(turn).map(|_durable| ()) }
    }

    /// Makes durable what is committed now; returns a position up to which everything is.
    pub(super) fn sync_now(&self) -> Result<CommittedPosition> {
        self.sync_until(self.committed())
    }

    /// Makes durable what lies before `wanted`, which a sync that was waited for may have done already.
    pub(super) fn sync_until(&self, wanted: CommittedPosition) -> Result<CommittedPosition> {
        self.in_turn(self.turn(), |turn| {
            self.refuse_if_poisoned()?;
            if turn.has_completed(wanted) { Ok(turn.completed) } else { self.sync_in(turn) }
        })
    }

    fn sync_in(&self, turn: &mut Turn) -> Result<CommittedPosition> {
        self.refuse_if_poisoned()?;
        let sampled = self.committed();
        if turn.completed == sampled {
            return Ok(sampled);
        }
        let start = Instant::now();
        if is_planted(Bug::AckBeforeSync) {
            self.durable.next_seq.store(sampled.next_seq, Ordering::Release);
            self.durable.crowd.wake_all();
        }
        if is_planted(Bug::WatermarkBeforeSync) {
            turn.completed = sampled;
        }
        while let Some(target) = self.durable.oldest() {
            if target.number == sampled.segment {
                self.store_completed(turn, &target)?;
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
        turn.took = start.elapsed();
        self.durable.next_seq.store(sampled.next_seq, Ordering::Release);
        self.durable.crowd.expect_back();
        Ok(sampled)
    }

    /// Stores the watermark of the last sync and makes it durable: at close, and when nothing else happens.
    pub(super) fn store_watermark(&self) -> Result<()> {
        self.in_turn(self.turn(), |turn| {
            self.refuse_if_poisoned()?;
            if turn.stored == Some(turn.completed) {
                return Ok(());
            }
            match self.durable.oldest() {
                Some(target) if target.number == turn.completed.segment => {
                    self.store_completed(turn, &target)?;
                    self.sync_target(&target)
                }
                _ => Ok(()),
            }
        })
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
        // What was cut off or removed is synced with success: there is nothing left to write, or nowhere to find it.
        match target.file.sync_data().and_then(|()| target.file.size_and_name()) {
            Ok((bytes, _)) if bytes < target.bytes => {
                return Err(self.poison(format!("{}: {CUT_OFF}", target.path.display())));
            }
            Ok((_, false)) => return Err(self.poison(format!("{}: {REMOVED}", target.path.display()))),
            Ok((_, true)) => {}
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

    /// The turn, if nobody has it.
    pub(super) fn free_turn(&self) -> Option<MutexGuard<'_, Turn>> {
        match self.durable.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(broken)) => Some(broken.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Does `work`, gives the turn back and wakes everybody: for what it made durable, or for the turn.
    fn in_turn<T>(&self, mut turn: MutexGuard<'_, Turn>, work: impl FnOnce(&mut Turn) -> T) -> T {
        let done = work(&mut turn);
        if is_planted(Bug::TurnUnheard) {
            self.durable.crowd.wake_all();
            return done;
        }
        // ORDER: the turn is free again before anybody wakes who may want it.
        drop(turn);
        self.durable.crowd.wake_all();
        done
    }

    /// The turn, for whoever does not gather others.
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.durable.crowd.hurry();
        // A panic while syncing leaves `completed` behind what is durable, never ahead.
        self.durable.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refuse_if_poisoned(&self) -> Result<()> {
        match self.poisoned() {
            Some(reason) => Err(Error::Poisoned { reason: reason.to_owned(), committed: None }),
            None => Ok(()),
        }
    }

    /// Whether everything before `wanted` is durable, and whether the watermark says what is.
    pub(super) fn is_settled(&self, wanted: CommittedPosition) -> (bool, bool) {
        self.in_turn(self.turn(), |turn| (turn.has_completed(wanted), turn.stored == Some(turn.completed)))
    }
}
