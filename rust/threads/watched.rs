//! Cells that tell somebody of each store before it is made: the points at which a simulated process dies.
//!
//! Owns nothing else; the stores are the processor's own.

use std::{
    fmt::Debug,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::Cells;

/// Sees each store of the appending thread before it is made.
pub trait Watch: Debug + Send + Sync {
    /// The uncommitted bytes `offset..offset + bytes` are about to be stored, one after another.
    fn before_fill(&self, offset: usize, bytes: usize);
    /// A commit word is about to be stored, at once.
    fn before_commit(&self);
}

/// See the module's first paragraph.
#[derive(Debug, Default)]
pub struct Watched(OnceLock<Box<dyn Watch>>);

impl Watched {
    /// Lets `watch` see every store from now on; the first one stays.
    pub fn by(&self, watch: Box<dyn Watch>) {
        let _first_stays = self.0.set(watch);
    }
}

impl Cells for Watched {
    fn new(_bytes: usize) -> Self {
        Self::default()
    }

    fn load(&self, _offset: usize, word: &AtomicU32, order: Ordering) -> u32 {
        word.load(order)
    }

    fn store(&self, _offset: usize, word: &AtomicU32, value: u32, order: Ordering) {
        if let Some(watch) = self.0.get() {
            watch.before_commit();
        }
        word.store(value, order);
    }

    fn reads(&self, _offset: usize, _bytes: usize) {}

    fn writes(&self, offset: usize, bytes: usize) {
        if let Some(watch) = self.0.get() {
            watch.before_fill(offset, bytes);
        }
    }
}
