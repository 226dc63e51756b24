//! A disk in memory that remembers what each sync made durable, and holds every claim of durability against it.
//!
//! Owns what would survive a loss of power at the least: the bytes of each file as they were when its last completed sync
//! began. A watermark that claims more fails the test where it is written. Between the two ends of a sync others get a
//! turn. Its locks are std's: a disk orders nothing that the model may count on.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use _core::{
    format::{
        Fixed, Kind,
        segment::{PAGE_BYTES, RECORDS_OFFSET, Watermark},
        split_commit_word,
    },
    map::Memory,
    vfs::{File, Filesystem, Lock, Vfs, memory::InMemory},
};

/// Bytes of records that are remembered of each segment.
const REMEMBERED_BYTES: usize = 2048;

/// By the number of the file, which keeps it when it gets another name.
type Kept = Arc<Mutex<BTreeMap<usize, Vec<u8>>>>;

/// See the module's first paragraph.
pub struct Witness {
    inner: InMemory,
    numbers: Mutex<BTreeMap<PathBuf, usize>>,
    kept: Kept,
    pub fail_syncs: Arc<AtomicBool>,
    /// Whoever syncs dies of it, as of a defect.
    pub die_in_syncs: Arc<AtomicBool>,
    /// Lets others run.
    turn: fn(),
}

impl Witness {
    pub fn new(turn: fn()) -> Arc<Self> {
        let (inner, fail_syncs, die_in_syncs) = (InMemory::default(), Arc::default(), Arc::default());
        Arc::new(Self {
            inner,
            numbers: Mutex::default(),
            kept: Kept::default(),
            fail_syncs,
            die_in_syncs,
            turn,
        })
    }

    /// Position behind the newest event that would survive.
    pub fn durable_next_seq(&self) -> u64 {
        next_seq_of(&self.kept.lock().unwrap())
    }

    fn file(&self, number: usize, inner: Arc<dyn File>) -> Arc<dyn File> {
        let (kept, fail_syncs) = (Arc::clone(&self.kept), Arc::clone(&self.fail_syncs));
        let die_in_syncs = Arc::clone(&self.die_in_syncs);
        Arc::new(WitnessFile { number, inner, kept, fail_syncs, die_in_syncs, turn: self.turn })
    }
}

/// Position behind what all segments keep together.
fn next_seq_of(kept: &BTreeMap<usize, Vec<u8>>) -> u64 {
    let mut ends: Vec<_> = kept.values().map(|bytes| (first_of(bytes), end_of(bytes).1)).collect();
    ends.sort_unstable();
    // What lies behind a hole is lost with it.
    ends.iter()
        .fold(0, |next_seq, (first, end)| if *first <= next_seq { next_seq.max(*end) } else { next_seq })
}

/// Position of a segment's first record.
fn first_of(bytes: &[u8]) -> u64 {
    let seq = bytes.get(RECORDS_OFFSET + 8..).and_then(<[u8]>::first_chunk::<8>);
    seq.map_or(0, |seq| u64::from_le_bytes(*seq))
}

/// Offset and position behind the last whole record of a segment's remembered bytes.
fn end_of(bytes: &[u8]) -> (usize, u64) {
    let epoch = bytes.get(..4096).and_then(|head| {
        _core::format::segment::SegmentHeader::decode(head.first_chunk()?).ok().map(|header| header.epoch)
    });
    let (mut offset, mut next_seq) = (RECORDS_OFFSET, 0);
    while let Some(word) = bytes.get(offset..).and_then(<[u8]>::first_chunk::<4>) {
        let (_, length) = split_commit_word(u32::from_le_bytes(*word));
        let Some(record) = bytes.get(offset..offset + length).filter(|record| !record.is_empty()) else {
            break;
        };
        let Ok(fixed) = Fixed::check(record, epoch.unwrap_or(0)) else { break };
        next_seq = if fixed.kind == Kind::Event { fixed.seq + 1 } else { fixed.seq };
        offset += length;
    }
    (offset, next_seq)
}

impl Vfs for Witness {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, writable)?;
        let number = self.numbers.lock().unwrap().get(path).copied().unwrap();
        Ok(self.file(number, inner))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.create(path)?;
        let mut numbers = self.numbers.lock().unwrap();
        let number = numbers.len();
        assert!(numbers.insert(path.to_owned(), number).is_none(), "a name is made twice");
        Ok(self.file(number, inner))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut numbers = self.numbers.lock().unwrap();
        let number = numbers.get(from).copied().unwrap();
        numbers.insert(to.to_owned(), number);
        self.inner.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.inner.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.inner.try_lock(path, holder)
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        self.inner.filesystem(path)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct WitnessFile {
    number: usize,
    inner: Arc<dyn File>,
    kept: Kept,
    fail_syncs: Arc<AtomicBool>,
    die_in_syncs: Arc<AtomicBool>,
    turn: fn(),
}

impl WitnessFile {
    /// Everything else that a log keeps is smaller.
    fn is_segment(&self) -> io::Result<bool> {
        Ok(self.inner.bytes()? >= (RECORDS_OFFSET + REMEMBERED_BYTES) as u64)
    }

    /// A watermark says what a sync that had returned made durable, and no more (R16).
    fn check_watermark(&self, offset: u64, source: &[u8]) {
        let is_page = offset == PAGE_BYTES as u64 || offset == 2 * PAGE_BYTES as u64;
        let Some(mark) = source.first_chunk().filter(|_| is_page).and_then(Watermark::decode) else { return };
        let kept = self.kept.lock().unwrap();
        let (end, next_seq) = kept.get(&self.number).map_or((RECORDS_OFFSET, 0), |bytes| end_of(bytes));
        // Where a roll was caught before the first record of its segment, what is durable lies in those before.
        let next_seq = if end == RECORDS_OFFSET { next_seq_of(&kept) } else { next_seq };
        assert!(
            mark.durable_offset <= end as u64,
            "a watermark at {}, durable to {end}",
            mark.durable_offset
        );
        assert!(mark.durable_seq.is_none_or(|seq| seq < next_seq), "a watermark ahead of its sync");
    }
}

impl File for WitnessFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, target)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        if self.is_segment()? {
            self.check_watermark(offset, source);
        }
        self.inner.write_at(offset, source)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.inner.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected EIO"));
        }
        if self.die_in_syncs.load(Ordering::SeqCst) {
            // Not a panic: no hook is to say so.
            std::panic::resume_unwind(Box::new("a defect"));
        }
        let mut bytes = Vec::new();
        if self.is_segment()? {
            bytes.resize(RECORDS_OFFSET + REMEMBERED_BYTES, 0);
            self.inner.read_at(0, &mut bytes)?;
        }
        (self.turn)();
        if self.is_segment()? {
            self.kept.lock().unwrap().insert(self.number, bytes);
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.inner.forget_cached()
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        self.inner.map(bytes, writable)
    }
}
