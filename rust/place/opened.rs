//! The first pages of a segment's file: what it is, whether it was entered, and what is durable in it.
//!
//! Owns what can be said of a segment before any record is read. A raw file comes before a sealed one of the same number: while
//! both are there, nobody has found yet that the sealed one is whole.

use std::{
    io::ErrorKind,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Place;
use crate::{
    config::MAX_SEGMENT_BYTES,
    error::{Error, Result},
    format::{
        RECORD_FIXED_BYTES,
        meta::{Mark, Meta},
        segment::{
            ENTRY_BYTES, ENTRY_OFFSET, Entry, HEADER_BYTES, PAGE_BYTES, RECORDS_OFFSET, SegmentHeader,
            WATERMARK_BYTES, Watermark,
        },
    },
    segment::{Sealed, Segment},
    vfs::File,
};

/// Sizes of a segment: from room for an end record up to what a record's length can count.
const POSSIBLE_BYTES: RangeInclusive<u64> = (RECORDS_OFFSET + RECORD_FIXED_BYTES) as u64..=MAX_SEGMENT_BYTES;

/// The first pages of a segment file.
pub struct OpenedSegment {
    /// The file itself.
    pub path: PathBuf,
    /// What it is.
    pub header: SegmentHeader,
    /// `None`: not entered, or torn while it was.
    pub entry: Option<Entry>,
    /// A spare: no byte of entry or records was ever written. Only such a file may be removed.
    pub is_spare: bool,
    /// The higher of its two watermarks.
    pub watermark: Option<Watermark>,
    /// What it is if it is sealed: entered, and durable up to its end.
    pub sealed: Option<Arc<Sealed>>,
}

impl OpenedSegment {
    /// The segment; `None` for one that was not entered.
    #[must_use]
    pub fn into_segment(self) -> Option<Segment> {
        match self.sealed {
            Some(sealed) => Some(Segment::sealed(sealed)),
            None => self.entry.map(|entry| Segment::new(self.path, self.header, entry)),
        }
    }
}

/// The highest place below which everything is durable (R16): of all that vouches for it, the maximum.
#[must_use]
pub fn highest_watermark(marks: &[Mark]) -> Option<Mark> {
    marks.iter().copied().max_by_key(|mark| (mark.segment, mark.offset))
}

/// Places below each of which everything is durable: all that vouches for it. `opened` are segments of one log, oldest
/// first.
#[must_use]
pub fn durable_marks(meta: &Meta, opened: &[OpenedSegment]) -> Vec<Mark> {
    let stored = opened.iter().filter_map(|segment| segment.watermark).map(|mark| Mark {
        segment: mark.segment,
        offset: mark.durable_offset,
        next_seq: mark.durable_seq.map_or(0, |seq| seq + 1),
    });
    let sealed = opened.iter().filter_map(|segment| Some(segment.sealed.as_ref()?.header.end));
    // A new epoch is entered only once everything before it was synced.
    let mut epoch = None;
    let mut of_epochs = Vec::new();
    for (header, entry) in opened.iter().filter_map(|segment| Some((segment.header, segment.entry?))) {
        if epoch.replace(header.epoch).is_some_and(|before| before != header.epoch) {
            of_epochs.push(Mark {
                segment: entry.prev_segment,
                offset: entry.prev_end,
                next_seq: entry.first_seq,
            });
        }
    }
    stored.chain(sealed).chain(of_epochs).chain(meta.clean).chain(meta.cut).collect()
}

impl Place {
    /// The log that segment `number` says it belongs to; for a log whose META is lost.
    #[must_use]
    pub fn own_id_of_segment(&self, number: u64) -> Option<[u8; 16]> {
        let path = self.segment_path(number);
        let raw = self.vfs.open(&path, false).ok().and_then(|file| read_header(&*file, &path).ok());
        let sealed = || Some(Sealed::open(&*self.vfs, self.sealed_path(number)).ok()?.header.header);
        Some(raw.or_else(sealed)?.log_id)
    }

    /// Reads the first pages of segment `number`, or the header of the sealed one where there is no raw file.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Io`].
    pub fn open_segment(&self, number: u64, log_id: &[u8; 16]) -> Result<OpenedSegment> {
        match self.open_raw(number, log_id) {
            Err(raw) if raw.is_missing_file() => match self.open_sealed(number, log_id) {
                Err(sealed) if sealed.is_missing_file() => Err(raw),
                sealed => sealed,
            },
            raw => raw,
        }
    }

    fn open_sealed(&self, number: u64, log_id: &[u8; 16]) -> Result<OpenedSegment> {
        let sealed = Sealed::open(&*self.vfs, self.sealed_path(number))?;
        let header = sealed.header.header;
        refuse_other(&header, &sealed.path, number, log_id)?;
        Ok(OpenedSegment {
            path: sealed.path.clone(),
            header,
            entry: Some(sealed.header.entry),
            is_spare: false,
            watermark: None,
            sealed: Some(sealed),
        })
    }

    fn open_raw(&self, number: u64, log_id: &[u8; 16]) -> Result<OpenedSegment> {
        let path = self.segment_path(number);
        let file = self.vfs.open(&path, false).map_err(|error| Error::io(&path, "open", error))?;
        let header = read_header(&*file, &path)?;
        refuse_other(&header, &path, number, log_id)?;
        let bytes = file.bytes().map_err(|error| Error::io(&path, "measure", error))?;
        if bytes < header.file_bytes {
            let reason = format!("the file is cut off, its header says {} bytes", header.file_bytes);
            return Err(Error::corrupt(path, bytes, reason));
        }
        if !POSSIBLE_BYTES.contains(&header.file_bytes) {
            let reason = format!("a segment never has {} bytes, as its header says", header.file_bytes);
            return Err(Error::corrupt(path, 56, reason));
        }
        // ORDER: the watermark before the entry, for a writer at work stores them the other way round.
        let watermark = self.read_watermark(&*file, &header)?;
        let mut entry_bytes = [0; ENTRY_BYTES];
        let mut first_record = [0; 8];
        for (offset, target) in
            [(ENTRY_OFFSET, &mut entry_bytes[..]), (RECORDS_OFFSET, &mut first_record[..])]
        {
            file.read_at(offset as u64, target).map_err(|error| Error::io(&path, "read", error))?;
        }
        let is_spare = entry_bytes.iter().chain(&first_record).all(|byte| *byte == 0);
        let entry = match Entry::decode(&entry_bytes, header.epoch) {
            Ok(None) if watermark.is_some() => {
                return Err(Error::corrupt(
                    path,
                    ENTRY_OFFSET as u64,
                    "its entry is gone, its watermark is not",
                ));
            }
            // Else a scan that follows entries would go in circles.
            Ok(Some(entry)) if entry.prev_segment >= number => {
                let reason = format!("its entry names segment {} as the one before", entry.prev_segment);
                return Err(Error::corrupt(path, ENTRY_OFFSET as u64 + 24, reason));
            }
            Ok(entry) => entry,
            // Torn while it was being entered: nothing in it was durable, or a watermark would say so (R16).
            Err(_) if watermark.is_none() => None,
            Err(fault) => return Err(fault.at(path, ENTRY_OFFSET as u64)),
        };
        Ok(OpenedSegment { path, header, entry, is_spare, watermark, sealed: None })
    }

    /// The higher watermark of a segment, if any is whole.
    ///
    /// # Errors
    /// [`Error::Io`]: a page that cannot be read may be the higher one, so the other does not stand in for it.
    pub fn read_watermark(&self, file: &dyn File, header: &SegmentHeader) -> Result<Option<Watermark>> {
        let mut highest: Option<Watermark> = None;
        for offset in [PAGE_BYTES, 2 * PAGE_BYTES] {
            let mut bytes = [0; WATERMARK_BYTES];
            file.read_at(offset as u64, &mut bytes)
                .map_err(|error| Error::io(self.segment_path(header.number), "read", error))?;
            let fits = |mark: &Watermark| {
                mark.epoch == header.epoch
                    && mark.segment == header.number
                    && mark.durable_offset <= header.file_bytes
                    && mark.generation <= u64::MAX / 2
            };
            let found = Watermark::decode(&bytes).filter(fits);
            highest = highest.into_iter().chain(found).max_by_key(|mark| mark.generation);
        }
        Ok(highest)
    }
}

/// The entry in the first page of a segment file, if it was entered and the page is whole.
#[must_use]
pub fn entry_in(bytes: &[u8], epoch: u32) -> Option<Entry> {
    Entry::decode(bytes.get(ENTRY_OFFSET..)?.first_chunk()?, epoch).ok()?
}

/// A raw header and a sealed one have both fields at the same offsets.
fn refuse_other(header: &SegmentHeader, path: &Path, number: u64, log_id: &[u8; 16]) -> Result<()> {
    if header.log_id != *log_id {
        return Err(Error::corrupt(path, 16, "the segment belongs to another log"));
    }
    if header.number != number {
        return Err(Error::corrupt(path, 48, format!("the segment's number is {}", header.number)));
    }
    Ok(())
}

fn read_header(file: &dyn File, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES];
    match file.read_at(0, &mut bytes) {
        Ok(()) => SegmentHeader::decode(&bytes).map_err(|fault| fault.at(path.to_owned(), 0)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::corrupt(path, 0, "the file is shorter than a segment header"))
        }
        Err(error) => Err(Error::io(path, "read", error)),
    }
}
