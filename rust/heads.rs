//! The newest event of each aggregate.
//!
//! Owns versions and the chain back: an event's `aggregate_prev` is the head it replaces. A cache (R18): rebuilt by the
//! scan of an opening. The maps' hash is seeded per process and never stored.
//!
//! Ids of up to [`SHORT_BYTES`] lie in the table itself, 32 bytes with their head, which is half a line of the cache: of a
//! million aggregates an id somewhere else would be one more look at memory that is in none.

use std::hash::{Hash, Hasher};

use hashbrown::HashMap;

const SHORT_BYTES: usize = 19;

/// Place of an aggregate's newest event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its position in the log.
    pub seq: u64,
    /// Its version within the aggregate.
    pub version: u32,
}

impl Head {
    /// Version of the event after `head`.
    #[must_use]
    pub fn next_version(head: Option<Self>) -> u32 {
        head.map_or(0, |head| head.version.saturating_add(1))
    }
}

/// A short id, zeros, and its length in the last byte. Made and compared in registers, word by word: bytes just stored are waited
/// for where they are read as words.
#[derive(Debug, Clone, Copy)]
struct ShortId([u32; 5]);

impl ShortId {
    #[inline]
    fn of(id: &str) -> Option<Self> {
        let bytes = id.as_bytes();
        if bytes.len() > SHORT_BYTES {
            return None;
        }
        let (first, rest) = bytes.split_at(bytes.len().min(8));
        let (second, third) = rest.split_at(rest.len().min(8));
        let [first, second, (third, _)] = [first, second, third].map(|part| halves(word(part)));
        let length = u32::try_from(bytes.len()).ok()?;
        Some(Self([first.0, first.1, second.0, second.1, third | (length << 24)]))
    }

    fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        let bytes = self.0.map(u32::to_le_bytes);
        let [text @ .., length] = bytes.as_flattened() else { return use_text("") };
        let text = text.get(..usize::from(*length)).unwrap_or_default();
        use_text(std::str::from_utf8(text).unwrap_or_default())
    }
}

impl PartialEq for ShortId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differing, (own, other)| differing | (own ^ other)) == 0
    }
}

impl Eq for ShortId {}

impl Hash for ShortId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [text @ .., last] = self.0.map(u64::from);
        for [low, high] in text.as_chunks().0 {
            state.write_u64(low | (high << 32));
        }
        state.write_u64(last);
    }
}

/// Up to eight bytes as a word, from two or three loads that meet or overlap.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    let shift = |from: usize| 8 * (bytes.len() - from);
    if let Some(all) = bytes.first_chunk() {
        return u64::from_le_bytes(*all);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << shift(4));
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, ..] => u64::from(u32::from_le_bytes([a, b, c, 0])),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word, the lower one first")]
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A head where words of four bytes lie.
#[derive(Debug, Clone, Copy)]
struct Packed {
    seq: [u32; 2],
    version: u32,
}

impl From<Head> for Packed {
    fn from(head: Head) -> Self {
        Self { seq: halves(head.seq).into(), version: head.version }
    }
}

impl From<Packed> for Head {
    fn from(packed: Packed) -> Self {
        let [low, high] = packed.seq.map(u64::from);
        Self { seq: low | (high << 32), version: packed.version }
    }
}

/// Heads by aggregate id.
#[derive(Debug, Default, Clone)]
pub struct Heads {
    short: HashMap<ShortId, Packed>,
    long: HashMap<Box<str>, Head>,
}

impl Heads {
    /// The head of `aggregate_id`.
    #[must_use]
    pub fn get(&self, aggregate_id: &str) -> Option<Head> {
        match ShortId::of(aggregate_id) {
            Some(id) => self.short.get(&id).map(|packed| (*packed).into()),
            None => self.long.get(aggregate_id).copied(),
        }
    }

    /// Puts the head of `aggregate_id` to `head`; allocates only for an aggregate that is new.
    pub fn set(&mut self, aggregate_id: &str, head: Head) {
        if let Some(id) = ShortId::of(aggregate_id) {
            self.short.insert(id, head.into());
        } else if let Some(known) = self.long.get_mut(aggregate_id) {
            *known = head;
        } else {
            self.long.insert(aggregate_id.into(), head);
        }
    }

    /// Shows all of them, in no order.
    pub fn show(&self, mut use_head: impl FnMut(&str, Head)) {
        for (id, packed) in &self.short {
            id.with_text(|text| use_head(text, (*packed).into()));
        }
        for (id, head) in &self.long {
            use_head(id, *head);
        }
    }

    fn where_seq(&self, is_wanted: impl Fn(u64) -> bool) -> Self {
        let short = self.short.iter().filter(|(_, packed)| is_wanted(Head::from(**packed).seq));
        let long = self.long.iter().filter(|(_, head)| is_wanted(head.seq));
        Self {
            short: short.map(|(id, packed)| (*id, *packed)).collect(),
            long: long.map(|(id, head)| (id.clone(), *head)).collect(),
        }
    }

    /// Those of aggregates that have an event from `first_seq` on.
    #[must_use]
    pub fn since(&self, first_seq: u64) -> Self {
        self.where_seq(|seq| seq >= first_seq)
    }

    /// Those of aggregates whose newest event lies before `seq`.
    #[must_use]
    pub fn before(&self, seq: u64) -> Self {
        self.where_seq(|newest| newest < seq)
    }

    /// Takes over what `newer` knows.
    pub fn update(&mut self, newer: Self) {
        if self.count() == 0 {
            *self = newer;
        } else {
            self.short.extend(newer.short);
            self.long.extend(newer.long);
        }
    }

    /// Takes over what is newer in `other`.
    pub fn merge(&mut self, other: &Self) {
        other.show(|id, head| {
            if self.get(id).is_none_or(|known| known.seq < head.seq) {
                self.set(id, head);
            }
        });
    }

    /// Number of aggregates.
    #[must_use]
    pub fn count(&self) -> usize {
        self.short.len() + self.long.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_length_are_told_apart() {
        let mut heads = Heads::default();
        let ids: Vec<String> =
            (0..40).flat_map(|length| ["a", "\0", "é"].map(|sign| sign.repeat(length))).collect();
        for (seq, id) in (1 << 40..).zip(&ids) {
            heads.set(id, Head { seq, version: 7 });
        }
        // Three times nothing is one id; the last head that was put stays.
        assert_eq!(heads.count(), ids.len() - 2);
        for (seq, id) in (1 << 40..).zip(&ids).skip(2) {
            assert_eq!(heads.get(id), Some(Head { seq, version: 7 }));
        }
        heads.show(|id, head| assert_eq!(heads.get(id), Some(head)));
        assert_eq!(heads.get("b"), None);
    }
}
