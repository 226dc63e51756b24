//! All that still reads of a log, whatever is wrong with it.
//!
//! Owns which files are searched and in which order, and what is said of the rest. Works on files that no opening would take,
//! believes each by its own header, changes nothing. Invariants: no event is given twice; every stretch of positions that a
//! file should hold and does not is named, with the file.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    format::segment::{ENTRY_OFFSET, HEADER_BYTES, SegmentHeader},
    place::{Place, entry_in},
    scan::StoredEvent,
    segment::{Find, Gap, Sealed, Segment, Sifter, read_raw, sift_raw, sift_segment},
};

/// Something that does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The file.
    pub path: String,
    /// Offset in it; of a sealed segment that in the raw one.
    pub offset: u64,
    /// First event that is affected, where that is known.
    pub first_seq: Option<u64>,
    /// Last one, where that is known.
    pub last_seq: Option<u64>,
    /// One sentence.
    pub reason: String,
}

/// A file to be searched.
#[derive(Debug)]
struct File {
    number: u64,
    is_quarantined: bool,
    is_sealed: bool,
    path: PathBuf,
}

/// A search through the files of a log, one at a time.
pub struct Salvage {
    place: Place,
    log_id: Option<[u8; 16]>,
    epochs: BTreeSet<u32>,
    files: VecDeque<File>,
    given: BTreeMap<u32, Vec<RangeInclusive<u64>>>,
    /// The last file, and the position behind its records.
    reached: Option<(PathBuf, u64)>,
    /// What did not read so far.
    pub unread: Vec<Unread>,
}

impl Salvage {
    /// Of the log at `place`; `with_quarantine`: also of what recovery has set aside there.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is neither META nor a segment, [`Error::Io`].
    pub fn new(place: Place, with_quarantine: bool) -> Result<Self> {
        let listing = place.list().map_err(|_| Error::Missing { path: place.path.clone() })?;
        let mut files = Vec::new();
        for number in &listing.segments {
            let (raw, sealed) = (place.segment_path(*number), place.sealed_path(*number));
            for (path, is_sealed) in [(raw, false), (sealed, true)] {
                if place.vfs.open(&path, false).is_ok() {
                    files.push(File { number: *number, is_quarantined: false, is_sealed, path });
                }
            }
        }
        if with_quarantine {
            for (number, is_sealed, path) in place.quarantined_segments()? {
                files.push(File { number, is_quarantined: true, is_sealed, path });
            }
        }
        let meta = place.read_meta();
        if files.is_empty() && matches!(meta, Ok(None)) {
            return Err(Error::Missing { path: place.path.clone() });
        }
        let mut salvage = Self {
            place,
            log_id: None,
            epochs: BTreeSet::new(),
            files: VecDeque::new(),
            given: BTreeMap::new(),
            reached: None,
            unread: Vec::new(),
        };
        match meta {
            Ok(Some(meta)) => salvage.log_id = Some(meta.log_id),
            Ok(None) => salvage.note(&salvage.place.meta_path(), 0, "META is missing"),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => salvage.note(&salvage.place.meta_path(), 0, &error.to_string()),
        }
        salvage.look_at_headers(&mut files);
        // A segment's number is its place in time, also of a file that has another's name.
        files.sort_by_key(|file| (file.number, file.is_quarantined));
        salvage.files = files.into();
        Ok(salvage)
    }

    /// Takes numbers, epochs and, without META, the log's id from the headers that read.
    fn look_at_headers(&mut self, files: &mut [File]) {
        let mut ids: BTreeMap<[u8; 16], usize> = BTreeMap::new();
        for file in files {
            if let Some(header) = self.header(file) {
                file.number = header.number;
                self.epochs.insert(header.epoch);
                *ids.entry(header.log_id).or_default() += 1;
            }
        }
        let most = ids.into_iter().max_by_key(|(_, count)| *count);
        self.log_id = self.log_id.or(most.map(|(id, _)| id));
    }

