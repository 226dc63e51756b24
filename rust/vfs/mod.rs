//! Where files live: one trait, so that the crash tests run the production code on a disk they control.
//!
//! Owns the trait and its implementations ([`disk`], [`memory`], and `simulated` for tests). Speaks `io::Error`; callers add path and intent.
//! Refuses to know what any file means.

pub mod disk;
pub mod memory;
mod shared_page;
#[cfg(feature = "simulation")]
pub mod simulated;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use shared_page::SharedPage;

use crate::map::Memory;

/// Who asks for a shared page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Makes it where there is none.
    Make,
    /// Takes it where there is one.
    Find,
}

/// A file of a host, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The boot.
    pub boot_id: u128,
    /// Its device.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

/// Whether the promises can be kept on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filesystem {
    /// Mappings, locks and syncs are known to work.
    Dependable,
    /// They work, with a caveat that is worth a warning.
    Doubtful(&'static str),
    /// They are known not to.
    Unsupported(&'static str),
}

/// The operations a log needs, no more.
pub trait Vfs: Send + Sync {
    /// Makes a directory (0700) with its parents; one that is there is fine.
    ///
    /// # Errors
    /// Of the system; the same holds for every method here.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound` where it is not.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>>;
    /// Makes a new file (0600) for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` where there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Renames, replacing what is there. Durable only after [`Vfs::sync_dir`], as the next two.
    ///
    /// # Errors
    /// Of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Of the system.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes creates, renames and unlinks in a directory durable.
    ///
    /// # Errors
    /// Of the system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted; non-UTF-8 ones lossily, since none of ours is.
    ///
    /// # Errors
    /// Of the system.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Takes the writer's lock and leaves `holder` in the file; `Ok(Err(content))` tells who has it.
    ///
    /// # Errors
    /// Of the system.
    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Lock>, String>>;
    /// What `path` lies on.
    ///
    /// # Errors
    /// Of the system.
    fn filesystem(&self, path: &Path) -> io::Result<Filesystem>;
    /// What tells a file from every other one of this host; `None` where it has no meaning to other processes.
    fn identity(&self, _path: &Path) -> Option<Identity> {
        None
    }
    /// The page of this name that processes share; `None` where there is none, for whatever reason: it is a convenience.
    fn shared_page(&self, _name: &str, _bytes: usize, _join: Join) -> Option<SharedPage> {
        None
    }
    /// The directory on disk, if there is one: false means that nothing outlives the process and syncs mean nothing.
    fn is_durable(&self) -> bool;
}

/// An open file. Its descriptor lives as long as it does (R13).
pub trait File: Send + Sync {
    /// Size in bytes.
    ///
    /// # Errors
    /// Of the system; the same holds for every method here.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `target` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end.
    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()>;
    /// Writes all of `source` at `offset`.
    ///
    /// # Errors
    /// Of the system.
    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()>;
    /// Reserves room for a new file of this size, all zeros; a full disk says so here and never later.
    ///
    /// # Errors
    /// `StorageFull`.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// fdatasync: content durable, also of pages dirtied through a map.
    ///
    /// # Errors
    /// Of the system. The kernel may have dropped the pages: nothing of them may be believed (R17).
    fn sync_data(&self) -> io::Result<()>;
    /// fsync: content and size durable.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Size in bytes, and whether the file still has a name: one that was removed while it is open takes writes and syncs, and is
    /// gone. Asked after each sync.
    ///
    /// # Errors
    /// Of the system.
    fn size_and_name(&self) -> io::Result<(u64, bool)> {
        Ok((self.bytes()?, true))
    }
    /// Lets go of what the cache holds of a file that was synced, so that the next reading is the disk's.
    ///
    /// # Errors
    /// Of the system.
    fn forget_cached(&self) -> io::Result<()>;
    /// Maps the first `bytes` bytes, shared.
    ///
    /// # Errors
    /// Of the system.
    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>>;
}

/// The writer's lock; released on drop.
pub trait Lock: Send + Sync {
    /// Where it lies, for messages.
    fn path(&self) -> PathBuf;
    /// Whether another file stands in its place, or another directory in that of its own: another log's, or another writer's.
    ///
    /// # Errors
    /// Of the system.
    fn is_displaced(&self) -> io::Result<bool> {
        Ok(false)
    }
}
