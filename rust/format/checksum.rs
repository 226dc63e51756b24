//! The one checksum of the format: CRC-32C (Castagnoli, RFC 3720 appendix B.4).
//!
//! A record's checksum is seeded with its segment's epoch and covers its length and kind, so that bytes of
//! an earlier life of the log, or a record under another length, never pass.
//! The `crc32c` crate is used: on 300 bytes it takes 47 ns here, `crc-fast` with a seed 80 ns.

use crate::planted::{Bug, is_planted};

/// CRC-32C of `bytes`.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Checksum of a record: CRC-32C of epoch, commit word, and everything behind the checksum field.
#[must_use]
pub fn record_checksum(epoch: u32, commit: u32, rest: &[u8]) -> u32 {
    let epoch = if is_planted(Bug::ChecksumNotSeeded) { 0 } else { epoch };
    let seed = (u64::from(commit) << 32) | u64::from(epoch);
    crc32c::crc32c_append(crc32c::crc32c(&seed.to_le_bytes()), rest)
}
