//! One file: what everybody sees of it, what is on the platter, and what the kernel believes of the difference.
//!
//! Owns both images. A page is dirty where they differ, unless a failed sync has called it clean: then it stays as it is
//! seen and never reaches the platter until somebody writes to it again. A page whose very first write failed never does
//! in this file, as on ext4, where the blocks that fallocate reserved then stay marked as unwritten. Knows no names and
//! decides nothing by chance: a [`Taste`] chooses what survives.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::survival::Taste;
use crate::map::{FileMemory, Memory};

/// What the kernel writes back at once.
pub(super) const PAGE_BYTES: usize = 4096;
/// What a disk writes whole, if it is a good one.
pub(super) const SECTOR_BYTES: usize = 512;

const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A file's content, seen and on the platter.
#[derive(Default)]
pub(super) struct CachedFile {
    seen: OnceLock<FileMemory>,
    platter: Mutex<Platter>,
}

#[derive(Default, Clone)]
struct Platter {
    /// `None`: never synced; not even the size is certain.
    bytes: Option<Vec<u8>>,
    /// Pages that a failed sync has marked clean, as they were seen then.
    called_clean: BTreeMap<usize, Vec<u8>>,
    /// Pages whose first write failed.
    unwritten: BTreeSet<usize>,
}

fn beyond_end() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the file")
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| beyond_end())
}

fn memory_of(bytes: &[u8]) -> io::Result<FileMemory> {
    let memory = FileMemory(Memory::anonymous(bytes.len())?);
    // Zeros are there already: a page that is not touched costs nothing.
    for (at, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        if ZEROS.get(..page.len()) != Some(page) && !memory.write(at * PAGE_BYTES, page) {
            return Err(beyond_end());
        }
    }
    Ok(memory)
}

impl CachedFile {
    /// A file that everybody sees as `seen` and that is on the platter as it is seen.
    pub fn settled(seen: &[u8]) -> io::Result<Self> {
        let file = Self::default();
        if !seen.is_empty() {
            file.show(seen)?;
        }
        file.platter().bytes = Some(seen.to_vec());
        Ok(file)
    }

    fn show(&self, bytes: &[u8]) -> io::Result<()> {
        self.seen.set(memory_of(bytes)?).map_err(|_| io::Error::other("the file was allocated before"))
    }

