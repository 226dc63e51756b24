//! The directory of one log: where each file lies, and the only code that makes, renames or removes one.
//!
//! Owns names, listing, and the replacing of whole files; [`expired`], [`meta`], [`segments`] and [`snapshots`] own their files
//! and the order of syncs that makes each survive a crash. Refuses to know why any of it happens.

mod dropped;
mod expired;
mod fronts;
mod indexes;
mod meta;
mod opened;
mod quarantine;
mod sealed;
mod segments;
mod snapshots;

use std::{
    io::{
        self,
        ErrorKind::{self, PermissionDenied, ReadOnlyFilesystem},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

pub use fronts::least_bytes;
pub use opened::{OpenedSegment, durable_marks, entry_in, highest_watermark};
pub use segments::is_zero_from;

use crate::{
    error::{Error, Result},
    format::names,
    planted::{Bug, is_planted},
    vfs::{File, Vfs},
};

/// One log's directory.
#[derive(Clone)]
pub struct Place {
    /// Where its files live.
    pub vfs: Arc<dyn Vfs>,
    /// The directory.
    pub path: PathBuf,
}

/// What lies in a log's directories.
#[derive(Debug, Default)]
pub struct Listing {
    /// Numbers of the segments, raw or sealed, ascending.
    pub segments: Vec<u64>,
    /// Numbers of those that have a sealed file and a raw one: a crash came between the two.
    pub doubled: Vec<u64>,
    /// Numbers of those that have a sealed file alone, ascending.
    pub sealed: Vec<u64>,
    /// Left-overs of interrupted preparations.
    pub prepared: Vec<String>,
    /// Names that are none of ours.
    pub stray: Vec<String>,
}

impl Listing {
    /// Leaves out the segments before `first_segment`, META's first one: a crash came before their files were gone.
    pub fn forget_before(&mut self, first_segment: u64) {
        self.segments.retain(|number| *number >= first_segment);
        self.doubled.retain(|number| *number >= first_segment);
    }
}

impl Place {
    /// Path of META.
    #[must_use]
    pub fn meta_path(&self) -> PathBuf {
        self.path.join("META")
    }

    /// Path of LOCK.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.join("LOCK")
    }

    /// Path of segment `number`.
    #[must_use]
    pub fn segment_path(&self, number: u64) -> PathBuf {
        self.segments_dir().join(names::segment(number))
    }

    fn segments_dir(&self) -> PathBuf {
        self.path.join("segments")
    }

    fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    fn footers_dir(&self) -> PathBuf {
        self.path.join("footers")
    }

    fn heads_dir(&self) -> PathBuf {
        self.path.join("heads")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.path.join("quarantine")
    }

    /// Makes the directories of a log.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn create_dirs(&self) -> Result<()> {
        for dir in [self.path.clone(), self.segments_dir()] {
            self.vfs.create_dir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        }
        self.sync_dir(&self.path)
    }

    /// Makes the way to the log's directory durable: whoever made one of its parents may have died before this.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_parents(&self) -> Result<()> {
        for dir in self.path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            match self.vfs.sync_dir(dir) {
                // Where we may not even look, we made nothing.
                Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => break,
                done => done.map_err(|error| Error::io(dir, "sync the directory", error))?,
            }
        }
        Ok(())
    }

    /// Makes a directory inside the log's; durable on return.
    fn make_dir(&self, dir: &Path) -> Result<()> {
        self.vfs.create_dir(dir).map_err(|error| Error::io(dir, "make the directory", error))?;
        self.sync_dir(&self.path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        if is_planted(Bug::DirectoryNotSynced) {
            return Ok(());
        }
        self.vfs.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))
    }

    /// Lists what is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Listing> {
        const OURS: [&str; 12] = [
            "LOCK",
            "META",
            "segments",
            "heads",
            "holds",
            "footers",
            "schemas",
            "snapshots",
            "subscriptions",
            "quarantine",
            "audit",
            "META.tmp",
        ];
        let mut listing = Listing::default();
        let top = self.vfs.list(&self.path).map_err(|error| Error::io(&self.path, "list", error))?;
        listing.stray.extend(top.into_iter().filter(|name| !OURS.contains(&name.as_str())));
        let dir = self.segments_dir();
        let inside = match self.vfs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(&dir, "list", error)),
        };
        for name in inside {
            if let Some(number) = names::segment_number(&name) {
                listing.segments.push(number);
            } else if let Some(number) = names::sealed_number(&name) {
                listing.sealed.push(number);
            } else if names::is_prepared(&name) {
                listing.prepared.push(name);
            } else if !names::is_index(&name) {
                listing.stray.push(format!("segments/{name}"));
            }
        }
        listing.doubled = listing.sealed.extract_if(.., |number| listing.segments.contains(number)).collect();
        listing.sealed.sort_unstable();
        listing.segments.extend(&listing.sealed);
        listing.segments.sort_unstable();
        Ok(listing)
    }

    /// A file that is read whole, where its size is what its first bytes say; else these alone, in which whoever decodes them
    /// finds what is wrong. A file that somebody stretched allocates nothing.
    fn read_whole(
        file: &dyn File,
        header_bytes: usize,
        size_of: impl Fn(&[u8]) -> Option<u64>,
    ) -> io::Result<Vec<u8>> {
        let size = file.bytes()?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(header_bytes)];
        file.read_at(0, &mut bytes)?;
        if size_of(&bytes) == Some(size) {
            let header = bytes.len();
            bytes.resize(usize::try_from(size).unwrap_or(header), 0);
            file.read_at(header as u64, bytes.get_mut(header..).unwrap_or_default())?;
        }
        Ok(bytes)
    }

    /// Removes a file; one that is not there is fine. Not synced.
    fn remove_if_there(&self, path: &Path) -> Result<()> {
        match self.vfs.unlink(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove", error)),
            _ => Ok(()),
        }
    }

    /// Writes a file whole or not at all: aside, synced, renamed, directory synced (R18).
    fn replace(&self, dir: &Path, aside: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let (aside, path) = (dir.join(aside), dir.join(name));
        self.remove_if_there(&aside)?;
        let write = || {
            let file = self.vfs.create(&aside).map_err(|error| Error::io(&aside, "make", error))?;
            let room = bytes.len() as u64;
            file.allocate(room).map_err(|error| Error::no_room(&aside, room, error))?;
            file.write_at(0, bytes).map_err(|error| Error::io(&aside, "write", error))?;
            if is_planted(Bug::SnapshotNotSynced) {
                return Ok(());
            }
            file.sync_all().map_err(|error| Error::io(&aside, "sync", error))
        };
        if let Err(error) = write() {
            let _left_over = self.vfs.unlink(&aside);
            return Err(error);
        }
        self.vfs.rename(&aside, &path).map_err(|error| Error::io(&path, "rename", error))?;
        self.sync_dir(dir)
    }
}
