//! A sealed segment as its readers see it: the same offsets as in the raw file, behind blocks that are unpacked when needed.
//!
//! Owns the way from an offset to the bytes there. Reads with `pread`, never through a mapping: a file that is damaged or cut
//! off is an error then, not a signal.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Position,
    cache::{self, Item, Part},
};
use crate::{
    error::{Error, Result},
    evidence::Run,
    format::{
        checksum,
        sealed::{BlockEntry, Directory, SEALED_HEADER_BYTES, SealedHeader, Stored, block::unpack},
    },
    vfs::{File, Vfs},
};

/// Largest directory: of a segment of the largest size in the smallest blocks, with a full dictionary.
const MAX_DIRECTORY_BYTES: u32 = 1 << 24;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A sealed segment; its file is opened by who reads.
#[derive(Debug)]
pub struct Sealed {
    /// The file.
    pub path: PathBuf,
    /// What its header says.
    pub header: SealedHeader,
    /// In the cache of this process.
    id: u64,
}

impl Sealed {
    /// Reads and checks the header of the sealed segment at `path`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Io`].
    pub fn open(vfs: &dyn Vfs, path: PathBuf) -> Result<Arc<Self>> {
        let file = vfs.open(&path, false).map_err(|error| Error::io(&path, "open", error))?;
        let mut bytes = [0; SEALED_HEADER_BYTES];
        match file.read_at(0, &mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::corrupt(
                    path,
                    0,
                    "the file is shorter than the header of a sealed segment",
                ));
            }
            Err(error) => return Err(Error::io(path, "read", error)),
        }
        let header = SealedHeader::decode(&bytes).map_err(|fault| fault.at(path.clone(), 0))?;
        Ok(Arc::new(Self::new(path, header)))
    }

    /// The sealed segment at `path` whose header is known.
    #[must_use]
    pub fn new(path: PathBuf, header: SealedHeader) -> Self {
        Self { path, header, id: NEXT_ID.fetch_add(1, Ordering::Relaxed) }
    }

    /// Size of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.header.directory.end().max(self.header.tree.end())
    }

    /// A view of it, which holds the file open.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub fn view(self: &Arc<Self>, vfs: &dyn Vfs) -> Result<SealedView> {
        let file = vfs.open(&self.path, false).map_err(|error| Error::io(&self.path, "open", error))?;
        let directory = self.directory(&*file)?;
        Ok(SealedView { sealed: Arc::clone(self), directory, file, current: None, broken: None })
    }

    /// The tree over its events as it was when they were sealed; `None` where an older build sealed them.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub fn tree(&self, vfs: &dyn Vfs) -> Result<Option<Run>> {
        let SealedHeader { tree, entry, end, .. } = self.header;
        if tree == Stored::default() {
            return Ok(None);
        }
        let file = vfs.open(&self.path, false).map_err(|error| Error::io(&self.path, "open", error))?;
        let hashes = self.read(&*file, &tree, "its tree")?;
        let run = Run::of_hashes(entry.first_seq, end.next_seq, true, &hashes);
        let nonsense = || Error::corrupt(&self.path, tree.offset, "its tree is not over its events");
        run.map(Some).ok_or_else(nonsense)
    }

    fn directory(&self, file: &dyn File) -> Result<Arc<Directory>> {
        if let Some(Item::Directory(directory)) = cache::get((self.id, Part::Directory)) {
            return Ok(directory);
        }
        let place = self.header.directory;
        if place.bytes > MAX_DIRECTORY_BYTES {
            return Err(Error::corrupt(&self.path, place.offset, "its directory is larger than any can be"));
        }
        let bytes = self.read(file, &place, "its directory")?;
        let directory = Directory::decode(&bytes, self.header.end.offset)
            .ok_or_else(|| Error::corrupt(&self.path, place.offset, "its directory makes no sense"))?;
        let directory = Arc::new(directory);
        cache::put((self.id, Part::Directory), Item::Directory(Arc::clone(&directory)));
        Ok(directory)
    }

    /// The bytes of a part of the file, checked.
    fn read(&self, file: &dyn File, place: &Stored, what: &str) -> Result<Vec<u8>> {
        let size = usize::try_from(place.bytes).unwrap_or(usize::MAX);
        let is_inside = file
            .bytes()
            .map_err(|error| Error::io(&self.path, "measure", error))?
            .checked_sub(place.offset)
            .is_some_and(|room| u64::from(place.bytes) <= room);
        if !is_inside {
            return Err(Error::corrupt(&self.path, place.offset, format!("the file ends before {what}")));
        }
        let mut bytes = vec![0; size];
        file.read_at(place.offset, &mut bytes).map_err(|error| Error::io(&self.path, "read", error))?;
        if checksum(&bytes) == place.checksum {
            return Ok(bytes);
        }
        Err(Error::corrupt(&self.path, place.offset, format!("the checksum of {what} does not fit")))
    }

    /// The records of one block.
    fn unpack(&self, file: &dyn File, entry: &BlockEntry) -> Result<Vec<u8>> {
        let place = Stored { offset: entry.offset, bytes: entry.stored_bytes, checksum: entry.checksum };
        let limit = self.header.header.file_bytes;
        if [entry.packed_bytes, entry.record_bytes].into_iter().any(|bytes| u64::from(bytes) > 2 * limit) {
            return Err(Error::corrupt(&self.path, entry.offset, "a block is larger than its segment"));
        }
        let stored = self.read(file, &place, "a block")?;
        unpack(&stored, entry.form, &entry.contents(self.header.header.epoch)).ok_or_else(|| {
            Error::corrupt(&self.path, entry.offset, "a block's checksum fits, its content makes no sense")
        })
    }
}

