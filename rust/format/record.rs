//! The 48 fixed bytes of a record, and the commit word that makes it one.
//!
//! Owns offsets, kinds and codecs. Invariants of a record: length a multiple of 8, at least 48, below 2^28.

use super::{NO_SEQ, bytes::Fields, record_checksum};

/// Bytes of the fixed part.
pub const RECORD_FIXED_BYTES: usize = 48;
/// Records begin and end on this boundary, so that a commit word never straddles a cache line.
pub const RECORD_ALIGN: usize = 8;

const LENGTH_BITS: u32 = 28;
const LENGTH_MASK: u32 = (1 << LENGTH_BITS) - 1;

/// What a record is. 8–15 are ignorable: a reader that does not know one skips it (R2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One event.
    Event,
    /// Announces the events of a batch that follow it.
    BatchHead,
    /// The segment ends here; names the next one.
    End,
    /// A text of the segment's dictionary.
    Dictionary,
    /// A kind of a newer build that may be skipped.
    Ignorable(u8),
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::BatchHead => 2,
            Self::End => 3,
            Self::Dictionary => 4,
            Self::Ignorable(code) => code,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Event),
            2 => Some(Self::BatchHead),
            3 => Some(Self::End),
            4 => Some(Self::Dictionary),
            8..=15 => Some(Self::Ignorable(code)),
            _ => None,
        }
    }
}

/// Who wrote a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// JSON written by us.
    Json,
    /// JSON given by the caller, validated.
    JsonGiven,
    /// Opaque bytes.
    Bytes,
}

impl Codec {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::JsonGiven => 2,
            Self::Bytes => 3,
        }
    }

    pub(super) fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Json),
            2 => Some(Self::JsonGiven),
            3 => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// The commit word of a record of `bytes` bytes: its length and its kind.
///
/// # Panics
/// If the length does not fit: a broken invariant, sizes are limited by `segment_bytes`.
#[must_use]
pub fn commit_word(kind: Kind, bytes: usize) -> u32 {
    let length = u32::try_from(bytes).unwrap_or(u32::MAX);
    assert!(length <= LENGTH_MASK, "a record's length has 28 bits");
    (u32::from(kind.code()) << LENGTH_BITS) | length
}

/// Kind code and length in a commit word; what they are worth is [`Fixed::check`]'s business.
#[must_use]
pub fn split_commit_word(word: u32) -> (u8, usize) {
    let code = u8::try_from(word >> LENGTH_BITS).unwrap_or(u8::MAX);
    (code, usize::try_from(word & LENGTH_MASK).unwrap_or(usize::MAX))
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFault {
    /// Impossible length.
    Length(usize),
    /// The checksum does not fit.
    Checksum,
    /// The checksum fits, the content makes no sense.
    Content(&'static str),
    /// Written by a build that knows more, and not to be skipped.
    UnknownKind(u8),
    /// Written by a build that knows more.
    UnknownFlags(u16),
}

impl std::fmt::Display for RecordFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(length) => write!(out, "impossible record length {length}"),
            Self::Checksum => out.write_str("record checksum does not fit"),
            Self::Content(what) => write!(out, "record checksum fits, but {what}"),
            Self::UnknownKind(kind) => write!(out, "a record of unknown kind {kind}"),
            Self::UnknownFlags(flags) => write!(out, "a record with unknown flags {flags:#06x}"),
        }
    }
}

/// The fixed part of a record, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// What it is.
    pub kind: Kind,
    /// Length of the whole record.
    pub length: usize,
    /// Position (of the next event, for records that are none).
    pub seq: u64,
    /// Real time of the append.
    pub ts_ns: i64,
    /// Position of the aggregate's previous event.
    pub aggregate_prev: Option<u64>,
    /// Version within the aggregate.
    pub aggregate_version: u32,
    /// Dictionary number.
    pub number: u32,
}

impl Fixed {
    /// Whether `length` can be a record's.
    #[must_use]
    pub fn is_possible_length(length: usize) -> bool {
        length >= RECORD_FIXED_BYTES && length.is_multiple_of(RECORD_ALIGN)
    }

    /// Decodes and checks a whole record (a copy of it, R8).
    ///
    /// # Errors
    /// [`RecordFault`]; `UnknownKind` only once the checksum fits, so that noise is never taken for the future.
    pub fn check(record: &[u8], epoch: u32) -> Result<Self, RecordFault> {
        let length = record.len();
        let mut fields = Fields::new(record);
        let (Some(word), Some(stored)) = (fields.u32(), fields.u32()) else {
            return Err(RecordFault::Length(length));
        };
        let (code, stated) = split_commit_word(word);
        if stated != length || !Self::is_possible_length(length) {
            return Err(RecordFault::Length(stated));
        }
        if record_checksum(epoch, word, fields.rest()) != stored {
            return Err(RecordFault::Checksum);
        }
        let kind = Kind::of(code).ok_or(RecordFault::UnknownKind(code))?;
        let decoded = (|| {
            Some(Self {
                kind,
                length,
                seq: fields.u64()?,
                ts_ns: fields.i64()?,
                aggregate_prev: fields.u64().map(|seq| (seq != NO_SEQ).then_some(seq))?,
                aggregate_version: fields.u32()?,
                number: fields.u32()?,
            })
        })();
        match decoded {
            // All ones means "none"; a position behind it there could not be.
            Some(fixed) if fixed.kind == Kind::Event && fixed.seq == NO_SEQ => {
                Err(RecordFault::Content("its position is none"))
            }
            decoded => decoded.ok_or(RecordFault::Length(length)),
        }
    }
}

/// What a batch head announces: it stores the bytes in the place of `aggregate_prev`, the count in that of `aggregate_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Bytes of the member records.
    pub bytes: u64,
    /// Number of events.
    pub count: u32,
}

impl From<&Fixed> for BatchHead {
    fn from(fixed: &Fixed) -> Self {
        Self { bytes: fixed.aggregate_prev.unwrap_or(NO_SEQ), count: fixed.aggregate_version }
    }
}
