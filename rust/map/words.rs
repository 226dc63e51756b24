//! A small page of words that processes share: every access is atomic, and sleeping on a word is the kernel's.
//!
//! Owns nothing of what the words mean. Where somebody cuts the file off, words read as zeros ([`SharedWords::is_broken`]) and
//! the kernel refuses to sleep on them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    thread::futex::{self, Flags, Timespec},
};

use super::Memory;
use crate::threads::{Bare, Words};

/// See the module's first paragraph.
#[derive(Debug, Clone)]
pub struct SharedWords(Arc<Memory<Bare>>);

impl SharedWords {
    /// The words of a mapping that writes.
    #[must_use]
    pub fn new(memory: Arc<Memory<Bare>>) -> Self {
        Self(memory)
    }

    /// See [`Memory::is_broken`].
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    /// Loads the first bytes, word for word: each is whole, all together may be of several moments.
    #[must_use]
    pub fn first<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, target) in bytes.chunks_exact_mut(4).enumerate() {
            target.copy_from_slice(&self.load(at * 4, Ordering::Relaxed).to_ne_bytes());
        }
        bytes
    }

    /// Stores the first bytes, word for word.
    pub fn put_first<const N: usize>(&self, bytes: &[u8; N]) {
        for (at, source) in bytes.as_chunks::<4>().0.iter().enumerate() {
            if let Some(word) = self.0.word(at * 4) {
                word.store(u32::from_ne_bytes(*source), Ordering::Relaxed);
            }
        }
    }

    fn with(&self, offset: usize, change: impl FnOnce(&AtomicU32) -> u32) -> u32 {
        self.0.word(offset).map_or(0, change)
    }
}

impl Words for SharedWords {
    fn load(&self, offset: usize, order: Ordering) -> u32 {
        self.with(offset, |word| word.load(order))
    }

    fn add_one(&self, offset: usize, order: Ordering) -> u32 {
        self.with(offset, |word| word.fetch_add(1, order))
    }

    fn take(&self, offset: usize, order: Ordering) -> u32 {
        self.with(offset, |word| word.swap(0, order))
    }

    fn sleep_while(&self, offset: usize, value: u32, timeout: Duration) -> bool {
        let Ok(timeout) = Timespec::try_from(timeout) else { return false };
        let slept = |word| futex::wait(word, Flags::empty(), value, Some(&timeout));
        match self.0.word(offset).map(slept) {
            Some(Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR)) => true,
            Some(Err(_)) | None => false,
        }
    }

    fn wake(&self, offset: usize) {
        if let Some(word) = self.0.word(offset) {
            let _nobody_else_to_tell = futex::wake(word, Flags::empty(), u32::MAX >> 1);
        }
    }
}
