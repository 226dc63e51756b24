//! A simulated machine: disk, page cache and directories, whose life ends where a test says, and which shows what is left.
//!
//! Owns the directory operations and what a test can do to the machine. [`machine`] owns its life: the counting of points,
//! the crash at one of them, the faults. [`open_file`] owns what is done through a file, [`cache`] the content of one,
//! [`names`] the directories, [`survival`] the choice of what a crash leaves. Only in builds with the feature
//! `simulation`; knows no log.
//!
//! What it assumes of a real machine: a rename is whole or absent; a sector is old, new or a mix of both; what a
//! successful sync of a file returned from is on the platter, and the names of a directory after its own sync.

mod cache;
mod faults;
mod machine;
mod names;
mod open_file;
mod survival;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cache::CachedFile;
pub use faults::{Fault, Operation};
use machine::{Machine, lock};
use names::{Change, Names};
use open_file::OpenFile;
use survival::Taste;
pub use survival::{Crash, Loss};

use super::{File, Filesystem, Lock, Vfs};

/// Every file and its content.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// See the module's first paragraph.
pub struct SimulatedDisk(Arc<Machine>);

impl SimulatedDisk {
    /// A new machine with an empty disk.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::of(Names::default())
    }

    /// A machine whose disk holds `image`, all of it durable.
    ///
    /// # Errors
    /// Of the memory it takes; the same holds for every method here.
    pub fn holding(image: &Image) -> io::Result<Arc<Self>> {
        let mut names = Names::default();
        for (path, bytes) in image {
            for dir in path.ancestors().skip(1).filter(|dir| dir.parent().is_some()) {
                names.settle(dir.to_owned(), None);
            }
            names.settle(path.clone(), Some(Arc::new(CachedFile::settled(bytes)?)));
        }
        Ok(Self::of(names))
    }

    fn of(names: Names) -> Arc<Self> {
        Arc::new(Self(Arc::new(Machine { names: Mutex::new(names), ..Machine::default() })))
    }

    /// Points passed so far.
    #[must_use]
    pub fn points(&self) -> usize {
        lock(&self.0.life).points
    }

    /// Ends the life at the point after `points` more. Where that is in the middle of a record's bytes, the first
    /// `stored_bytes` of them are there; `None`: all.
    pub fn crash_after(&self, points: usize, stored_bytes: Option<usize>) {
        let mut life = lock(&self.0.life);
        life.crash_at = Some(life.points + points);
        life.stored_bytes = stored_bytes;
    }

    /// Takes back a crash that has not come yet.
    pub fn live_on(&self) {
        lock(&self.0.life).crash_at = None;
    }

    /// Whether the crash has come.
    #[must_use]
    pub fn is_off(&self) -> bool {
        lock(&self.0.life).found.is_some()
    }

    /// How many bytes of a record were being stored at the crash, if any were.
    #[must_use]
    pub fn bytes_in_flight(&self) -> Option<usize> {
        let life = lock(&self.0.life);
        life.found.as_ref().and(life.in_flight.as_ref()).map(|flight| flight.before.len())
    }

    /// Lets something go wrong, once or from then on, instead of what was to go wrong before.
    pub fn fail(&self, fault: Fault) {
        lock(&self.0.life).fault = Some(fault);
    }

    /// Lets nothing go wrong any more; the operations that did.
    #[must_use]
    pub fn heal(&self) -> Vec<Operation> {
        let mut life = lock(&self.0.life);
        life.fault = None;
        std::mem::take(&mut life.struck)
    }

    /// Operations that have gone wrong since the last [`SimulatedDisk::heal`].
    #[must_use]
    pub fn struck(&self) -> Vec<Operation> {
        lock(&self.0.life).struck.clone()
    }

    /// The machine that the next start finds: after the crash, or after one at this very moment.
    ///
    /// # Errors
    /// Of the memory it takes.
    pub fn after(&self, crash: Crash) -> io::Result<Arc<Self>> {
        let life = lock(&self.0.life);
        let current = lock(&self.0.names);
        let names = life.found.as_ref().unwrap_or(&current);
        Ok(Self::of(match crash {
            Crash::Kill => names.copy()?,
            Crash::Power(loss) => names.after_power_loss(&mut Taste::of(loss))?,
        }))
    }

    /// The kernel writes back some of what is dirty, as it may at any time.
    pub fn write_back(&self, seed: u64) {
        let mut taste = Taste::of(Loss::Some(seed));
        for (_, file) in lock(&self.0.names).files() {
            file.write_back(&mut taste);
        }
    }

    /// Every file as it is seen now.
    #[must_use]
    pub fn image(&self) -> Image {
        lock(&self.0.names).files().map(|(path, file)| (path.clone(), file.content())).collect()
    }

    /// Flips one bit of one file, as it is seen and on the platter.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn flip(&self, path: &Path, byte: usize, bit: u32) -> io::Result<()> {
        lock(&self.0.names).file(path)?.flip(byte, bit);
        Ok(())
    }
}

impl Vfs for SimulatedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.attempt(Operation::Name)?;
        let mut names = lock(&self.0.names);
        let missing: Vec<&Path> = path.ancestors().filter(|dir| names.get(dir).is_err()).collect();
        for dir in missing.into_iter().rev().filter(|dir| dir.parent().is_some()) {
            names.change(Change { gone: None, come: Some((dir.to_owned(), None)) });
        }
        Ok(())
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Arc<dyn File>> {
        self.0.attempt(Operation::Read)?;
        let file = lock(&self.0.names).file(path)?;
        Ok(Arc::new(OpenFile { machine: Arc::clone(&self.0), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.attempt(Operation::Name)?;
        if lock(&self.0.names).get(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(CachedFile::default());
        self.0.change(Change { gone: None, come: Some((path.to_owned(), Some(Arc::clone(&file)))) });
        Ok(Arc::new(OpenFile { machine: Arc::clone(&self.0), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.attempt(Operation::Name)?;
        let node = lock(&self.0.names).get(from)?.clone();
        self.0.change(Change { gone: Some(from.to_owned()), come: Some((to.to_owned(), node)) });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.attempt(Operation::Name)?;
        lock(&self.0.names).file(path)?;
        self.0.change(Change { gone: Some(path.to_owned()), come: None });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.attempt(Operation::Sync)?;
        lock(&self.0.names).sync(path);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.attempt(Operation::Read)?;
        let names = lock(&self.0.names);
        names.get(path)?;
        Ok(names.inside(path))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.0.attempt(Operation::Read)?;
        if !lock(&self.0.locked).insert(path.to_owned()) {
            return Ok(Err(holder.to_owned()));
        }
        Ok(Ok(Box::new(HeldLock { path: path.to_owned(), locked: Arc::clone(&self.0.locked) })))
    }

    fn filesystem(&self, _path: &Path) -> io::Result<Filesystem> {
        Ok(Filesystem::Dependable)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct HeldLock {
    path: PathBuf,
    locked: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Lock for HeldLock {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        lock(&self.locked).remove(&self.path);
    }
}
