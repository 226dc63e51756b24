//! Directory entries: as everybody sees them, as the disk has them, and the changes in between.
//!
//! A change is whole or absent; a rename is one change. Changes of one directory become durable by its sync, a rename
//! across two by the sync of either, as in one transaction of a journal. Directories are entries without content.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{cache::CachedFile, survival::Taste};

/// What a name stands for; `None` is a directory.
pub(super) type Node = Option<Arc<CachedFile>>;
type Entries = BTreeMap<PathBuf, Node>;

/// One name goes, one comes.
#[derive(Clone)]
pub(super) struct Change {
    pub gone: Option<PathBuf>,
    pub come: Option<(PathBuf, Node)>,
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let come = self.come.as_ref().map(|(path, _)| path);
        self.gone.iter().chain(come).any(|path| path.parent() == Some(dir))
    }

    fn apply(&self, entries: &mut Entries) {
        if let Some(path) = &self.gone {
            entries.remove(path);
        }
        if let Some((path, node)) = &self.come {
            entries.insert(path.clone(), node.clone());
        }
    }
}

/// All names of one disk.
#[derive(Default, Clone)]
pub(super) struct Names {
    seen: Entries,
    kept: Entries,
    pending: Vec<Change>,
}

impl Names {
    /// What `path` stands for.
    pub fn get(&self, path: &Path) -> io::Result<&Node> {
        self.seen.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The file at `path`.
    pub fn file(&self, path: &Path) -> io::Result<Arc<CachedFile>> {
        self.get(path)?.clone().ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    /// Every file by its name.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, &Arc<CachedFile>)> {
        self.seen.iter().filter_map(|(path, node)| Some((path, node.as_ref()?)))
    }

    /// Names inside a directory.
    pub fn inside(&self, dir: &Path) -> Vec<String> {
        let inside = self.seen.keys().filter(|path| path.parent() == Some(dir));
        inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub fn sync(&mut self, dir: &Path) {
        let kept = &mut self.kept;
        self.pending.retain(|change| {
            let is_here = change.touches(dir);
            if is_here {
                change.apply(kept);
            }
            !is_here
        });
    }

    /// A file that is there, durably.
    pub fn settle(&mut self, path: PathBuf, node: Node) {
        self.kept.insert(path.clone(), node.clone());
        self.seen.insert(path, node);
    }

    /// The same names on files of their own.
    pub fn copy(&self) -> io::Result<Self> {
        let mut heirs = Heirs::new(CachedFile::copy);
        let (seen, kept) = (heirs.of_all(&self.seen)?, heirs.of_all(&self.kept)?);
        let mut pending = Vec::with_capacity(self.pending.len());
        for change in &self.pending {
            let come = match &change.come {
                Some((path, node)) => Some((path.clone(), heirs.of(node)?)),
                None => None,
            };
            pending.push(Change { gone: change.gone.clone(), come });
        }
        Ok(Self { seen, kept, pending })
    }

    /// What a loss of power leaves: seen and kept are the same again.
    pub fn after_power_loss(&self, taste: &mut Taste) -> io::Result<Self> {
        let mut survivors: Vec<&Change> = self.pending.iter().filter(|_| taste.keeps_name()).collect();
        taste.order(&mut survivors);
        let mut entries = self.kept.clone();
        for change in survivors {
            change.apply(&mut entries);
        }
        // What lies in a directory that is gone is gone.
        let is_dir = |dir: &Path| dir.parent().is_none() || matches!(entries.get(dir), Some(None));
        let is_reachable = |path: &Path| path.ancestors().skip(1).all(is_dir);
        let mut heirs = Heirs::new(|file| CachedFile::settled(&file.after_power_loss(taste)));
        let mut names = Self::default();
        for (path, node) in entries.iter().filter(|(path, _)| is_reachable(path)) {
            names.settle(path.clone(), heirs.of(node)?);
        }
        Ok(names)
    }
}

/// New files for old ones, one for each, however many names it has.
struct Heirs<F> {
    made: BTreeMap<*const CachedFile, Arc<CachedFile>>,
    make: F,
}

impl<F: FnMut(&CachedFile) -> io::Result<CachedFile>> Heirs<F> {
    fn new(make: F) -> Self {
        Self { made: BTreeMap::new(), make }
    }

    fn of(&mut self, node: &Node) -> io::Result<Node> {
        let Some(file) = node else { return Ok(None) };
        let heir = match self.made.entry(Arc::as_ptr(file)) {
            Entry::Occupied(made) => Arc::clone(made.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::new((self.make)(file)?))),
        };
        Ok(Some(heir))
    }

    fn of_all(&mut self, entries: &Entries) -> io::Result<Entries> {
        entries.iter().map(|(path, node)| Ok((path.clone(), self.of(node)?))).collect()
    }
}
