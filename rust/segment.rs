//! One segment file as its readers see it: what it is, where an event lies in it, and the walk over its records.
//!
//! Owns the forward walk (the only code that steps from record to record) and the sparse index of positions that
//! walking leaves behind. Refuses to know what follows the segment or whether a fault is a torn tail or damage.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use crate::{
    error::{Error, Result},
    format::{
        BatchHead, Fixed, Kind, Names, RecordFault, RecordView, dictionary_text,
        segment::{Entry, RECORDS_OFFSET, SegmentHeader},
        split_commit_word,
    },
    map::{Memory, ReadMap},
    planted::{Bug, is_planted},
    threads::{Mutex, PoisonError},
    vfs::Vfs,
};

/// What is said of a mapping that broke.
pub const CUT_OFF: &str = "the file was cut off while it was mapped, or its device cannot read it";
/// Every so many events the index remembers an offset: 12 bytes for 64 events.
pub const INDEX_STRIDE: u64 = 64;

/// An entered segment: its identity, and what has been learnt of it.
#[derive(Debug)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// Number, epoch, size.
    pub header: SegmentHeader,
    /// First position, time of entering, the segment before.
    pub entry: Entry,
    map: Mutex<Weak<Memory>>,
    index: Mutex<Index>,
}

/// A place in a segment from which a walk can go on.
#[derive(Debug, Clone)]
pub struct Position {
    /// Offset of the next record.
    pub offset: usize,
    /// Position the next event has.
    pub next_seq: u64,
    /// The dictionary so far.
    pub names: Arc<Names>,
}

impl Position {
    fn start(entry: &Entry) -> Self {
        Self { offset: RECORDS_OFFSET, next_seq: entry.first_seq, names: Arc::default() }
    }
}

#[derive(Debug)]
struct Index {
    scouted: Position,
    marks: Vec<(u64, u32)>,
}

impl Segment {
    /// A segment of which nothing has been read yet.
    #[must_use]
    pub fn new(path: PathBuf, header: SegmentHeader, entry: Entry) -> Self {
        let index = Mutex::new(Index { scouted: Position::start(&entry), marks: Vec::new() });
        Self { path, header, entry, map: Mutex::default(), index }
    }

    /// The read-only view, mapped at most once at a time and only while somebody reads.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a file that is shorter than its header says: reading it would end the process.
    pub fn map(&self, vfs: &dyn Vfs) -> Result<ReadMap> {
        let mut cached = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = cached.upgrade() {
            return Ok(ReadMap::new(memory));
        }
        let file = vfs.open(&self.path, false).map_err(|error| Error::io(&self.path, "open", error))?;
        let bytes = file.bytes().map_err(|error| Error::io(&self.path, "measure", error))?;
        if bytes < self.header.file_bytes {
            return Err(Error::corrupt(
                &self.path,
                bytes,
                format!("the file is cut off, its header says {} bytes", self.header.file_bytes),
            ));
        }
        let bytes = usize::try_from(self.header.file_bytes).unwrap_or(usize::MAX);
        let map = ReadMap::new(file.map(bytes, false).map_err(|error| Error::io(&self.path, "map", error))?);
        *cached = map.downgrade();
        Ok(map)
    }

    /// As [`Segment::map`], of the file that has the name now: recovery puts a new one in the place of the old.
    ///
    /// # Errors
    /// As [`Segment::map`].
    pub fn map_again(&self, vfs: &dyn Vfs) -> Result<ReadMap> {
        *self.map.lock().unwrap_or_else(PoisonError::into_inner) = Weak::default();
        self.map(vfs)
    }

    /// A walk from the first record.
    ///
    /// # Errors
    /// As [`Segment::map`].
    pub fn walk(&self, vfs: &dyn Vfs) -> Result<Walk> {
        Ok(Walk::new(self.map(vfs)?, self.header.epoch, Position::start(&self.entry)))
    }

    /// A walk that begins at most [`INDEX_STRIDE`] events before `seq`, or where the records end before that.
    ///
    /// # Errors
    /// As [`Segment::map`].
    pub fn walk_near(&self, vfs: &dyn Vfs, seq: u64) -> Result<Walk> {
        let map = self.map(vfs)?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.scouted.next_seq < seq {
            let mut scout = Walk::new(map.clone(), self.header.epoch, index.scouted.clone());
            while scout.position.next_seq < seq {
                let before = scout.position.clone();
                let Step::Event(event) = scout.step() else {
                    scout.position = before;
                    break;
                };
                note_mark(&mut index.marks, event.seq, scout.record_offset);
            }
            index.scouted = scout.position;
        }
        Ok(Walk::new(map, self.header.epoch, index.position_near(seq, Position::start(&self.entry))))
    }

