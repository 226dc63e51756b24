//! Waiting by looking: naps that grow, up to a millisecond, until time is up.
//!
//! For whoever waits for something that announces itself to nobody. Owns how long a nap is; knows nothing of what is awaited.

use std::time::Duration;

use super::{Instant, sleep};

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

    /// Sleeps for one nap; false at once when time is up.
    pub fn take(&mut self) -> bool {
        let left = self.timeout.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return false;
        }
        sleep(self.nap.min(left));
        self.nap = (self.nap * 2).min(LONGEST_NAP);
        true
    }
}
