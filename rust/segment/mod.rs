//! One segment as its readers see it: what it is, and where an event lies in it.
//!
//! Owns the sparse index of positions that walking a raw file leaves behind, and the change from a raw file to a sealed one under
//! its readers' eyes. [`walk`] steps over the records, [`source`] has their bytes, [`sealed`] unpacks those of a sealed segment. Refuses
//! to know what follows the segment or whether a fault is a torn tail or damage.

mod cache;
mod debris;
mod seal;
mod sealed;
mod source;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

pub use cache::CACHE_BYTES;
pub use debris::{Find, Gap, Sifter, read_raw, sift_raw, sift_segment};
pub use seal::{Indexed, Made, Pause, compare, index, seal};
pub use sealed::{Sealed, SealedView};
pub use source::{CUT_OFF, Source};
pub use walk::{Step, Walk};

use crate::{
    error::{Error, Result},
    format::{
        Names, RecordView,
        names::sealed_beside,
        segment::{Entry, RECORDS_OFFSET, SegmentHeader},
    },
    heads::{Head, Heads},
    map::{Memory, ReadMap},
    threads::{Mutex, MutexGuard, PoisonError},
    vfs::Vfs,
};

/// Every so many events the index remembers an offset: 12 bytes for 64 events.
pub const INDEX_STRIDE: u64 = 64;

/// An entered segment: its identity, and what has been learnt of it.
#[derive(Debug)]
pub struct Segment {
    /// Number, epoch, size.
    pub header: SegmentHeader,
    /// First position, time of entering, the segment before.
    pub entry: Entry,
    body: Mutex<Body>,
    index: Mutex<Index>,
}

/// Where its records are.
#[derive(Debug)]
enum Body {
    /// In a raw file; mapped while somebody reads it.
    Raw {
        path: PathBuf,
        map: Weak<Memory>,
    },
    Sealed(Arc<Sealed>),
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
        Self::with(Body::Raw { path, map: Weak::default() }, header, entry)
    }

    /// A sealed segment.
    #[must_use]
    pub fn sealed(sealed: Arc<Sealed>) -> Self {
        let (header, entry) = (sealed.header.header, sealed.header.entry);
        Self::with(Body::Sealed(sealed), header, entry)
    }

    fn with(body: Body, header: SegmentHeader, entry: Entry) -> Self {
        let index = Mutex::new(Index { scouted: Position::start(&entry), marks: Vec::new() });
        Self { header, entry, body: Mutex::new(body), index }
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match &*self.body() {
            Body::Raw { path, .. } => path.clone(),
            Body::Sealed(sealed) => sealed.path.clone(),
        }
    }

    /// What it is since it was sealed; `None` before.
    #[must_use]
    pub fn as_sealed(&self) -> Option<Arc<Sealed>> {
        match &*self.body() {
            Body::Raw { .. } => None,
            Body::Sealed(sealed) => Some(Arc::clone(sealed)),
        }
    }

    /// From now on readers who begin get the sealed file; those inside the raw one finish there.
    pub fn become_sealed(&self, sealed: Arc<Sealed>) {
        *self.body() = Body::Sealed(sealed);
    }

    /// Its records: of a raw file a view that is mapped at most once at a time and only while somebody reads.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a raw file that is shorter than its header says: reading it would end the process; of a
    /// sealed one as [`Sealed::open`].
    pub fn source(&self, vfs: &dyn Vfs) -> Result<Source> {
        let mut body = self.body();
        let sealed = match &mut *body {
            Body::Sealed(sealed) => Arc::clone(sealed),
            Body::Raw { path, map } => {
                if let Some(memory) = map.upgrade() {
                    return Ok(Source::Raw(ReadMap::new(memory)));
                }
                match self.map_file(vfs, path) {
                    Err(error) if error.is_missing_file() => {
                        let sealed = self.sealed_meanwhile(vfs, path, error)?;
                        *body = Body::Sealed(Arc::clone(&sealed));
                        sealed
                    }
                    mapped => {
                        let mapped = mapped?;
                        *map = mapped.downgrade();
                        return Ok(Source::Raw(mapped));
                    }
                }
            }
        };
        drop(body);
        Ok(Source::Sealed(Box::new(sealed.view(vfs)?)))
    }

    /// What another process has made of the raw file, which is `missing`; that error where it has made nothing.
    fn sealed_meanwhile(&self, vfs: &dyn Vfs, raw: &Path, missing: Error) -> Result<Arc<Sealed>> {
        match Sealed::open(vfs, sealed_beside(raw)) {
            Err(error) if error.is_missing_file() => Err(missing),
            Ok(other) if (other.header.header, other.header.entry) != (self.header, self.entry) => {
                Err(Error::corrupt(&other.path, 0, "it was sealed from another segment"))
            }
            sealed => sealed,
        }
    }

    fn map_file(&self, vfs: &dyn Vfs, path: &Path) -> Result<ReadMap> {
        let file = vfs.open(path, false).map_err(|error| Error::io(path, "open", error))?;
        let bytes = file.bytes().map_err(|error| Error::io(path, "measure", error))?;
        if bytes < self.header.file_bytes {
            let reason = format!("the file is cut off, its header says {} bytes", self.header.file_bytes);
            return Err(Error::corrupt(path, bytes, reason));
        }
        let bytes = usize::try_from(self.header.file_bytes).unwrap_or(usize::MAX);
        Ok(ReadMap::new(file.map(bytes, false).map_err(|error| Error::io(path, "map", error))?))
    }

    /// As [`Segment::source`], of the file that has the name now: recovery puts a new one in the place of the old.
    ///
    /// # Errors
    /// As [`Segment::source`].
    pub fn source_again(&self, vfs: &dyn Vfs) -> Result<Source> {
        if let Body::Raw { map, .. } = &mut *self.body() {
            *map = Weak::default();
        }
        self.source(vfs)
    }

    /// A walk from the first record.
    ///
    /// # Errors
    /// As [`Segment::source`].
    pub fn walk(&self, vfs: &dyn Vfs) -> Result<Walk> {
        Ok(Walk::new(self.source(vfs)?, self.header.epoch, Position::start(&self.entry)))
    }

    /// A walk that begins not far before `seq`, or where the records end before that: at most [`INDEX_STRIDE`] events in a
    /// raw file, a block in a sealed one.
    ///
    /// # Errors
    /// As [`Segment::source`].
    pub fn walk_near(&self, vfs: &dyn Vfs, seq: u64) -> Result<Walk> {
        let source = self.source(vfs)?;
        if let Source::Sealed(view) = &source {
            let position = view.position(view.directory.at_seq(seq));
            return Ok(Walk::new(source, self.header.epoch, position));
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.scouted.next_seq < seq {
            let mut scout = Walk::new(source.clone(), self.header.epoch, index.scouted.clone());
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
        Ok(Walk::new(source, self.header.epoch, index.position_near(seq, Position::start(&self.entry))))
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

/// Remembers an event as the newest of its aggregate.
pub fn note_head(heads: &mut Heads, view: &RecordView<'_>) {
    if let Some(id) = view.aggregate_id {
        let head = Head { seq: view.fixed.seq, version: view.fixed.aggregate_version };
        id.with_text(|text| heads.set(text, head));
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
