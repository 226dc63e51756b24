//! Waiting by looking: spinning, then naps that grow, up to a millisecond, until time is up.
//!
//! For whoever waits for something that announces itself to nobody. Owns how long one spins and naps; knows nothing of what is
//! awaited.

use std::time::Duration;

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
use super::spin_loop;
use super::{Instant, sleep};

/// How long one spins before the first nap. Longer than that one takes, with the kernel's slack for timers 75 µs, on busy cores
/// 104: of two that answer each other, none is to find that the other has gone to sleep meanwhile, which then holds for both, each
/// time (with 50 µs: 84 µs for half a round trip instead of 2).
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const SPIN: Duration = Duration::from_micros(150);
/// Looks between two looks at the clock, which takes as long as some of them.
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
const LOOKS: u32 = 16;
const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// See the module's first paragraph.
#[derive(Debug)]
pub struct Naps {
    start: Instant,
    timeout: Duration,
    nap: Duration,
}

impl Naps {
    /// Naps for `timeout` from now, all together.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { start: Instant::now(), timeout, nap: SHORTEST_NAP }
    }

    /// Looks without a rest, for a moment; whether it is there.
    #[cfg(not(any(feature = "loom", feature = "shuttle")))]
    pub fn spin(&self, mut is_there: impl FnMut() -> bool) -> bool {
        let moment = SPIN.min(self.timeout);
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    return true;
                }
                spin_loop();
            }
            if self.start.elapsed() >= moment {
                return false;
            }
        }
    }

    /// One look: time stands still in a model.
    #[cfg(any(feature = "loom", feature = "shuttle"))]
    pub fn spin(&self, mut is_there: impl FnMut() -> bool) -> bool {
        is_there()
    }

    /// Time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.start.elapsed())
    }

    /// Whether naps grow no more.
    #[must_use]
    pub fn is_longest(&self) -> bool {
        self.nap == LONGEST_NAP
    }

    /// Sleeps for one nap; false at once when time is up.
    pub fn take(&mut self) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        sleep(self.nap.min(left));
        self.nap = (self.nap * 2).min(LONGEST_NAP);
        true
    }
}
