//! The quarantine: what recovery sets aside, as it was found.
//!
//! Owns its names and the order of syncs. Invariants: nothing in it is ever replaced or removed; a file is gone from the log
//! only once it stands here.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{Place, segments::copy_written};
use crate::{
    error::{Error, Result},
    format::{meta::META_FILE_BYTES, names},
    planted::{Bug, is_planted},
    vfs::File,
};

/// What the names of a segment's file end with, raw and sealed.
const SUFFIXES: [&str; 2] = ["log", "seg"];

impl Place {
    /// Keeps a copy of `bytes`, found in `segment` behind its last good record; durable on return. One is enough, however
    /// often an opening is tried.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn quarantine_tail(&self, segment: u64, offset: u64, bytes: &[u8]) -> Result<String> {
        let dir = self.quarantine_dir();
        self.make_dir(&dir)?;
        for attempt in 0.. {
            let name = names::quarantined_tail(segment, offset, attempt);
            match self.vfs.open(&dir.join(&name), false) {
                Ok(kept) if holds(&*kept, bytes) => {
                    // Its content was durable before it had this name.
                    self.sync_dir(&dir)?;
                    return Ok(name);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.replace(&dir, "tail.tmp", &name, bytes)?;
                    return Ok(name);
                }
                Err(error) => return Err(Error::io(dir.join(name), "open", error)),
            }
        }
        Err(Error::io(dir, "find a free name", ErrorKind::AlreadyExists.into()))
    }

    /// Whether segment `number` lies in quarantine.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_quarantined(&self, number: u64) -> Result<bool> {
        let mut is_there = false;
        for suffix in SUFFIXES {
            is_there |= self.exists(&self.quarantine_dir().join(names::quarantined(number, suffix, 0)))?;
        }
        Ok(is_there)
    }

    /// The segments in quarantine: number, whether it is sealed, path; in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn quarantined_segments(&self) -> Result<Vec<(u64, bool, PathBuf)>> {
        let dir = self.quarantine_dir();
        let names = match self.vfs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(dir, "list", error)),
        };
        let numbered = names.into_iter().filter_map(|name| {
            let (number, is_sealed) = names::quarantined_number(&name)?;
            Some((number, is_sealed, dir.join(&name)))
        });
        Ok(numbered.collect())
    }

    /// Moves the files of a segment, raw and sealed, out of the log; durable on return. Their names there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn quarantine_segment(&self, number: u64) -> Result<Vec<String>> {
        let dir = self.quarantine_dir();
        self.make_dir(&dir)?;
        let mut moved = Vec::new();
        for (suffix, from) in SUFFIXES.into_iter().zip([self.segment_path(number), self.sealed_path(number)])
        {
            if !self.exists(&from)? {
                continue;
            }
            let name = self.free_name(number, suffix)?;
            let renamed = self.vfs.rename(&from, &dir.join(&name));
            renamed.map_err(|error| Error::io(from, "quarantine", error))?;
            moved.push(name);
        }
        self.sync_dir(&dir)?;
        self.sync_dir(&self.segments_dir())?;
        Ok(moved)
    }

    /// Keeps a copy of the file at `path`, which holds segment `number`; durable on return. Its name there.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn quarantine_copy(&self, number: u64, path: &Path) -> Result<String> {
        let dir = self.quarantine_dir();
        self.make_dir(&dir)?;
        let suffix = if path.extension().is_some_and(|suffix| suffix == "seg") { "seg" } else { "log" };
        let (name, aside) = (self.free_name(number, suffix)?, dir.join("segment.tmp"));
        self.remove_if_there(&aside)?;
        let copy = || {
            let old = self.vfs.open(path, false).map_err(|error| Error::io(path, "open", error))?;
            let bytes = old.bytes().map_err(|error| Error::io(path, "measure", error))?;
            let file = self.vfs.create(&aside).map_err(|error| Error::io(&aside, "make", error))?;
            file.allocate(bytes).map_err(|error| Error::no_room(&aside, bytes, error))?;
            copy_written(&*old, &*file, bytes).map_err(|error| Error::io(path, "copy", error))?;
            if is_planted(Bug::CopyNotSynced) {
                return Ok(());
            }
            file.sync_all().map_err(|error| Error::io(&aside, "sync", error))
        };
        if let Err(error) = copy() {
            let _left_over = self.vfs.unlink(&aside);
            return Err(error);
        }
        let path = dir.join(&name);
        self.vfs.rename(&aside, &path).map_err(|error| Error::io(path, "rename", error))?;
        self.sync_dir(&dir)?;
        Ok(name)
    }

    /// Keeps a copy of META's file as it is, if there is one; durable on return. Its name there.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn quarantine_meta(&self) -> Result<Option<String>> {
        let (dir, path) = (self.quarantine_dir(), self.meta_path());
        if !self.exists(&path)? {
            return Ok(None);
        }
        self.make_dir(&dir)?;
        let file = self.vfs.open(&path, false).map_err(|error| Error::io(&path, "open", error))?;
        let size =
            file.bytes().map_err(|error| Error::io(&path, "measure", error))?.min(META_FILE_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(META_FILE_BYTES)];
        file.read_at(0, &mut bytes).map_err(|error| Error::io(&path, "read", error))?;
        for attempt in 0.. {
            let name = names::quarantined_meta(attempt);
            if !self.exists(&dir.join(&name))? {
                self.replace(&dir, "META.tmp", &name, &bytes)?;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn free_name(&self, number: u64, suffix: &str) -> Result<String> {
        for attempt in 0.. {
            let name = names::quarantined(number, suffix, attempt);
            if !self.exists(&self.quarantine_dir().join(&name))? {
                return Ok(name);
            }
        }
        Err(Error::io(self.quarantine_dir(), "find a free name in", ErrorKind::AlreadyExists.into()))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        match self.vfs.open(path, false) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(path, "open", error)),
        }
    }
}

/// Whether a file holds these bytes and no others; one that cannot be read does not.
fn holds(file: &dyn File, bytes: &[u8]) -> bool {
    let mut kept = vec![0; bytes.len()];
    file.bytes().is_ok_and(|size| size == bytes.len() as u64)
        && file.read_at(0, &mut kept).is_ok()
        && kept == bytes
}
