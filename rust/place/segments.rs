//! Segment files: prepared, opened, removed, set aside.
//!
//! Invariants: a name stands for a file whose header is durable; only a file in which nothing was ever written is removed;
//! what recovery sets aside is never deleted.

use std::{
    io::{self, ErrorKind},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Place, header_error};
use crate::{
    config::MAX_SEGMENT_BYTES,
    error::{Error, Result},
    format::{
        RECORD_FIXED_BYTES,
        meta::{Mark, Meta},
        names,
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
const COPY_BYTES: usize = 64 * 1024;

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
    pub sealed: Option<Sealed>,
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
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.open_sealed(number, log_id)
            }
            opened => opened,
        }
    }

    fn open_sealed(&self, number: u64, log_id: &[u8; 16]) -> Result<OpenedSegment> {
        let sealed = Sealed::open(&*self.vfs, self.sealed_path(number))?;
        let header = sealed.header.header;
        if header.log_id != *log_id {
            return Err(Error::corrupt(sealed.path, 16, "the segment belongs to another log"));
        }
        if header.number != number {
            return Err(Error::corrupt(
                sealed.path,
                48,
                format!("the segment's number is {}", header.number),
            ));
        }
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
        if header.log_id != *log_id {
            return Err(Error::corrupt(path, 16, "the segment belongs to another log"));
        }
        if header.number != number {
            return Err(Error::corrupt(path, 48, format!("the segment's number is {}", header.number)));
        }
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
            Err(fault) => return Err(header_error(path, ENTRY_OFFSET as u64, &fault)),
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

    /// Prepares a segment: room reserved, header durable, name in place (R10).
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`]; nothing is left behind.
    pub fn prepare_segment(&self, header: &SegmentHeader) -> Result<Arc<dyn File>> {
        self.make_segment(header, |file, prepared| {
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
    fn make_segment(
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
        match self.vfs.unlink(prepared) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(prepared, "remove", error));
            }
            _ => {}
        }
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
            let mut is_written = false;
            each_written(&*file, ENTRY_OFFSET as u64, file.bytes()?, |_, _| {
                is_written = true;
                Ok(())
            })?;
            Ok(is_written)
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
            match self.vfs.unlink(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(path, "remove", error));
                }
                _ => {}
            }
        }
        if numbers.is_empty() && prepared.is_empty() { Ok(()) } else { self.sync_dir(&dir) }
    }

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
        let path = self.quarantine_dir().join(names::segment(number));
        match self.vfs.open(&path, false) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(path, "open", error)),
        }
    }

    /// Moves a whole segment out of the log; durable on return.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn quarantine_segment(&self, number: u64) -> Result<String> {
        let dir = self.quarantine_dir();
        self.make_dir(&dir)?;
        let name = names::segment(number);
        let from = self.segment_path(number);
        self.vfs.rename(&from, &dir.join(&name)).map_err(|error| Error::io(from, "quarantine", error))?;
        self.sync_dir(&dir)?;
        self.sync_dir(&self.segments_dir())?;
        Ok(name)
    }
}

/// Whether a file holds these bytes and no others; one that cannot be read does not.
fn holds(file: &dyn File, bytes: &[u8]) -> bool {
    let mut kept = vec![0; bytes.len()];
    file.bytes().is_ok_and(|size| size == bytes.len() as u64)
        && file.read_at(0, &mut kept).is_ok()
        && kept == bytes
}

/// Copies all that is not zero; the rest of a file that was just allocated is.
fn copy_written(from: &dyn File, to: &dyn File, bytes: u64) -> io::Result<()> {
    each_written(from, 0, bytes, |at, part| to.write_at(at, part))
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

fn read_header(file: &dyn File, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES];
    match file.read_at(0, &mut bytes) {
        Ok(()) => SegmentHeader::decode(&bytes).map_err(|fault| header_error(path.to_owned(), 0, &fault)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::corrupt(path, 0, "the file is shorter than a segment header"))
        }
        Err(error) => Err(Error::io(path, "read", error)),
    }
}
