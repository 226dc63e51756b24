//! What a log can be told when it is opened, and what one append can ask for.
//!
//! Owns the options, their defaults and their limits; checks them, all at once. Knows no files.

use std::{fmt, time::Duration};

use crate::error::{Error, Result};

/// Smallest `segment_bytes`: a header and a few records.
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;
/// Largest `segment_bytes`: a record's length has 28 bits (docs/format.md).
pub const MAX_SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// Size of the first segment of a log and of every epoch; doubles as segments fill.
pub const FIRST_SEGMENT_BYTES: u64 = 1024 * 1024;

/// Who may open the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The one writer.
    ReadWrite,
    /// One of any number of readers; writes nothing.
    Read,
}

/// What a writer does where the log is damaged below its watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recover {
    /// Refuses to open.
    Strict,
    /// Ends the log at the damage and sets everything behind it aside.
    AcceptLoss,
}

/// When an append may return; the table of docs/format.md section "Durability" has the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Committed; the kernel writes back when it likes.
    None,
    /// Committed; the keeper syncs every `sync_interval`.
    Interval,
    /// Durable; callers share syncs.
    Group,
    /// Durable; the caller syncs at once.
    Always,
}

/// How sealed segments are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4, block format.
    Lz4,
    /// Zstandard.
    #[default]
    Zstd,
}

/// Whether the background thread runs, or a test drives its passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A thread, as in production.
    Thread,
    /// None: [`crate::log::Log::keep`] does one pass. For deterministic tests.
    Manual,
}

/// Whether a call may wait for a lock or the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Answer [`Error::WouldBlock`] instead.
    Try,
    /// Wait.
    Wait,
}

/// What an append expects of its aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing.
    #[default]
    Any,
    /// No event yet.
    None,
    /// At least one event.
    Exists,
    /// Newest event has this version.
    Exact(u32),
}

impl Expected {
    /// Whether an aggregate whose newest version is `actual` fits.
    #[must_use]
    pub fn accepts(self, actual: Option<u32>) -> bool {
        match self {
            Self::Any => true,
            Self::None => actual.is_none(),
            Self::Exists => actual.is_some(),
            Self::Exact(version) => actual == Some(version),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("anything"),
            Self::None => out.write_str("no event"),
            Self::Exists => out.write_str("at least one event"),
            Self::Exact(version) => write!(out, "version {version}"),
        }
    }
}

/// Everything a log can be told at opening.
#[derive(Debug, Clone)]
pub struct Options {
    /// Writer or reader. Default: writer.
    pub mode: Mode,
    /// What a writer does with damage. Default: strict.
    pub recover: Recover,
    /// Default durability of an append. Default: interval.
    pub durability: Durability,
    /// Longest time between a commit and the start of its sync under `Interval`. Default 10 ms, 1 ms to 1 h.
    pub sync_interval: Duration,
    /// Largest segment file in bytes. Default 64 MiB.
    pub segment_bytes: u64,
    /// In memory only: oldest segments go beyond this many bytes. Default 256 MiB.
    pub memory_bytes: u64,
    /// Full segments are sealed, with their blocks compressed this way; `None`: they stay raw. Default: Zstandard.
    pub sealing: Option<Compression>,
    /// A clean close leaves an index where the next opening would else read about this many bytes. Default 1 MiB: less is read as
    /// fast as an index.
    pub index_from: u64,
    /// Open on file systems that cannot keep the promises. Default false.
    pub force_filesystem: bool,
    /// Default: a thread.
    pub keeper: Keeper,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::ReadWrite,
            recover: Recover::Strict,
            durability: Durability::Interval,
            sync_interval: Duration::from_millis(10),
            segment_bytes: 64 * 1024 * 1024,
            memory_bytes: 256 * 1024 * 1024,
            sealing: Some(Compression::Zstd),
            index_from: 1024 * 1024,
            force_filesystem: false,
            keeper: Keeper::Thread,
        }
    }
}

impl Options {
    /// Checks every option and names all that are wrong.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            problems.push(format!(
                "segment_bytes is {}, it takes {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}",
                self.segment_bytes
            ));
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&self.sync_interval) {
            problems.push(format!(
                "sync_interval_ms is {}, it takes 1 to 3600000",
                self.sync_interval.as_millis()
            ));
        }
        if self.mode == Mode::Read && self.recover == Recover::AcceptLoss {
            problems.push("recover is \"accept_loss\", which takes mode \"rw\"".to_owned());
        }
        if self.memory_bytes < 4 * MIN_SEGMENT_BYTES {
            problems.push(format!(
                "memory_bytes is {}, it takes at least {}",
                self.memory_bytes,
                4 * MIN_SEGMENT_BYTES
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Config { problems }) }
    }
}
