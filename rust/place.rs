//! The directory of one log: where each file lies, and the only code that makes, renames or removes one.
//!
//! Owns META's two copies, the preparing of segments, quarantine and snapshot files, and the order of syncs that makes
//! each of these survive a crash. Refuses to know why any of it happens.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    format::{
        FORMAT_VERSION, KNOWN_INCOMPATIBLE,
        blob::Blob,
        meta::{META_BYTES, META_FILE_BYTES, Meta},
        names,
        segment::{
            ENTRY_BYTES, ENTRY_OFFSET, Entry, HEADER_BYTES, HeaderFault, PAGE_BYTES, RECORDS_OFFSET,
            SegmentHeader, WATERMARK_BYTES, Watermark,
        },
    },
    vfs::{File, Vfs},
};

/// Snapshots kept of one aggregate: the newest may be ahead of a lost tail, the one before it then serves.
const KEPT_SNAPSHOTS: usize = 2;

/// One log's directory.
#[derive(Clone)]
pub struct Place {
    /// Where its files live.
    pub vfs: Arc<dyn Vfs>,
    /// The directory.
    pub path: PathBuf,
}

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
}

/// What lies in a log's directories.
#[derive(Debug, Default)]
pub struct Listing {
    /// Numbers of the segments, ascending.
    pub segments: Vec<u64>,
    /// Left-overs of interrupted preparations.
    pub prepared: Vec<String>,
    /// Names that are none of ours.
    pub stray: Vec<String>,
}

impl Place {
    /// Path of META.
    #[must_use]
    pub fn meta_path(&self) -> PathBuf {
        self.path.join("META")
    }

