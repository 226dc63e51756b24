//! What becomes of handles when they are closed, and in a forked child (R22).
//!
//! Owns the list of live engine handles of this process, held weakly, and the flag that iterators share with
//! their log. Invariant: the list's lock is taken with the GIL held and nothing else is done under it, so no
//! other thread can hold it at a fork made by Python.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use pyo3::prelude::*;

use crate::log::Log;

static LIVES: Mutex<Vec<(Weak<Log>, Weak<Life>)>> = Mutex::new(Vec::new());

/// Whether a handle was closed, or left behind by a fork; shared by a log and its iterators, which may outlive a log
/// that was merely dropped.
pub struct Life {
    path: Option<PathBuf>,
    is_over: AtomicBool,
}

impl Life {
    /// Enters a handle that was just opened.
    pub fn of(log: &Arc<Log>) -> Arc<Self> {
        let life =
            Arc::new(Self { path: log.path().map(Path::to_path_buf), is_over: AtomicBool::new(false) });
        let mut lives = LIVES.lock().unwrap_or_else(PoisonError::into_inner);
        lives.retain(|(_, life)| life.strong_count() > 0);
        lives.push((Arc::downgrade(log), Arc::downgrade(&life)));
        life
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// In a forked child: close descriptors without unlocking; every inherited handle becomes closed.
#[pyfunction]
pub fn _forget_after_fork() {
    let lives = std::mem::take(&mut *LIVES.lock().unwrap_or_else(PoisonError::into_inner));
    for (log, life) in lives {
        if let Some(life) = life.upgrade() {
            life.end();
        }
        if let Some(log) = log.upgrade() {
            log.abandon();
        }
    }
}
