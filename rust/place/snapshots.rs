//! Snapshot files: caches, each whole or absent, removed one by one.

use std::io::ErrorKind;

use super::Place;
use crate::{
    error::{Error, Result},
    format::{
        blob::{BLOB_HEADER_BYTES, Blob},
        names::{self, SnapshotName},
    },
};

impl Place {
    /// Stores a snapshot; durable on return. Until then the ones before it are untouched.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn write_snapshot(
        &self,
        log_id: [u8; 16],
        aggregate_id: &str,
        seq: u64,
        payload: &[u8],
    ) -> Result<()> {
        let dir = self.snapshots_dir();
        self.make_dir(&dir)?;
        let bytes = Blob { log_id, seq, key: aggregate_id, payload }.encode();
        let name = names::snapshot(aggregate_id, seq);
        self.replace(&dir, &format!("{name}.tmp"), &name, &bytes)
    }

    /// Key and payload of a snapshot; `None` for one that cannot be believed (a cache, R18).
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no such file.
    pub fn read_snapshot(&self, log_id: [u8; 16], name: SnapshotName) -> Result<Option<(String, Vec<u8>)>> {
        let path = self.snapshots_dir().join(name.to_string());
        let file = match self.vfs.open(&path, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Missing { path }),
            Err(_) => return Ok(None),
            Ok(file) => file,
        };
        let read = || {
            let bytes = Self::read_whole(&*file, BLOB_HEADER_BYTES, Blob::size_of).ok()?;
            let blob = Blob::decode(&bytes)?;
            let is_this = blob.log_id == log_id && SnapshotName::new(blob.key, blob.seq) == name;
            is_this.then(|| (blob.key.to_owned(), blob.payload.to_vec()))
        };
        Ok(read())
    }

    /// Removes a snapshot; one that is gone already is none. Not synced: a power loss may bring it back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_snapshot(&self, name: SnapshotName) -> Result<()> {
        self.remove_if_there(&self.snapshots_dir().join(name.to_string()))
    }

    /// Removes what a crash left of snapshots that were being written. Never while one is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear_snapshot_leftovers(&self) -> Result<()> {
        let dir = self.snapshots_dir();
        for name in self.names_of_snapshots()?.iter().filter(|name| name.ends_with(".snap.tmp")) {
            let path = dir.join(name);
            self.vfs.unlink(&path).map_err(|error| Error::io(path, "remove", error))?;
        }
        Ok(())
    }

    /// Makes the removal of snapshots durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_snapshots(&self) -> Result<()> {
        self.sync_dir(&self.snapshots_dir())
    }

    /// All snapshots, in no order.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn list_snapshots(&self) -> Result<Vec<SnapshotName>> {
        Ok(self.names_of_snapshots()?.iter().filter_map(|name| SnapshotName::parse(name)).collect())
    }

    fn names_of_snapshots(&self) -> Result<Vec<String>> {
        let dir = self.snapshots_dir();
        match self.vfs.list(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| Error::io(dir, "list", error)),
        }
    }
}
