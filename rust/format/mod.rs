//! The bytes of a log: how every file and record is laid out. docs/format.md is the normative text.
//!
//! Owns encoding and decoding, and nothing else: no files, no clocks, no locks. Every decoder is safe on
//! any bytes, bounds each length before it uses it and allocates nothing from a length it has not checked.
//! All integers are little endian.

pub mod blob;
mod bytes;
mod checksum;
pub mod closing_index;
pub mod control;
mod dictionary;
mod encode;
mod ids;
pub mod meta;
pub mod names;
mod record;
pub mod sealed;
pub mod segment;
mod view;

pub use checksum::{checksum, record_checksum};
pub use dictionary::Names;
pub use encode::{
    Identity, NewEvent, RecordPlan, SchemaCheck, batch_head, check_aggregate_id, dictionary_record,
    dictionary_record_bytes, end_record,
};
pub use ids::{EventId, IdView, UuidBytes};
pub use record::{
    BatchHead, Codec, Fixed, Kind, RECORD_ALIGN, RECORD_FIXED_BYTES, RecordFault, commit_word,
    split_commit_word,
};
pub use view::{RecordView, TagIter, dictionary_text, known_flags};

/// Version of the format this build writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Incompatible feature bits this build knows. A bit outside refuses the file (R2).
pub const KNOWN_INCOMPATIBLE: u64 = 0;

/// Longest event type, source, schema version or tag key, in UTF-8 bytes.
pub const MAX_TEXT_BYTES: usize = 255;
/// Longest event, aggregate, correlation or causation id, in UTF-8 bytes.
pub const MAX_ID_BYTES: usize = 1024;
/// Longest tag value, in UTF-8 bytes: its length has 16 bits.
pub const MAX_TAG_VALUE_BYTES: usize = 65_535;
/// Most tags of one event.
pub const MAX_TAGS: usize = 1024;
/// Most entries of one segment's dictionary; later texts stand inline (R4).
pub const MAX_DICTIONARY_ENTRIES: usize = 4096;
/// Longest text that is worth a dictionary entry (R4).
pub const MAX_DICTIONARY_TEXT_BYTES: usize = 64;

/// A 64-bit position that means "none".
pub const NO_SEQ: u64 = u64::MAX;
/// A dictionary number that means "the text stands inline".
pub const INLINE: u32 = u32::MAX;
