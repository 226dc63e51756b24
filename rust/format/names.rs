//! Names of files. No text of a user ever becomes part of one (R3).

use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
};

/// Highest number of a segment: names have 16 digits.
pub const MAX_SEGMENT_NUMBER: u64 = 9_999_999_999_999_999;

/// Name of segment `number`.
#[must_use]
pub fn segment(number: u64) -> String {
    format!("{number:016}.log")
}

/// Name under which segment `number` is prepared.
#[must_use]
pub fn prepared(number: u64) -> String {
    format!("{number:016}.tmp")
}

/// Name of segment `number` once it is sealed.
#[must_use]
pub fn sealed(number: u64) -> String {
    format!("{number:016}.seg")
}

/// Name under which segment `number` is sealed.
#[must_use]
pub fn sealing(number: u64) -> String {
    format!("{number:016}.seg.tmp")
}

/// Name of the index of sealed segment `number`.
#[must_use]
pub fn index(number: u64) -> String {
    format!("{number:016}.idx")
}

/// Name under which that is written.
#[must_use]
pub fn indexing(number: u64) -> String {
    format!("{number:016}.idx.tmp")
}

/// Whether `name` is that of an index.
#[must_use]
pub fn is_index(name: &str) -> bool {
    name.strip_suffix(".idx").and_then(number_in).is_some()
}

/// Path of the sealed segment beside a raw one.
#[must_use]
pub fn sealed_beside(raw: &Path) -> PathBuf {
    raw.with_extension("seg")
}

/// The number in the name of a sealed segment; `None` for any other name.
#[must_use]
pub fn sealed_number(name: &str) -> Option<u64> {
    number_in(name.strip_suffix(".seg")?)
}

/// The number in the name of a segment; `None` for any other name.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    number_in(name.strip_suffix(".log")?)
}

/// Whether `name` is a left-over of preparing, sealing or indexing a segment.
#[must_use]
pub fn is_prepared(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".tmp") else { return false };
    let bare = name.strip_suffix(".seg").or_else(|| name.strip_suffix(".idx")).unwrap_or(name);
    number_in(bare).is_some()
}

/// Name of the file with the heads of aggregates whose events expired.
pub const HEADS: &str = "expired.heads";

/// The number that the name of a file of any segment begins with, whatever the rest of it says.
#[must_use]
pub fn leading_number(name: &str) -> Option<u64> {
    number_in(name.split('.').next()?)
}

/// Name of the snapshot of an aggregate at `seq`.
#[must_use]
pub fn snapshot(aggregate_id: &str, seq: u64) -> String {
    SnapshotName::new(aggregate_id, seq).to_string()
}

/// Which snapshot a file holds: an aggregate's id appears as 128 bits of BLAKE3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotName {
    /// The first 16 bytes of the hash, big-endian.
    pub hash: u128,
    /// The position it speaks of.
    pub seq: u64,
}

impl SnapshotName {
    /// That of the snapshot of an aggregate at `seq`.
    #[must_use]
    pub fn new(aggregate_id: &str, seq: u64) -> Self {
        let mut first = [0; 16];
        first
            .iter_mut()
            .zip(blake3::hash(aggregate_id.as_bytes()).as_bytes())
            .for_each(|(to, from)| *to = *from);
        Self { hash: u128::from_be_bytes(first), seq }
    }

    /// What a file's name says; `None` for any other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, seq) = name.strip_suffix(".snap")?.split_once('-')?;
        let is_hash =
            digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = is_hash.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
        Some(Self { hash, seq: number_in(seq)? })
    }

    /// The order of a list: the newest of each aggregate first.
    #[must_use]
    pub fn newest_first(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash).then(other.seq.cmp(&self.seq))
    }
}

impl Display for SnapshotName {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}-{:016}.snap", self.hash, self.seq)
    }
}

/// Name of the file with the subtrees over the events before `first_seq`.
#[must_use]
pub fn expired(first_seq: u64) -> String {
    format!("{first_seq:016}.tree")
}

/// The position in the name of one of these files.
#[must_use]
pub fn expired_seq(name: &str) -> Option<u64> {
    number_in(name.strip_suffix(".tree")?)
}

/// Name of the quarantine file for what `segment` held from `offset` on, `attempt` counting repetitions.
#[must_use]
pub fn quarantined_tail(segment: u64, offset: u64, attempt: u32) -> String {
    format!("{segment:016}-{offset}.{attempt}.tail")
}

/// Name of what is set aside as it is: `suffix` of a segment, `attempt` counting those of one number.
#[must_use]
pub fn quarantined(number: u64, suffix: &str, attempt: u32) -> String {
    match attempt {
        0 => format!("{number:016}.{suffix}"),
        _ => format!("{number:016}.{attempt}.{suffix}"),
    }
}

/// The number in the name of a segment that was set aside, and whether it is sealed; `None` for any other name.
#[must_use]
pub fn quarantined_number(name: &str) -> Option<(u64, bool)> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let is_sealed = match suffix {
        "log" => false,
        "seg" => true,
        _ => return None,
    };
    let number = stem.split_once('.').map_or(stem, |(number, _attempt)| number);
    number_in(number).map(|number| (number, is_sealed))
}

/// Name of a META that was set aside.
#[must_use]
pub fn quarantined_meta(attempt: u32) -> String {
    format!("META.{attempt}")
}

fn number_in(digits: &str) -> Option<u64> {
    let is_number = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}
