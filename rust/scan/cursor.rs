//! Where a scan stands, and what the segments behind that place say of it.
//!
//! Owns the question why a cursor does not get on: nothing is there yet, its mapping is of a file that recovery has replaced, or
//! the log was cut before it. Knows of the filter what may be passed over, not what matches.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    ops::RangeInclusive,
    sync::Arc,
};

use super::query::{Filter, Numbers};
use crate::{
    error::{Error, Result},
    format::{Fixed, Names, RecordView, sealed::BlockEntry},
    planted::{Bug, is_planted},
    segment::{Segment, Step, Walk},
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
    /// Of a sealed segment: which blocks are worth a look, and the offset from which the next one has to be asked for.
    plan: Option<(Vec<bool>, usize)>,
    /// What the filter says of the types in its dictionary.
    numbers: Numbers,
    /// Where it went on in the file that has the segment's name now.
    pub reopened_at: Option<usize>,
}

impl Cursor {
    pub fn new(shelf: &Shelf, filter: &Filter, segment: Arc<Segment>, walk: Walk) -> Self {
        let conversations = || shelf.place.conversations_of(&segment);
        let blocks = walk.directory().and_then(|directory| filter.blocks(directory, conversations));
        let plan = blocks.map(|wanted| (wanted, 0));
        Self {
            segment,
            walk,
            is_ended: false,
            stuck_at: None,
            plan,
            numbers: Numbers::default(),
            reopened_at: None,
        }
    }

    /// Passes the blocks, from where it stands, that hold nothing for the filter; whether there were any.
    pub fn passes_blocks(&mut self) -> bool {
        let offset = self.walk.position.offset;
        let Some((wanted, asked_from)) = self.plan.as_mut().filter(|(_, asked_from)| offset >= *asked_from)
        else {
            return false;
        };
        let Some(directory) = self.walk.directory() else { return false };
        let Some(here) = directory.at_offset(offset) else { return false };
        let here = here + usize::from(is_planted(Bug::BlocksPassedOver));
        let next = wanted.iter().skip(here).position(|is_wanted| *is_wanted).map(|ahead| here + ahead);
        let next = next.unwrap_or(directory.blocks.len());
        *asked_from = directory.blocks.get(next).map_or(usize::MAX, BlockEntry::record_end);
        if next > here {
            self.walk.go_to_block(next);
        }
        next > here
    }

    /// The next step, over events that lie before `wanted` or that the filter rules out by their fixed part. Not over the last that is
    /// wanted, behind which nothing may be looked at, nor into a block that has to be asked for first.
    pub fn step(
        &mut self,
        filter: &Filter,
        wanted: &RangeInclusive<u64>,
        look: impl FnMut(&RecordView<'_>),
    ) -> Step {
        let stop = self.plan.as_ref().map_or(usize::MAX, |(_, asked_from)| *asked_from);
        let numbers = &mut self.numbers;
        let passes = |fixed: &Fixed, offset: usize, names: &Names| {
            fixed.seq < *wanted.end()
                && offset + fixed.length < stop
                && (fixed.seq < *wanted.start() || !filter.may_accept(fixed, names, numbers))
        };
        self.walk.step_over(passes, look)
    }

    /// Whether something is committed here that was not when the walk could not go on.
    pub fn has_more(&self) -> bool {
        !self.is_ended && self.walk.pending_word() != Some(self.stuck_at.unwrap_or(0))
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
                Err(Error::corrupt(self.segment.path(), here.1, why))
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
