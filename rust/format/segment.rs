//! The first three pages of a segment file: header, entry, two watermarks.
//!
//! Owns their bytes. A file whose entry is not committed is a spare: prepared, never used.

use std::path::PathBuf;

use super::{
    FORMAT_VERSION, KNOWN_INCOMPATIBLE, NO_SEQ,
    bytes::{Fields, Sink},
    checksum, record_checksum,
};
use crate::error::Error;

/// Unit of the file's first pages and of what the kernel writes at once.
pub const PAGE_BYTES: usize = 4096;
/// The first record stands behind the three pages.
pub const RECORDS_OFFSET: usize = 3 * PAGE_BYTES;
/// Bytes of the header at offset 0.
pub const HEADER_BYTES: usize = 128;
/// Offset of the entry, in a disk sector of its own.
pub const ENTRY_OFFSET: usize = 512;
/// Bytes of the entry.
pub const ENTRY_BYTES: usize = 64;
/// Bytes of a watermark.
pub const WATERMARK_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"AresSeg\0";
const WATERMARK_MAGIC: [u8; 8] = *b"AresWmk\0";
/// Commit word of an entry: far from zero, so that no flipped bit turns an entered segment into a spare.
const ENTERED: u32 = 0x5EAC_ED17;

/// Offsets of the two watermarks, each in a page of its own.
#[must_use]
pub fn watermark_offset(generation: u64) -> usize {
    if generation.is_multiple_of(2) { PAGE_BYTES } else { 2 * PAGE_BYTES }
}

/// Why a file's first bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFault {
    /// Not such a file at all, or damaged.
    Damaged(&'static str),
    /// Of another format version.
    Version(u32),
    /// With feature bits that this build does not know and must not ignore.
    Features(u64),
}

impl HeaderFault {
    /// The error of the file at `path`, whose structure at `offset` this is said of.
    #[must_use]
    pub fn at(&self, path: PathBuf, offset: u64) -> Error {
        match self {
            Self::Damaged(reason) => Error::corrupt(path, offset, *reason),
            Self::Version(found) => Error::Version {
                path,
                found: format!("format version {found}"),
                supported: format!("version {FORMAT_VERSION}"),
            },
            Self::Features(bits) => Error::Version {
                path,
                found: format!("unknown feature bits {bits:#x}"),
                supported: format!("feature bits {KNOWN_INCOMPATIBLE:#x}"),
            },
        }
    }
}

/// What a segment is, fixed when the file is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// Its number; never given twice within a log.
    pub number: u64,
    /// Its epoch, which seeds every checksum in it.
    pub epoch: u32,
    /// Size of the file.
    pub file_bytes: u64,
    /// Real time of preparation.
    pub created_ns: i64,
}

impl SegmentHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(self.epoch);
        sink.put(&self.log_id);
        sink.u64(0); // incompatible features
        sink.u64(0); // compatible features
        sink.u64(self.number);
        sink.u64(self.file_bytes);
        sink.i64(self.created_ns);
        sink.pad();
        put_checksum(&mut bytes);
        bytes
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let mut fields = check_features(bytes, MAGIC, "it is no segment file")?;
        let damaged = HeaderFault::Damaged("its header is too short");
        (|| {
            let epoch = fields.u32()?;
            let log_id = fields.uuid()?;
            fields.take(16)?;
            Some(Self {
                log_id,
                epoch,
                number: fields.u64()?,
                file_bytes: fields.u64()?,
                created_ns: fields.i64()?,
            })
        })()
        .ok_or(damaged)
    }
}

/// Checks magic, version, checksum (in the last four bytes) and feature bits (32–40); returns the fields behind the version.
pub(super) fn check_features<'a>(
    bytes: &'a [u8],
    magic: [u8; 8],
    foreign: &'static str,
) -> Result<Fields<'a>, HeaderFault> {
    let mut fields = Fields::new(bytes);
    if fields.take(8) != Some(&magic[..]) {
        return Err(HeaderFault::Damaged(foreign));
    }
    // The version comes before the checksum: another version may keep its checksum elsewhere.
    let version = fields.u32().unwrap_or(0);
    if version != FORMAT_VERSION {
        return Err(HeaderFault::Version(version));
    }
    if !has_checksum(bytes) {
        return Err(HeaderFault::Damaged("its header checksum does not fit"));
    }
    let features = bytes.get(32..40).and_then(|bits| Fields::new(bits).u64()).unwrap_or(u64::MAX);
    if features & !KNOWN_INCOMPATIBLE != 0 {
        return Err(HeaderFault::Features(features & !KNOWN_INCOMPATIBLE));
    }
    Ok(fields)
}

