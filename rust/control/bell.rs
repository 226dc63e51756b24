//! The protocol over the two words of a control page: no wake is lost, and nobody is needed to undo what a killed reader did.
//!
//! A reader hears the bell, looks at the log, counts itself among the sleepers, and sleeps until the bell is not what it heard.
//! The writer's ringer sleeps while nobody is counted. Then it looks at the committed position again and again, and where that
//! moved it rings: the bell goes one up, and all wake. What was counted is forgotten at each look; it holds for [`LEASE`], and
//! a sleeper counts itself again after [`LONGEST_SLEEP`]. So a killed sleeper is forgotten by itself.
//!
//! Why none is lost: a reader that heard the newest ring sees all that the ringer had seen before it rang; what was committed
//! since then, the ringer's next look finds and rings for. A reader that heard an older one does not fall asleep.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    error::Result,
    format::control::{BELL_OFFSET, SLEEPERS_OFFSET},
    planted::{Bug, is_planted},
    threads::{Instant, Words},
};

/// A sleeper looks at the files again after so long, whatever it heard.
pub const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// How long the ringer goes on looking after it found somebody counted: longer than a sleeper takes to count itself again.
const LEASE: Duration = Duration::from_millis(150);

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slept {
    /// What it was for was there.
    NotAtAll,
    /// The bell was rung, for that or for something else.
    Rung,
    /// It was not rung in time, or a signal came.
    TimeUp,
    /// Nobody can sleep on this page.
    Refused,
}

/// See the module's first paragraph.
#[derive(Debug)]
pub struct Bell<'a, W: Words>(&'a W);

impl<'a, W: Words> Bell<'a, W> {
    /// The bell of a page.
    pub fn new(words: &'a W) -> Self {
        Self(words)
    }

    /// Sleeps until it is rung, at most `timeout`, unless `is_there` finds that there is no need. `is_called`: counted among
    /// those for whom a writer has to look.
    ///
    /// # Errors
    /// Of `is_there`.
    pub fn sleep(
        &self,
        timeout: Duration,
        is_called: bool,
        is_there: impl FnOnce() -> Result<bool>,
    ) -> Result<Slept> {
        let heard = self.heard();
        if is_there()? {
            return Ok(Slept::NotAtAll);
        }
        // ORDER: heard before the look, above. For what is committed behind the look it is rung once more than was heard.
        let heard = if is_planted(Bug::BellHeardLate) { self.heard() } else { heard };
        if is_called
            && self.0.add_one(SLEEPERS_OFFSET, Ordering::Release) == 0
            && !is_planted(Bug::SleeperUnheard)
        {
            self.0.wake(SLEEPERS_OFFSET);
        }
        if !self.0.sleep_while(BELL_OFFSET, heard, timeout) {
            return Ok(Slept::Refused);
        }
        Ok(if self.heard() == heard { Slept::TimeUp } else { Slept::Rung })
    }

    /// How often it was rung. Acquire: who heard a ring sees what it was rung for.
    fn heard(&self) -> u32 {
        self.0.load(BELL_OFFSET, Ordering::Acquire)
    }

    /// Whether somebody was counted since the last [`Rounds::look`].
    #[must_use]
    pub fn has_sleepers(&self) -> bool {
        self.0.load(SLEEPERS_OFFSET, Ordering::Relaxed) != 0
    }

    /// Waits until somebody is counted, at most `timeout`; false where nobody can sleep on it.
    #[must_use]
    pub fn wait_for_sleepers(&self, timeout: Duration) -> bool {
        self.0.sleep_while(SLEEPERS_OFFSET, 0, timeout)
    }

    /// Wakes who waits for sleepers, as one would.
    pub fn call(&self) {
        self.0.add_one(SLEEPERS_OFFSET, Ordering::Release);
        self.0.wake(SLEEPERS_OFFSET);
    }

    /// Wakes all sleepers.
    pub fn ring(&self) {
        // ORDER: release, so that who hears it sees what the ringer had seen.
        let order = if is_planted(Bug::RelaxedRing) { Ordering::Relaxed } else { Ordering::Release };
        self.0.add_one(BELL_OFFSET, order);
        self.0.wake(BELL_OFFSET);
    }
}

/// What the ringer remembers between two looks; `P` is where the log ends.
#[derive(Debug)]
pub struct Rounds<P> {
    rung: Option<P>,
    until: Option<Instant>,
}

impl<P: Copy + PartialEq> Rounds<P> {
    /// Nothing was rung for yet.
    #[must_use]
    pub fn new() -> Self {
        Self { rung: None, until: None }
    }

    /// One look: rings if the log ends elsewhere than at the last ring, having told readers where. Whether to look again soon;
    /// else nobody sleeps.
    pub fn look<W: Words>(
        &mut self,
        bell: &Bell<'_, W>,
        position: impl FnOnce() -> P,
        tell: impl FnOnce(P),
    ) -> bool {
        if bell.0.take(SLEEPERS_OFFSET, Ordering::Acquire) != 0 {
            self.until = Instant::now().checked_add(LEASE);
        }
        let position = position();
        if self.rung.replace(position) != Some(position) {
            tell(position);
            bell.ring();
        }
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

impl<P: Copy + PartialEq> Default for Rounds<P> {
    fn default() -> Self {
        Self::new()
    }
}
