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

fn canonical_uuid(text: &str) -> Option<UuidBytes> {
    if text.len() != Hyphenated::LENGTH || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok().map(|uuid| UuidBytes(uuid.into_bytes()))
}
