//! The writer: everything that happens to the newest segment.
//!
//! [`Tail`] joins the parts, each of which has one lock or none:
//! * [`checks`]: which of the expectations fail;
//! * [`write`]: the appending thread's part, under the tail lock;
//! * [`roll`]: entering the next segment, and preparing it;
//! * [`commit`]: the committed position, published without a lock;
//! * [`sync`]: durability, watermarks, poison;
//! * [`crowd`]: waiting for durability, alone and in a group;
//! * [`keeper`]: the background thread;
//! * [`sealer`]: another, which compresses what is full;
//! * [`ringer`]: another, which wakes the readers that sleep;
//! * [`window`]: the pages ahead of the appender, and a thread that restores them while a sync runs;
//! * [`closing`]: the clean mark, and what goes with it;
//! * [`retain`]: dropping what expired.
//!
//! Lock order: writer → preparing → meta; turn → unsynced; the others are leaves. Only `turn` (syncs), `preparing`,
//! `retaining` (before all others) and `meta` are held across system calls, and the writer's only when the keeper was too slow with a spare.

mod checks;
mod closing;
mod commit;
mod crowd;
mod dictionary;
mod ids;
mod keeper;
mod retain;
mod ringer;
mod roll;
mod sealer;
mod sync;
mod window;
mod write;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use commit::CommittedPosition;
pub use retain::Retained;
pub use write::Appended;

use crate::{
    clock::Clock,
    config::{Durability, Expected, Keeper, Options, Patience},
    error::{Error, Result},
    format::{NewEvent, check_aggregate_id, control::WriterState, meta::Meta},
    heads::{Head, Heads},
    map::WriteMap,
    place::Place,
    planted::{Bug, is_planted},
    segment::{Position, Segment},
    shelf::{News, Shelf},
    threads::{
        self, JoinHandle, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    vfs::Lock,
};

/// What opening hands to the tail.
pub struct Start {
    /// META as it was last written.
    pub meta: Meta,
    /// The entered segments, oldest first; the last is the one to write on.
    pub segments: Vec<Arc<Segment>>,
    /// The aggregates.
    pub heads: Heads,
    /// Dictionary, offset and next position in the last segment.
    pub position: Position,
    /// Sealed segments without an index.
    pub unindexed: Vec<u64>,
    /// The lock; released when the tail is closed.
    pub lock: Box<dyn Lock>,
}

/// The writing side of a log.
pub struct Tail {
    /// The segments, shared with scans.
    pub shelf: Arc<Shelf>,
    options: Options,
    clock: Arc<dyn Clock>,
    writer: Mutex<write::Writer>,
    spares: roll::Spares,
    committed: commit::CommittedCell,
    durable: sync::Durable,
    meta: Mutex<Meta>,
    poison: OnceLock<String>,
    is_closed: AtomicBool,
    is_abandoned: AtomicBool,
    /// Held while closing, so that nobody takes the log for closed before it is.
    closing: Mutex<()>,
    /// Held for a pass of retention.
    retaining: Mutex<()>,
    lock: Mutex<Option<Box<dyn Lock>>>,
    keeper: Arc<keeper::Signal>,
    sealing: Arc<sealer::Sealing>,
    ringer: Arc<ringer::Ringer>,
    restoring: Arc<window::Restoring>,
    counters: Counters,
}

/// What is counted where it happens.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events appended through this handle.
    pub appended: AtomicU64,
    /// Bytes of their records.
    pub appended_bytes: AtomicU64,
    /// Events whose data lost a NaN or infinity.
    pub lossy: AtomicU64,
    /// Segments entered.
    pub rolls: AtomicU64,
    /// Segments that the appending thread had to prepare itself.
    pub appender_prepared: AtomicU64,
    /// Times the appending thread waited for the sealer.
    pub waits_for_sealer: AtomicU64,
    /// Segments sealed.
    pub sealed: AtomicU64,
    /// Syncs completed.
    pub syncs: AtomicU64,
    /// Their time in all.
    pub sync_ns: AtomicU64,
    /// The longest.
    pub sync_ns_max: AtomicU64,
}