    /// Path of LOCK.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.join("LOCK")
    }

    /// Path of segment `number`.
    #[must_use]
    pub fn segment_path(&self, number: u64) -> PathBuf {
        self.segments_dir().join(names::segment(number))
    }

    fn segments_dir(&self) -> PathBuf {
        self.path.join("segments")
    }

    fn snapshots_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.path.join("quarantine")
    }

    /// Makes the directories of a log.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn create_dirs(&self) -> Result<()> {
        for dir in [self.path.clone(), self.segments_dir()] {
            self.vfs.create_dir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        }
        self.sync_dir(&self.path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.vfs.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))
    }

    /// Lists what is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Listing> {
        const OURS: [&str; 11] = [
            "LOCK",
            "META",
            "segments",
            "heads",
            "footers",
            "schemas",
            "snapshots",
            "subscriptions",
            "quarantine",
            "audit",
            "META.tmp",
        ];
        let mut listing = Listing::default();
        let top = self.vfs.list(&self.path).map_err(|error| Error::io(&self.path, "list", error))?;
        listing.stray.extend(top.into_iter().filter(|name| !OURS.contains(&name.as_str())));
        let dir = self.segments_dir();
        let inside = match self.vfs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(&dir, "list", error)),
        };
        for name in inside {
            if let Some(number) = names::segment_number(&name) {
                listing.segments.push(number);
            } else if names::is_prepared(&name) {
                listing.prepared.push(name);
            } else {
                listing.stray.push(format!("segments/{name}"));
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }

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

    /// The log that segment `number` says it belongs to; for a log whose META is lost.
    #[must_use]
    pub fn own_id_of_segment(&self, number: u64) -> Option<[u8; 16]> {
        let path = self.segment_path(number);
        let file = self.vfs.open(&path, false).ok()?;
        Some(read_header(&*file, &path).ok()?.log_id)
    }

    fn read_meta_copy(&self, file: &dyn File, offset: u64) -> Result<Meta> {
        let path = self.meta_path();
        let mut bytes = [0; META_BYTES];
        match file.read_at(offset, &mut bytes) {
            Ok(()) => Meta::decode(&bytes).map_err(|fault| header_error(path, offset, &fault)),
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
    /// [`Error::Io`].
    pub fn write_meta(&self, meta: &mut Meta) -> Result<()> {
        let path = self.meta_path();
        let failed = |action| {
            let path = path.clone();
            move |error| Error::io(path, action, error)
        };
        let file = self.vfs.open(&path, true).map_err(failed("open"))?;
        meta.generation += 1;
        let copy = meta.encode();
        // ORDER: the second copy is touched only once the first is durable, so that one is whole at any moment.
        for offset in [0, PAGE_BYTES as u64] {
            file.write_at(offset, &copy).map_err(failed("write"))?;
            file.sync_data().map_err(failed("sync"))?;
        }
        Ok(())
    }

    /// Reads the first pages of segment `number`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Io`].
    pub fn open_segment(&self, number: u64, log_id: &[u8; 16]) -> Result<OpenedSegment> {
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
        let mut entry_bytes = [0; ENTRY_BYTES];
        let mut first_record = [0; 8];
        for (offset, target) in
            [(ENTRY_OFFSET, &mut entry_bytes[..]), (RECORDS_OFFSET, &mut first_record[..])]
        {
            file.read_at(offset as u64, target).map_err(|error| Error::io(&path, "read", error))?;
        }
        let is_spare = entry_bytes.iter().chain(&first_record).all(|byte| *byte == 0);
        let watermark = self.read_watermark(&*file, &header);
        let entry = match Entry::decode(&entry_bytes, header.epoch) {
            Ok(None) if watermark.is_some() => {
                return Err(Error::corrupt(
                    path,
                    ENTRY_OFFSET as u64,
                    "its entry is gone, its watermark is not",
                ));
            }
            Ok(entry) => entry,
            // Torn while it was being entered: nothing in it was durable, or a watermark would say so (R16).
            Err(_) if watermark.is_none() => None,
            Err(fault) => return Err(header_error(path, ENTRY_OFFSET as u64, &fault)),
        };
        Ok(OpenedSegment { path, header, entry, is_spare, watermark })
    }

    /// The higher watermark of a segment, if any is whole.
    #[must_use]
    pub fn read_watermark(&self, file: &dyn File, header: &SegmentHeader) -> Option<Watermark> {
        let read = |offset: usize| {
            let mut bytes = [0; WATERMARK_BYTES];
            file.read_at(offset as u64, &mut bytes).ok()?;
            let fits = |mark: &Watermark| {
                mark.epoch == header.epoch
                    && mark.segment == header.number
                    && mark.durable_offset <= header.file_bytes
            };
            Watermark::decode(&bytes).filter(fits)
        };
        [PAGE_BYTES, 2 * PAGE_BYTES].into_iter().filter_map(read).max_by_key(|mark| mark.generation)
    }

    /// Prepares a segment: room reserved, header durable, name in place (R10).
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`]; nothing is left behind.
    pub fn prepare_segment(&self, header: &SegmentHeader) -> Result<Arc<dyn File>> {
        let dir = self.segments_dir();
        let prepared = dir.join(names::prepared(header.number));
        let made = self.fill_prepared(&prepared, header);
        if made.is_err() {
            // Best effort: the next opening removes it too.
            let _left_over = self.vfs.unlink(&prepared);
        }
        made
    }

    fn fill_prepared(&self, prepared: &Path, header: &SegmentHeader) -> Result<Arc<dyn File>> {
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
        file.write_at(0, &header.encode()).map_err(failed("write"))?;
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

    /// Keeps a copy of `bytes`, found in `segment` behind its last good record; durable on return.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn quarantine_tail(&self, segment: u64, offset: u64, bytes: &[u8]) -> Result<String> {
        let dir = self.quarantine_dir();
        self.vfs.create_dir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        self.sync_dir(&self.path)?;
        for attempt in 0.. {
            let name = names::quarantined_tail(segment, offset, attempt);
            match self.vfs.open(&dir.join(&name), false) {
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
        self.vfs.create_dir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        let name = names::segment(number);
        let from = self.segment_path(number);
        self.vfs.rename(&from, &dir.join(&name)).map_err(|error| Error::io(from, "quarantine", error))?;
        self.sync_dir(&dir)?;
        self.sync_dir(&self.segments_dir())?;
        Ok(name)
    }

    /// Stores a snapshot and drops all but the newest few of its aggregate; durable on return.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn write_snapshot(
        &self,
        log_id: [u8; 16],
        aggregate_id: &str,
        seq: u64,
        payload: &[u8],
    ) -> Result<()> {
        let dir = self.snapshots_dir();
        self.vfs.create_dir(&dir).map_err(|error| Error::io(&dir, "make the directory", error))?;
        let bytes = Blob { log_id, seq, key: aggregate_id, payload }.encode();
        let name = names::snapshot(aggregate_id, seq);
        self.replace(&dir, &format!("{name}.tmp"), &name, &bytes)?;
        for old in self.snapshot_seqs(aggregate_id)?.into_iter().skip(KEPT_SNAPSHOTS) {
            let path = dir.join(names::snapshot(aggregate_id, old));
            self.vfs.unlink(&path).map_err(|error| Error::io(path, "remove", error))?;
        }
        Ok(())
    }

    /// The stored snapshots of an aggregate, newest first; `None` for one that cannot be believed (a cache, R18).
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn read_snapshots(
        &self,
        log_id: [u8; 16],
        aggregate_id: &str,
    ) -> Result<Vec<(u64, Option<Vec<u8>>)>> {
        let read = |seq: u64| {
            let file =
                self.vfs.open(&self.snapshots_dir().join(names::snapshot(aggregate_id, seq)), false).ok()?;
            let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
            file.read_at(0, &mut bytes).ok()?;
            let blob = Blob::decode(&bytes)?;
            let is_this = blob.log_id == log_id && blob.key == aggregate_id && blob.seq == seq;
            is_this.then(|| blob.payload.to_vec())
        };
        Ok(self.snapshot_seqs(aggregate_id)?.into_iter().map(|seq| (seq, read(seq))).collect())
    }

    fn snapshot_seqs(&self, aggregate_id: &str) -> Result<Vec<u64>> {
        let dir = self.snapshots_dir();
        let names = match self.vfs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(dir, "list", error)),
        };
        let prefix = names::snapshot_prefix(aggregate_id);
        let mut seqs: Vec<u64> = names.iter().filter_map(|name| names::snapshot_seq(name, &prefix)).collect();
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(seqs)
    }

    /// Writes a file whole or not at all: aside, synced, renamed, directory synced (R18).
    fn replace(&self, dir: &Path, aside: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let (aside, path) = (dir.join(aside), dir.join(name));
        match self.vfs.unlink(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(aside, "remove", error));
            }
            _ => {}
        }
        let write = || {
            let file = self.vfs.create(&aside).map_err(|error| Error::io(&aside, "make", error))?;
            let room = bytes.len() as u64;
            file.allocate(room).map_err(|error| Error::no_room(&aside, room, error))?;
            file.write_at(0, bytes).map_err(|error| Error::io(&aside, "write", error))?;
            file.sync_all().map_err(|error| Error::io(&aside, "sync", error))
        };
        if let Err(error) = write() {
            let _left_over = self.vfs.unlink(&aside);
            return Err(error);
        }
        self.vfs.rename(&aside, &path).map_err(|error| Error::io(&path, "rename", error))?;
        self.sync_dir(dir)
    }
}

/// Says of a file's first bytes what is wrong with them.
fn header_error(path: PathBuf, offset: u64, fault: &HeaderFault) -> Error {
    match fault {
        HeaderFault::Damaged(reason) => Error::corrupt(path, offset, *reason),
        HeaderFault::Version(found) => Error::Version {
            path,
            found: format!("format version {found}"),
            supported: format!("version {FORMAT_VERSION}"),
        },
        HeaderFault::Features(bits) => Error::Version {
            path,
            found: format!("unknown feature bits {bits:#x}"),
            supported: format!("feature bits {KNOWN_INCOMPATIBLE:#x}"),
        },
    }
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
