//! What happens between two steps of an opening, and to readers that live through it: files change under a survey, pages
//! leave the cache, the disk fills up.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
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

use super::manual;
use crate::support::{Dir, append, clock, read_all};

type Act = Box<dyn Fn(&Path) + Send + Sync>;

/// A disk on which something happens beside us.
struct Meddled<V> {
    inner: V,
    before_open: Act,
    before_create: Act,
    before_allocate: Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>,
    after_map: Arc<Act>,
}

impl<V> Meddled<V> {
    fn new(inner: V) -> Self {
        let nothing = || -> Act { Box::new(|_| ()) };
        Self {
            inner,
            before_open: nothing(),
            before_create: nothing(),
            before_allocate: Arc::new(|_| Ok(())),
            after_map: Arc::new(nothing()),
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

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        let memory = self.file.map(bytes, writable)?;
        (self.after_map)(&self.path);
        Ok(memory)
    }
}

fn open_on(vfs: Arc<dyn Vfs>, path: &Path, mode: Mode) -> Result<Log> {
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
