//! The sealer: the writer's second background thread, begun when the first segment is full.
//!
//! Seals what the keeper has synced, oldest first, and works no faster than it has to: between blocks it rests as long as it
//! worked, unless full segments pile up. Off the way of appends: it takes none of their locks. A segment that cannot
//! be sealed stays raw, is readable as before, and is tried again; the log says so.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Tail, wait_for_end};
use crate::{
    error::{Error, Result},
    format::meta::Mark,
    planted::{Bug, is_planted},
    segment::{Pause, Sealed, Segment, compare, index, seal},
    threads::{self, Condvar, Instant, JoinHandle, Mutex, MutexGuard, PoisonError, sleep},
};

/// Full segments that wait to be sealed before the appender waits for them.
pub(super) const MAX_UNSEALED: usize = 4;
/// How soon a segment that could not be sealed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The finished file is written in steps of this size.
const WRITE_BYTES: usize = 256 * 1024;

#[derive(Debug, Default)]
struct State {
    is_wanted: bool,
    is_stopped: bool,
    /// Full segments not sealed yet.
    waiting: usize,
    /// Sealed segments without an index, ascending.
    unindexed: Vec<u64>,
    problem: Option<String>,
    thread: Option<JoinHandle<()>>,
}

/// What the sealer and those who wait for it say to each other.
#[derive(Debug)]
pub(super) struct Sealing {
    state: Mutex<State>,
    changed: Condvar,
}

