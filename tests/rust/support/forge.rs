//! Bytes made by hand: records and headers that this build would not write, with checksums that fit.
//!
//! Owns the forging of single structures and the patching of files under them. Knows no log.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use _core::format::{
    INLINE, IdView, Identity, NewEvent, RECORD_FIXED_BYTES, RecordPlan, batch_head, checksum, names,
    record_checksum,
};

/// A record of any kind whose bytes from 16 on are `body`.
pub fn bare(kind: u8, seq: u64, epoch: u32, body: &[u8]) -> Vec<u8> {
    let bytes = (16 + body.len()).max(RECORD_FIXED_BYTES).next_multiple_of(8);
    let word = (u32::from(kind) << 28) | u32::try_from(bytes).unwrap();
    let mut record = vec![0; bytes];
    record[..4].copy_from_slice(&word.to_le_bytes());
    record[8..16].copy_from_slice(&seq.to_le_bytes());
    record[16..16 + body.len()].copy_from_slice(body);
    reseal(&mut record, epoch);
    record
}

/// The record of `event`, all texts inline.
pub fn event(event: &NewEvent<'_>, event_id: &str, identity: &Identity) -> Vec<u8> {
    let inline = |_: &str| INLINE;
    let plan = RecordPlan::new(event, IdView::of(event_id), &inline);
    let mut record = vec![0; plan.record_bytes()];
    let word = plan.encode(&mut record, identity, &inline);
    record[..4].copy_from_slice(&word.to_le_bytes());
    record
}

/// A batch head for `count` events in `bytes` bytes.
pub fn head(identity: &Identity, bytes: usize, count: u32) -> Vec<u8> {
    let mut record = vec![0; RECORD_FIXED_BYTES];
    let word = batch_head(&mut record, identity, bytes as u64, count);
    record[..4].copy_from_slice(&word.to_le_bytes());
    record
}

/// Makes a record's checksum fit again.
pub fn reseal(record: &mut [u8], epoch: u32) {
    let word = u32::from_le_bytes(record[..4].try_into().unwrap());
    let sum = record_checksum(epoch, word, &record[8..]);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// Makes the checksum in the last four bytes fit again.
pub fn reseal_last(bytes: &mut [u8]) {
    let (body, field) = bytes.split_last_chunk_mut::<4>().unwrap();
    *field = checksum(body).to_le_bytes();
}

pub fn segment_path(log: &Path, number: u64) -> PathBuf {
    log.join("segments").join(names::segment(number))
}

pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

pub fn read_at<const N: usize>(path: &Path, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    OpenOptions::new().read(true).open(path).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// Changes the first `N` bytes at `offset` and makes the checksum at their end fit again.
pub fn change<const N: usize>(path: &Path, offset: u64, change: impl Fn(&mut [u8])) {
    let mut bytes: [u8; N] = read_at(path, offset);
    change(&mut bytes);
    reseal_last(&mut bytes);
    write_at(path, offset, &bytes);
}
