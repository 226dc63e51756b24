//! A disk in memory that can be copied, damaged, filled up and made to fail its syncs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use _core::{
    map::Memory,
    vfs::{File, Filesystem, Lock, Vfs, memory::InMemory},
};

/// Every file: its path, its size, and its bytes up to the last that is not zero.
pub type Image = Vec<(PathBuf, usize, Vec<u8>)>;

/// Bytes up to the last that is not zero; whole sectors are compared first, which is quick.
pub fn used_bytes(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 512] = [0; 512];
    let is_used = |sector: &[u8]| sector != &ZEROS[..sector.len()];
    let sectors = bytes.chunks(512).rposition(is_used).map_or(0, |last| last + 1);
    let bytes = &bytes[..bytes.len().min(sectors * 512)];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub struct Ram {
    inner: InMemory,
    names: Mutex<Vec<PathBuf>>,
    pub fail_syncs: Arc<AtomicBool>,
    pub is_full: AtomicBool,
    pub lies_on: Mutex<Filesystem>,
}

impl Default for Ram {
    fn default() -> Self {
        Self {
            inner: InMemory::default(),
            names: Mutex::default(),
            fail_syncs: Arc::default(),
            is_full: AtomicBool::default(),
            lies_on: Mutex::new(Filesystem::Dependable),
        }
    }
}

impl Ram {
    /// A disk that holds `image`.
    pub fn of(image: &Image) -> Arc<Self> {
        let ram = Self::default();
        for (path, size, bytes) in image {
            let file = ram.create(path).unwrap();
            file.allocate(*size as u64).unwrap();
            file.write_at(0, bytes).unwrap();
        }
        Arc::new(ram)
    }

    /// The same with one bit of one file flipped.
    pub fn flipped(image: &Image, file: usize, byte: usize, bit: u32) -> Arc<Self> {
        let ram = Self::of(image);
        let (path, _, bytes) = &image[file];
        let before = bytes.get(byte).copied().unwrap_or(0);
        ram.inner.open(path, true).unwrap().write_at(byte as u64, &[before ^ (1 << bit)]).unwrap();
        ram
    }

    /// What it holds now.
    pub fn image(&self) -> Image {
        let mut names = self.names.lock().unwrap().clone();
        names.sort();
        names.dedup();
        let read = |path: PathBuf| {
            let file = self.inner.open(&path, false).ok()?;
            let mut bytes = vec![0; usize::try_from(file.bytes().unwrap()).unwrap()];
            file.read_at(0, &mut bytes).ok()?;
            let size = bytes.len();
            bytes.truncate(used_bytes(&bytes));
            Some((path, size, bytes))
        };
        names.into_iter().filter_map(read).collect()
    }
}

impl Vfs for Ram {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RamFile(self.inner.open(path, writable)?, Arc::clone(&self.fail_syncs))))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.names.lock().unwrap().push(path.to_owned());
        Ok(Arc::new(RamFile(self.inner.create(path)?, Arc::clone(&self.fail_syncs))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names.lock().unwrap().push(to.to_owned());
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

    fn filesystem(&self, _path: &Path) -> io::Result<Filesystem> {
        Ok(self.lies_on.lock().unwrap().clone())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct RamFile(Arc<dyn File>, Arc<AtomicBool>);

impl RamFile {
    fn sync(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::other("injected EIO")) } else { Ok(()) }
    }
}

impl File for RamFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, target)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, source)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.0.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        self.0.map(bytes, writable)
    }
}
