//! The ringer: the writer's third background thread, begun when a reader sleeps for the first time.
//!
//! Looks at the committed position as often as [`LOOK_INTERVAL`] says while somebody sleeps on the control page, and wakes who
//! does; the appending thread knows nothing of it. Not the keeper's work, for that waits for the disk. Holds the tail weakly, as
//! the keeper does; where the page is of no use any more it ends, and readers go by the files.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{CommittedPosition, Tail, wait_for_end};
use crate::{
    config::Keeper,
    control::{Control, LONGEST_SLEEP, Rounds},
    format::control::{Hints, WriterState},
    threads::{
        self, JoinHandle, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        sleep,
    },
    vfs::Join,
};

/// Between two looks while somebody sleeps: with the timer's slack, a look each millisecond. Costs 3 % of a core on two slow
/// virtual ones; a sleeper costs 0.5 %, and would cost 3.5 if it looked by itself.
const LOOK_INTERVAL: Duration = Duration::from_micros(800);

/// What the ringer shares with those who start and stop it.
#[derive(Debug)]
pub(super) struct Ringer {
    /// Who this writer is.
    writer: u64,
    epoch: u32,
    is_stopped: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ringer {
    /// One that has not begun.
    pub fn new(epoch: u32) -> Arc<Self> {
        let writer = getrandom::u64().unwrap_or_default();
        Arc::new(Self { writer, epoch, is_stopped: AtomicBool::new(false), thread: Mutex::default() })
    }
}

fn run(weak: &Weak<Tail>, ringer: &Ringer, control: &Control) {
    let mut rounds = Rounds::new();
    while !ringer.is_stopped.load(Ordering::Acquire) && !control.is_broken() {
        // Held for one look, as the keeper does.
        let Some(tail) = weak.upgrade() else { return };
        tail.mend_hints(control);
        let is_awaited =
            rounds.look(&control.bell(), || tail.committed(), |_| tail.tell(control, WriterState::Open));
        drop(tail);
        if is_awaited {
            sleep(LOOK_INTERVAL);
        } else if !control.bell().wait_for_sleepers(LONGEST_SLEEP) {
            return;
        }
    }
}

impl Tail {
    /// Makes the control page, if one is to be had, and wakes who still sleeps on it from an earlier writer's time.
    pub(super) fn open_control(self: &Arc<Self>) {
        let place = self.place();
        let made = Control::join(&*place.vfs, &place.lock_path(), self.shelf.log_id, Join::Make);
        let Some(control) = made.map(Arc::new) else { return };
        self.shelf.link.set(Arc::clone(&control));
        self.tell_sleepers(WriterState::Open);
        // A keeper that comes by so seldom would leave the first sleeper waiting.
        if self.options.keeper == Keeper::Thread && self.options.sync_interval >= LONGEST_SLEEP {
            self.begin_ringer(control);
        }
    }

    /// The keeper's part: begins the thread when somebody sleeps.
    pub(super) fn serve_sleepers(self: &Arc<Self>) {
        if let Some(control) = self.shelf.link.joined().filter(|control| control.bell().has_sleepers()) {
            self.begin_ringer(control);
        }
    }

    fn begin_ringer(self: &Arc<Self>, control: Arc<Control>) {
        let mut thread = self.ringer.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() || self.ringer.is_stopped.load(Ordering::Acquire) {
            return;
        }
        let (weak, ringer) = (Arc::downgrade(self), Arc::clone(&self.ringer));
        let begun = threads::Builder::new().name("aresbus-ringer".to_owned());
        // Without the thread sleepers wake by themselves.
        *thread = begun.spawn(move || run(&weak, &ringer, &control)).ok();
    }

    /// Tells readers how the writer is, and wakes them.
    pub(super) fn tell_sleepers(&self, state: WriterState) {
        if let Some(control) = self.shelf.link.joined() {
            self.tell(&control, state);
            control.bell().ring();
        }
    }

    /// Ends the thread and waits for it, unless it is the caller.
    pub(super) fn stop_ringer(&self) {
        self.ringer.is_stopped.store(true, Ordering::Release);
        let Some(control) = self.shelf.link.joined() else { return };
        let thread = self.ringer.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some() {
            control.bell().call();
        }
        wait_for_end(thread);
    }

    /// The end of a close: tells readers, and lets go of the page.
    pub(super) fn close_control(&self) {
        if self.shelf.link.joined().is_some() {
            self.tell_sleepers(WriterState::Closed);
            self.shelf.link.leave();
        }
    }

    /// Somebody wrote over what stood there.
    fn mend_hints(&self, control: &Control) {
        if control.hints().is_none_or(|hints| hints.writer != self.ringer.writer) {
            self.tell(control, WriterState::Open);
        }
    }

    fn tell(&self, control: &Control, state: WriterState) {
        let CommittedPosition { segment, next_seq, .. } = self.committed();
        let (log_id, writer, epoch) = (self.shelf.log_id, self.ringer.writer, self.ringer.epoch);
        let is_poisoned = self.poisoned().is_some() && state == WriterState::Open;
        let state = if is_poisoned { WriterState::Poisoned } else { state };
        control.tell(&Hints { log_id, writer, epoch, state, segment, next_seq });
    }
}
