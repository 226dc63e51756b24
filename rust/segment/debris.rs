//! What still reads of a damaged segment: every whole record, also behind damage.
//!
//! Owns the search for the next record behind bytes that are none. A record is believed by its checksum and by a position that
//! fits; where it lies says nothing. A payload that imitates a record behind damage would be taken
//! for one: a checksum is no authentication.

use std::{path::Path, sync::Arc};

use super::Segment;
use crate::{
    config::MAX_SEGMENT_BYTES,
    error::{Error, Result},
    format::{
        BatchHead, Fixed, Kind, Names, RECORD_ALIGN, RECORD_FIXED_BYTES, RecordView, dictionary_text,
        segment::RECORDS_OFFSET, split_commit_word,
    },
    vfs::Vfs,
};

/// Stands for a text of the dictionary whose record is gone; no text of a user holds a zero byte at its front by chance.
const LOST_TEXT: &str = "\0aresbus: this text is lost";

/// What a search came to.
#[derive(Debug)]
pub enum Find<'a> {
    /// An event that reads.
    Event {
        /// Its record.
        record: &'a [u8],
        /// Its fixed part.
        fixed: Fixed,
        /// The dictionary it was decoded with.
        names: &'a Arc<Names>,
    },
    /// Something that does not.
    Gap(Gap),
}

/// Something in a segment that does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins, counted as in the raw file.
    pub offset: usize,
    /// First event that is missing.
    pub first_seq: u64,
    /// Last one; `None`: nothing behind it says so.
    pub last_seq: Option<u64>,
    /// One sentence.
    pub reason: String,
}

/// A batch that is being passed.
struct Batch {
    offset: usize,
    first_seq: u64,
    count: u64,
    found: u64,
}

/// A search through the records of one segment.
pub struct Sifter {
    epoch: u32,
    /// The dictionary so far; of a sealed segment from the start.
    names: Arc<Names>,
    /// Position that the next event has, if all is well.
    pub next_seq: u64,
    /// `next_seq` is known; else the first record that reads says it.
    is_oriented: bool,
    gap: Option<(usize, &'static str)>,
    batch: Option<Batch>,
    /// An end record was met.
    pub is_ended: bool,
}

impl Sifter {
    /// Through records of `epoch`, the first of which is event `next_seq` where that is known.
    #[must_use]
    pub fn new(epoch: u32, next_seq: Option<u64>, names: Arc<Names>) -> Self {
        let is_oriented = next_seq.is_some();
        let next_seq = next_seq.unwrap_or(0);
        Self { epoch, names, next_seq, is_oriented, gap: None, batch: None, is_ended: false }
    }

