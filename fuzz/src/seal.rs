//! Checksums made to fit, so that the fuzzer gets behind them: a good checksum is no authentication (docs/format.md).
//!
//! Owns the sealing of every structure as it lies in a file. Knows offsets and lengths, and nothing of what they mean.

use _core::format::{
    RECORD_FIXED_BYTES, checksum, record_checksum,
    segment::{ENTRY_BYTES, ENTRY_OFFSET, HEADER_BYTES, PAGE_BYTES, RECORDS_OFFSET, WATERMARK_BYTES},
    split_commit_word,
};

const EVENT: u8 = 1;

/// Puts the checksum of all but the last four of the `count` bytes at `offset` into those; false if they are not there.
pub fn last_four(file: &mut [u8], offset: usize, count: usize) -> bool {
    let part = file.get_mut(offset..).and_then(|rest| rest.get_mut(..count));
    let Some((body, field)) = part.and_then(|part| part.split_last_chunk_mut::<4>()) else { return false };
    *field = checksum(body).to_le_bytes();
    true
}

/// The four bytes at `offset`, zero beyond the end.
pub fn word(file: &[u8], offset: usize) -> u32 {
    file.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The eight bytes at `offset`, zero beyond the end.
pub fn long(file: &[u8], offset: usize) -> u64 {
    file.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Writes as much of `bytes` as fits.
pub fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    let target = file.get_mut(offset..).unwrap_or_default();
    let count = bytes.len().min(target.len());
    target[..count].copy_from_slice(&bytes[..count]);
}

/// Header, entry (unless its commit word is zero) and both watermarks of a segment file.
pub fn segment_head(file: &mut [u8]) {
    last_four(file, 0, HEADER_BYTES);
    for offset in [PAGE_BYTES, 2 * PAGE_BYTES] {
        // One that was never written stays so.
        if word(file, offset) != 0 {
            last_four(file, offset, WATERMARK_BYTES);
        }
    }
    let (commit, epoch) = (word(file, ENTRY_OFFSET), epoch(file));
    if let Some(entry) = file.get_mut(ENTRY_OFFSET..ENTRY_OFFSET + ENTRY_BYTES).filter(|_| commit != 0) {
        seal_record(entry, commit, epoch);
    }
}

/// The epoch in a segment's header.
pub fn epoch(file: &[u8]) -> u32 {
    word(file, 12)
}

fn seal_record(record: &mut [u8], commit: u32, epoch: u32) {
    let sum = record_checksum(epoch, commit, &record[8..]);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// Where the records of a segment file begin, and behind the last where they end: as their lengths claim.
pub fn record_offsets(file: &[u8]) -> Vec<usize> {
    let mut offsets = vec![RECORDS_OFFSET];
    let mut at = RECORDS_OFFSET;
    while let (_, bytes @ RECORD_FIXED_BYTES..) = split_commit_word(word(file, at)) {
        if !bytes.is_multiple_of(8) || at + bytes > file.len() {
            break;
        }
        at += bytes;
        offsets.push(at);
    }
    offsets
}

/// Every record of a segment file. With `first_seq` their positions are made to follow each other from there, as if all
/// that comes before a record were good; returns the position after the last.
pub fn records(file: &mut [u8], first_seq: Option<u64>) -> u64 {
    let epoch = epoch(file);
    let mut seq = first_seq.unwrap_or(0);
    for pair in record_offsets(file).windows(2) {
        let record = &mut file[pair[0]..pair[1]];
        let commit = word(record, 0);
        if first_seq.is_some() {
            record[8..16].copy_from_slice(&seq.to_le_bytes());
        }
        if split_commit_word(commit).0 == EVENT {
            seq = seq.wrapping_add(1);
        }
        seal_record(record, commit, epoch);
    }
    seq
}
