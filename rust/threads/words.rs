//! Shared words that threads of several processes count up and sleep on: what a control page is made of.
//!
//! A trait, so that the protocol over them (`control.rs`) is run by a model checker on words of its own. In production they
//! lie in a mapping and sleeping is the kernel's futex (`map/words.rs`). Orderings are said by the caller alone.

use std::{sync::atomic::Ordering, time::Duration};

/// See the module's first paragraph. Offsets are from the page's start, in bytes.
pub trait Words {
    /// Loads a word.
    fn load(&self, offset: usize, order: Ordering) -> u32;
    /// Adds one; returns what was there.
    fn add_one(&self, offset: usize, order: Ordering) -> u32;
    /// Puts zero; returns what was there.
    fn take(&self, offset: usize, order: Ordering) -> u32;
    /// Sleeps while the word is `value`, at most `timeout`; false where that cannot be done.
    fn sleep_while(&self, offset: usize, value: u32, timeout: Duration) -> bool;
    /// Wakes all who sleep on the word.
    fn wake(&self, offset: usize);
}