    /// The same file for another life of the machine: the process is gone, the kernel is not.
    pub fn copy(&self) -> io::Result<Self> {
        let file = Self::default();
        let seen = self.content();
        if !seen.is_empty() {
            file.show(&seen)?;
        }
        *file.platter() = self.platter().clone();
        Ok(file)
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        // Whatever panicked elsewhere: each change below is one assignment to a whole sector or page.
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Size as it is seen.
    pub fn bytes(&self) -> usize {
        self.seen.get().map_or(0, FileMemory::bytes)
    }

    /// Content as it is seen.
    pub fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes()];
        if let Some(seen) = self.seen.get() {
            let _whole = seen.read(0, &mut bytes);
        }
        bytes
    }

    pub fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.show(&vec![0; position(bytes)?])
    }

    pub fn read(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        if target.is_empty() && self.seen.get().is_none() {
            return Ok(());
        }
        let seen = self.seen.get().ok_or_else(beyond_end)?;
        seen.read(position(offset)?, target).then_some(()).ok_or_else(beyond_end)
    }

    /// Writes through the cache: its pages are dirty from now on, whatever was said of them.
    pub fn write(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        let at = position(offset)?;
        let seen = self.seen.get().ok_or_else(beyond_end)?;
        if !seen.write(at, source) {
            return Err(beyond_end());
        }
        let last = (at + source.len().saturating_sub(1)) / PAGE_BYTES;
        self.platter().called_clean.retain(|page, _| !(at / PAGE_BYTES..=last).contains(page));
        Ok(())
    }

    pub fn memory(&self, bytes: usize) -> io::Result<Arc<Memory>> {
        self.seen.get().and_then(|seen| Memory::first(&seen.0, bytes)).ok_or_else(beyond_end)
    }

    /// Puts `bytes` over what is seen at `offset`, as if they had never been changed.
    pub fn undo(&self, offset: usize, bytes: &[u8]) {
        if let Some(seen) = self.seen.get() {
            let _inside = seen.write(offset, bytes);
        }
    }

    /// Flips one bit, both as it is seen and on the platter.
    pub fn flip(&self, byte: usize, bit: u32) {
        let mut old = [0];
        let Some(seen) = self.seen.get().filter(|seen| seen.read(byte, &mut old)) else { return };
        let _inside = seen.write(byte, &[old[0] ^ (1 << bit)]);
        let mut platter = self.platter();
        if let Some(target) = platter.bytes.as_mut().and_then(|bytes| bytes.get_mut(byte)) {
            *target ^= 1 << bit;
        }
        if let Some(page) = platter.called_clean.get_mut(&(byte / PAGE_BYTES))
            && let Some(target) = page.get_mut(byte % PAGE_BYTES)
        {
            *target ^= 1 << bit;
        }
    }

    /// Everything dirty reaches the platter; what a failed sync has called clean does not.
    pub fn sync(&self) {
        let seen = self.content();
        let mut platter = self.platter();
        platter.each_dirty_page(&seen, |_, written, kept| kept.copy_from_slice(written));
        platter.called_clean.retain(|page, known| page_of(&seen, *page) == known.as_slice());
    }

    /// The kernel writes back some of what is dirty, as it does at any time, and tells nobody. What a failed sync has called
    /// clean it may drop: from then on everybody sees what is on the platter.
    pub fn write_back(&self, taste: &mut Taste) {
        let seen = self.content();
        let mut platter = self.platter();
        if platter.bytes.is_some() {
            platter.each_dirty_page(&seen, |_, written, kept| taste.page(written, kept));
        }
        let Platter { bytes: Some(bytes), called_clean, .. } = &mut *platter else { return };
        called_clean.retain(|page, known| {
            let is_dropped = page_of(&seen, *page) == known.as_slice() && taste.evicts();
            if is_dropped {
                self.undo(page * PAGE_BYTES, page_of(bytes, *page));
            }
            !is_dropped
        });
    }

    /// A sync that fails: some of what is dirty reached the platter, all of it is called clean; some pages are thrown out
    /// of the cache, so that from now on everybody sees what is on the platter.
    pub fn fail_sync(&self, taste: &mut Taste) {
        let mut seen = self.content();
        let mut platter = self.platter();
        let (mut called_clean, mut unwritten) = (Vec::new(), Vec::new());
        platter.each_dirty_page(&seen, |page, written, kept| {
            taste.page(written, kept);
            if kept.iter().all(|byte| *byte == 0) {
                unwritten.push(page);
            }
            called_clean.push((page, taste.evicts().then(|| kept.to_vec())));
        });
        platter.unwritten.extend(unwritten);
        for (page, evicted) in called_clean {
            if let Some(kept) = evicted {
                let start = page * PAGE_BYTES;
                self.undo(start, &kept);
                if let Some(target) = seen.get_mut(start..start + kept.len()) {
                    target.copy_from_slice(&kept);
                }
            }
            platter.called_clean.insert(page, page_of(&seen, page).to_vec());
        }
    }

    /// What a loss of power leaves of it.
    pub fn after_power_loss(&self, taste: &mut Taste) -> Vec<u8> {
        let seen = self.content();
        let mut platter = self.platter().clone();
        if platter.bytes.is_none() && !taste.keeps_size() {
            return Vec::new();
        }
        platter.each_dirty_page(&seen, |_, written, kept| taste.page(written, kept));
        platter.bytes.unwrap_or_default()
    }
}

fn page_of(bytes: &[u8], page: usize) -> &[u8] {
    let start = page * PAGE_BYTES;
    bytes.get(start..bytes.len().min(start + PAGE_BYTES)).unwrap_or_default()
}

impl Platter {
    /// Calls `act` with the number of each page that differs from what is `seen` and can still be written, with both
    /// contents.
    fn each_dirty_page(&mut self, seen: &[u8], mut act: impl FnMut(usize, &[u8], &mut [u8])) {
        let bytes = self.bytes.get_or_insert_with(|| vec![0; seen.len()]);
        bytes.resize(seen.len(), 0);
        let pages = seen.chunks(PAGE_BYTES).zip(bytes.chunks_mut(PAGE_BYTES)).enumerate();
        for (page, (written, kept)) in pages.filter(|(_, (written, kept))| written != kept) {
            let is_dirty = self.called_clean.get(&page).is_none_or(|known| known != written);
            if is_dirty && !self.unwritten.contains(&page) {
                act(page, written, kept);
            }
        }
    }
}