/// Stores the checksum of all but the last four bytes into them.
pub(super) fn put_checksum(bytes: &mut [u8]) {
    if let Some((body, field)) = bytes.split_last_chunk_mut::<4>() {
        *field = checksum(body).to_le_bytes();
    }
}

/// Whether the last four bytes are the checksum of the rest.
pub(super) fn has_checksum(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(body, field)| checksum(body) == u32::from_le_bytes(*field))
}

/// What the writer stores when it enters a segment; its commit word goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Position of the first event the segment can hold.
    pub first_seq: u64,
    /// Real time of entering; decides the UTC day.
    pub entered_ns: i64,
    /// Number of the segment before, 0 for none.
    pub prev_segment: u64,
    /// Offset at which that one's records end.
    pub prev_end: u64,
}

impl Entry {
    /// The entry's bytes, commit word included.
    #[must_use]
    pub fn encode(&self, epoch: u32) -> [u8; ENTRY_BYTES] {
        let mut body = [0; ENTRY_BYTES - 8];
        let mut sink = Sink::new(&mut body);
        sink.u64(self.first_seq);
        sink.i64(self.entered_ns);
        sink.u64(self.prev_segment);
        sink.u64(self.prev_end);
        sink.pad();
        let mut bytes = [0; ENTRY_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.u32(ENTERED);
        sink.u32(record_checksum(epoch, ENTERED, &body));
        sink.put(&body);
        bytes
    }

    /// `Ok(None)`: the segment was not entered.
    ///
    /// # Errors
    /// [`HeaderFault::Damaged`].
    pub fn decode(bytes: &[u8; ENTRY_BYTES], epoch: u32) -> Result<Option<Self>, HeaderFault> {
        let mut fields = Fields::new(bytes);
        let damaged = HeaderFault::Damaged("its entry is damaged");
        match fields.u32() {
            Some(0) => return Ok(None),
            Some(ENTERED) => {}
            _ => return Err(damaged),
        }
        if fields.u32() != Some(record_checksum(epoch, ENTERED, fields.rest())) {
            return Err(damaged);
        }
        (|| {
            Some(Some(Self {
                first_seq: fields.u64()?,
                entered_ns: fields.i64()?,
                prev_segment: fields.u64()?,
                prev_end: fields.u64()?,
            }))
        })()
        .ok_or(damaged)
    }
}

/// A stored lower bound of what is durable in this segment (R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Counts the watermarks of the segment; parity says which page.
    pub generation: u64,
    /// Epoch of the segment.
    pub epoch: u32,
    /// Number of the segment.
    pub segment: u64,
    /// Newest durable event, if any.
    pub durable_seq: Option<u64>,
    /// Everything below this offset is durable.
    pub durable_offset: u64,
}

impl Watermark {
    /// The watermark's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; WATERMARK_BYTES] {
        let mut bytes = [0; WATERMARK_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&WATERMARK_MAGIC);
        sink.u64(self.generation);
        sink.u32(self.epoch);
        sink.u32(0);
        sink.u64(self.durable_seq.unwrap_or(NO_SEQ));
        sink.u64(self.durable_offset);
        sink.u64(self.segment);
        sink.pad();
        put_checksum(&mut bytes);
        bytes
    }

    /// `None`: never written, torn or damaged; the other page, or none, then holds.
    #[must_use]
    pub fn decode(bytes: &[u8; WATERMARK_BYTES]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.take(8) != Some(&WATERMARK_MAGIC[..]) || !has_checksum(bytes) {
            return None;
        }
        let generation = fields.u64()?;
        let epoch = fields.u32()?;
        fields.u32()?;
        let durable_seq = fields.u64().map(|seq| (seq != NO_SEQ).then_some(seq))?;
        Some(Self { generation, epoch, durable_seq, durable_offset: fields.u64()?, segment: fields.u64()? })
    }
}
