//! Names of files. No text of a user ever becomes part of one (R3).

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

/// The number in the name of a segment; `None` for any other name.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    number_in(name.strip_suffix(".log")?)
}

/// Whether `name` is a left-over of preparing a segment.
#[must_use]
pub fn is_prepared(name: &str) -> bool {
    name.strip_suffix(".tmp").and_then(number_in).is_some()
}

/// Name of the snapshot of an aggregate at `seq`: its id appears as 128 bits of BLAKE3.
#[must_use]
pub fn snapshot(aggregate_id: &str, seq: u64) -> String {
    format!("{}{seq:016}.snap", snapshot_prefix(aggregate_id))
}

/// What the names of all snapshots of an aggregate begin with.
#[must_use]
pub fn snapshot_prefix(aggregate_id: &str) -> String {
    let hash = blake3::hash(aggregate_id.as_bytes()).to_hex();
    format!("{}-", hash.get(..32).unwrap_or_default())
}

/// The position in the name of one of these snapshots.
#[must_use]
pub fn snapshot_seq(name: &str, prefix: &str) -> Option<u64> {
    number_in(name.strip_prefix(prefix)?.strip_suffix(".snap")?)
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

fn number_in(digits: &str) -> Option<u64> {
    let is_number = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}
