//! The keeper: the writer's background thread.
//!
//! Syncs each interval or when asked, stores the watermark when nothing happens, has the next segment ready, and the pages ahead of
//! the appender (R10). Holds the tail weakly, so that a log that is dropped takes its thread along.
//! Never touches Python. A keeper that dies poisons the log (R14).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{CommittedPosition, Tail, wait_for_end, window::Window};
use crate::{
    config::Durability,
    error::{Error, Result},
    planted::{Bug, is_planted},
    threads::{self, Condvar, JoinHandle, Mutex, MutexGuard, PoisonError},
};

/// Passes without anything to sync before the watermark is stored: a quiet log is not synced twice for each event.
const IDLE_PASSES: u32 = 10;
/// A keeper that looks again within this time is not woken by a roll, which would be a system call of the appender's.
const SOON: Duration = Duration::from_millis(20);

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

    /// Asks for a look at the spare, by a keeper that passes each `interval`.
    pub fn want_spare(&self, interval: Duration) {
        self.lock().spare = true;
        if interval > SOON || is_planted(Bug::RollCallsSystem) {
            self.changed.notify_one();
        }
    }

    /// Ends the thread and waits for it, unless it is the caller.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        wait_for_end(thread);
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
    window: Window,
    committed: Option<CommittedPosition>,
    idle_count: u32,
    /// All segments before this one were offered to the sealer.
    offered: u64,
}

pub(super) fn spawn(tail: &Arc<Tail>) -> Result<()> {
    let weak = Arc::downgrade(tail);
    let (signal, interval) = (Arc::clone(&tail.keeper), tail.options.sync_interval);
    signal.want_spare(interval);
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
        tail.serve_sleepers();
        tail.serve_busy_log();
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
        // What is committed now is this pass' to sync. Under a stream of callers who sync for themselves that is nothing.
        let wanted = self.committed();
        let is_quiet = pass.committed.replace(wanted) == Some(wanted);
        self.size_window(&mut pass.window);
        self.populate_ahead(&mut pass.window);
        // ORDER: to prepare takes syncs, for which the appender does not wait.
        self.prepare_ahead();
        self.populate_ahead(&mut pass.window);
        let (is_durable, is_stored) = self.is_settled(wanted);
        pass.idle_count = if is_durable && is_quiet { pass.idle_count.saturating_add(1) } else { 0 };
        // A segment that was left is synced in every mode: its descriptor is not kept for ever.
        let is_due =
            is_sync_wanted || self.options.durability != Durability::None || self.durable.has_full_segment();
        if !is_durable && is_due {
            let restoring = self.restore_meanwhile();
            let _poisons_on_failure = self.sync_until(wanted);
            drop(restoring);
            pass.window.is_protected();
            self.populate_ahead(&mut pass.window);
        } else if pass.idle_count >= IDLE_PASSES && !is_stored && self.place().vfs.is_durable() {
            let _poisons_on_failure = self.store_watermark();
        }
    }

    /// One pass without memory of the last, for tests that run without the thread.
    pub fn keep_once(&self) {
        let committed = Some(self.committed());
        self.keep(&mut Pass { committed, idle_count: IDLE_PASSES, ..Pass::default() }, true);
        self.seal_all();
    }
}
