//! The window: the pages ahead of the appender, faulted in before it gets there (R10).
//!
//! The keeper sizes it once a pass and populates it before and behind each sync. A sync write-protects what it writes, the
//! window with it: while one runs on a busy log, the restorer, the writer's fourth background thread, begun once a log is busy,
//! populates what the appender may reach meanwhile. Owns which pages; knows nothing of what is in them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Tail, wait_for_end};
use crate::{
    format::segment::{PAGE_BYTES, RECORDS_OFFSET},
    map::Memory,
    planted::{Bug, is_planted},
    threads::{
        self, Condvar, JoinHandle, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        sleep,
    },
};

/// Pages are faulted in this many bytes at a time: a larger step would hold the address space's lock for longer.
pub(super) const STEP_BYTES: usize = 64 * 1024;
/// How far the window goes: this many times what the last interval took,
const INTERVALS_AHEAD: usize = 4;
/// within these bounds. Each populated page is dirty and gets written by the next sync, so a quiet log must not keep a
/// large window.
const AHEAD_BYTES: std::ops::RangeInclusive<usize> = STEP_BYTES..=4 * 1024 * 1024;
/// So many syncs between two passes are those of callers, who wait for each: they protect what is populated before anybody gets
/// there, and a fault is nothing beside a sync.
const SYNCS_OF_CALLERS: u64 = 8;
/// Between two looks of the restorer while a sync runs; with the timer's slack 75 µs, in which a bot that publishes 100,000 events
/// a second takes one page.
const LOOK_INTERVAL: Duration = Duration::from_micros(20);

/// What the keeper remembers of the window between two passes.
#[derive(Debug, Default)]
pub(super) struct Window {
    segment: u64,
    offset: usize,
    ahead: usize,
    populated: usize,
    /// Number of the spare, and how far it is populated.
    spare: (u64, usize),
    /// Of the log when the last pass began.
    syncs: u64,
    /// Callers sync all the time: each page is populated once, so that no sync of theirs makes room on the disk, and not again, which
    /// would have a sync in each interval write the whole window.
    is_populated_once: bool,
}

impl Window {
    /// A sync of the keeper's has write-protected all of it.
    pub fn is_protected(&mut self) {
        if !self.is_populated_once {
            self.populated = 0;
        }
    }
}

#[derive(Debug, Default)]
struct State {
    is_syncing: bool,
    is_stopped: bool,
    thread: Option<JoinHandle<()>>,
}

