//! A log at one moment: positions, segments, counters.

use super::{Log, Role};
use crate::{
    error::Result,
    threads::atomic::{AtomicU64, Ordering},
};

/// A log at one moment.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Oldest event kept.
    pub first_seq: u64,
    /// Newest committed event.
    pub last_seq: Option<u64>,
    /// Newest durable event.
    pub durable_seq: Option<u64>,
    /// The epoch of the newest segment.
    pub epoch: u32,
    /// Number of aggregates.
    pub aggregate_count: usize,
    /// The segments, oldest first.
    pub segments: Vec<SegmentStats>,
    /// Counters of this handle: events, bytes.
    pub appended: (u64, u64),
    /// Syncs: count, ns in all, ns of the longest.
    pub syncs: (u64, u64, u64),
    /// Segments entered.
    pub roll_count: u64,
    /// Segments that the appending thread had to prepare itself.
    pub appender_prepared: u64,
    /// Segments sealed by this handle.
    pub sealed_count: u64,
    /// Times that an append waited for a full segment to be sealed.
    pub waits_for_sealer: u64,
    /// Events whose data lost a NaN or infinity.
    pub lossy_count: u64,
    /// What is wrong, if anything is.
    pub problem: Option<String>,
}

/// One segment of [`Stats`].
#[derive(Debug, Clone, Copy)]
pub struct SegmentStats {
    /// Its number.
    pub number: u64,
    /// Its epoch.
    pub epoch: u32,
    /// Its first position.
    pub first_seq: u64,
    /// When it was entered.
    pub entered_ns: i64,
    /// Size of its file.
    pub file_bytes: u64,
    /// Header and records as they were appended; a sealed file holds them in less.
    pub used_bytes: u64,
    /// Whether it is sealed.
    pub is_sealed: bool,
}

impl Log {
    /// The log at this moment.
    ///
    /// # Errors
    /// [`Error::Closed`]; for a reader as [`Log::read`].
    pub fn stats(&self) -> Result<Stats> {
        self.refuse_if_closed()?;
        let segments = self.shelf().list();
        let mut stats = Stats {
            first_seq: self.first_seq(),
            last_seq: self.last_seq()?,
            durable_seq: self.durable_seq(),
            epoch: self.epoch(),
            aggregate_count: 0,
            segments: Vec::with_capacity(segments.len()),
            appended: (0, 0),
            syncs: (0, 0, 0),
            roll_count: 0,
            appender_prepared: 0,
            sealed_count: 0,
            waits_for_sealer: 0,
            lossy_count: 0,
            problem: None,
        };
        let active_end = match &self.role {
            Role::Writer(tail) => {
                let counters = tail.counters();
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                stats.aggregate_count = tail.aggregate_count()?;
                stats.appended = (read(&counters.appended), read(&counters.appended_bytes));
                stats.syncs = (read(&counters.syncs), read(&counters.sync_ns), read(&counters.sync_ns_max));
                stats.roll_count = read(&counters.rolls);
                stats.appender_prepared = read(&counters.appender_prepared);
                stats.lossy_count = read(&counters.lossy);
                stats.sealed_count = read(&counters.sealed);
                stats.waits_for_sealer = read(&counters.waits_for_sealer);
                stats.problem = tail.problem();
                tail.committed().offset
            }
            Role::Reader(reader) => {
                let known = reader.caught_up()?;
                stats.aggregate_count = known.heads.count();
                known.scan.offset() as u64
            }
        };
        let ends = segments.iter().skip(1).map(|next| next.entry.prev_end).chain([active_end]);
        stats.segments.extend(segments.iter().zip(ends).map(|(segment, used_bytes)| {
            let sealed = segment.as_sealed();
            SegmentStats {
                number: segment.header.number,
                epoch: segment.header.epoch,
                first_seq: segment.entry.first_seq,
                entered_ns: segment.entry.entered_ns,
                file_bytes: sealed.as_ref().map_or(segment.header.file_bytes, |sealed| sealed.file_bytes()),
                used_bytes,
                is_sealed: sealed.is_some(),
            }
        }));
        Ok(stats)
    }
}
