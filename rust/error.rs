//! What can go wrong, one variant per thing an operator would do differently.
//!
//! Owns the crate's one error type. Every variant carries fields instead of text to parse; its message
//! is one sentence of what happened. What to do about it is Python's (`aresbus.errors`, `aresbus explain`).
//! Knows nothing of files, formats or locks beyond their names.

use std::{io, path::PathBuf};

use crate::config::Expected;

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An event that is committed although its call fails: its fate on power loss is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Position of the event.
    pub seq: u64,
    /// Its id as text.
    pub event_id: String,
}

/// An aggregate that is not where a caller thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The aggregate.
    pub aggregate_id: String,
    /// What the caller expected.
    pub expected: Expected,
    /// Version of its newest event; in a batch, of those before this check.
    pub actual: Option<u32>,
    /// Position of its newest event; `None` where that is of the same batch, which was not written.
    pub seq: Option<u64>,
    /// Type of the event at `seq`, where it could be read.
    pub event_type: Option<String>,
}

/// See the module's first paragraph; each variant says what its caller should do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation. Policy: look at path and errno.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's own error.
        source: io::Error,
    },
    /// No room for what has to be preallocated. Policy: make room; the same call then succeeds.
    #[error("the disk is full: no room for {} ({needed_bytes} bytes)", path.display())]
    DiskFull {
        /// File that could not be made.
        path: PathBuf,
        /// Size that was asked for.
        needed_bytes: u64,
    },
    /// Another handle writes this log. Policy: stop that writer, or open for reading.
    #[error("{} has a writer already ({})", path.display(), holder(*pid, host.as_deref(), started.as_deref()))]
    Locked {
        /// The log.
        path: PathBuf,
        /// Process of the holder, where LOCK says it.
        pid: Option<u32>,
        /// Its host.
        host: Option<String>,
        /// When it opened the log.
        started: Option<String>,
    },
    /// A sync failed earlier (R14). Policy: close, look at the disk, open again.
    #[error("the log takes no more appends: {reason}{}", committed_note(committed.as_ref()))]
    Poisoned {
        /// What failed first.
        reason: String,
        /// Set where the event of this very call is committed.
        committed: Option<Committed>,
    },
    /// The handle was closed, dropped or inherited through fork. Policy: open again.
    #[error("this handle on {} is closed", path.display())]
    Closed {
        /// The log.
        path: PathBuf,
    },
    /// Bytes that were durable are not what they were. Policy: restore, salvage, never ignore.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Offset of the damaged structure.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or record of a format this build does not know. Policy: use the build that wrote it.
    #[error("{} holds {found}; this build reads {supported}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: String,
        /// What is supported.
        supported: String,
    },
    /// Something is longer or more than the format allows. Policy: send less.
    #[error("{what} is {got}, the limit is {limit}")]
    Limit {
        /// What was measured, with its unit.
        what: &'static str,
        /// Its size.
        got: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// Options that make no sense. Policy: correct them; all problems are listed.
    #[error("wrong options: {}", problems.join("; "))]
    Config {
        /// One sentence each.
        problems: Vec<String>,
    },
    /// Aggregates are not where the caller thought. Policy: load, decide again, append again.
    #[error("{}", conflicts_note(conflicts))]
    Conflict {
        /// Every check that failed, in the order of the checks; never empty.
        conflicts: Vec<Conflict>,
    },
    /// The range asked for is no longer kept. Policy: start at `first_seq`, or from a snapshot.
    #[error("events before {first_seq} are no longer kept")]
    Truncated {
        /// Oldest event still there.
        first_seq: u64,
    },
    /// A write through a handle that only reads. Policy: open with mode "rw".
    #[error("{} is open for reading only", path.display())]
    ReadOnly {
        /// The log.
        path: PathBuf,
    },
    /// Mappings, locks or syncs are not dependable there. Policy: a local disk, or force.
    #[error("{} lies on {kind}, where durability cannot be promised", path.display())]
    UnsupportedFilesystem {
        /// The log.
        path: PathBuf,
        /// Name of the file system.
        kind: String,
    },
    /// There is no log to read. Policy: check the path.
    #[error("there is no log in {}", path.display())]
    Missing {
        /// The directory that was tried.
        path: PathBuf,
    },
    /// The call would have to wait and was told not to ([`crate::config::Patience::Try`]). Policy: call again, patiently.
    #[error("the call would have to wait")]
    WouldBlock,
}

impl Error {
    /// Wraps a system error, telling a full disk from the rest.
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        if is_disk_full(&source) {
            return Self::DiskFull { path: path.into(), needed_bytes: 0 };
        }
        Self::Io { path: path.into(), action, source }
    }

    /// Wraps a system error of reserving `needed_bytes`.
    pub(crate) fn no_room(path: impl Into<PathBuf>, needed_bytes: u64, source: io::Error) -> Self {
        if is_disk_full(&source) {
            return Self::DiskFull { path: path.into(), needed_bytes };
        }
        Self::Io { path: path.into(), action: "reserve room for", source }
    }

    /// Whether a file that was to be opened is not there.
    #[must_use]
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), offset, reason: reason.into() }
    }
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn holder(pid: Option<u32>, host: Option<&str>, started: Option<&str>) -> String {
    let pid = pid.map_or_else(|| "unknown process".to_owned(), |pid| format!("process {pid}"));
    let host = host.map_or_else(String::new, |host| format!(" on {host}"));
    let started = started.map_or_else(String::new, |started| format!(", since {started}"));
    format!("{pid}{host}{started}")
}

fn committed_note(committed: Option<&Committed>) -> String {
    committed.map_or_else(String::new, |event| {
        format!(" (event {} at seq {} is committed, its durability unknown)", event.event_id, event.seq)
    })
}

fn conflicts_note(conflicts: &[Conflict]) -> String {
    let Some(first) = conflicts.first() else { return "a version check failed".to_owned() };
    let Conflict { aggregate_id, expected, actual, .. } = first;
    let more = match conflicts.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more checks failed)"),
    };
    format!("aggregate {aggregate_id:?} is at {}, expected {expected}{more}", version(*actual))
}

fn version(actual: Option<u32>) -> String {
    actual.map_or_else(|| "no event".to_owned(), |version| format!("version {version}"))
}