impl Sealing {
    /// The sealer of a log in which these sealed segments have no index.
    pub fn of(mut unindexed: Vec<u64>) -> Arc<Self> {
        unindexed.sort_unstable();
        Arc::new(Self { state: Mutex::new(State { unindexed, ..State::default() }), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the oldest full segment could not be sealed, if it could not.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn is_stopped(&self) -> bool {
        self.lock().is_stopped
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

    /// Waits for a full segment, and `patience` beforehand; false once it is to stop.
    fn wait_for_work(&self, patience: Option<Duration>) -> bool {
        let mut state = self.lock();
        if let Some(patience) = patience {
            let is_patient = |state: &mut State| !state.is_stopped;
            let waited = self.changed.wait_timeout_while(state, patience, is_patient);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.is_wanted && !state.is_stopped {
            let waited = self.changed.wait_timeout(state, Duration::from_secs(3600));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_wanted = false;
        !state.is_stopped
    }

    /// Waits, unless told otherwise, until fewer full segments wait; false where they do. A sealer that cannot go on is not
    /// waited for.
    pub fn has_caught_up(&self, is_patient: bool) -> bool {
        let is_behind = |state: &mut State| {
            state.waiting > MAX_UNSEALED
                && state.problem.is_none()
                && !state.is_stopped
                && state.thread.is_some()
        };
        let mut state = self.lock();
        while is_behind(&mut state) {
            if !is_patient {
                return false;
            }
            let waited = self.changed.wait_timeout(state, RETRY_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Whoever waits for a sealer that ends in a panic hears of it.
struct Deathwatch<'a>(&'a Sealing);

impl Drop for Deathwatch<'_> {
    fn drop(&mut self) {
        if threads::panicking() {
            self.0.lock().problem = Some("the sealer died: a defect in aresbus".to_owned());
            self.0.changed.notify_all();
        }
    }
}

impl Tail {
    /// There is, or may be, a full segment to seal; from the keeper.
    pub(super) fn want_sealing(self: &Arc<Self>) {
        if self.options.sealing.is_none() || !self.place().vfs.is_durable() {
            return;
        }
        let waiting = self.unsealed().len();
        let mut state = self.sealing.lock();
        state.waiting = waiting;
        if waiting == 0 && state.unindexed.is_empty() || state.is_stopped {
            return;
        }
        state.is_wanted = true;
        if state.thread.is_none() {
            let (weak, sealing) = (Arc::downgrade(self), Arc::clone(&self.sealing));
            let started =
                threads::Builder::new().name("aresbus-sealer".to_owned()).spawn(move || run(&weak, &sealing));
            match started {
                Ok(thread) => state.thread = Some(thread),
                Err(error) => state.problem = Some(format!("cannot start the sealer: {error}")),
            }
        }
        drop(state);
        self.sealing.changed.notify_all();
    }

    /// Full segments, oldest first, that are durable and not sealed yet; each with where its records end.
    fn unsealed(&self) -> Vec<(Arc<Segment>, Mark)> {
        let segments = self.shelf.list();
        let durable = self.durable.oldest_number();
        let followed = segments.iter().zip(segments.iter().skip(1));
        let full =
            followed.filter(|(segment, _)| segment.header.number < durable && segment.as_sealed().is_none());
        full.map(|(segment, next)| {
            let end = Mark {
                segment: segment.header.number,
                offset: next.entry.prev_end,
                next_seq: next.entry.first_seq,
            };
            (Arc::clone(segment), end)
        })
        .collect()
    }

    /// Seals the oldest full segment; false where there is none, or the log is being closed.
    ///
    /// # Errors
    /// What keeps it from being sealed; it stays raw.
    pub(super) fn seal_oldest(&self) -> Result<bool> {
        let Some(compression) = self.options.sealing else { return Ok(false) };
        self.refuse_if_displaced()?;
        if self.index_again()? {
            return Ok(true);
        }
        let unsealed = self.unsealed();
        let Some((segment, end)) = unsealed.first() else { return Ok(false) };
        let number = segment.header.number;
        let is_pressed = unsealed.len() > MAX_UNSEALED / 2;
        let mut began = Instant::now();
        let mut pause = || {
            if !is_pressed {
                sleep(began.elapsed());
            }
            began = Instant::now();
            !self.sealing.is_stopped()
        };
        let Some(made) = seal(segment, &*self.place().vfs, *end, compression, &mut pause)? else {
            return Ok(false);
        };
        let written = self.write_aside(segment, &made.bytes, &mut pause);
        match written.and_then(|is_whole| self.refuse_if_displaced().map(|()| is_whole)) {
            Ok(true) => {}
            unfinished => {
                // Best effort: the next opening removes it too.
                let _left_over = self.place().abandon_sealing(number);
                return unfinished;
            }
        }
        if is_planted(Bug::RawRemovedFirst) {
            self.place().remove_raw(number)?;
        }
        let sealed = self.place().finish_sealing(number)?;
        segment.become_sealed(Arc::clone(&sealed));
        self.counters.sealed.fetch_add(1, threads::atomic::Ordering::Relaxed);
        self.refuse_if_displaced()?;
        if !is_planted(Bug::RawRemovedFirst) {
            self.place().remove_raw(number)?;
        }
        self.place().write_index(&sealed, made.indexed, &self.before(number)).inspect_err(|_| {
            // Tried again, as where an opening finds none.
            self.sealing.lock().unindexed.push(number);
        })?;
        Ok(true)
    }

    /// Writes the file of a sealed segment under its other name, durable, and holds it against the raw one; false where `pause`
    /// gave up.
    fn write_aside(&self, segment: &Segment, bytes: &[u8], pause: Pause<'_>) -> Result<bool> {
        let (place, number) = (self.place(), segment.header.number);
        let (path, size) = (place.sealing_path(number), bytes.len() as u64);
        let file = place.begin_sealing(number)?;
        file.allocate(size).map_err(|error| Error::no_room(&path, size, error))?;
        for (part, chunk) in bytes.chunks(WRITE_BYTES).enumerate() {
            let offset = (part * WRITE_BYTES) as u64;
            file.write_at(offset, chunk).map_err(|error| Error::io(&path, "write", error))?;
            pause();
        }
        if !is_planted(Bug::SealedNotSynced) {
            file.sync_all().map_err(|error| Error::io(&path, "sync", error))?;
        }
        // What is compared is what the disk has, not what the cache still holds.
        file.forget_cached().map_err(|error| Error::io(&path, "drop from the cache", error))?;
        let vfs = &*place.vfs;
        compare(&Sealed::open(vfs, path)?, &mut segment.source(vfs)?, vfs, pause)
    }

    fn before(&self, number: u64) -> Vec<Arc<Segment>> {
        self.shelf.list().into_iter().take_while(|segment| segment.header.number < number).collect()
    }

    /// Makes the index of a sealed segment anew, the oldest first; false where each has one.
    fn index_again(&self) -> Result<bool> {
        let Some(number) = self.sealing.lock().unindexed.first().copied() else { return Ok(false) };
        let before = self.before(number + 1);
        if let Some((segment, before)) = before.split_last()
            && let Some(sealed) = segment.as_sealed()
        {
            self.place().write_index(&sealed, index(segment, &*self.place().vfs)?, before)?;
        }
        self.sealing.lock().unindexed.remove(0);
        Ok(true)
    }

    /// Seals all there is, for tests that run without the thread.
    pub(super) fn seal_all(&self) {
        loop {
            let outcome = self.seal_oldest();
            self.sealing.lock().problem = outcome.as_ref().err().map(ToString::to_string);
            if !matches!(outcome, Ok(true)) {
                return;
            }
        }
    }
}

fn run(weak: &Weak<Tail>, sealing: &Sealing) {
    let _watch = Deathwatch(sealing);
    let mut patience = None;
    while sealing.wait_for_work(patience) {
        // Held for one segment: a handle that goes away meanwhile says so before it waits.
        let Some(tail) = weak.upgrade() else { return };
        let outcome = tail.seal_oldest();
        let waiting = tail.unsealed().len();
        drop(tail);
        let mut state = sealing.lock();
        state.waiting = waiting;
        state.is_wanted |= waiting > 0 || !state.unindexed.is_empty();
        state.problem = outcome.as_ref().err().map(ToString::to_string);
        patience = outcome.is_err().then_some(RETRY_INTERVAL);
        drop(state);
        sealing.changed.notify_all();
    }
}
