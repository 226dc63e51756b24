//! The dictionary of the segment being written: which text has which number (R4).
//!
//! Owns the numbers on the way in; a walk's `Names` owns them on the way out.

use hashbrown::{HashMap, HashSet};

use crate::format::{
    INLINE, MAX_DICTIONARY_ENTRIES, MAX_DICTIONARY_TEXT_BYTES, Names, NewEvent, dictionary_record_bytes,
};

#[derive(Debug, Default)]
pub(super) struct Dictionary {
    numbers: HashMap<Box<str>, u32>,
    /// Numbers given; more than there are texts, where a segment gives one text two of them.
    count: usize,
}

/// Texts that some events need and the dictionary does not have yet.
#[derive(Debug, Default)]
pub(super) struct Missing<'a> {
    /// In the order their records will have.
    pub texts: Vec<&'a str>,
    known: HashSet<&'a str>,
}

impl Missing<'_> {
    /// Bytes of their dictionary records.
    pub fn record_bytes(&self) -> usize {
        self.texts.iter().map(|text| dictionary_record_bytes(text)).sum()
    }
}

impl Dictionary {
    /// What a walk learnt of the segment.
    pub fn of(names: &Names) -> Self {
        let numbers = names.iter().zip(0..).map(|(text, number)| (Box::from(text), number)).collect();
        Self { numbers, count: names.count() }
    }

    /// The number of `text`, or [`INLINE`].
    pub fn number_of(&self, text: &str) -> u32 {
        self.numbers.get(text).copied().unwrap_or(INLINE)
    }

    /// The number that `text` will have once `missing` is written; only whether it is [`INLINE`] counts.
    pub fn future_number_of(&self, missing: &Missing<'_>, text: &str) -> u32 {
        if missing.known.contains(text) { 0 } else { self.number_of(text) }
    }

    /// The texts of `events` that deserve an entry and have none.
    pub fn missing<'a>(&self, events: &[NewEvent<'a>]) -> Missing<'a> {
        let mut missing = Missing::default();
        for text in events.iter().flat_map(NewEvent::texts) {
            let is_wanted = !self.numbers.contains_key(text) && text.len() <= MAX_DICTIONARY_TEXT_BYTES;
            let has_room = self.count + missing.texts.len() < MAX_DICTIONARY_ENTRIES;
            if is_wanted && has_room && missing.known.insert(text) {
                missing.texts.push(text);
            }
        }
        missing
    }

    /// Gives `text` the next number, which its record must carry.
    pub fn add(&mut self, text: &str) {
        let number = self.next_number();
        self.numbers.insert(text.into(), number);
        self.count += 1;
    }

    /// The next free number.
    pub fn next_number(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(INLINE)
    }
}
