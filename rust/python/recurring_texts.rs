//! Texts of stored events that come again, as objects found by their bytes: keys of dicts, types, sources.
//!
//! Owns a small table of them: they are few, and come with each event; to make a text costs three times as much as to find it,
//! and an object that comes again knows its hash. What [`super::key_texts`] is on the way in. Invariant: an entry's bytes are its
//! object's text.

use pyo3::{prelude::*, types::PyString};

use super::capi::{self, gil_cell::GilCell};

/// A set holds the text that came last of those that fall on it.
const SETS: usize = 512;
/// Longer ones are made anew each time.
const MOST_BYTES: usize = 32;
/// Where each event has texts of its own, to keep one costs more than it saves.
const OFFERS_PER_KEPT: u32 = 8;

static TABLE: GilCell<Table> = GilCell::new(Table { sets: [const { None }; SETS], offers: 0 });

struct Entry {
    bytes: [u8; MOST_BYTES],
    count: usize,
    text: Py<PyString>,
}

struct Table {
    sets: [Option<Entry>; SETS],
    offers: u32,
}

/// The text that `utf8` is, which may be an object that others have; `None` where it is no UTF-8.
#[inline]
pub fn recurring_text<'py>(py: Python<'py>, utf8: &[u8]) -> Option<Bound<'py, PyString>> {
    if let Some(known) = TABLE.hold(py).get(utf8) {
        return Some(known.bind(py).clone());
    }
    // Nothing is held: to make an object may run any Python code.
    let made = capi::text_of_utf8(py, utf8)?;
    TABLE.hold(py).offer(utf8, &made);
    Some(made)
}

impl Table {
    #[inline]
    fn get(&self, utf8: &[u8]) -> Option<&Py<PyString>> {
        let entry = self.sets.get(set_of(utf8))?.as_ref()?;
        (entry.bytes.get(..entry.count) == Some(utf8)).then_some(&entry.text)
    }

    /// Keeps one in [`OFFERS_PER_KEPT`] of those that were not known.
    fn offer(&mut self, utf8: &[u8], text: &Bound<'_, PyString>) {
        self.offers = self.offers.wrapping_add(1);
        if !self.offers.is_multiple_of(OFFERS_PER_KEPT) {
            return;
        }
        let mut bytes = [0; MOST_BYTES];
        let Some(place) = bytes.get_mut(..utf8.len()) else { return };
        place.copy_from_slice(utf8);
        let Some(set) = self.sets.get_mut(set_of(utf8)) else { return };
        let before = set.replace(Entry { bytes, count: utf8.len(), text: text.clone().unbind() });
        // A text: nothing runs when it goes. Bound, since PyO3 may not know that this thread is attached (`capi::guarded`).
        drop(before.map(|entry| entry.text.into_bound(text.py())));
    }
}

/// By its first and last letters and its length: those of one event differ in these.
#[inline]
fn set_of(utf8: &[u8]) -> usize {
    let word = match (utf8.first_chunk(), utf8.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => match (utf8.first_chunk(), utf8.last_chunk()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => utf8.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        },
    };
    // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): the highest bits depend on all of them.
    let spread = (word ^ utf8.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(spread >> 32).unwrap_or_default() % SETS
}
