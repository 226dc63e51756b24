//! META's two copies on disk.
//!
//! Invariant: at any moment one copy is whole, and it is never older than what was acted upon: both are rewritten at each
//! change, the second only once the first is durable. Where a change failed, the next one begins with the copy that it left
//! in doubt.

use std::io::ErrorKind;

use super::Place;
use crate::{
    error::{Error, Result},
    format::{
        meta::{META_BYTES, META_FILE_BYTES, Meta},
        segment::PAGE_BYTES,
    },
    planted::{Bug, is_planted},
    vfs::File,
};

impl Place {
    /// META, or `None` where there is no such file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if neither copy is whole, [`Error::Version`], [`Error::Io`].
    pub fn read_meta(&self) -> Result<Option<Meta>> {
        let path = self.meta_path();
        let file = match self.vfs.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path, "open", error)),
        };
        let first = self.read_meta_copy(&*file, 0);
        let second = self.read_meta_copy(&*file, PAGE_BYTES as u64);
        match (first, second) {
            // A copy that cannot be read may be the newer one: the other does not stand in for it.
            (Err(unread @ Error::Io { .. }), _) | (_, Err(unread @ Error::Io { .. }))
                if !is_planted(Bug::UnreadMetaPassedOver) =>
            {
                Err(unread)
            }
            (Ok(first), Ok(second)) => {
                Ok(Some(if second.generation > first.generation { second } else { first }))
            }
            (Ok(whole), Err(_)) | (Err(_), Ok(whole)) => Ok(Some(whole)),
            (Err(fault), Err(_)) => Err(fault),
        }
    }

    /// Offsets of copies of META that are not whole, and why.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn damaged_meta_copies(&self) -> Result<Vec<(u64, Error)>> {
        let path = self.meta_path();
        let file = match self.vfs.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(path, "open", error)),
        };
        let copies = [0, PAGE_BYTES as u64].map(|offset| (offset, self.read_meta_copy(&*file, offset)));
        Ok(copies.into_iter().filter_map(|(offset, copy)| Some((offset, copy.err()?))).collect())
    }

    fn read_meta_copy(&self, file: &dyn File, offset: u64) -> Result<Meta> {
        let path = self.meta_path();
        let mut bytes = [0; META_BYTES];
        match file.read_at(offset, &mut bytes) {
            Ok(()) => Meta::decode(&bytes).map_err(|fault| fault.at(path, offset)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(Error::corrupt(path, offset, "the file is cut off"))
            }
            Err(error) => Err(Error::io(path, "read", error)),
        }
    }

    /// Makes META, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn create_meta(&self, meta: &Meta) -> Result<()> {
        let copy = meta.encode();
        let mut bytes = vec![0; META_FILE_BYTES];
        for page in bytes.chunks_exact_mut(PAGE_BYTES) {
            page.get_mut(..META_BYTES).unwrap_or_default().copy_from_slice(&copy);
        }
        self.replace(&self.path, "META.tmp", "META", &bytes)
    }

    /// Rewrites both copies of META. Durable on return.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] where no generation is left.
    pub fn write_meta(&self, meta: &mut Meta) -> Result<()> {
        let path = self.meta_path();
        let failed = |action| {
            let path = path.clone();
            move |error| Error::io(path, action, error)
        };
        let file = self.vfs.open(&path, true).map_err(failed("open"))?;
        let order = self.doubtful_copy_first(&*file);
        meta.generation = self.generation_after(meta, order)?;
        let [first, second] = order.map(|copy| copy * PAGE_BYTES as u64);
        let copy = meta.encode();
        // ORDER: the second copy is touched only once the first is durable, so that one is whole at any moment.
        let write = |offset| {
            file.write_at(offset, &copy).map_err(failed("write"))?;
            file.sync_data().map_err(failed("sync"))
        };
        write(first)?;
        write(second).inspect_err(|_| {
            // What it looks like may not be what the disk has: let it look like nothing, so that it comes first next time.
            let _best_effort = file.write_at(second, &[0; META_BYTES]);
        })
    }

    /// The generation that the next [`Place::write_meta`] of `meta` gives it.
    ///
    /// # Errors
    /// As that.
    pub fn next_generation(&self, meta: &Meta) -> Result<u64> {
        let path = self.meta_path();
        let file = self.vfs.open(&path, false).map_err(|error| Error::io(path, "open", error))?;
        self.generation_after(meta, self.doubtful_copy_first(&*file))
    }

    /// One more; or two, where the parity of that is the other copy's.
    fn generation_after(&self, meta: &Meta, [first, _]: [u64; 2]) -> Result<u64> {
        // Nothing wears out that a log wrote itself: a number at its end was forged.
        let after = meta.generation.checked_add(1).and_then(|next| next.checked_add((next % 2) ^ first));
        after.ok_or_else(|| Error::corrupt(self.meta_path(), 48, "its generation leaves no higher one"))
    }

    /// Which copy is written first, and which then: first the one that the disk may not have. That is one that is not whole;
    /// or that is newer than the other, for then the sync behind it failed or never came; or, of two of one generation, the one
    /// that was written last, since a writer that is killed before its sync leaves it in the cache alone. A generation is odd
    /// where the second copy was written first.
    fn doubtful_copy_first(&self, file: &dyn File) -> [u64; 2] {
        let [first, second] = [0, 1].map(|copy| {
            let copy = self.read_meta_copy(file, copy * PAGE_BYTES as u64);
            copy.ok().map(|meta| meta.generation)
        });
        let is_second = match (first, second) {
            (Some(first), Some(second)) if first == second => first % 2 == 0,
            (Some(first), Some(second)) => second > first,
            (first, _) => first.is_some(),
        };
        if is_second { [1, 0] } else { [0, 1] }
    }
}
