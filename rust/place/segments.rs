//! Segment files: prepared, opened, removed.
//!
//! Invariants: a name stands for a file whose header is durable; only a file in which nothing was ever written is removed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Place;
use crate::{
    error::{Error, Result},
    format::{
        meta::Meta,
        names,
        segment::{ENTRY_OFFSET, SegmentHeader},
    },
    vfs::File,
};

const COPY_BYTES: usize = 64 * 1024;

impl Place {
    /// The number of the next segment to be prepared.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the highest one leaves none that a file's name can hold.
    pub fn next_number(&self, meta: &Meta) -> Result<u64> {
        let next = meta.highest_segment.checked_add(1).filter(|next| *next <= names::MAX_SEGMENT_NUMBER);
        next.ok_or_else(|| {
            Error::corrupt(self.meta_path(), 80, "its highest segment leaves no higher number")
        })
    }

    /// Prepares a segment: room reserved, header durable, name in place (R10). `check` is asked once the file is made and
    /// before it gets its name.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`], those of `check`; nothing is left behind.
    pub fn prepare_segment(
        &self,
        header: &SegmentHeader,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<Arc<dyn File>> {
        self.make_segment(header, |file, prepared| {
            check()?;
            let written = file.write_at(0, &header.encode());
            written.map_err(|error| Error::io(prepared, "write", error))
        })
    }

    /// Puts a new file with the same bytes in the place of a segment: in blocks of its own, durable on return. `check`
    /// looks at the copy first.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`], those of `check`; the old file stays.
    pub fn renew_segment(
        &self,
        header: &SegmentHeader,
        check: impl FnOnce(PathBuf) -> Result<()>,
    ) -> Result<()> {
        let path = self.segment_path(header.number);
        let old = self.vfs.open(&path, false).map_err(|error| Error::io(&path, "open", error))?;
        let made = self.make_segment(header, |file, prepared| {
            let copied = copy_written(&*old, file, header.file_bytes);
            copied.map_err(|error| Error::io(&path, "write once more", error))?;
            check(prepared.to_owned())
        });
        made.map(|_file| ())
    }

    /// Makes a segment file aside, filled by `write`, and puts it in its place; where that fails nothing is left behind.
    pub(super) fn make_segment(
        &self,
        header: &SegmentHeader,
        write: impl FnOnce(&dyn File, &Path) -> Result<()>,
    ) -> Result<Arc<dyn File>> {
        let prepared = self.segments_dir().join(names::prepared(header.number));
        let made = self.fill_prepared(&prepared, header, write);
        if made.is_err() {
            // Best effort: the next opening removes it too.
            let _left_over = self.vfs.unlink(&prepared);
        }
        made
    }

    fn fill_prepared(
        &self,
        prepared: &Path,
        header: &SegmentHeader,
        write: impl FnOnce(&dyn File, &Path) -> Result<()>,
    ) -> Result<Arc<dyn File>> {
        let path = self.segment_path(header.number);
        let failed = |action: &'static str| move |error| Error::io(prepared, action, error);
        // A crash may have left one of this name; no segment is ever used under it.
        self.remove_if_there(prepared)?;
        let file = self.vfs.create(prepared).map_err(failed("make"))?;
        file.allocate(header.file_bytes)
            .map_err(|error| Error::no_room(prepared, header.file_bytes, error))?;
        write(&*file, prepared)?;
        // ORDER: content before name, name before use.
        file.sync_all().map_err(failed("sync"))?;
        self.vfs.rename(prepared, &path).map_err(failed("rename"))?;
        self.sync_dir(&self.segments_dir())?;
        Ok(file)
    }

    /// Opens segment `number` for writing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reopen_segment(&self, number: u64) -> Result<Arc<dyn File>> {
        let path = self.segment_path(number);
        self.vfs.open(&path, true).map_err(|error| Error::io(path, "open", error))
    }

    /// Whether a segment holds anything behind its header.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_written(&self, number: u64) -> Result<bool> {
        let path = self.segment_path(number);
        let look = || {
            let file = self.vfs.open(&path, false)?;
            Ok(!is_zero_from(&*file, ENTRY_OFFSET as u64)?)
        };
        look().map_err(|error| Error::io(&path, "read", error))
    }

    /// Removes segment files and left-overs of preparing them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_segments(&self, numbers: &[u64], prepared: &[String]) -> Result<()> {
        let dir = self.segments_dir();
        let paths = numbers.iter().map(|number| self.segment_path(*number));
        for path in paths.chain(prepared.iter().map(|name| dir.join(name))) {
            self.remove_if_there(&path)?;
        }
        if numbers.is_empty() && prepared.is_empty() { Ok(()) } else { self.sync_dir(&dir) }
    }
}

/// Copies all that is not zero; the rest of a file that was just allocated is.
pub(super) fn copy_written(from: &dyn File, to: &dyn File, bytes: u64) -> io::Result<()> {
    each_written(from, 0, bytes, |at, part| to.write_at(at, part))
}

/// Whether a file holds nothing from `offset` on.
///
/// # Errors
/// Of the system.
pub fn is_zero_from(file: &dyn File, offset: u64) -> io::Result<bool> {
    let mut is_zero = true;
    each_written(file, offset, file.bytes()?, |_, _| {
        is_zero = false;
        Ok(())
    })?;
    Ok(is_zero)
}

/// Calls `act` with each part of a file between `from` and `end` that is not all zeros, and where it lies.
fn each_written(
    file: &dyn File,
    from: u64,
    end: u64,
    mut act: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = from;
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let part = buffer.get_mut(..count).unwrap_or_default();
        file.read_at(at, part)?;
        if part.iter().any(|byte| *byte != 0) {
            act(at, part)?;
        }
        at += count as u64;
    }
    Ok(())
}