    fn header(&self, file: &File) -> Option<SegmentHeader> {
        if file.is_sealed {
            return Some(Sealed::open(&*self.place.vfs, file.path.clone()).ok()?.header.header);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.place.vfs.open(&file.path, false).ok()?.read_at(0, &mut bytes).ok()?;
        SegmentHeader::decode(&bytes).ok()
    }

    /// The events of the next file that reads at all; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::Io`]: what cannot be read now may be read another time.
    pub fn next_file(&mut self) -> Result<Option<Vec<StoredEvent>>> {
        let Some(file) = self.files.pop_front() else { return Ok(None) };
        let mut events = Vec::new();
        let mut gaps = Vec::new();
        let Some(opened) = self.open(&file)? else { return Ok(Some(events)) };
        if let Some(first_seq) = opened.first_seq {
            self.note_between(first_seq);
        }
        let sifter = opened.sift(&self.place, &mut |find, epoch| match find {
            Find::Event { record, fixed, names } => {
                let names = Arc::clone(names);
                events.push(StoredEvent { bytes: record.into(), fixed, names, epoch });
            }
            Find::Gap(gap) => gaps.push(gap),
        })?;
        events.retain(|event| self.is_new(event.epoch, event.fixed.seq));
        for gap in gaps {
            self.note_gap(&file.path, gap);
        }
        self.reached = Some((file.path, sifter.next_seq));
        Ok(Some(events))
    }

    /// What is known of a file before its records are read; what keeps it from being read is noted.
    fn open(&mut self, file: &File) -> Result<Option<Opened>> {
        let vfs = &*self.place.vfs;
        if file.is_sealed {
            return match Sealed::open(vfs, file.path.clone()) {
                Ok(sealed) if self.is_ours(&file.path, &sealed.header.header.log_id) => {
                    let first_seq = Some(sealed.header.entry.first_seq);
                    Ok(Some(Opened {
                        epoch: None,
                        first_seq,
                        segment: Some(Segment::sealed(sealed)),
                        bytes: Vec::new(),
                    }))
                }
                Ok(_) => Ok(None),
                Err(error @ Error::Io { .. }) => Err(error),
                Err(error) => {
                    self.note(&file.path, 0, &error.to_string());
                    Ok(None)
                }
            };
        }
        let bytes = read_raw(vfs, &file.path)?;
        let header = bytes.first_chunk().and_then(|header| SegmentHeader::decode(header).ok());
        let Some(header) = header else {
            self.note(&file.path, 0, "its header is damaged; its records were searched all the same");
            let epoch = self.epoch_of(&bytes);
            return Ok(Some(Opened { epoch, first_seq: None, segment: None, bytes }));
        };
        if !self.is_ours(&file.path, &header.log_id) {
            return Ok(None);
        }
        if (bytes.len() as u64) < header.file_bytes {
            let why = format!("the file is cut off, its header says {} bytes", header.file_bytes);
            self.note(&file.path, bytes.len() as u64, &why);
        }
        let entry = entry_in(&bytes, header.epoch);
        let is_written = bytes.get(ENTRY_OFFSET..).unwrap_or_default().iter().any(|byte| *byte != 0);
        if entry.is_none() && is_written {
            let why = "its entry is damaged; its records were searched all the same";
            self.note(&file.path, ENTRY_OFFSET as u64, why);
        }
        Ok(Some(Opened {
            epoch: Some(header.epoch),
            first_seq: entry.map(|entry| entry.first_seq),
            segment: None,
            bytes,
        }))
    }

    fn is_ours(&mut self, path: &Path, log_id: &[u8; 16]) -> bool {
        let is_ours = self.log_id.is_none_or(|own| own == *log_id);
        if !is_ours {
            self.note(path, 16, "the segment belongs to another log");
        }
        is_ours
    }

    /// Whether nobody was given this event yet. Within an epoch a position has one event.
    fn is_new(&mut self, epoch: u32, seq: u64) -> bool {
        let ranges = self.given.entry(epoch).or_default();
        if ranges.iter().any(|range| range.contains(&seq)) {
            return false;
        }
        match ranges.iter_mut().find(|range| seq.checked_sub(1) == Some(*range.end())) {
            Some(range) => *range = *range.start()..=seq,
            None => ranges.push(seq..=seq),
        }
        true
    }

    /// Positions between the end of the last file and the begin of the next one.
    fn note_between(&mut self, first_seq: u64) {
        let Some((path, next_seq)) = self.reached.clone().filter(|(_, next_seq)| *next_seq < first_seq)
        else {
            return;
        };
        let name = path.display().to_string();
        let open_end = self.unread.iter_mut().find(|one| one.path == name && one.last_seq.is_none());
        let last_seq = first_seq.checked_sub(1);
        match open_end.filter(|one| one.first_seq == Some(next_seq)) {
            Some(known) => known.last_seq = last_seq,
            None => self.unread.push(Unread {
                path: name,
                offset: 0,
                first_seq: Some(next_seq),
                last_seq,
                reason: "the events behind this file are in no file that reads".to_owned(),
            }),
        }
    }

    fn note_gap(&mut self, path: &Path, gap: Gap) {
        self.unread.push(Unread {
            path: path.display().to_string(),
            offset: gap.offset as u64,
            first_seq: Some(gap.first_seq),
            last_seq: gap.last_seq,
            reason: gap.reason,
        });
    }

    fn note(&mut self, path: &Path, offset: u64, reason: &str) {
        let (path, reason) = (path.display().to_string(), reason.to_owned());
        self.unread.push(Unread { path, offset, first_seq: None, last_seq: None, reason });
    }

    /// The epoch of a file whose header is lost: that with which most of its records read.
    fn epoch_of(&self, bytes: &[u8]) -> Option<u32> {
        let events = |epoch: u32| {
            let mut count = 0;
            sift_raw(bytes, epoch, None, &mut |find| count += u64::from(matches!(find, Find::Event { .. })));
            count
        };
        self.epochs.iter().copied().max_by_key(|epoch| events(*epoch))
    }
}

/// A file whose records are about to be searched.
struct Opened {
    /// `None`: its header does not say it.
    epoch: Option<u32>,
    first_seq: Option<u64>,
    /// Of a sealed one.
    segment: Option<Segment>,
    bytes: Vec<u8>,
}

impl Opened {
    fn sift(&self, place: &Place, act: &mut dyn FnMut(Find<'_>, u32)) -> Result<Sifter> {
        if let Some(segment) = &self.segment {
            let epoch = segment.header.epoch;
            return sift_segment(segment, &*place.vfs, &mut |find| act(find, epoch));
        }
        let epoch = self.epoch.unwrap_or(0);
        Ok(sift_raw(&self.bytes, epoch, self.first_seq, &mut |find| act(find, epoch)))
    }
}