    /// Searches `bytes`, which begin at `base` in the raw file.
    pub fn sift(&mut self, bytes: &[u8], base: usize, act: &mut dyn FnMut(Find<'_>)) {
        let mut at = 0;
        while at + RECORD_FIXED_BYTES <= bytes.len() && !self.is_ended {
            let Some((record, fixed)) = self.record_at(bytes, at) else {
                let is_zero =
                    bytes.get(at..at + RECORD_ALIGN).is_some_and(|word| word.iter().all(|b| *b == 0));
                match (&mut self.gap, is_zero) {
                    (Some((_, reason)), false) => *reason = "these bytes are no whole record",
                    (None, false) => self.gap = Some((base + at, "these bytes are no whole record")),
                    (None, true) => self.gap = Some((base + at, "there are zeros where records were")),
                    (Some(_), true) => {}
                }
                at += RECORD_ALIGN;
                continue;
            };
            if !self.is_oriented {
                (self.is_oriented, self.next_seq) = (true, fixed.seq);
            }
            self.note_missing(base + at, fixed.seq, act);
            self.take(record, fixed, base + at, act);
            at += record.len();
        }
    }

    /// Passes a part that cannot be read at all; the event behind it is `next_seq`.
    pub fn pass(&mut self, offset: usize, next_seq: u64, reason: String, act: &mut dyn FnMut(Find<'_>)) {
        if next_seq > self.next_seq {
            let (first_seq, last_seq) = (self.next_seq, next_seq.checked_sub(1));
            act(Find::Gap(Gap { offset, first_seq, last_seq, reason }));
            self.next_seq = next_seq;
        }
    }

    /// The end of the segment: what is still open. Zeros there are nothing.
    pub fn finish(&mut self, act: &mut dyn FnMut(Find<'_>)) {
        self.end_batch(act);
        if let Some((offset, reason)) = self.gap.take()
            && !reason.starts_with("there are zeros")
        {
            let (first_seq, reason) = (self.next_seq, reason.to_owned());
            act(Find::Gap(Gap { offset, first_seq, last_seq: None, reason }));
        }
    }

    /// The record at `at`, if it is whole and its position is possible there.
    fn record_at<'a>(&self, bytes: &'a [u8], at: usize) -> Option<(&'a [u8], Fixed)> {
        let here = bytes.get(at..)?;
        let (_, length) = split_commit_word(u32::from_le_bytes(*here.first_chunk()?));
        let seq = u64::from_le_bytes(*here.get(8..)?.first_chunk()?);
        let most = (here.len() / RECORD_FIXED_BYTES) as u64;
        // Looked at before the checksum, so that noise costs no time. What was lost lay in the bytes passed.
        let ahead = seq.checked_sub(self.next_seq)?;
        let passed = (at / RECORD_FIXED_BYTES) as u64;
        let is_near = ahead <= most.saturating_add(passed).saturating_add(1);
        if !Fixed::is_possible_length(length) || self.is_oriented && !is_near {
            return None;
        }
        let record = here.get(..length)?;
        Some((record, Fixed::check(record, self.epoch).ok()?))
    }

    fn note_missing(&mut self, offset: usize, seq: u64, act: &mut dyn FnMut(Find<'_>)) {
        let (offset, reason) =
            self.gap.take().unwrap_or((offset, "positions are missing before this record"));
        let reason = reason.to_owned();
        self.pass(offset, seq, reason, act);
    }

    fn take(&mut self, record: &[u8], fixed: Fixed, offset: usize, act: &mut dyn FnMut(Find<'_>)) {
        match fixed.kind {
            Kind::Event => {
                if self.batch.as_ref().is_some_and(|batch| fixed.seq >= batch.first_seq + batch.count) {
                    self.end_batch(act);
                }
                self.next_seq = fixed.seq.saturating_add(1);
                if is_whole(record, fixed, &self.names) {
                    if let Some(batch) = &mut self.batch {
                        batch.found += 1;
                    }
                    act(Find::Event { record, fixed, names: &self.names });
                } else {
                    let (first_seq, last_seq) = (fixed.seq, Some(fixed.seq));
                    let reason = "the record is whole, a text it needs from the dictionary is not".to_owned();
                    act(Find::Gap(Gap { offset, first_seq, last_seq, reason }));
                }
            }
            Kind::BatchHead => {
                self.end_batch(act);
                let count = u64::from(BatchHead::from(&fixed).count);
                self.batch = Some(Batch { offset, first_seq: fixed.seq, count, found: 0 });
            }
            Kind::Dictionary => self.learn(record, fixed),
            Kind::End => self.is_ended = true,
            Kind::Ignorable(_) => {}
        }
    }

    fn learn(&mut self, record: &[u8], fixed: Fixed) {
        let number = usize::try_from(fixed.number).unwrap_or(usize::MAX);
        let Ok(text) = dictionary_text(record) else { return };
        if number > self.names.count().saturating_add(4096) {
            return;
        }
        let names = Arc::make_mut(&mut self.names);
        while names.count() < number && names.push(LOST_TEXT) {}
        if names.count() == number {
            names.push(text);
        }
    }

    /// A batch is whole or not at all: one that has lost events is said to have, those that read are given all the same.
    fn end_batch(&mut self, act: &mut dyn FnMut(Find<'_>)) {
        let Some(batch) = self.batch.take() else { return };
        if batch.found > 0 && batch.found < batch.count {
            act(Find::Gap(Gap {
                offset: batch.offset,
                first_seq: batch.first_seq,
                last_seq: Some(batch.first_seq + batch.count - 1),
                reason: format!("the batch is not whole: {} of its {} events read", batch.found, batch.count),
            }));
        }
    }
}

/// Searches a whole segment; the state behind its last record.
///
/// # Errors
/// [`Error::Io`]. Damage is no error here.
pub fn sift_segment(segment: &Segment, vfs: &dyn Vfs, act: &mut dyn FnMut(Find<'_>)) -> Result<Sifter> {
    let epoch = segment.header.epoch;
    let Some(sealed) = segment.as_sealed() else {
        let bytes = read_raw(vfs, &segment.path())?;
        return Ok(sift_raw(&bytes, epoch, Some(segment.entry.first_seq), act));
    };
    let (start, end) = (segment.entry.first_seq, sealed.header.end);
    let mut view = match sealed.view(vfs) {
        Ok(view) => view,
        Err(Error::Corrupt { offset, reason, .. }) => {
            let mut sifter = Sifter::new(epoch, Some(start), Arc::default());
            sifter.pass(usize::try_from(offset).unwrap_or(usize::MAX), end.next_seq, reason, act);
            return Ok(sifter);
        }
        Err(other) => return Err(other),
    };
    let directory = Arc::clone(&view.directory);
    let mut sifter = Sifter::new(epoch, Some(start), Arc::clone(&directory.names));
    let behind = directory.blocks.iter().skip(1).map(|block| block.first_seq).chain([end.next_seq]);
    for (block, behind) in directory.blocks.iter().zip(behind) {
        let base = usize::try_from(block.record_offset).unwrap_or(usize::MAX);
        if let Some(bytes) = view.from(base) {
            sifter.sift(bytes, base, act);
        }
        match view.refuse_if_broken() {
            Err(Error::Corrupt { reason, .. }) => sifter.pass(base, behind, reason, act),
            other => other?,
        }
        view.mend();
    }
    sifter.finish(act);
    Ok(sifter)
}

/// Searches the bytes of a raw segment file, from its first page on.
pub fn sift_raw(bytes: &[u8], epoch: u32, first_seq: Option<u64>, act: &mut dyn FnMut(Find<'_>)) -> Sifter {
    let mut sifter = Sifter::new(epoch, first_seq, Arc::default());
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let used = used.next_multiple_of(RECORD_ALIGN).min(bytes.len());
    sifter.sift(bytes.get(RECORDS_OFFSET..used).unwrap_or_default(), RECORDS_OFFSET, act);
    sifter.finish(act);
    sifter
}

/// The bytes of a raw segment file, as many as there are.
///
/// # Errors
/// [`Error::Io`].
pub fn read_raw(vfs: &dyn Vfs, path: &Path) -> Result<Vec<u8>> {
    let look = || {
        let file = vfs.open(path, false)?;
        let size = file.bytes()?.min(MAX_SEGMENT_BYTES);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    look().map_err(|error| Error::io(path, "read", error))
}

/// Whether the event decodes, with texts that are known.
fn is_whole(record: &[u8], fixed: Fixed, names: &Names) -> bool {
    RecordView::parse(record, fixed, names).is_ok_and(|view| {
        let texts = [view.event_type, view.source, view.schema_version.unwrap_or("")];
        !texts.contains(&LOST_TEXT) && view.tags().all(|(key, _)| key != LOST_TEXT)
    })
}