/// What the restorer and the keeper say to each other.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// Bytes that the appender may take while a sync runs; 0 on a log that is not busy.
    near: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Restoring {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn near(&self) -> usize {
        usize::try_from(self.near.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    fn is_busy(&self) -> bool {
        self.near() > 0
    }

    /// Waits for a sync; false once it is to stop.
    fn wait_for_sync(&self) -> bool {
        let mut state = self.lock();
        while !state.is_syncing && !state.is_stopped {
            let waited = self.changed.wait_timeout(state, Duration::from_secs(3600));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.is_stopped
    }

    /// Ends the thread and waits for it, unless it is the caller.
    pub fn stop(&self) {
        let thread = {
            let mut state = self.lock();
            state.is_stopped = true;
            state.thread.take()
        };
        self.changed.notify_all();
        wait_for_end(thread);
    }
}

/// A sync that the keeper runs.
pub(super) struct Syncing<'a>(Option<&'a Restoring>);

impl Drop for Syncing<'_> {
    fn drop(&mut self) {
        if let Some(restoring) = self.0 {
            restoring.lock().is_syncing = false;
        }
    }
}

fn run(weak: &Weak<Tail>, restoring: &Restoring) {
    while restoring.wait_for_sync() {
        // Held for one look, as the keeper does.
        let Some(tail) = weak.upgrade() else { return };
        tail.restore_near();
        drop(tail);
        sleep(LOOK_INTERVAL);
    }
}

impl Tail {
    /// The keeper's sync begins, and has ended once the result is dropped. Who syncs for himself appends nothing meanwhile.
    pub(super) fn restore_meanwhile(&self) -> Syncing<'_> {
        if !self.restoring.is_busy() {
            return Syncing(None);
        }
        self.restoring.lock().is_syncing = true;
        self.restoring.changed.notify_one();
        Syncing(Some(&self.restoring))
    }

    /// The keeper's part: begins the thread when the log is busy.
    pub(super) fn serve_busy_log(self: &Arc<Self>) {
        if !self.restoring.is_busy() {
            return;
        }
        let mut state = self.restoring.lock();
        if state.thread.is_some() || state.is_stopped {
            return;
        }
        let (weak, restoring) = (Arc::downgrade(self), Arc::clone(&self.restoring));
        let begun = threads::Builder::new().name("aresbus-window".to_owned());
        // Without the thread, or once it has died, the appender faults a few pages in at each sync.
        state.thread = begun.spawn(move || run(&weak, &restoring)).ok();
    }

    fn restore_near(&self) {
        let committed = self.committed();
        let Some(memory) = self.spares.active_memory(committed.segment) else { return };
        let offset = usize::try_from(committed.offset).unwrap_or(usize::MAX);
        if !is_planted(Bug::WindowNotRestored) {
            populate(&memory, offset, offset.saturating_add(self.restoring.near()));
        }
    }

    /// Once a pass: what was taken since the last one decides how far to go ahead, before and after the sync.
    pub(super) fn size_window(&self, window: &mut Window) {
        let committed = self.committed();
        let offset = usize::try_from(committed.offset).unwrap_or(usize::MAX);
        let before = if window.segment == committed.segment { window.offset } else { RECORDS_OFFSET };
        let syncs = self.counters.syncs.load(Ordering::Relaxed);
        window.is_populated_once = syncs - window.syncs >= SYNCS_OF_CALLERS;
        window.syncs = syncs;
        if window.segment != committed.segment || (offset > before && !window.is_populated_once) {
            // The kernel writes dirty pages when it likes, a journal's commit does, and they fault again then: what is populated
            // is known for a quiet log alone, which must not be made to write the same pages for ever.
            (window.populated, window.spare.1) = (0, 0);
        }
        let taken = offset.saturating_sub(before);
        window.ahead = taken.saturating_mul(INTERVALS_AHEAD).clamp(*AHEAD_BYTES.start(), *AHEAD_BYTES.end());
        window.offset = offset;
        let near = if window.ahead > *AHEAD_BYTES.start() { window.ahead / INTERVALS_AHEAD } else { 0 };
        if near != self.restoring.near() {
            self.restoring.near.store(near as u64, Ordering::Relaxed);
        }
    }

    /// Populates the window, which goes on in the spare where the segment ends.
    pub(super) fn populate_ahead(&self, window: &mut Window) {
        let committed = self.committed();
        let Some(memory) = self.spares.active_memory(committed.segment) else { return };
        let offset = usize::try_from(committed.offset).unwrap_or(usize::MAX);
        if window.segment != committed.segment {
            (window.segment, window.populated) = (committed.segment, 0);
        }
        let end = offset.saturating_add(window.ahead);
        window.populated = populate(&memory, window.populated.max(offset), end);
        if end > memory.bytes()
            && let Some((number, spare)) = self.spares.ready_memory()
        {
            let populated = if window.spare.0 == number { window.spare.1 } else { 0 };
            window.spare = (number, populate(&spare, populated, end - memory.bytes()));
        }
    }
}

/// Populates from `from` on, until `end` or the memory's; as far as it got.
fn populate(memory: &Memory, from: usize, end: usize) -> usize {
    let mut from = from / PAGE_BYTES * PAGE_BYTES;
    while from < end.min(memory.bytes()) && !is_planted(Bug::PagesNotPopulated) {
        if memory.populate(from, STEP_BYTES.min(memory.bytes() - from)).is_err() {
            break; // The appender then faults its pages in itself.
        }
        from += STEP_BYTES;
    }
    from
}
