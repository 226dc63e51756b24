//! The atomic cell of a commit word, and the plain bytes around it, as mapped memory reaches them.
//!
//! A mapping is generic over this trait. In production it is [`Bare`], which is the processor's own atomic and nothing
//! else; in a model each access is also shown to the checker, which may answer a load with an older value that the orderings
//! allow, and reports plain bytes that are read without being ordered behind their writing. Which ordering an access has
//! is said by the caller alone (`map.rs`), so that the orderings of production are the ones that are checked.

use std::sync::atomic::{AtomicU32, Ordering};

/// See the module's first paragraph. Offsets are from the memory's start, in bytes.
pub trait Cells: Send + Sync + Sized + 'static {
    /// Of a memory of `bytes` zero bytes, or of a file's.
    fn new(bytes: usize) -> Self;
    /// Loads `word`, which lies at `offset`.
    fn load(&self, offset: usize, word: &AtomicU32, order: Ordering) -> u32;
    /// Stores into `word`, which lies at `offset`.
    fn store(&self, offset: usize, word: &AtomicU32, value: u32, order: Ordering);
    /// Plain bytes are about to be read.
    fn reads(&self, offset: usize, bytes: usize);
    /// Plain bytes are about to be written.
    fn writes(&self, offset: usize, bytes: usize);
    /// `source` was written at `offset` as into a file.
    #[inline]
    fn written(&self, _offset: usize, _source: &[u8]) {}
}

/// The memory as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bare;

impl Cells for Bare {
    #[inline]
    fn new(_bytes: usize) -> Self {
        Self
    }

    #[inline]
    fn load(&self, _offset: usize, word: &AtomicU32, order: Ordering) -> u32 {
        word.load(order)
    }

    #[inline]
    fn store(&self, _offset: usize, word: &AtomicU32, value: u32, order: Ordering) {
        word.store(value, order);
    }

    #[inline]
    fn reads(&self, _offset: usize, _bytes: usize) {}

    #[inline]
    fn writes(&self, _offset: usize, _bytes: usize) {}
}