impl Tail {
    /// Starts writing where `start` says; the keeper runs if the options say so.
    ///
    /// # Errors
    /// [`Error::Io`] if the segment cannot be mapped or the thread not be started.
    pub fn start(place: Place, options: Options, clock: Arc<dyn Clock>, start: Start) -> Result<Arc<Self>> {
        let Some(active) = start.segments.last().cloned() else {
            return Err(Error::corrupt(&place.path, 0, "there is no segment to write on"));
        };
        let file = place.reopen_segment(active.header.number)?;
        let bytes = usize::try_from(active.header.file_bytes).unwrap_or(usize::MAX);
        let memory = file.map(bytes, true).map_err(|error| Error::io(active.path(), "map", error))?;
        let position = CommittedPosition {
            segment: active.header.number,
            offset: start.position.offset as u64,
            next_seq: start.position.next_seq,
        };
        let generation = place.read_watermark(&*file, &active.header)?.map_or(0, |mark| mark.generation);
        let durable = sync::Durable::new(sync::Target::new(&active, file, generation), position);
        let writer =
            write::Writer::new(&active, WriteMap::new(Arc::clone(&memory)), start.heads, &start.position);
        let epoch = start.meta.epoch;
        let spares = roll::Spares::new(&active, &options, memory);
        let tail = Arc::new(Self {
            shelf: Arc::new(Shelf::new(place, start.meta.log_id, News::Announced, start.segments)),
            options,
            clock,
            writer: Mutex::new(writer),
            spares,
            committed: commit::CommittedCell::new(position),
            durable,
            meta: Mutex::new(start.meta),
            poison: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            closing: Mutex::default(),
            retaining: Mutex::default(),
            lock: Mutex::new(Some(start.lock)),
            keeper: Arc::default(),
            sealing: sealer::Sealing::of(start.unindexed),
            ringer: ringer::Ringer::new(epoch),
            restoring: Arc::default(),
            counters: Counters::default(),
        });
        tail.open_control();
        if tail.options.keeper == Keeper::Thread {
            keeper::spawn(&tail)?;
        }
        Ok(tail)
    }

    /// Appends one event. Committed on return; not yet durable.
    ///
    /// # Errors
    /// See [`crate::log::Log::append`].
    pub fn append(&self, event: &NewEvent<'_>, patience: Patience) -> Result<Appended> {
        event.check()?;
        let mut writer = self.lock_writer(patience)?;
        self.refuse_if_unwell()?;
        let outcome = writer.append(self, event, self.clock.now_ns(), patience);
        if event.lossy && outcome.is_ok() {
            self.counters.lossy.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Appends all of `events` or none (R7).
    ///
    /// # Errors
    /// See [`crate::log::Log::append_checked`].
    pub fn append_many(
        &self,
        events: &[NewEvent<'_>],
        expected: &[(&str, Expected)],
        patience: Patience,
    ) -> Result<Vec<Appended>> {
        for event in events {
            event.check()?;
        }
        for (id, _) in expected {
            check_aggregate_id(id)?;
        }
        let mut writer = self.lock_writer(patience)?;
        self.refuse_if_unwell()?;
        let appended = writer.append_batch(self, events, expected, self.clock.now_ns(), patience)?;
        let lossy = events.iter().filter(|event| event.lossy).count() as u64;
        self.counters.lossy.fetch_add(lossy, Ordering::Relaxed);
        Ok(appended)
    }

    fn lock_writer(&self, patience: Patience) -> Result<MutexGuard<'_, write::Writer>> {
        let locked = match patience {
            Patience::Try => match self.writer.try_lock() {
                Ok(writer) => Ok(writer),
                Err(TryLockError::WouldBlock) => return Err(Error::WouldBlock),
                Err(TryLockError::Poisoned(broken)) => Err(broken),
            },
            Patience::Wait => self.writer.lock(),
        };
        locked.map_err(|_| self.poison("an append broke off in the middle: a defect in aresbus".to_owned()))
    }

    /// What every append is refused with, if anything.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Poisoned`].
    pub fn refuse_if_unwell(&self) -> Result<()> {
        if self.is_closed() {
            return Err(self.closed());
        }
        match self.poison.get() {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone(), committed: None }),
            None => Ok(()),
        }
    }

