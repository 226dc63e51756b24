//! The log: the face of the engine.
//!
//! Owns opening and the choice between its two roles, and says of each call what it promises. All work is done by the
//! modules below. A handle may be used from any thread; dropping it closes it.

mod append;
mod evidence;
mod reader;
mod recent;
mod retention;
mod snapshots;
mod stats;
mod wait;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use evidence::Grown;
use reader::Reader;
pub use recent::RECENT_EVENTS;
use recent::Recent;
pub use retention::Resident;
pub use stats::{SegmentStats, Stats};

pub use crate::tail::{Appended, Retained};
use crate::{
    clock::Clock,
    config::{Durability, Keeper, Mode, Options},
    error::{Error, Result},
    format::meta::Mark,
    heads::Head,
    place::Place,
    recovery::{Recovery, check_filesystem, open_for_writing},
    scan::{Direction, Query, Scan},
    shelf::Shelf,
    tail::{CommittedPosition, Tail},
    threads::Mutex,
    vfs::{Vfs, disk::Disk, memory::InMemory},
};

/// Segments of a log without a disk are at most this large, so that dropping the oldest frees memory in small steps.
const MEMORY_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Where a log is.
pub enum Location<'a> {
    /// In a directory on disk.
    Directory(&'a Path),
    /// In this process' memory alone.
    Memory,
    /// In a directory of another file system implementation: for tests.
    Elsewhere(Arc<dyn Vfs>, &'a Path),
}

/// An open log.
pub struct Log {
    role: Role,
    place: Place,
    options: Options,
    id: [u8; 16],
    recovery: Recovery,
    snapshots: snapshots::Snapshots,
    /// The tree over its events, as far as this handle has hashed it.
    grown: Mutex<Grown>,
    /// The ids that a retry may bring again.
    recent: Recent,
}

enum Role {
    Writer(Arc<Tail>),
    Reader(Box<Reader>),
}

impl Log {
    /// Opens a log; a writer creates it where there is none.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Locked`], [`Error::Missing`] (readers), [`Error::Corrupt`], [`Error::Version`],
    /// [`Error::DiskFull`], [`Error::UnsupportedFilesystem`], [`Error::Io`].
    pub fn open(location: Location<'_>, mut options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        options.check()?;
        let place = match location {
            Location::Directory(path) => Place { vfs: Arc::new(Disk), path: absolute(path)? },
            Location::Memory => Place { vfs: Arc::new(InMemory::default()), path: PathBuf::from("(memory)") },
            Location::Elsewhere(vfs, path) => Place { vfs, path: path.to_owned() },
        };
        if !place.vfs.is_durable() {
            options.segment_bytes =
                options.segment_bytes.min(MEMORY_SEGMENT_BYTES).min(options.memory_bytes / 4);
        }
        match options.mode {
            Mode::ReadWrite => Self::open_writer(place, options, clock),
            Mode::Read => Self::open_reader(place, options),
        }
    }

    fn open_writer(place: Place, options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let (start, recovery) = open_for_writing(&place, &options, &*clock)?;
        let id = start.meta.log_id;
        let tail = Tail::start(place.clone(), options.clone(), clock, start)?;
        Ok(Self::of(Role::Writer(tail), place, options, id, recovery))
    }

    fn open_reader(place: Place, options: Options) -> Result<Self> {
        let (reader, id, mut recovery) = Reader::open(&place)?;
        recovery.warnings.extend(check_filesystem(&place, &options)?);
        Ok(Self::of(Role::Reader(Box::new(reader)), place, options, id, recovery))
    }

    fn of(role: Role, place: Place, options: Options, id: [u8; 16], recovery: Recovery) -> Self {
        let grown = Mutex::new(Grown::new());
        let (snapshots, recent) = (snapshots::Snapshots::default(), Recent::default());
        Self { role, place, options, id, recovery, snapshots, grown, recent }
    }

    fn tail(&self) -> Result<&Arc<Tail>> {
        match &self.role {
            Role::Writer(tail) => Ok(tail),
            Role::Reader(_) => Err(Error::ReadOnly { path: self.place.path.clone() }),
        }
    }

    fn shelf(&self) -> &Arc<Shelf> {
        match &self.role {
            Role::Writer(tail) => &tail.shelf,
            Role::Reader(reader) => &reader.shelf,
        }
    }

    fn refuse_if_closed(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed { path: self.place.path.clone() }) } else { Ok(()) }
    }

    /// Whether an append in this mode has to be settled before its call returns.
    #[must_use]
    pub fn needs_settling(&self, durability: Option<Durability>) -> bool {
        self.tail().is_ok_and(|tail| tail.needs_settling(durability))
    }

    /// Gives an append the durability it asked for: syncs, where no sync runs that others wait for too (group), or in any case
    /// (always).
    ///
    /// # Errors
    /// [`Error::Poisoned`], which says that the event is committed.
    pub fn settle(&self, appended: &Appended, durability: Option<Durability>) -> Result<()> {
        self.tail()?.settle(appended.seq, durability).map_err(|error| error.after_commit(appended))
    }

    /// As [`Log::settle`] in a group, for at most `patience`; false when that ran out.
    ///
    /// # Errors
    /// As [`Log::settle`].
    pub fn settle_within(&self, appended: &Appended, patience: Duration) -> Result<bool> {
        self.tail()?.share_sync(appended.seq, patience).map_err(|error| error.after_commit(appended))
    }

    /// Makes everything committed so far durable; returns the newest durable position.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn sync(&self) -> Result<Option<u64>> {
        self.tail()?.sync()
    }

    /// Makes everything committed so far durable and says where that ends; `None` for a reader, who knows what the files say.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn durable_mark(&self) -> Result<Option<Mark>> {
        let Role::Writer(tail) = &self.role else { return Ok(None) };
        let CommittedPosition { segment, offset, next_seq } = tail.sync_position()?;
        Ok(Some(Mark { segment, offset, next_seq }))
    }

    /// Events that match and are committed now; backward the newest first.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Closed`], [`Error::Corrupt`], [`Error::Io`].
    pub fn read(&self, mut query: Query) -> Result<Scan> {
        self.refuse_expired(&query)?;
        let newest = match (&self.role, query.direction) {
            // To whatever is committed when it gets there: another process writes.
            (Role::Reader(_), Direction::Forward) => Some(u64::MAX),
            _ => self.last_seq()?,
        };
        let newest = if query.durable { newest.min(self.durable_seq()) } else { newest };
        match newest {
            None => query.limit = Some(0),
            Some(newest) => query.up_to = Some(query.up_to.map_or(newest, |up_to| up_to.min(newest))),
        }
        let head = query.aggregate_id.as_deref().map(|id| self.head(id)).transpose()?;
        if head == Some(None) {
            query.limit = Some(0);
        }
        self.scan(query, head.flatten())
    }

    /// As [`Log::read`], forward, but the scan may be asked again for what is committed later: across segments, the
    /// writer's death and the next writer.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn follow(&self, query: Query) -> Result<Scan> {
        self.scan(Query { direction: Direction::Forward, ..query }, None)
    }

    fn scan(&self, query: Query, head: Option<Head>) -> Result<Scan> {
        self.refuse_if_closed()?;
        let committed = match &self.role {
            Role::Writer(tail) => tail.committed().next_seq.checked_sub(1),
            Role::Reader(_) => None,
        };
        Ok(Scan::new(Arc::clone(self.shelf()), query, head)?.expecting(committed))
    }

    fn head(&self, aggregate_id: &str) -> Result<Option<Head>> {
        self.refuse_if_closed()?;
        match &self.role {
            Role::Writer(tail) => tail.head(aggregate_id),
            Role::Reader(reader) => Ok(reader.caught_up()?.heads.get(aggregate_id)),
        }
    }

    /// Version of the aggregate's newest event.
    ///
    /// # Errors
    /// [`Error::Closed`]; for a reader as [`Log::read`].
    pub fn aggregate_version(&self, aggregate_id: &str) -> Result<Option<u32>> {
        Ok(self.head(aggregate_id)?.map(|head| head.version))
    }

    /// Oldest event kept.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.shelf().first_seq()
    }

    /// Newest committed event.
    ///
    /// # Errors
    /// For a reader as [`Log::read`].
    pub fn last_seq(&self) -> Result<Option<u64>> {
        match &self.role {
            Role::Writer(tail) => Ok(tail.committed().next_seq.checked_sub(1)),
            Role::Reader(reader) => Ok(reader.caught_up()?.scan.position()),
        }
    }

    /// Newest durable event (inclusive); for a reader the newest that a stored watermark names, a lower bound.
    #[must_use]
    pub fn durable_seq(&self) -> Option<u64> {
        match &self.role {
            Role::Writer(tail) => tail.durable_seq(),
            Role::Reader(reader) => reader.shelf.watermark_seq(),
        }
    }

    /// The epoch of the newest segment.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.shelf().list().last().map_or(self.recovery.epoch, |segment| segment.header.epoch)
    }

    /// The log's own id.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        self.id
    }

    /// Its directory; `None` without a disk.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.place.vfs.is_durable().then_some(self.place.path.as_path())
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.role {
            Role::Writer(tail) => tail.is_closed(),
            Role::Reader(reader) => reader.is_closed(),
        }
    }

    /// Why appends are refused after a failed sync.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.tail().ok()?.poisoned().map(str::to_owned)
    }

    /// One pass of the keeper, for tests that run without its thread ([`Keeper::Manual`]).
    pub fn keep(&self) {
        if let (Role::Writer(tail), Keeper::Manual) = (&self.role, self.options.keeper) {
            tail.keep_once();
        }
    }

    /// Syncs, leaves the clean mark, releases lock and thread. Idempotent. Everything committed is durable on return.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Io`]: closed all the same, without a clean mark.
    pub fn close(&self) -> Result<()> {
        match &self.role {
            Role::Writer(tail) => tail.close(),
            Role::Reader(reader) => {
                reader.close();
                Ok(())
            }
        }
    }

    /// In a forked child: closed without touching what is the parent's (R22).
    pub fn abandon(&self) {
        match &self.role {
            Role::Writer(tail) => tail.abandon(),
            Role::Reader(reader) => reader.close(),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody is left to hear of it; the next opening reports an unclean end.
        let _unheard = self.close();
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io(path, "find", error))
}
