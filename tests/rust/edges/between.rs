//! What happens between two steps of an opening, and to readers that live through it: files change under a survey, pages
//! leave the cache, the disk fills up.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use _core::{
    config::Mode,
    error::{Error, Result},
    log::{Location, Log},
    map::Memory,
    scan::Query,
    vfs::{File, Filesystem, Lock, Vfs, disk::Disk},
};

use super::{ROOT, manual, open_with, segment_file};
use crate::support::{Dir, append, clock, payloads, ram::Ram, read_all};

type Act = Box<dyn Fn(&Path) + Send + Sync>;

/// A disk on which something happens beside us.
pub struct Meddled<V> {
    inner: V,
    before_open: Act,
    before_create: Act,
    pub before_allocate: Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>,
    after_map: Arc<Act>,
    /// Before it answers whether it is durable, which nobody asks under a lock.
    pub before_answer: Box<dyn Fn() + Send + Sync>,
}

impl<V> Meddled<V> {
    pub fn new(inner: V) -> Self {
        let nothing = || -> Act { Box::new(|_| ()) };
        Self {
            inner,
            before_open: nothing(),
            before_create: nothing(),
            before_allocate: Arc::new(|_| Ok(())),
            after_map: Arc::new(nothing()),
            before_answer: Box::new(|| ()),
        }
    }

    fn wrapped(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        let (allocate, after_map) = (Arc::clone(&self.before_allocate), Arc::clone(&self.after_map));
        Arc::new(MeddledFile { path: path.to_owned(), file, allocate, after_map })
    }
}

impl<V: Vfs> Vfs for Meddled<V> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        (self.before_open)(path);
        Ok(self.wrapped(path, self.inner.open(path, writable)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        (self.before_create)(path);
        Ok(self.wrapped(path, self.inner.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
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

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<std::result::Result<Box<dyn Lock>, String>> {
        self.inner.try_lock(path, holder)
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        self.inner.filesystem(path)
    }

    fn is_durable(&self) -> bool {
        (self.before_answer)();
        true
    }
}

struct MeddledFile {
    path: PathBuf,
    file: Arc<dyn File>,
    allocate: Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>,
    after_map: Arc<Act>,
}

impl File for MeddledFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, target)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, source)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        (self.allocate)(bytes)?;
        self.file.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.file.forget_cached()
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        let memory = self.file.map(bytes, writable)?;
        (self.after_map)(&self.path);
        Ok(memory)
    }
}

pub fn open_on(vfs: Arc<dyn Vfs>, path: &Path, mode: Mode) -> Result<Log> {
    let options = _core::config::Options { mode, ..manual() };
    Log::open(Location::Elsewhere(vfs, path), options, clock())
}

/// A page that the device fails to read, or that is gone, is not the end of the log: to the survey it looked like zeros, and
/// events that had been acknowledged as durable were cut, or not seen by a reader.
#[test]
fn a_page_that_cannot_be_read_while_surveying_is_an_error_and_nothing_is_cut() {
    let dir = Dir::new();
    let log = crate::support::open(&dir, manual());
    for number in 0..20 {
        append(&log, "t", None, &format!("{number}{}", "x".repeat(1000)));
    }
    assert_eq!(log.sync().unwrap(), Some(19));
    log.abandon();
    let segment = dir.path().join("segments").join(_core::format::names::segment(1));
    let whole = fs::read(&segment).unwrap();
    for mode in [Mode::Read, Mode::ReadWrite] {
        // The read fails once: what is asked for afterwards is there.
        let (cut, put_back) = (segment.clone(), (segment.clone(), whole.clone()));
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        let mut disk = Meddled::new(Disk);
        disk.after_map = Arc::new(Box::new(move |path| {
            if path == cut && !failed.swap(true, Ordering::SeqCst) {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(5 * 4096).unwrap();
            }
        }));
        disk.before_open = Box::new(move |path| {
            if path == put_back.0 && fs::metadata(path).unwrap().len() != put_back.1.len() as u64 {
                fs::write(path, &put_back.1).unwrap();
            }
        });
        let outcome = open_on(Arc::new(disk), dir.path(), mode).map(|log| {
            let events = log.recovery().events;
            log.abandon();
            events
        });
        assert!(has_failed.load(Ordering::SeqCst));
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{mode:?}: {outcome:?}");
        fs::write(&segment, &whole).unwrap();
        assert!(!dir.path().join("quarantine").exists());
    }
    let log = crate::support::open(&dir, manual());
    assert_eq!(read_all(&log, Query::default()).len(), 20);
}

fn zero(vfs: &dyn Vfs, path: &Path, from: u64, bytes: usize) {
    vfs.open(path, true).unwrap().write_at(from, &vec![0; bytes]).unwrap();
}

