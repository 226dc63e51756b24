//! Time inside a model: it passes only where somebody sleeps.
//!
//! A model must take the same way each time it is given the same order of steps, so it cannot look at the machine's
//! clock. Sleeping lets the others run and moves the one clock of all threads by what was asked for; a wait that polls
//! therefore comes to its end, after as many steps as it has naps.

use std::{cell::Cell, time::Duration};

std::thread_local! {
    // The threads of a model all run on one thread of the machine.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A moment of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self(NOW.get())
    }

    /// Time since then.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// A later moment.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }

    /// Time from `earlier` to here, zero if it is later.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Lets the others run; `duration` has passed.
pub fn sleep(duration: Duration) {
    NOW.set(NOW.get().saturating_add(duration));
    #[cfg(feature = "loom")]
    loom::thread::yield_now();
    #[cfg(all(feature = "shuttle", not(feature = "loom")))]
    shuttle::thread::yield_now();
}
