//! A simulated machine: disk, page cache and directories, whose life ends where a test says, and which shows what is left.
//!
//! Owns the counting of points (every change to a file or a name, every store of the appending thread), the crash at one
//! of them, and the faults of the system. [`cache`] owns the content of one file, [`names`] the directories, [`survival`]
//! the choice of what a crash leaves. Only in builds with the feature `simulation`; knows no log.
//!
//! What it assumes of a real machine: a rename is whole or absent; a sector is old, new or a mix of both; what a
//! successful sync of a file returned from is on the platter, and the names of a directory after its own sync.

mod cache;
mod faults;
mod names;
mod survival;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use cache::CachedFile;
pub use faults::{Fault, Operation};
use names::{Change, Names};
use survival::Taste;
pub use survival::{Crash, Loss};

use super::{File, Filesystem, Lock, Vfs};
use crate::{map::Memory, threads::watched::Watch};

/// Every file and its content.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// See the module's first paragraph.
pub struct SimulatedDisk(Arc<Machine>);

#[derive(Default)]
struct Machine {
    names: Mutex<Names>,
    locked: Arc<Mutex<BTreeSet<PathBuf>>>,
    life: Mutex<Life>,
}

/// How far a machine has come, and what is to befall it.
#[derive(Default)]
struct Life {
    points: usize,
    crash_at: Option<usize>,
    /// Of a record whose bytes were being stored at the crash, so many had been.
    stored_bytes: Option<usize>,
    in_flight: Option<InFlight>,
    /// What a crash found; from then on the machine is off.
    found: Option<Names>,
    fault: Option<Fault>,
    struck: Vec<Operation>,
}

/// Bytes that the appending thread stores one after another.
struct InFlight {
    file: Weak<CachedFile>,
    offset: usize,
    before: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

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

impl Machine {
    /// Before a change: the point at which the life may end.
    fn pass(&self) -> io::Result<()> {
        let mut life = lock(&self.life);
        if life.found.is_some() {
            return Err(off());
        }
        if life.crash_at == Some(life.points) {
            if let (Some(stored), Some(flight)) = (life.stored_bytes, &life.in_flight)
                && let (Some(file), Some(lost)) = (flight.file.upgrade(), flight.before.get(stored..))
            {
                file.undo(flight.offset + stored, lost);
            }
            life.found = Some(lock(&self.names).copy()?);
            return Err(off());
        }
        life.points += 1;
        life.in_flight = None;
        Ok(())
    }

    /// Before an operation: a refusal, or what is to go wrong with it.
    fn begin(&self, operation: Operation) -> io::Result<Option<Fault>> {
        if operation.is_change() {
            self.pass()?;
        }
        let mut life = lock(&self.life);
        if life.found.is_some() {
            return Err(off());
        }
        let Some(fault) = &mut life.fault else { return Ok(None) };
        if !fault.strikes(operation) {
            return Ok(None);
        }
        let struck = *fault;
        if !fault.lasts {
            life.fault = None;
        }
        life.struck.push(operation);
        Ok(Some(struck))
    }

    /// As [`Machine::begin`], for operations that have no effect when they fail.
    fn attempt(&self, operation: Operation) -> io::Result<()> {
        self.begin(operation)?.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn change(&self, change: Change) {
        lock(&self.names).change(change);
    }

    fn handle(self: &Arc<Self>, file: Arc<CachedFile>) -> Arc<dyn File> {
        Arc::new(OpenFile { machine: Arc::clone(self), file })
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
        Ok(self.0.handle(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.attempt(Operation::Name)?;
        if lock(&self.0.names).get(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(CachedFile::default());
        self.0.change(Change { gone: None, come: Some((path.to_owned(), Some(Arc::clone(&file)))) });
        Ok(self.0.handle(file))
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

struct OpenFile {
    machine: Arc<Machine>,
    file: Arc<CachedFile>,
}

impl OpenFile {
    fn sync(&self) -> io::Result<()> {
        match self.machine.begin(Operation::Sync)? {
            None => self.file.sync(),
            Some(fault) => {
                self.file.fail_sync(&mut Taste::of(fault.leaves));
                return Err(fault.error());
            }
        }
        Ok(())
    }
}

impl File for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        self.machine.attempt(Operation::Read)?;
        Ok(self.file.bytes() as u64)
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.machine.attempt(Operation::Read)?;
        self.file.read(offset, target)
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        match self.machine.begin(Operation::Write)? {
            None => self.file.write(offset, source),
            Some(fault) => {
                // A short write, and no more.
                self.file.write(offset, source.get(..source.len() / 2).unwrap_or_default())?;
                Err(fault.error())
            }
        }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.machine.attempt(Operation::Allocate)?;
        self.file.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        self.machine.attempt(Operation::Read)?;
        let memory = self.file.memory(bytes)?;
        if writable {
            let (machine, file) = (Arc::downgrade(&self.machine), Arc::downgrade(&self.file));
            memory.cells().by(Box::new(Watcher { machine, file }));
        }
        Ok(memory)
    }
}

/// Makes each store of the appending thread a point.
struct Watcher {
    machine: Weak<Machine>,
    file: Weak<CachedFile>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watcher")
    }
}

impl Watch for Watcher {
    fn before_fill(&self, offset: usize, bytes: usize) {
        let (Some(machine), Some(file)) = (self.machine.upgrade(), self.file.upgrade()) else { return };
        if machine.pass().is_err() {
            return; // The machine is off: what is stored from now on is seen by nobody.
        }
        let mut before = vec![0; bytes];
        if file.read(offset as u64, &mut before).is_ok() {
            lock(&machine.life).in_flight = Some(InFlight { file: self.file.clone(), offset, before });
        }
    }

    fn before_commit(&self) {
        if let Some(machine) = self.machine.upgrade() {
            let _off_or_on = machine.pass();
        }
    }
}
