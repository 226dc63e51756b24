//! Where a scan stands, and what the segments behind that place say of it.
//!
//! Owns the question why a cursor does not get on: nothing is there yet, its mapping is of a file that recovery has replaced, or
//! the log was cut before it. Knows no filter.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    segment::{Segment, Walk},
    shelf::Shelf,
    vfs::Vfs,
};

/// Where a scan stands.
pub(super) struct Cursor {
    pub segment: Arc<Segment>,
    pub walk: Walk,
    /// Behind the end record.
    pub is_ended: bool,
    /// The commit word at which the walk could not go on: a torn tail stays one until it changes.
    pub stuck_at: Option<u32>,
    /// Where it went on in the file that has the segment's name now.
    pub reopened_at: Option<usize>,
}

impl Cursor {
    pub fn new(segment: Arc<Segment>, walk: Walk) -> Self {
        Self { segment, walk, is_ended: false, stuck_at: None, reopened_at: None }
    }

    /// What the segment that comes next says of the place where this one stands and does not get on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a recovery has cut the log before it.
    pub fn onward(&self, segments: &Shelf) -> Result<Onward> {
        let here = (self.segment.header.number, self.walk.position.offset as u64);
        let Some(next) = segments.after(&self.segment) else { return Ok(Onward::Unknown) };
        match (next.entry.prev_segment, next.entry.prev_end).cmp(&here) {
            Less => {
                let why =
                    "what was read up to here was lost: a later writer found that the log ends before it";
                Err(Error::corrupt(&self.segment.path(), here.1, why))
            }
            // The follower that was not there a moment ago.
            Equal => Ok(Onward::Unknown),
            Greater => Ok(Onward::Here),
        }
    }

    /// Goes on in the file that has the segment's name now; false where it did so before, at this place. The mapping may be
    /// of a file whose place a recovery has given to another: what the old one had in the cache alone may be gone. Also
    /// where nothing is wrong and the records came between two looks.
    pub fn reopen(&mut self, vfs: &dyn Vfs) -> Result<bool> {
        let offset = self.walk.position.offset;
        if self.reopened_at.replace(offset) == Some(offset) {
            return Ok(false);
        }
        if vfs.is_durable() {
            self.walk.go_on_in(self.segment.source_again(vfs)?);
        }
        Ok(true)
    }

    /// Whether the file, too, has nothing here. What a mapping shows is ordered by commit words alone, and this one has not
    /// been seen yet: the system's own reading is asked before zeros are called damage.
    pub fn finds_zeros(&self, vfs: &dyn Vfs) -> Result<bool> {
        let path = &self.segment.path();
        let offset = self.walk.position.offset as u64;
        let mut word = [0; 4];
        let read = vfs.open(path, false).and_then(|file| file.read_at(offset, &mut word));
        read.map_err(|error| Error::io(path, "read", error))?;
        Ok(word == [0; 4])
    }
}

/// Where a log goes on, seen from a cursor that does not get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    /// Nobody says so yet.
    Unknown,
    /// In this segment: there are records behind this place.
    Here,
}