/// After a failed sync the kernel may drop a page at any moment, also between the survey that saw its events and the copy
/// that is to save them: META then spoke of a cut that the copy did not reach, and every later opening refused the log.
#[test]
fn what_leaves_the_cache_between_survey_and_copy_ends_the_log_and_does_not_damage_it() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    for number in 0..20 {
        append(&log, "t", Some("a"), &format!("{number}{}", "x".repeat(1000)));
    }
    log.abandon();
    let image = ram.image();
    for page in 4..8 {
        let ram = Ram::of(&image);
        let beneath = Arc::clone(&ram);
        let mut disk = Meddled::new(Through(Arc::clone(&ram)));
        let is_done = AtomicBool::new(false);
        disk.before_create = Box::new(move |path| {
            if path.starts_with("/log/segments") && !is_done.swap(true, Ordering::SeqCst) {
                zero(&*beneath, &segment_file(1), page * 4096, 4096);
            }
        });
        let disk: Arc<dyn Vfs> = Arc::new(disk);
        let mut log = open_on(Arc::clone(&disk), Path::new(ROOT), Mode::ReadWrite);
        if log.is_err() {
            log = open_on(Arc::clone(&disk), Path::new(ROOT), Mode::ReadWrite);
        }
        let log = log.unwrap();
        let count = read_all(&log, Query::default()).len();
        assert!((3..20).contains(&count), "{count}");
        append(&log, "t", Some("a"), "afterwards");
        assert_eq!(log.aggregate_version("a").unwrap(), Some(u32::try_from(count).unwrap()));
        log.abandon();
        for mode in [Mode::Read, Mode::ReadWrite] {
            let again = open_on(Arc::clone(&disk), Path::new(ROOT), mode).unwrap();
            assert_eq!(read_all(&again, Query::default()).len(), count + 1);
            again.abandon();
        }
    }
}

/// A disk behind another.
pub struct Through<V>(pub Arc<V>);

impl<V: Vfs> Vfs for Through<V> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        self.0.open(path, writable)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<std::result::Result<Box<dyn Lock>, String>> {
        self.0.try_lock(path, holder)
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        self.0.filesystem(path)
    }

    fn is_durable(&self) -> bool {
        self.0.is_durable()
    }
}

/// The room that a spare takes is room: a log whose disk was filled by its own spare could not be opened any more.
#[test]
fn recovery_takes_the_room_of_what_was_prepared_in_vain() {
    for left_over in [false, true] {
        let ram = Ram::of(&Vec::new());
        let log = open_with(&ram, manual()).unwrap();
        append(&log, "t", Some("a"), "0");
        log.keep();
        append(&log, "t", Some("a"), "1");
        assert_eq!(ram.image().iter().filter(|(path, ..)| path.starts_with("/log/segments")).count(), 2);
        log.abandon();
        if left_over {
            let path = Path::new(ROOT).join("segments").join(_core::format::names::prepared(9));
            ram.create(&path).unwrap().allocate(64 * 1024).unwrap();
        }
        let image = ram.image();
        let capacity = image.iter().map(|(_, size, _)| *size as u64).sum::<u64>() + 4096;
        let mut disk = Meddled::new(Through(Arc::clone(&ram)));
        disk.before_allocate = Arc::new(move |bytes| {
            let used: u64 = ram.image().iter().map(|(_, size, _)| *size as u64).sum();
            if used + bytes > capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        let log = open_on(Arc::new(disk), Path::new(ROOT), Mode::ReadWrite).unwrap();
        append(&log, "t", Some("a"), "2");
        assert_eq!(payloads(&read_all(&log, Query::default())), ["0", "1", "2"]);
    }
}

/// Each opening that failed behind it left another copy of the same torn tail in quarantine: a full disk got fuller. And
/// the spare that the first one removed is missed by none.
#[test]
fn an_opening_that_is_tried_again_keeps_one_copy_of_what_it_cuts_off() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    append(&log, "t", Some("a"), "0");
    log.keep();
    append(&log, "t", Some("a"), "1");
    log.abandon();
    let mut bytes = [0];
    let file = ram.open(&segment_file(1), true).unwrap();
    file.read_at(12_288 + 56 + 120, &mut bytes).unwrap();
    file.write_at(12_288 + 56 + 120, &[bytes[0] ^ 1]).unwrap();
    let is_full = Arc::new(AtomicBool::new(true));
    let mut disk = Meddled::new(Through(Arc::clone(&ram)));
    let full = Arc::clone(&is_full);
    disk.before_allocate = Arc::new(move |bytes| {
        // Room for a tail, not for a segment.
        let is_refused = full.load(Ordering::SeqCst) && bytes > 16 * 1024;
        if is_refused { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let disk: Arc<dyn Vfs> = Arc::new(disk);
    for _ in 0..4 {
        let outcome = open_on(Arc::clone(&disk), Path::new(ROOT), Mode::ReadWrite).err();
        assert!(matches!(outcome, Some(Error::DiskFull { .. })), "{outcome:?}");
    }
    is_full.store(false, Ordering::SeqCst);
    let log = open_on(disk, Path::new(ROOT), Mode::ReadWrite).unwrap();
    assert_eq!(log.recovery().cut.clone().unwrap().quarantine_files.len(), 1);
    let kept: Vec<_> =
        ram.image().into_iter().filter(|(path, ..)| path.starts_with("/log/quarantine")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

/// Between the listing and the opening of its files a log may go on in another one: to the survey that one was missing.
#[test]
fn a_reader_that_opens_while_the_writer_rolls_looks_again() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    append(&log, "t", Some("a"), "x");
    let (before, rolled) = (AtomicBool::new(true), Arc::new(Mutex::new(Some(log))));
    let writer = Arc::clone(&rolled);
    let mut disk = Meddled::new(Through(Arc::clone(&ram)));
    disk.before_open = Box::new(move |path| {
        if path == segment_file(1) && before.swap(false, Ordering::SeqCst) {
            let log = writer.lock().unwrap();
            let payload = "x".repeat(1000);
            while log.as_ref().unwrap().stats().unwrap().segments.len() < 2 {
                append(log.as_ref().unwrap(), "t", Some("a"), &payload);
            }
        }
    });
    let reader = open_on(Arc::new(disk), Path::new(ROOT), Mode::Read).unwrap();
    let log = rolled.lock().unwrap().take().unwrap();
    assert_eq!(reader.last_seq().unwrap(), log.last_seq().unwrap());
}
