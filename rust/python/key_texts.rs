//! Keys of dicts as JSON, with quotes and colon, found by the key's identity.
//!
//! Owns a small table of them: the keys of a program's events are few, and the very same objects each time, whether literals or
//! out of a decoder's own cache. Invariant: a key that stands in the table is kept alive by it, so that its address is nobody
//! else's. That is few keys, and short ones; of those that fall on one set the newest two stay.

use pyo3::prelude::*;

/// Of two keys each: among a dozen keys it takes three in one set to be in each other's way.
const SETS: usize = 128;
/// Longer ones, quotes and colon with them, are written anew each time. What is known is copied whole, in two steps.
pub const MOST_KNOWN_BYTES: usize = 32;

/// Some decoders make new keys for each dict, and to keep one costs more than it saves where it never comes again.
const OFFERS_PER_KEPT: u32 = 8;

/// A key as JSON, and how long that is.
pub struct Known {
    pub text: [u8; MOST_KNOWN_BYTES],
    pub bytes: usize,
}

struct Slot {
    key: Py<PyAny>,
    known: Known,
}

/// The table.
pub struct KeyTexts {
    sets: [[Option<Slot>; 2]; SETS],
    offers: u32,
}

impl KeyTexts {
    pub const fn new() -> Self {
        Self { sets: [const { [None, None] }; SETS], offers: 0 }
    }

    /// What is known of this very object.
    #[inline]
    pub fn get(&self, key: Borrowed<'_, '_, PyAny>) -> Option<&Known> {
        let is_it = |slot: &&Slot| slot.key.as_ptr() == key.as_ptr();
        self.sets.get(set_of(key))?.iter().flatten().find(is_it).map(|slot| &slot.known)
    }

    /// Takes the JSON of one in [`OFFERS_PER_KEPT`] keys, each exactly a str and not known: keys that come again are soon there.
    #[inline]
    pub fn offer(&mut self, key: Borrowed<'_, '_, PyAny>, json: &[u8]) {
        self.offers = self.offers.wrapping_add(1);
        if self.offers.is_multiple_of(OFFERS_PER_KEPT) {
            self.keep(key, json);
        }
    }

    fn keep(&mut self, key: Borrowed<'_, '_, PyAny>, json: &[u8]) {
        let mut text = [0; MOST_KNOWN_BYTES];
        let Some(place) = text.get_mut(..json.len()) else { return };
        place.copy_from_slice(json);
        let Some([newer, older]) = self.sets.get_mut(set_of(key)) else { return };
        let known = Known { text, bytes: json.len() };
        let before = newer.replace(Slot { key: key.to_owned().unbind(), known });
        let oldest = std::mem::replace(older, before);
        // A text: nothing runs when it goes. Bound, since PyO3 does not know that this thread is attached (`capi::guarded`).
        drop(oldest.map(|slot| slot.key.into_bound(key.py())));
    }
}

/// Objects lie 16 bytes apart, texts of a few letters 64.
fn set_of(key: Borrowed<'_, '_, PyAny>) -> usize {
    let address = key.as_ptr().addr();
    ((address >> 4) ^ (address >> 12)) % SETS
}
