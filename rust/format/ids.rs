//! Ids: 16 bytes where the text is a canonical UUID, else UTF-8.
//!
//! Owns the two forms and their equivalence: decoding always gives back the very text that was given.

use std::fmt;

use uuid::{Uuid, fmt::Hyphenated};

/// The bytes of a UUID, where words are stored: just made and moved on, they would else be read across the words that they were
/// stored in, which takes until these are in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(align(8))]
pub struct UuidBytes(pub [u8; 16]);

/// An id as its text was given; borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdView<'a> {
    /// A canonical UUID: 36 characters, lower case.
    Uuid(UuidBytes),
    /// Any other text.
    Text(&'a str),
}

impl<'a> IdView<'a> {
    /// Chooses the form for `text`.
    #[inline]
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        canonical_uuid(text).map_or(Self::Text(text), Self::Uuid)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> EventId {
        match *self {
            Self::Uuid(bytes) => EventId::Uuid(bytes),
            Self::Text(text) => EventId::Text(text.into()),
        }
    }

    /// Calls `use_text` with the id's text, which lives on the stack where it is a UUID.
    pub fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Uuid(bytes) => {
                use_text(Uuid::from_bytes(bytes.0).as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            Self::Text(text) => use_text(text),
        }
    }

    /// Bytes the id takes in a record.
    pub(super) fn encoded_bytes(&self) -> usize {
        match self {
            Self::Uuid(_) => 16,
            Self::Text(text) => 2 + text.len(),
        }
    }
}

impl fmt::Display for IdView<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| out.write_str(text))
    }
}

/// An event's id; owned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventId {
    /// A canonical UUID.
    Uuid(UuidBytes),
    /// Any other text.
    Text(Box<str>),
}

impl EventId {
    /// The borrowed form.
    #[must_use]
    pub fn view(&self) -> IdView<'_> {
        match self {
            Self::Uuid(bytes) => IdView::Uuid(*bytes),
            Self::Text(text) => IdView::Text(text),
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(out)
    }
}

/// Where its dashes stand, and between them four digits each.
const DASHES: [usize; 4] = [8, 13, 18, 23];
const FOURS: [(usize, usize); 4] = [(0, 4), (9, 14), (19, 24), (28, 32)];

/// Eight digits a step, side by side in a word: digit by digit, as crate `uuid` reads them, takes three times as many
/// instructions, and an append has one or two ids.
fn canonical_uuid(text: &str) -> Option<UuidBytes> {
    let text: &[u8; Hyphenated::LENGTH] = text.as_bytes().try_into().ok()?;
    let four = |at| Some(u64::from(u32::from_le_bytes(*text.get(at..)?.first_chunk()?)));
    let mut bytes = [0; 16];
    for (place, (first, second)) in bytes.as_chunks_mut().0.iter_mut().zip(FOURS) {
        *place = hex_value(four(first)? | (four(second)? << 32))?.to_le_bytes();
    }
    DASHES.iter().all(|at| text.get(*at) == Some(&b'-')).then_some(UuidBytes(bytes))
}

/// The four bytes of eight hexadecimal digits, lower case, the first in the lowest byte; `None` where one is none.
fn hex_value(digits: u64) -> Option<u32> {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // Of a letter bit 6 is set, and the lowest four count from 1.
    let values = (digits & each(0x0f)) + ((digits >> 6) & each(1)) * 9;
    let letters = ((values + each(6)) >> 4) & each(1);
    let again = values + each(b'0') + letters * u64::from(b'a' - b'0' - 10);
    if again != digits || values & each(0xf0) != 0 {
        return None;
    }
    let pairs = ((values << 4) | (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    u32::try_from((fours | (fours >> 16)) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_canonical_where_it_reads_back() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..2_000 {
            let text = Uuid::from_u128(random.u128(..)).to_string();
            assert_eq!(
                canonical_uuid(&text),
                Some(UuidBytes(Uuid::try_parse(&text).expect("a UUID").into_bytes()))
            );
            let at = random.usize(..text.len());
            for sign in (0..=0x7f_u8).map(char::from) {
                let mut changed = text.clone();
                changed.replace_range(at..=at, &sign.to_string());
                let expected = Uuid::try_parse(&changed).ok().filter(|uuid| uuid.to_string() == changed);
                assert_eq!(
                    canonical_uuid(&changed),
                    expected.map(|uuid| UuidBytes(uuid.into_bytes())),
                    "{changed}"
                );
            }
        }
    }

    #[test]
    fn no_other_length_and_no_other_sign() {
        let text = Uuid::from_u128(7).to_string();
        for other in [
            "",
            text.trim_start_matches('0'),
            &format!("{text}0"),
            &text.replace('-', ""),
            &text.replace("00-", "é-"),
        ] {
            assert_eq!(canonical_uuid(other), None);
        }
    }
}
