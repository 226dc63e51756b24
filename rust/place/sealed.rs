//! Sealed segments: written aside, put in their place, and the raw file removed.
//!
//! Owns the order of syncs. Invariants: a name stands for a whole, durable file; a raw file goes only once its sealed one does.

use std::{path::PathBuf, sync::Arc};

use super::Place;
use crate::{
    error::{Error, Result},
    format::names,
    segment::Sealed,
    vfs::File,
};

impl Place {
    /// Path of segment `number` once it is sealed.
    #[must_use]
    pub fn sealed_path(&self, number: u64) -> PathBuf {
        self.segments_dir().join(names::sealed(number))
    }

    /// Path under which segment `number` is sealed.
    #[must_use]
    pub fn sealing_path(&self, number: u64) -> PathBuf {
        self.segments_dir().join(names::sealing(number))
    }

    /// Makes the file in which segment `number` is sealed; what a crash left under the name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn begin_sealing(&self, number: u64) -> Result<Arc<dyn File>> {
        let path = self.sealing_path(number);
        self.abandon_sealing(number)?;
        self.vfs.create(&path).map_err(|error| Error::io(path, "make", error))
    }

    /// Removes an unfinished one; none is fine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn abandon_sealing(&self, number: u64) -> Result<()> {
        self.remove_if_there(&self.sealing_path(number))
    }

    /// Gives the finished, synced file its name; durable on return.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish_sealing(&self, number: u64) -> Result<Arc<Sealed>> {
        let (aside, path) = (self.sealing_path(number), self.sealed_path(number));
        self.vfs.rename(&aside, &path).map_err(|error| Error::io(&aside, "rename", error))?;
        self.sync_dir(&self.segments_dir())?;
        Sealed::open(&*self.vfs, path)
    }

    /// Makes the names of sealed files durable that a crash may have caught before they were.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_names(&self) -> Result<()> {
        self.sync_dir(&self.segments_dir())
    }

    /// Removes the raw file of a segment whose sealed one is whole, unless retention was faster. Not synced: should it come
    /// back, it is removed again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_raw(&self, number: u64) -> Result<()> {
        self.remove_if_there(&self.segment_path(number))
    }

    /// Removes a sealed file whose raw one is still there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_sealed(&self, number: u64) -> Result<()> {
        let path = self.sealed_path(number);
        self.vfs.unlink(&path).map_err(|error| Error::io(path, "remove", error))
    }
}
