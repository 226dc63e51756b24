//! The keeper: the writer's background thread.
//!
//! Syncs each interval or when asked, stores the watermark when nothing happens, has the next segment ready, and faults in
//! the pages ahead of the appender (R10). Holds the tail weakly, so that a log that is dropped takes its thread along.
//! Never touches Python. A keeper that dies poisons the log (R14).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::Tail;
use crate::{
    config::Durability,
    error::{Error, Result},
    format::segment::{PAGE_BYTES, RECORDS_OFFSET},
    planted::{Bug, is_planted},
    threads::{self, Condvar, JoinHandle, Mutex, MutexGuard, PoisonError},
};

/// Passes without anything to sync before the watermark is stored: a quiet log is not synced twice for each event.
const IDLE_PASSES: u32 = 10;
/// Pages are faulted in this many bytes at a time: a larger step would hold the address space's lock for longer.
pub(super) const POPULATE_STEP_BYTES: usize = 64 * 1024;
/// The window ahead of the appender: four times what the last interval took, within these bounds. Each populated page
/// is dirty and gets written by the next sync, so a quiet log must not keep a large window.
const POPULATE_AHEAD_BYTES: std::ops::RangeInclusive<usize> = 64 * 1024..=4 * 1024 * 1024;

#[derive(Debug, Default)]
struct Wants {
    sync: bool,
    spare: bool,
    stop: bool,
}

#[derive(Debug, Default)]
pub(super) struct Signal {
    wants: Mutex<Wants>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a sync now.
    pub fn want_sync(&self) {
        self.lock().sync = true;
        if !is_planted(Bug::WishUnheard) {
            self.changed.notify_one();
        }
    }

    /// Asks for a look at the spare.
    pub fn want_spare(&self) {
        self.lock().spare = true;
        self.changed.notify_one();
    }

    /// Ends the thread and waits for it, unless it is the caller.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|keeper| keeper.thread().id() != threads::current().id()) {
            let _died_poisons_by_itself = thread.join();
        }
    }

    /// Waits for a wish, at most `interval`.
    fn wait(&self, interval: Duration) -> Wants {
        let wants = self.lock();
        let is_idle = |wants: &mut Wants| !(wants.sync || wants.spare || wants.stop);
        let waited = self.changed.wait_timeout_while(wants, interval, is_idle);
        let mut wants = waited.map_or_else(|broken| broken.into_inner().0, |(guard, _timed_out)| guard);
        std::mem::take(&mut *wants)
    }
}

/// What the keeper remembers between two passes.
#[derive(Debug, Default)]
pub(super) struct Pass {
    segment: u64,
    offset: usize,
    ahead: usize,
    populated: usize,
    idle_count: u32,
    /// All segments before this one were offered to the sealer.
    offered: u64,
}

pub(super) fn spawn(tail: &Arc<Tail>) -> Result<()> {
    let weak = Arc::downgrade(tail);
    let (signal, interval) = (Arc::clone(&tail.keeper), tail.options.sync_interval);
    signal.want_spare();
    let run = move || run(&weak, &signal, interval);
    let started = threads::Builder::new().name("aresbus-keeper".to_owned()).spawn(run);
    let thread = started.map_err(|error| Error::io(&tail.place().path, "start the keeper of", error))?;
    *tail.keeper.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(())
}

/// Poisons the log if the keeper ends in a panic.
struct Deathwatch<'a>(&'a Weak<Tail>);

impl Drop for Deathwatch<'_> {
    fn drop(&mut self) {
        if threads::panicking()
            && !is_planted(Bug::QuietDeath)
            && let Some(tail) = self.0.upgrade()
        {
            let _poisoned = tail.poison("the keeper died: a defect in aresbus".to_owned());
        }
    }
}

fn run(weak: &Weak<Tail>, signal: &Signal, interval: Duration) {
    let _watch = Deathwatch(weak);
    let mut pass = Pass::default();
    loop {
        let wants = signal.wait(interval);
        if wants.stop {
            return;
        }
        // Held only for this pass: a handle that goes away meanwhile, or before a fork, takes everything along.
        let Some(tail) = weak.upgrade() else { return };
        tail.keep(&mut pass, wants.sync);
        let synced = tail.durable.oldest_number();
        if pass.offered != synced {
            pass.offered = synced;
            tail.want_sealing();
        }
    }
}

impl Tail {
    /// One pass. Problems are remembered where they will be seen: poison, or the spare's problem.
    pub(super) fn keep(&self, pass: &mut Pass, is_sync_wanted: bool) {
        self.prepare_ahead();
        self.size_window(pass);
        self.populate_ahead(pass);
        let (is_durable, is_stored) = self.is_settled();
        pass.idle_count = if is_durable { pass.idle_count.saturating_add(1) } else { 0 };
        // A segment that was left is synced in every mode: its descriptor is not kept for ever.
        let is_due =
            is_sync_wanted || self.options.durability != Durability::None || self.durable.has_full_segment();
        if !is_durable && is_due {
            let _poisons_on_failure = self.sync_now();
            // Syncing write-protects the pages again.
            pass.populated = 0;
            self.populate_ahead(pass);
        } else if pass.idle_count >= IDLE_PASSES && !is_stored && self.place().vfs.is_durable() {
            let _poisons_on_failure = self.store_watermark();
        }
    }

    /// One pass without memory of the last, for tests that run without the thread.
    pub fn keep_once(&self) {
        self.keep(&mut Pass { idle_count: IDLE_PASSES, ..Pass::default() }, true);
        self.seal_all();
    }

    /// Once a pass: what was taken since the last one decides how far to go ahead, before and after the sync.
    fn size_window(&self, pass: &mut Pass) {
        let committed = self.committed();
        let offset = usize::try_from(committed.offset).unwrap_or(usize::MAX);
        let before = if pass.segment == committed.segment { pass.offset } else { RECORDS_OFFSET };
        let taken = offset.saturating_sub(before).saturating_mul(4);
        pass.ahead = taken.clamp(*POPULATE_AHEAD_BYTES.start(), *POPULATE_AHEAD_BYTES.end());
        pass.offset = offset;
    }

    fn populate_ahead(&self, pass: &mut Pass) {
        let committed = self.committed();
        let Some(memory) = self.spares.active_memory(committed.segment) else { return };
        let offset = usize::try_from(committed.offset).unwrap_or(usize::MAX);
        if pass.segment != committed.segment {
            *pass = Pass { segment: committed.segment, populated: 0, ..*pass };
        }
        let end = offset.saturating_add(pass.ahead).min(memory.bytes());
        let mut from = pass.populated.max(offset) / PAGE_BYTES * PAGE_BYTES;
        while from < end {
            let step = POPULATE_STEP_BYTES.min(memory.bytes() - from);
            if memory.populate(from, step).is_err() {
                return; // The appender then faults its pages in itself.
            }
            from += step;
        }
        pass.populated = from;
    }
}
