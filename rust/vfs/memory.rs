//! Files that are anonymous memory: the log without a disk.
//!
//! The same engine runs on it, so that `enable_persistence = False` is the same code. A file gets its size once, from
//! `allocate`, as every file of a log does. Nothing outlives the process.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{File, Filesystem, Lock, Vfs};
use crate::map::{FileMemory, Memory};

type Files = BTreeMap<PathBuf, Arc<MemoryFile>>;

/// A directory tree in memory.
#[derive(Default)]
pub struct InMemory {
    files: Mutex<Files>,
}

impl InMemory {
    fn with<T>(&self, act: impl FnOnce(&mut Files) -> T) -> T {
        // The map stays whole whatever panicked elsewhere: each act is one insert or remove.
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl Vfs for InMemory {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Arc<dyn File>> {
        let file = self.with(|files| files.get(path).cloned()).ok_or_else(|| missing(path))?;
        Ok(file)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        self.with(|files| files.insert(path.to_owned(), Arc::clone(&file)));
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|files| {
            let file = files.remove(from).ok_or_else(|| missing(from))?;
            files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.with(|files| files.remove(path)).map(drop).ok_or_else(|| missing(path))
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.with(|files| {
            let inside = files.keys().filter(|file| file.parent() == Some(path));
            inside.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect()
        }))
    }

    fn try_lock(&self, path: &Path, _holder: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        Ok(Ok(Box::new(MemoryLock(path.to_owned()))))
    }

    fn filesystem(&self, _path: &Path) -> io::Result<Filesystem> {
        Ok(Filesystem::Dependable)
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// Nobody else can reach the memory, so there is nothing to lock.
struct MemoryLock(PathBuf);

impl Lock for MemoryLock {
    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

#[derive(Default)]
struct MemoryFile(OnceLock<FileMemory>);

impl MemoryFile {
    fn memory(&self) -> io::Result<&FileMemory> {
        self.0.get().ok_or_else(|| io::Error::other("the file was not allocated"))
    }
}

fn beyond_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the file")
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| beyond_end())
}

impl File for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.get().map_or(0, FileMemory::bytes) as u64)
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.memory()?.read(position(offset)?, target).then_some(()).ok_or_else(beyond_end)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.memory()?.write(position(offset)?, source).then_some(()).ok_or_else(beyond_end)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let memory = FileMemory(Memory::anonymous(position(bytes)?)?);
        self.0.set(memory).map_err(|_| io::Error::other("the file was allocated before"))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, bytes: usize, _writable: bool) -> io::Result<Arc<Memory>> {
        Memory::first(&self.memory()?.0, bytes).ok_or_else(beyond_end)
    }
}
