//! Mapped memory: the writable view of the tail, the read-only view of any segment.
//!
//! The engine's only `unsafe` (the binding has its own for the C API). Owns the mapping, the commit words'
//! atomicity and orderings, and copying out of memory that another process may be writing. Knows no record beyond its commit
//! word. Generic over the cells that memory is reached through, so that a model checker sees each access (`threads/cells.rs`).
//!
//! Invariants: bytes of a committed record never change, so copying them races with nothing. A reader reaches bytes
//! that are still being written only if a damaged length sends it there; it copies them raw, never through a
//! reference, and its checksum then rejects the copy (R8). Mappings are never resized; files are never shrunk by us, and where
//! somebody else does it, [`truncation`] turns the SIGBUS into [`Memory::is_broken`].

mod truncation;
mod words;

use std::{
    fmt, io,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use truncation::Region;
pub use words::SharedWords;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use crate::{
    planted::{Bug, is_planted},
    threads::{Cells, DefaultCells},
};

/// A mapping; unmapped when the last view of it goes.
pub struct Memory<C: Cells = DefaultCells> {
    start: NonNull<u8>,
    bytes: usize,
    /// Of a file: where a truncation shows.
    region: Option<&'static Region>,
    /// The mapping of which this is the first part; it is the one to unmap.
    whole: Option<Arc<Self>>,
    cells: C,
}

// SAFETY: the mapping belongs to no thread. All access goes through `word` (atomic), `copy` (raw) and
// `WriteMap::fill` (exclusive by `&mut` on a view that cannot be cloned). The cells are `Send` and `Sync` themselves.
unsafe impl<C: Cells> Send for Memory<C> {}
// SAFETY: as above.
unsafe impl<C: Cells> Sync for Memory<C> {}

impl<C: Cells> fmt::Debug for Memory<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Memory")
            .field("start", &self.start)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<C: Cells> Memory<C> {
    /// Maps the first `bytes` bytes of a file, shared with every process that maps it.
    ///
    /// # Errors
    /// Of mmap.
    pub fn of_file(file: BorrowedFd<'_>, bytes: usize, writable: bool) -> io::Result<Arc<Self>> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a null hint lets the kernel choose a free range, so nothing of ours is replaced.
        let start = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0) }?;
        if writable {
            // Else the kernel takes a window populated step by step for a file read in a row, and keeps it in large
            // folios; of a mapped one a store makes all of it dirty, for the next sync to write (260 KiB for 300 bytes, measured).
            // SAFETY: the range is the mapping's own, and the advice changes no content. Without it all works as well.
            let _slower_without = unsafe { madvise(start, bytes, Advice::Random) };
        }
        Self::adopt(start.cast(), bytes, Some(Region::enter(start.addr(), bytes, writable)))
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
        Self::adopt(start.cast(), bytes, None)
    }

    fn adopt(start: *mut u8, bytes: usize, region: Option<&'static Region>) -> io::Result<Arc<Self>> {
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap answered a null pointer"))?;
        Ok(Arc::new(Self { start, bytes, region, whole: None, cells: C::new(bytes) }))
    }

    /// The first `bytes` bytes, as a mapping of a file's beginning has them; `None` where there are not so many.
    #[must_use]
    pub fn first(whole: &Arc<Self>, bytes: usize) -> Option<Arc<Self>> {
        if bytes == whole.bytes {
            return Some(Arc::clone(whole));
        }
        let part = |bytes| Self {
            start: whole.start,
            bytes,
            region: whole.region,
            whole: Some(Arc::clone(whole)),
            cells: C::new(bytes),
        };
        (bytes < whole.bytes).then(|| Arc::new(part(bytes)))
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the file was cut off, or its device failed, under what was accessed here: zeros stood in for it.
    #[inline]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.region.is_some_and(Region::is_broken)
    }

    /// What it is reached through.
    #[must_use]
    pub fn cells(&self) -> &C {
        &self.cells
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

    fn load(&self, offset: usize, order: Ordering) -> Option<u32> {
        self.word(offset).map(|word| u32::from_le(self.cells.load(offset, word, order)))
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
        self.cells.written(offset, bytes);
        true
    }
}

