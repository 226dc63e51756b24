//! Event ids for events whose caller gave none.
//!
//! UUIDs of version 7 (RFC 9562, section 5.7): a millisecond, then a random base of 74 bits, drawn once for each opening and
//! counted up from there, so that ids of one log are distinct and, as long as time does not step back, ordered. Nobody is
//! meant to be unable to guess them; that each follows from the one before saves a sealed segment ten bytes an event.
//! 1.5 ns instead of the 220–280 of a system call for each.

use std::io;

use uuid::Builder;

use crate::error::{Error, Result};

const NS_PER_MS: i64 = 1_000_000;
/// The highest of the base's bits that an id keeps next to each other (above stand those of the variant). It begins as
/// zero, so that counting up does not wrap.
const FREE_BIT: u128 = 1 << 61;

#[derive(Debug)]
pub(super) struct IdMaker {
    base: u128,
}

impl IdMaker {
    /// Takes its base from the system's random source.
    pub fn new() -> Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::io("/dev/urandom", "read", io::Error::other(error)))?;
        Ok(Self { base: u128::from_le_bytes(random) & !FREE_BIT })
    }

    /// An id for an event appended at `now_ns`.
    pub fn next(&mut self, now_ns: i64) -> [u8; 16] {
        self.base = self.base.wrapping_add(1);
        let mut random = [0; 10];
        for (target, byte) in random.iter_mut().rev().zip(self.base.to_le_bytes()) {
            *target = byte;
        }
        let since_epoch = u64::try_from(now_ns.div_euclid(NS_PER_MS)).unwrap_or(0);
        Builder::from_unix_timestamp_millis(since_epoch, &random).into_uuid().into_bytes()
    }
}
