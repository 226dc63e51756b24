//! The walk over the records of one segment: the only code that steps from record to record.
//!
//! Refuses to know what follows the segment, or whether a fault is a torn tail or damage.

use std::sync::Arc;

use super::{Position, Segment, Source};
use crate::{
    error::Result,
    format::sealed::Directory,
    format::{
        BatchHead, Fixed, Kind, Names, RecordFault, RecordView, dictionary_text, known_flags,
        split_commit_word,
    },
    planted::{Bug, is_planted},
};

/// What the next step of a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An event; [`Walk::record`] has its bytes.
    Event(Fixed),
    /// The segment's end; the next one has this number.
    End {
        /// Number of the next segment.
        next_segment: u64,
    },
    /// Nothing is committed here (yet).
    Pending,
    /// Something is here that is no record.
    Fault(RecordFault),
}

/// A walk over the records of one segment. Copies each record, checks the copy, and hands out the copy (R8).
#[derive(Debug)]
pub struct Walk {
    /// Where it stands.
    pub position: Position,
    /// Where the record of the last step begins.
    pub record_offset: usize,
    /// Ignorable records passed so far (R2).
    pub skipped_records: u64,
    /// Records of every kind passed so far.
    pub record_count: u64,
    source: Source,
    epoch: u32,
    buffer: Vec<u8>,
    record_bytes: usize,
    /// Where the last batch began, and the offset at which it ends.
    batch: Option<(Position, usize)>,
}

impl Walk {
    /// A walk from `position`.
    #[must_use]
    pub fn new(source: Source, epoch: u32, position: Position) -> Self {
        let record_offset = position.offset;
        Self {
            position,
            record_offset,
            skipped_records: 0,
            record_count: 0,
            source,
            epoch,
            buffer: Vec::new(),
            record_bytes: 0,
            batch: None,
        }
    }

    /// Where the log may be cut: here, or before the batch that this is the middle of (R7).
    #[must_use]
    pub fn whole_until(&self) -> &Position {
        match &self.batch {
            Some((start, end)) if self.position.offset < *end => start,
            _ => &self.position,
        }
    }

