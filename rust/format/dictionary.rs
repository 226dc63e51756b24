//! A segment's dictionary as its readers hold it: the text of each number, learnt one after the other.
//!
//! Owns the sharing. Every event that is read keeps the dictionary it was decoded with, and a dictionary of its own for
//! each would be their number squared: a clone is a share of the same texts and its own count of them. Invariants: a
//! text, once stored, stays; nobody sees a text beyond their own count.

use std::{
    fmt, iter,
    sync::{Arc, OnceLock},
};

use super::{MAX_DICTIONARY_TEXT_BYTES, bytes::Fields};

type Bucket = OnceLock<Box<[OnceLock<Box<str>>]>>;

/// Texts in the first bucket; each bucket holds twice as many as the one before, so that none ever moves.
const FIRST_BUCKET: usize = 16;
/// Eight million numbers; the largest segment has room for half as many dictionary records.
const BUCKETS: usize = 19;

/// The text of each number up to a count.
#[derive(Clone, Default)]
pub struct Names {
    buckets: Arc<[Bucket; BUCKETS]>,
    count: usize,
}

impl Names {
    /// How many numbers have a text.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The text of `number`.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&str> {
        if number < self.count { self.slot(number)?.get().map(AsRef::as_ref) } else { None }
    }

    /// The texts in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.count).map_while(|number| self.get(number))
    }

    /// Writes each text behind its length in one byte.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        for text in self.iter() {
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(text.as_bytes());
        }
    }

    /// The inverse of [`Names::put`], of `count` texts; `None` for what is no dictionary.
    pub(super) fn take(fields: &mut Fields<'_>, count: usize) -> Option<Self> {
        let mut names = Self::default();
        for _ in 0..count {
            let length = usize::from(fields.u8()?);
            let text = std::str::from_utf8(fields.take(length)?).ok()?;
            if length > MAX_DICTIONARY_TEXT_BYTES || !names.push(text) {
                return None;
            }
        }
        Some(names)
    }

    /// Gives `text` the next number; false where there is none left, beyond what a segment can hold.
    pub fn push(&mut self, text: &str) -> bool {
        let number = self.count;
        let stored = self.slot(number).map(|slot| slot.get_or_init(|| text.into()));
        let Some(is_same) = stored.map(|stored| **stored == *text) else { return false };
        // Whoever shares these texts read the same segment, in which a number has one text for good. Should it have
        // changed under the reading, each keeps what it saw.
        if !is_same {
            let mut own = Self::default();
            for text in self.iter().chain(iter::once(text)) {
                own.push(text);
            }
            *self = own;
            return true;
        }
        self.count += 1;
        true
    }

    /// Bucket n begins at `FIRST_BUCKET * (2^n - 1)`.
    fn slot(&self, number: usize) -> Option<&OnceLock<Box<str>>> {
        let bucket = usize::try_from((number / FIRST_BUCKET + 1).ilog2()).ok()?;
        let begin = FIRST_BUCKET * ((1 << bucket) - 1);
        let made = || iter::repeat_with(OnceLock::new).take(FIRST_BUCKET << bucket).collect();
        self.buckets.get(bucket)?.get_or_init(made).get(number - begin)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Names {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut names = Self::default();
        for text in texts {
            names.push(text.as_ref());
        }
        names
    }
}
