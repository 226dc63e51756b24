//! The front of a segment as a raw file of its own: what a cut leaves of a damaged one, and the end of a backup.
//!
//! Owns the copy and its check. Invariants: the name stands for a whole, durable file; no watermark is taken over, for it may
//! speak of records behind the cut.

use super::Place;
use crate::{
    error::{Error, Result},
    format::{
        RECORD_FIXED_BYTES,
        meta::Mark,
        segment::{ENTRY_OFFSET, PAGE_BYTES, RECORDS_OFFSET, SegmentHeader},
    },
    segment::{Segment, Step},
    vfs::Vfs,
};

impl Place {
    /// Writes the records of `segment`, which lies in `from`, up to `end` as the raw file of that number here, in the place of
    /// one that is there. `file_bytes`: its size, at least what the records and an end record need. Durable on return.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they cannot be read to there, [`Error::DiskFull`], [`Error::Io`]; nothing is replaced then.
    pub fn write_front(&self, segment: &Segment, from: &dyn Vfs, end: Mark, file_bytes: u64) -> Result<()> {
        let unreadable =
            |offset: usize| Error::corrupt(segment.path(), offset as u64, "its records cannot be read");
        let stop = usize::try_from(end.offset).map_err(|_| unreadable(0))?;
        let header = SegmentHeader { file_bytes, ..segment.header };
        let mut source = segment.source(from)?;
        let made = self.make_segment(&header, |file, prepared| {
            let put = |offset: usize, bytes: &[u8]| {
                file.write_at(offset as u64, bytes).map_err(|error| Error::io(prepared, "write", error))
            };
            put(0, &header.encode())?;
            put(ENTRY_OFFSET, &segment.entry.encode(header.epoch))?;
            let mut offset = RECORDS_OFFSET;
            while offset < stop {
                let part = source.part(offset, stop).ok_or_else(|| unreadable(offset))?;
                put(offset, &part)?;
                offset += part.len();
            }
            source.refuse_if_broken(segment, offset)?;
            let copy = Segment::new(prepared.to_owned(), header, segment.entry);
            let mut walk = copy.walk(&*self.vfs)?;
            while walk.position.offset < stop && !matches!(walk.step(), Step::Pending | Step::Fault(_)) {}
            let found = (walk.position.offset, walk.position.next_seq);
            if found == (stop, end.next_seq) { Ok(()) } else { Err(unreadable(found.0)) }
        });
        made.map(|_file| ())
    }
}

/// The least size of a raw file whose records end at `offset`.
#[must_use]
pub fn least_bytes(offset: u64) -> u64 {
    (offset + RECORD_FIXED_BYTES as u64).next_multiple_of(PAGE_BYTES as u64)
}