    /// The blocks of a sealed segment; `None` of a raw one.
    #[must_use]
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        match &self.source {
            Source::Raw(_) => None,
            Source::Sealed(view) => Some(&view.directory),
        }
    }

    /// Goes to the beginning of block `at` of a sealed segment, or behind the last.
    pub fn go_to_block(&mut self, at: usize) {
        if let Source::Sealed(view) = &self.source {
            self.position = view.position(at);
        }
    }

    /// Goes on behind the block of a sealed segment that could not be read; the first event in it and the one behind it.
    pub fn pass_broken_block(&mut self) -> Option<(u64, u64)> {
        let Source::Sealed(view) = &mut self.source else { return None };
        let at = view.directory.at_offset(self.position.offset)?;
        view.mend();
        let (first, behind) = (view.position(at), view.position(at + 1));
        let lost = (first.next_seq, behind.next_seq);
        self.position = behind;
        Some(lost)
    }

    /// The bytes of the last event.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.buffer.get(..self.record_bytes).unwrap_or_default()
    }

    /// The error for a walk that stopped because the file of `segment` was cut off under it, is damaged, or its device failed.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`], [`crate::error::Error::Io`].
    pub fn refuse_if_broken(&self, segment: &Segment) -> Result<()> {
        self.source.refuse_if_broken(segment, self.position.offset)
    }

    /// Goes on at the same place of another source of the segment.
    pub fn go_on_in(&mut self, source: Source) {
        self.source = source;
    }

    /// The commit word where the walk stands; `None` at the end of the file.
    #[must_use]
    pub fn pending_word(&self) -> Option<u32> {
        self.source.pending_word(self.position.offset)
    }

    /// Whether it stands where nothing is committed yet, in a file that may still be written.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(self.source, Source::Raw(_)) && self.pending_word() == Some(0)
    }

    /// The last event, decoded.
    ///
    /// # Errors
    /// [`RecordFault`]: never after `Step::Event`, which decoded it once.
    pub fn view(&self, fixed: Fixed) -> std::result::Result<RecordView<'_>, RecordFault> {
        RecordView::parse(self.record(), fixed, &self.position.names)
    }

    /// Goes to the next event, the end, or as far as it can. Stays where it is unless it found an event or the end.
    pub fn step(&mut self) -> Step {
        self.step_with(|_| ())
    }

    /// As [`Walk::step`]; `look` sees the event, which is decoded once, before the walk goes on.
    pub fn step_with(&mut self, look: impl FnMut(&RecordView<'_>)) -> Step {
        self.step_over(|_, _, _| false, look)
    }

    /// As [`Walk::step_with`], over each event that `passes` says to pass over by its fixed part, its offset and the dictionary: it is
    /// checked, and not decoded.
    pub fn step_over(
        &mut self,
        mut passes: impl FnMut(&Fixed, usize, &Names) -> bool,
        mut look: impl FnMut(&RecordView<'_>),
    ) -> Step {
        loop {
            let fixed = match self.load(self.position.offset) {
                Ok(Some(fixed)) => fixed,
                Ok(None) => return Step::Pending,
                Err(fault) => return Step::Fault(fault),
            };
            if fixed.seq != self.position.next_seq {
                return Step::Fault(RecordFault::Content("its position is out of order"));
            }
            let found = match fixed.kind {
                Kind::Event if passes(&fixed, self.position.offset, &self.position.names) => {
                    known_flags(self.record()).map(|_| None)
                }
                // Looked at where it lies: moving a view that was just made waits for it to reach the cache.
                Kind::Event => match self.view(fixed) {
                    Ok(ref view) => {
                        look(view);
                        Ok(Some(Step::Event(fixed)))
                    }
                    Err(fault) => Err(fault),
                },
                Kind::End => Ok(Some(Step::End { next_segment: fixed.aggregate_prev.unwrap_or(0) })),
                Kind::BatchHead => self.check_batch(fixed).map(|()| None),
                Kind::Dictionary => self.learn_name(fixed).map(|()| None),
                Kind::Ignorable(_) => {
                    self.skipped_records += 1;
                    Ok(None)
                }
            };
            let found = match found {
                Ok(found) => found,
                Err(fault) => return Step::Fault(fault),
            };
            self.record_offset = self.position.offset;
            self.position.offset += fixed.length;
            self.position.next_seq += u64::from(fixed.kind == Kind::Event);
            self.record_count += 1;
            if let Some(step) = found {
                return step;
            }
        }
    }

    /// Copies the record at `offset` and checks the copy. `None`: not committed.
    fn load(&mut self, offset: usize) -> std::result::Result<Option<Fixed>, RecordFault> {
        let word = self.source.commit(offset)?;
        if word == 0 {
            return Ok(None);
        }
        let (_, bytes) = split_commit_word(word);
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= self.source.bytes());
        if !Fixed::is_possible_length(bytes) || !fits {
            return Err(RecordFault::Length(bytes));
        }
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        self.record_bytes = bytes;
        let target = self.buffer.get_mut(..bytes).unwrap_or_default();
        if !self.source.copy(offset, target) {
            return Err(RecordFault::Length(bytes));
        }
        Fixed::check(target, self.epoch).map(Some)
    }

    /// Checks every member before the first is given out (R7).
    fn check_batch(&mut self, head: Fixed) -> std::result::Result<(), RecordFault> {
        let announced = BatchHead::from(&head);
        let start = self.position.offset + head.length;
        let end = usize::try_from(announced.bytes).ok().and_then(|bytes| start.checked_add(bytes));
        let Some(end) = end.filter(|end| *end <= self.source.bytes()) else {
            return Err(RecordFault::Content("its batch has an impossible size"));
        };
        self.batch = Some((self.position.clone(), end));
        if is_planted(Bug::BatchNotChecked) {
            return Ok(());
        }
        let (mut offset, mut seq) = (start, head.seq);
        while offset < end {
            let member = self.load(offset)?.ok_or(RecordFault::Content("its batch has a hole"))?;
            if member.kind != Kind::Event || member.seq != seq {
                return Err(RecordFault::Content("its batch holds something else"));
            }
            self.view(member)?;
            offset += member.length;
            seq += 1;
        }
        if offset != end || seq - head.seq != u64::from(announced.count) {
            return Err(RecordFault::Content("its batch is not what its head says"));
        }
        Ok(())
    }

    fn learn_name(&mut self, fixed: Fixed) -> std::result::Result<(), RecordFault> {
        let number = usize::try_from(fixed.number).unwrap_or(usize::MAX);
        let record = self.buffer.get(..self.record_bytes).unwrap_or_default();
        let text = dictionary_text(record)?;
        match self.position.names.get(number) {
            Some(known) if known == text => Ok(()),
            None if number == self.position.names.count() => {
                let is_stored = Arc::make_mut(&mut self.position.names).push(text);
                if is_stored { Ok(()) } else { Err(RecordFault::Content("its dictionary is too large")) }
            }
            _ => Err(RecordFault::Content("its dictionary number is out of order")),
        }
    }
}