    /// Takes over what a complete walk has learnt, so that nobody scouts the same records again.
    pub fn learn(&self, position: &Position, marks: Vec<(u64, u32)>) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if position.offset > index.scouted.offset {
            *index = Index { scouted: position.clone(), marks };
        }
    }
}

impl Index {
    fn position_near(&self, seq: u64, start: Position) -> Position {
        let nearest = self.marks.partition_point(|(marked, _)| *marked <= seq).checked_sub(1);
        let Some((next_seq, offset)) = nearest.and_then(|at| self.marks.get(at).copied()) else {
            return start;
        };
        // A mark inside a batch is safe to start from: the walk that set it had checked the whole batch.
        let offset = usize::try_from(offset).unwrap_or(RECORDS_OFFSET);
        Position { offset, next_seq, names: Arc::clone(&self.scouted.names) }
    }
}

/// Remembers every [`INDEX_STRIDE`]th event.
pub fn note_mark(marks: &mut Vec<(u64, u32)>, seq: u64, offset: usize) {
    if seq.is_multiple_of(INDEX_STRIDE)
        && let Ok(offset) = u32::try_from(offset)
    {
        marks.push((seq, offset));
    }
}

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
    map: ReadMap,
    epoch: u32,
    buffer: Vec<u8>,
    record_bytes: usize,
}

impl Walk {
    /// A walk from `position`.
    #[must_use]
    pub fn new(map: ReadMap, epoch: u32, position: Position) -> Self {
        let record_offset = position.offset;
        Self {
            position,
            record_offset,
            skipped_records: 0,
            record_count: 0,
            map,
            epoch,
            buffer: Vec::new(),
            record_bytes: 0,
        }
    }

    /// The bytes of the last event.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.buffer.get(..self.record_bytes).unwrap_or_default()
    }

    /// The error for a walk that stopped because the file was cut off under it, or its device failed.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn refuse_if_broken(&self, path: &Path) -> Result<()> {
        if self.map.is_broken() {
            return Err(Error::corrupt(path, self.position.offset as u64, CUT_OFF));
        }
        Ok(())
    }

    /// Goes on at the same place of another mapping of the segment.
    pub fn go_on_in(&mut self, map: ReadMap) {
        self.map = map;
    }

    /// The commit word where the walk stands; `None` at the end of the mapping.
    #[must_use]
    pub fn pending_word(&self) -> Option<u32> {
        self.map.commit(self.position.offset)
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
    pub fn step_with(&mut self, mut look: impl FnMut(&RecordView<'_>)) -> Step {
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
                Kind::Event => self.view(fixed).map(|view| {
                    look(&view);
                    Some(Step::Event(fixed))
                }),
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
            self.record_count += 1;
            match found {
                Some(Step::Event(event)) => {
                    self.position.next_seq += 1;
                    return Step::Event(event);
                }
                Some(step) => return step,
                None => {}
            }
        }
    }

    /// Copies the record at `offset` and checks the copy. `None`: not committed.
    fn load(&mut self, offset: usize) -> std::result::Result<Option<Fixed>, RecordFault> {
        let word =
            self.map.commit(offset).ok_or(RecordFault::Content("the records run over the segment's end"))?;
        if word == 0 {
            return Ok(None);
        }
        let (_, bytes) = split_commit_word(word);
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= self.map.bytes());
        if !Fixed::is_possible_length(bytes) || !fits {
            return Err(RecordFault::Length(bytes));
        }
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        self.record_bytes = bytes;
        let target = self.buffer.get_mut(..bytes).unwrap_or_default();
        if !self.map.copy(offset, target) {
            return Err(RecordFault::Length(bytes));
        }
        Fixed::check(target, self.epoch).map(Some)
    }

    /// Checks every member before the first is given out (R7).
    fn check_batch(&mut self, head: Fixed) -> std::result::Result<(), RecordFault> {
        let announced = BatchHead::from(&head);
        let start = self.position.offset + head.length;
        let end = usize::try_from(announced.bytes).ok().and_then(|bytes| start.checked_add(bytes));
        let Some(end) = end.filter(|end| *end <= self.map.bytes()) else {
            return Err(RecordFault::Content("its batch has an impossible size"));
        };
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
