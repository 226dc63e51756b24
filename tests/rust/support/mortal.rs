//! A disk that stops at a chosen operation, and shows what a killed process or a lost power leaves behind.
//!
//! Owns what is durable: bytes by the sync of their file, names by the sync of their directory. Whatever was not synced
//! survives a power loss or not, each sector and each name for itself. Knows no log.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use _core::{
    map::Memory,
    vfs::{File, Filesystem, Lock, Vfs, memory::InMemory},
};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process is gone, the kernel goes on: everything written stays, and is still no more durable than it was.
    Kill,
    /// Of what was not synced, so many percent stay, chosen by the seed.
    Power { seed: u64, percent: u8 },
}

/// A file, or a directory if it has no bytes to speak of.
struct Node {
    file: Option<Arc<dyn File>>,
    /// Content at the last sync; `None`: never synced, it may come back empty.
    durable: Mutex<Option<Vec<u8>>>,
}

type Names = BTreeMap<PathBuf, Arc<Node>>;

/// A change of names: one that goes, one that comes.
#[derive(Clone)]
struct Change {
    gone: Option<PathBuf>,
    come: Option<(PathBuf, Arc<Node>)>,
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let come = self.come.as_ref().map(|(path, _)| path);
        self.gone.iter().chain(come).any(|path| path.parent() == Some(dir))
    }

    fn apply(&self, names: &mut Names) {
        if let Some(path) = &self.gone {
            names.remove(path);
        }
        if let Some((path, node)) = &self.come {
            names.insert(path.clone(), Arc::clone(node));
        }
    }
}

#[derive(Default)]
struct State {
    names: Names,
    kept: Names,
    pending: Vec<Change>,
}

/// See the module's first paragraph.
pub struct Mortal {
    state: Mutex<State>,
    life: Arc<Life>,
}

/// Operations left, and done.
struct Life {
    left: AtomicUsize,
    done: AtomicUsize,
}

impl Life {
    fn spend(&self) -> io::Result<()> {
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        self.done.fetch_add(1, Ordering::SeqCst);
        spent.map(|_| ()).map_err(|_| io::Error::other("the machine is off"))
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn refuse(&self) -> io::Result<()> {
        if self.is_over() { Err(io::Error::other("the machine is off")) } else { Ok(()) }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.bytes().unwrap()).unwrap()];
    if !bytes.is_empty() {
        file.read_at(0, &mut bytes).unwrap();
    }
    bytes
}

fn file_of(bytes: &[u8]) -> Arc<dyn File> {
    let file = InMemory::default().create(Path::new("file")).unwrap();
    if !bytes.is_empty() {
        file.allocate(bytes.len() as u64).unwrap();
        file.write_at(0, bytes).unwrap();
    }
    file
}

impl Mortal {
    /// An empty disk that does `left` operations.
    pub fn new(left: usize) -> Arc<Self> {
        Self::of(State::default(), left)
    }

