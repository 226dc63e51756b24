//! Event ids for events whose caller gave none.
//!
//! UUIDs of version 7 (RFC 9562, section 5.7): a millisecond, then a random base of 74 bits, drawn once for each opening and
//! counted up from there, so that ids of one log are distinct and, as long as time does not step back, ordered. Nobody is
//! meant to be unable to guess them; that each follows from the one before saves a sealed segment ten bytes an event.
//! 1.5 ns instead of the 220–280 of a system call for each.

use std::io;

use crate::error::{Error, Result};

const NS_PER_MS: i64 = 1_000_000;
/// The highest of the base's bits that an id keeps next to each other (above stand those of the variant). It begins as
/// zero, so that counting up does not wrap.
const FREE_BIT: u128 = 1 << 61;
const TIME_SHIFT: u32 = 80;
const VERSION: u128 = 7 << 76;
const VARIANT: u128 = 0b10 << 62;
/// Below the time, all but the four bits of the version and the two of the variant.
const RANDOM: u128 = ((1 << TIME_SHIFT) - 1) & !(0xf << 76) & !(0b11 << 62);

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
        let since_epoch = u64::try_from(now_ns.div_euclid(NS_PER_MS)).unwrap_or(0);
        let id = (u128::from(since_epoch) << TIME_SHIFT) | (self.base & RANDOM);
        (id | VERSION | VARIANT).to_be_bytes()
    }
}