impl<C: Cells> Drop for Memory<C> {
    fn drop(&mut self) {
        if self.whole.is_some() {
            return;
        }
        // ORDER: a fault behind this is not ours to mend.
        if let Some(region) = self.region {
            region.leave();
        }
        // SAFETY: the range is the one mmap gave, and no view is left: each holds an Arc of this, as each part does.
        let answer = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(answer.is_ok(), "munmap refused a range that mmap gave");
    }
}

/// A view that only reads.
#[derive(Debug)]
pub struct ReadMap<C: Cells = DefaultCells>(Arc<Memory<C>>);

impl<C: Cells> Clone for ReadMap<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Cells> ReadMap<C> {
    /// A view of `memory`.
    #[must_use]
    pub fn new(memory: Arc<Memory<C>>) -> Self {
        Self(memory)
    }

    /// A handle that does not keep the mapping alive.
    #[must_use]
    pub fn downgrade(&self) -> Weak<Memory<C>> {
        Arc::downgrade(&self.0)
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// See [`Memory::is_broken`].
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    /// The commit word at `offset`, `None` out of bounds. Acquire: what was stored before it is visible (R5).
    #[must_use]
    pub fn commit(&self, offset: usize) -> Option<u32> {
        let order = if is_planted(Bug::RelaxedRead) { Ordering::Relaxed } else { Ordering::Acquire };
        self.0.load(offset, order)
    }

    /// Copies out; false if out of bounds.
    #[must_use]
    pub fn copy(&self, offset: usize, target: &mut [u8]) -> bool {
        self.0.cells.reads(offset, target.len());
        self.0.copy(offset, target)
    }
}

/// The one view that writes. Not `Clone`: a segment has one appender, which `&mut` proves.
#[derive(Debug)]
pub struct WriteMap<C: Cells = DefaultCells>(Arc<Memory<C>>);

impl<C: Cells> WriteMap<C> {
    /// The writable view of `memory`, of which there may be only one.
    #[must_use]
    pub fn new(memory: Arc<Memory<C>>) -> Self {
        Self(memory)
    }

    /// The mapping itself, for populating it from the keeper.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory<C>> {
        &self.0
    }

    /// Size of the mapping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// See [`Memory::is_broken`].
    #[inline]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    /// Has `write` fill in the uncommitted bytes `offset..offset + bytes`, to encode a record in place; the commit word, its
    /// first four bytes, must be left zero.
    ///
    /// # Panics
    /// If they do not lie inside: a broken invariant, the caller has checked the room.
    #[inline]
    pub fn fill<T>(&mut self, offset: usize, bytes: usize, write: impl FnOnce(&mut [u8]) -> T) -> T {
        assert!(
            offset.checked_add(bytes).is_some_and(|end| end <= self.0.bytes),
            "an append beyond its segment"
        );
        self.0.cells.writes(offset, bytes);
        // SAFETY: in bounds (asserted). Exclusive: this view cannot be cloned and is borrowed mutably for as long as
        // `write` has the bytes, and readers stop at the zero commit word before them (R5).
        write(unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr().add(offset), bytes) })
    }

    /// Stores a commit word. Release: whoever sees it sees the record.
    ///
    /// # Panics
    /// As [`WriteMap::fill`].
    pub fn commit(&mut self, offset: usize, word: u32) {
        let target = self.0.word(offset);
        assert!(target.is_some(), "a commit beyond its segment");
        if let Some(target) = target {
            let order = if is_planted(Bug::RelaxedCommit) { Ordering::Relaxed } else { Ordering::Release };
            self.0.cells.store(offset, target, word.to_le(), order);
        }
    }

    /// Copies out; false if out of bounds.
    #[must_use]
    pub fn copy(&self, offset: usize, target: &mut [u8]) -> bool {
        self.0.cells.reads(offset, target.len());
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