    fn of(state: State, left: usize) -> Arc<Self> {
        let life = Arc::new(Life { left: AtomicUsize::new(left), done: AtomicUsize::new(0) });
        Arc::new(Self { state: Mutex::new(state), life })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Operations asked for so far.
    pub fn done(&self) -> usize {
        self.life.done.load(Ordering::SeqCst)
    }

    /// The disk that the next start finds, good for `left` operations.
    pub fn after(&self, end: End, left: usize) -> Arc<Self> {
        let state = self.state();
        let state = match end {
            End::Kill => copied(&state),
            End::Power { seed, percent } => survivors(&state, seed, percent),
        };
        Self::of(state, left)
    }

    fn change(&self, change: Change) {
        let mut state = self.state();
        change.apply(&mut state.names);
        state.pending.push(change);
    }

    fn node(&self, path: &Path) -> io::Result<Arc<Node>> {
        self.state().names.get(path).cloned().ok_or_else(missing)
    }

    fn handle(&self, node: Arc<Node>) -> io::Result<Arc<dyn File>> {
        let file = node.file.clone().ok_or_else(missing)?;
        Ok(Arc::new(MortalFile { node, file, life: Arc::clone(&self.life) }))
    }
}

/// The same state on nodes of its own.
fn copied(state: &State) -> State {
    let mut copies: BTreeMap<*const Node, Arc<Node>> = BTreeMap::new();
    let mut copy = |node: &Arc<Node>| {
        let made = || {
            let file = node.file.as_ref().map(|file| file_of(&content(&**file)));
            Arc::new(Node { file, durable: Mutex::new(node.durable.lock().unwrap().clone()) })
        };
        Arc::clone(copies.entry(Arc::as_ptr(node)).or_insert_with(made))
    };
    let mut all = |names: &Names| names.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
    let (names, kept) = (all(&state.names), all(&state.kept));
    let changed = |change: &Change| Change {
        gone: change.gone.clone(),
        come: change.come.as_ref().map(|(path, node)| (path.clone(), copy(node))),
    };
    State { names, kept, pending: state.pending.iter().map(changed).collect() }
}

fn survivors(state: &State, seed: u64, percent: u8) -> State {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut names = state.kept.clone();
    for change in &state.pending {
        if random.u8(..100) < percent {
            change.apply(&mut names);
        }
    }
    // What lies in a directory that is gone is gone.
    let is_reachable =
        |path: &Path| path.ancestors().skip(1).all(|dir| dir == Path::new("/") || names.contains_key(dir));
    let reachable: Vec<PathBuf> = names.keys().filter(|path| is_reachable(path)).cloned().collect();
    let mut survived = Names::new();
    for path in reachable {
        let node = &names[&path];
        let bytes = node.file.as_ref().map(|file| mixed(&**file, node, &mut random, percent));
        let file = bytes.as_ref().map(|bytes| file_of(bytes));
        survived.insert(path, Arc::new(Node { file, durable: Mutex::new(bytes) }));
    }
    State { kept: survived.clone(), names: survived, pending: Vec::new() }
}

/// Each sector as it was synced last, or as it was written since.
fn mixed(file: &dyn File, node: &Node, random: &mut fastrand::Rng, percent: u8) -> Vec<u8> {
    let now = content(file);
    let Some(mut bytes) = node.durable.lock().unwrap().clone() else {
        return if random.u8(..100) < percent { now } else { Vec::new() };
    };
    for (kept, written) in bytes.chunks_mut(SECTOR_BYTES).zip(now.chunks(SECTOR_BYTES)) {
        if kept != written && random.u8(..100) < percent {
            kept.copy_from_slice(written);
        }
    }
    bytes
}

impl Vfs for Mortal {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.life.spend()?;
        let missing: Vec<&Path> = path.ancestors().filter(|dir| self.node(dir).is_err()).collect();
        for dir in missing.into_iter().rev().filter(|dir| dir.parent().is_some()) {
            let node = Arc::new(Node { file: None, durable: Mutex::default() });
            self.change(Change { gone: None, come: Some((dir.to_owned(), node)) });
        }
        Ok(())
    }

    fn open(&self, path: &Path, _writable: bool) -> io::Result<Arc<dyn File>> {
        self.life.refuse()?;
        self.handle(self.node(path)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.life.spend()?;
        if self.node(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = Arc::new(Node { file: Some(file_of(&[])), durable: Mutex::default() });
        self.change(Change { gone: None, come: Some((path.to_owned(), Arc::clone(&node))) });
        self.handle(node)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.life.spend()?;
        let node = self.node(from)?;
        self.change(Change { gone: Some(from.to_owned()), come: Some((to.to_owned(), node)) });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.life.spend()?;
        self.node(path)?;
        self.change(Change { gone: Some(path.to_owned()), come: None });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.life.spend()?;
        let mut state = self.state();
        let State { kept, pending, .. } = &mut *state;
        pending.retain(|change| {
            let is_here = change.touches(path);
            if is_here {
                change.apply(kept);
            }
            !is_here
        });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.life.refuse()?;
        self.node(path)?;
        let state = self.state();
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.map(|name| name.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn try_lock(&self, path: &Path, _holder: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.life.spend()?;
        Ok(Ok(Box::new(MortalLock(path.to_owned()))))
    }

    fn filesystem(&self, _path: &Path) -> io::Result<Filesystem> {
        Ok(Filesystem::Dependable)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct MortalLock(PathBuf);

impl Lock for MortalLock {
    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

struct MortalFile {
    node: Arc<Node>,
    file: Arc<dyn File>,
    life: Arc<Life>,
}

impl File for MortalFile {
    fn bytes(&self) -> io::Result<u64> {
        self.life.refuse()?;
        self.file.bytes()
    }

    fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.life.refuse()?;
        if offset.saturating_add(target.len() as u64) > self.file.bytes()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if target.is_empty() { Ok(()) } else { self.file.read_at(offset, target) }
    }

    fn write_at(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.life.spend()?;
        self.file.write_at(offset, source)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.life.spend()?;
        self.file.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.life.spend()?;
        *self.node.durable.lock().unwrap() = Some(content(&*self.file));
        Ok(())
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Arc<Memory>> {
        self.life.refuse()?;
        self.file.map(bytes, writable)
    }
}