/// An open sealed segment, standing at one block.
#[derive(Clone)]
pub struct SealedView {
    sealed: Arc<Sealed>,
    /// Its blocks.
    pub directory: Arc<Directory>,
    file: Arc<dyn File>,
    current: Option<(usize, BlockEntry, Arc<[u8]>)>,
    broken: Option<Broken>,
}

/// Why a block could not be read; an error that can be told more than once.
#[derive(Debug, Clone)]
enum Broken {
    Damaged { offset: u64, reason: String },
    Unreadable { action: &'static str, code: Option<i32>, kind: io::ErrorKind },
}

impl Broken {
    fn of(error: Error) -> Self {
        match error {
            Error::Corrupt { offset, reason, .. } => Self::Damaged { offset, reason },
            Error::Io { action, source, .. } => {
                Self::Unreadable { action, code: source.raw_os_error(), kind: source.kind() }
            }
            other => Self::Damaged { offset: 0, reason: other.to_string() },
        }
    }

    fn error(&self, path: &Path) -> Error {
        match self {
            Self::Damaged { offset, reason } => Error::corrupt(path, *offset, reason.clone()),
            Self::Unreadable { action, code, kind } => {
                Error::io(path, action, code.map_or_else(|| (*kind).into(), io::Error::from_raw_os_error))
            }
        }
    }
}

impl std::fmt::Debug for SealedView {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SealedView").field("path", &self.sealed.path).finish_non_exhaustive()
    }
}

impl SealedView {
    /// Where the records end.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.sealed.header.end.offset).unwrap_or(usize::MAX)
    }

    /// The beginning of block `at`, or the end behind the last.
    #[must_use]
    pub fn position(&self, at: usize) -> Position {
        let end = self.sealed.header.end;
        let (offset, next_seq) =
            self.directory.blocks.get(at).map_or((end.offset, end.next_seq), |block| {
                (u64::from(block.record_offset), block.first_seq)
            });
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Position { offset, next_seq, names: Arc::clone(&self.directory.names) }
    }

    /// Forgets that a block could not be read.
    pub fn mend(&mut self) {
        self.broken = None;
    }

    /// Why a block could not be read, if one could not.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn refuse_if_broken(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |broken| Err(broken.error(&self.sealed.path)))
    }

    /// The bytes from `offset` to the end of its block; empty behind the records, `None` where the block cannot be read.
    pub fn from(&mut self, offset: usize) -> Option<&[u8]> {
        if offset >= self.bytes() {
            return Some(&[]);
        }
        let stands = |(_, entry, _): &(usize, BlockEntry, Arc<[u8]>)| {
            (usize::try_from(entry.record_offset).unwrap_or(usize::MAX)..entry.record_end()).contains(&offset)
        };
        if !self.current.as_ref().is_some_and(stands) {
            match self.load(offset) {
                Ok(loaded) => self.current = Some(loaded),
                Err(error) => {
                    self.broken = Some(Broken::of(error));
                    return None;
                }
            }
        }
        let (_, entry, bytes) = self.current.as_ref()?;
        bytes.get(offset.checked_sub(usize::try_from(entry.record_offset).ok()?)?..)
    }

    fn load(&self, offset: usize) -> Result<(usize, BlockEntry, Arc<[u8]>)> {
        let found =
            self.directory.at_offset(offset).and_then(|at| Some((at, *self.directory.blocks.get(at)?)));
        let (at, entry) = found
            .ok_or_else(|| Error::corrupt(&self.sealed.path, 0, format!("no block holds byte {offset}")))?;
        let key = (self.sealed.id, Part::Block(at));
        if let Some(Item::Block(bytes)) = cache::get(key) {
            return Ok((at, entry, bytes));
        }
        let bytes: Arc<[u8]> = self.sealed.unpack(&*self.file, &entry)?.into();
        cache::put(key, Item::Block(Arc::clone(&bytes)));
        Ok((at, entry, bytes))
    }
}
