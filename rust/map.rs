//! Mapped memory: the writable view of the tail, the read-only view of any segment.
//!
//! The engine's only `unsafe` (the binding has its own for the C API). Owns the mapping, the commit words'
//! atomicity, and copying out of memory that another process may be writing. Knows no record beyond its commit word.
//!
//! Invariants: bytes of a committed record never change, so copying them races with nothing. A reader reaches bytes
//! that are still being written only if a damaged length sends it there; it copies them raw, never through a
//! reference, and its checksum then rejects the copy (R8). Mappings are never resized; files are never shrunk.

use std::{
    io,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A mapping; unmapped when the last view of it goes.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    #[cfg(feature = "simulation")]
    watch: std::sync::OnceLock<Box<dyn StoreWatch>>,
}

/// Sees each store of the appending thread before it is made: the points at which a simulated process dies.
#[cfg(feature = "simulation")]
pub trait StoreWatch: std::fmt::Debug + Send + Sync {
    /// The uncommitted bytes `offset..offset + bytes` are about to be stored, one after another.
    fn before_fill(&self, offset: usize, bytes: usize);
    /// A commit word is about to be stored, at once.
    fn before_commit(&self);
}

// SAFETY: the mapping belongs to no thread. All access goes through `word` (atomic), `copy` (raw) and
// `WriteMap::bytes_mut` (exclusive by `&mut` on a view that cannot be cloned).
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first `bytes` bytes of a file, shared with every process that maps it.
    ///
    /// # Errors
    /// Of mmap.
    pub fn of_file(file: BorrowedFd<'_>, bytes: usize, writable: bool) -> io::Result<Arc<Self>> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a null hint lets the kernel choose a free range, so nothing of ours is replaced.
        let start = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0) }?;
        Self::adopt(start.cast(), bytes)
    }

    /// Maps `bytes` zero bytes that belong to this process alone.
    ///
    /// # Errors
    /// Of mmap.
    pub fn anonymous(bytes: usize) -> io::Result<Arc<Self>> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as in `of_file`.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }?;
        Self::adopt(start.cast(), bytes)
    }

    fn adopt(start: *mut u8, bytes: usize) -> io::Result<Arc<Self>> {
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap answered a null pointer"))?;
        Ok(Arc::new(Self {
            start,
            bytes,
            #[cfg(feature = "simulation")]
            watch: std::sync::OnceLock::new(),
        }))
    }

    /// Lets `watch` see every store from now on; the first one stays.
    #[cfg(feature = "simulation")]
    pub fn watch(&self, watch: Box<dyn StoreWatch>) {
        let _first_stays = self.watch.set(watch);
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Faults pages in for writing, ahead of the appending thread (R10).
    ///
    /// # Errors
    /// Of madvise; kernels before 5.14 do not know this advice. Writing works all the same, only with page faults.
    pub fn populate(&self, offset: usize, bytes: usize) -> io::Result<()> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range lies inside the mapping (checked above); populating changes no content.
        unsafe { madvise(self.start.as_ptr().add(offset).cast(), bytes, Advice::LinuxPopulateWrite) }?;
        Ok(())
    }

    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.bytes);
        if !fits {
            return None;
        }
        // SAFETY: in bounds and aligned (checked; mappings start on a page), and alive as long as `self`. Commit
        // words are only ever accessed through this atomic once their record can be seen.
        Some(unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) })
    }

    fn copy(&self, offset: usize, target: &mut [u8]) -> bool {
        if offset.checked_add(target.len()).is_none_or(|end| end > self.bytes) {
            return false;
        }
        // SAFETY: source in bounds (checked), target is ours and cannot overlap a mapping that hands out no references
        // while it is read (module invariants). No reference to the mapped bytes is made.
        unsafe {
            ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), target.as_mut_ptr(), target.len());
        }
        true
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.bytes) {
            return false;
        }
        // SAFETY: as `copy`, the other way round. Callers write only what no reader may believe yet: an uncommitted
        // entry, a watermark page with its own checksum, or the same bytes once more.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(offset), bytes.len()) };
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the range is the one mmap gave, and no view is left: each holds an Arc of this.
        let answer = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(answer.is_ok(), "munmap refused a range that mmap gave");
    }
}

/// A view that only reads.
#[derive(Debug, Clone)]
pub struct ReadMap(Arc<Memory>);

impl ReadMap {
    /// A view of `memory`.
    #[must_use]
    pub fn new(memory: Arc<Memory>) -> Self {
        Self(memory)
    }

    /// A handle that does not keep the mapping alive.
    #[must_use]
    pub fn downgrade(&self) -> Weak<Memory> {
        Arc::downgrade(&self.0)
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// The commit word at `offset`, `None` out of bounds. Acquire: what was stored before it is visible (R5).
    #[must_use]
    pub fn commit(&self, offset: usize) -> Option<u32> {
        self.0.word(offset).map(|word| u32::from_le(word.load(Ordering::Acquire)))
    }

    /// Copies out; false if out of bounds.
    #[must_use]
    pub fn copy(&self, offset: usize, target: &mut [u8]) -> bool {
        self.0.copy(offset, target)
    }
}

/// The one view that writes. Not `Clone`: a segment has one appender, which `&mut` proves.
#[derive(Debug)]
pub struct WriteMap(Arc<Memory>);

impl WriteMap {
    /// The writable view of `memory`, of which there may be only one.
    #[must_use]
    pub fn new(memory: Arc<Memory>) -> Self {
        Self(memory)
    }

    /// The mapping itself, for populating it from the keeper.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.0
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// The uncommitted bytes `offset..offset + bytes`, to encode a record in place; the commit word, its first four
    /// bytes, must be left zero.
    ///
    /// # Panics
    /// If they do not lie inside: a broken invariant, the caller has checked the room.
    pub fn bytes_mut(&mut self, offset: usize, bytes: usize) -> &mut [u8] {
        assert!(
            offset.checked_add(bytes).is_some_and(|end| end <= self.0.bytes),
            "an append beyond its segment"
        );
        #[cfg(feature = "simulation")]
        if let Some(watch) = self.0.watch.get() {
            watch.before_fill(offset, bytes);
        }
        // SAFETY: in bounds (asserted). Exclusive: this view cannot be cloned and is borrowed mutably, and readers
        // stop at the zero commit word before these bytes (R5).
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr().add(offset), bytes) }
    }

    /// Stores a commit word. Release: whoever sees it sees the record.
    ///
    /// # Panics
    /// As [`WriteMap::bytes_mut`].
    pub fn commit(&mut self, offset: usize, word: u32) {
        let target = self.0.word(offset);
        assert!(target.is_some(), "a commit beyond its segment");
        #[cfg(feature = "simulation")]
        if let Some(watch) = self.0.watch.get() {
            watch.before_commit();
        }
        if let Some(target) = target {
            target.store(word.to_le(), Ordering::Release);
        }
    }

    /// Copies out; false if out of bounds.
    #[must_use]
    pub fn copy(&self, offset: usize, target: &mut [u8]) -> bool {
        self.0.copy(offset, target)
    }
}

/// Memory that stands for a file: of the in-memory log.
#[derive(Debug, Clone)]
pub struct FileMemory(pub(crate) Arc<Memory>);

impl FileMemory {
    /// Copies out; false if out of bounds.
    #[must_use]
    pub fn read(&self, offset: usize, target: &mut [u8]) -> bool {
        self.0.copy(offset, target)
    }

    /// Copies in; false if out of bounds.
    #[must_use]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        self.0.write(offset, bytes)
    }

    /// Size of the file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }
}
