//! The control page of a log: how a reader in any process of this host sleeps and is woken.
//!
//! [`bell`] is the protocol, [`wait`] how a reader comes to sleep. Owns joining a page and what is believed of it: whether it is
//! one of this log. Nothing that a log promises hangs on it. A page that is absent, damaged, or of a writer that is gone costs
//! time, at most [`LONGEST_SLEEP`] for each wait, and who finds that it was not woken does without it for a while.

mod bell;
mod wait;

use std::{path::Path, sync::Arc, time::Duration};

pub use bell::{Bell, LONGEST_SLEEP, Rounds, Slept};
pub use wait::{Awaited, wait};

use crate::{
    format::control::{CONTROL_FILE_BYTES, Hints, control_name},
    map::SharedWords,
    threads::{Instant, Mutex, MutexGuard, PoisonError},
    vfs::{Join, SharedPage, Vfs},
};

/// Between two looks for a page, by who found none or one that did not wake it.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);

/// A page that was joined.
#[derive(Debug)]
pub struct Control {
    page: SharedPage,
    log_id: [u8; 16],
}

impl Control {
    /// Joins the page of a log, or makes it; `None` where there is none to be had.
    #[must_use]
    pub fn join(vfs: &dyn Vfs, lock_path: &Path, log_id: [u8; 16], join: Join) -> Option<Self> {
        let lock = vfs.identity(lock_path)?;
        let name = control_name(lock.boot_id, &log_id, lock.device, lock.inode);
        let page = vfs.shared_page(&name, CONTROL_FILE_BYTES, join)?;
        Some(Self { page, log_id })
    }

    /// What it says; `None` if it is no page of this log, or not any more.
    #[must_use]
    pub fn hints(&self) -> Option<Hints> {
        let hints = Hints::decode(&self.page.words().first())?;
        (hints.log_id == self.log_id && !self.page.words().is_broken()).then_some(hints)
    }

    /// The writer's word.
    pub fn tell(&self, hints: &Hints) {
        self.page.words().put_first(&hints.encode());
    }

    /// Whether somebody cut the file off: nothing comes of it any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.page.words().is_broken()
    }

    /// Its two words.
    #[must_use]
    pub fn bell(&self) -> Bell<'_, SharedWords> {
        Bell::new(self.page.words())
    }
}

/// The way of a handle to the page of its log; joined by the first that wants to sleep.
#[derive(Debug, Default)]
pub struct Link(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    control: Option<Arc<Control>>,
    /// When it was last looked for.
    looked: Option<Instant>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's own.
    pub fn set(&self, control: Arc<Control>) {
        self.lock().control = Some(control);
    }

    /// The page, if one was joined.
    #[must_use]
    pub fn joined(&self) -> Option<Arc<Control>> {
        self.lock().control.clone()
    }

    /// The page, if there is one to be believed.
    pub fn control(&self, join: impl FnOnce() -> Option<Control>) -> Option<Arc<Control>> {
        let mut state = self.lock();
        if state.control.is_none() && state.looked.is_none_or(|looked| looked.elapsed() >= JOIN_INTERVAL) {
            state.looked = Some(Instant::now());
            state.control = join().map(Arc::new);
        }
        state.control.clone().filter(|control| control.hints().is_some())
    }

    /// Lets go of the page, for a while: it did not wake who slept on it, and perhaps the writer has another one, or none; or
    /// the handle was closed. Never waits: in a forked child nobody would give the lock back.
    pub fn leave(&self) {
        if let Ok(mut state) = self.0.try_lock() {
            *state = State { control: None, looked: Some(Instant::now()) };
        }
    }
}