    /// Poisons the log where another one stands in the place of its directory: its files would get into that one, or
    /// take the place of some there. Asked before anything is written by name.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Io`] where it cannot be told.
    pub fn refuse_if_displaced(&self) -> Result<()> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = lock.as_ref() else { return Ok(()) };
        let path = held.path();
        match held.is_displaced() {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.poison(format!(
                "{} is not the file that was locked, or not in that directory: the log was moved away, or LOCK removed, and \
                 another writer began there",
                path.display()
            ))),
            Err(error) => Err(Error::io(path, "look at", error)),
        }
    }

    fn closed(&self) -> Error {
        Error::Closed { path: self.place().path.clone() }
    }

    /// Whether [`Tail::close`] or [`Tail::abandon`] was called.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Why appends are refused, if they are.
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Refuses all further appends and wakes every waiter with the reason (R14). The first reason stays.
    fn poison(&self, reason: String) -> Error {
        if is_planted(Bug::PoisonForgotten) {
            return Error::Poisoned { reason, committed: None };
        }
        let reason = self.poison.get_or_init(|| reason).clone();
        if !is_planted(Bug::PoisonUnheard) {
            self.durable.crowd.wake_all();
        }
        self.tell_sleepers(WriterState::Poisoned);
        Error::Poisoned { reason, committed: None }
    }

    /// What is wrong, if anything is.
    pub fn problem(&self) -> Option<String> {
        let poison = self.poisoned().map(str::to_owned);
        poison.or_else(|| self.spare_problem()).or_else(|| self.sealing.problem())
    }

    /// The committed position.
    pub fn committed(&self) -> CommittedPosition {
        self.committed.load()
    }

    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Version and place of an aggregate's newest event.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a defect.
    pub fn head(&self, aggregate_id: &str) -> Result<Option<Head>> {
        Ok(self.lock_writer(Patience::Wait)?.heads().get(aggregate_id))
    }

    /// Number of aggregates.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a defect.
    pub fn aggregate_count(&self) -> Result<usize> {
        Ok(self.lock_writer(Patience::Wait)?.heads().count())
    }

    fn place(&self) -> &Place {
        &self.shelf.place
    }

    /// Whether an append in this mode has to wait for its durability.
    pub fn needs_settling(&self, durability: Option<Durability>) -> bool {
        let is_waiting = match durability.unwrap_or(self.options.durability) {
            Durability::None => false,
            Durability::Interval => self.options.durability == Durability::None,
            Durability::Group | Durability::Always => true,
        };
        is_waiting && self.place().vfs.is_durable()
    }

    /// Gives an append the durability it asked for; a close meanwhile does that too.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Closed`] only after [`Tail::abandon`].
    pub fn settle(&self, seq: u64, durability: Option<Durability>) -> Result<()> {
        match durability.unwrap_or(self.options.durability) {
            Durability::None => Ok(()),
            Durability::Interval => {
                if self.options.durability == Durability::None {
                    self.keeper.want_sync();
                }
                Ok(())
            }
            Durability::Group => self.share_sync(seq, Duration::MAX).map(|_durable| ()),
            Durability::Always => self.sync_through(seq),
        }
    }

    /// Gives an event that an error is about to cite the durability that its own append asked for.
    ///
    /// # Errors
    /// As [`Tail::settle`].
    pub fn settle_cited(&self, seq: u64) -> Result<()> {
        if self.needs_settling(None) { self.settle(seq, None) } else { Ok(()) }
    }

    /// After a fork, in the child: lets go of descriptors and threads that belong to the parent (R22). Never unlocks:
    /// the lock is the parent's as long as the parent has its descriptor.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.is_closed.store(true, Ordering::Release);
        if let Ok(mut lock) = self.lock.try_lock() {
            drop(lock.take());
        }
    }
}

/// Waits for a background thread that was told to end, unless that is the caller, which dropped the last handle.
fn wait_for_end(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread.filter(|thread| thread.thread().id() != threads::current().id()) {
        // How a thread dies is its own affair: each says so itself, where anybody has to know.
        let _end = thread.join();
    }
}

/// A duration in ns, for counters.
fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
