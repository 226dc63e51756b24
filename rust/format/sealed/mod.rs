//! The bytes of a sealed segment: a header, blocks of records, a directory of the blocks, the hashes of the events.
//!
//! Owns the header. What a sealed segment holds is the written part of its raw file, bit for bit: a reader of either goes by
//! the same offsets. Written once, whole, under another name; nothing in it ever changes.

pub mod block;
mod columns;
mod directory;
pub mod index;

pub use directory::{BlockEntry, Directory, MAX_TYPES, TYPE_OTHER};

use super::{
    FORMAT_VERSION,
    bytes::Sink,
    meta::Mark,
    segment::{Entry, HeaderFault, RECORDS_OFFSET, SegmentHeader, check_features, put_checksum},
};

/// Bytes of the header at offset 0; the first block follows.
pub const SEALED_HEADER_BYTES: usize = 256;

const MAGIC: [u8; 8] = *b"AresSeal";

/// What a sealed segment is, and where its directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    /// Of the raw file.
    pub header: SegmentHeader,
    /// Of the raw file.
    pub entry: Entry,
    /// Behind its last record, in the raw file; and the position behind its last event.
    pub end: Mark,
    /// The segment that its end record names; 0 where it was cut.
    pub next_segment: u64,
    /// Of the directory.
    pub directory: Stored,
    /// Of the tree over its events; of no bytes in files of builds before there was one.
    pub tree: Stored,
}

/// Where a part of the file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes there.
    pub bytes: u32,
    /// CRC-32C of them.
    pub checksum: u32,
}

impl Stored {
    /// Behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.bytes))
    }
}

impl SealedHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SEALED_HEADER_BYTES] {
        let mut bytes = [0; SEALED_HEADER_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(self.header.epoch);
        sink.put(&self.header.log_id);
        sink.u64(0); // incompatible features
        sink.u64(0); // compatible features
        sink.u64(self.header.number);
        sink.u64(self.header.file_bytes);
        sink.i64(self.header.created_ns);
        sink.u64(self.entry.first_seq);
        sink.i64(self.entry.entered_ns);
        sink.u64(self.entry.prev_segment);
        sink.u64(self.entry.prev_end);
        sink.u64(self.end.offset);
        sink.u64(self.end.next_seq);
        sink.u64(self.next_segment);
        sink.u64(self.directory.offset);
        sink.u32(self.directory.bytes);
        sink.u32(self.directory.checksum);
        sink.u64(self.tree.offset);
        sink.u32(self.tree.bytes);
        sink.u32(self.tree.checksum);
        sink.pad();
        put_checksum(&mut bytes);
        bytes
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(bytes: &[u8; SEALED_HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let mut fields = check_features(bytes, MAGIC, "it is no sealed segment")?;
        let decoded = (|| {
            let epoch = fields.u32()?;
            let log_id = fields.uuid()?;
            fields.take(16)?;
            let number = fields.u64()?;
            let header =
                SegmentHeader { log_id, number, epoch, file_bytes: fields.u64()?, created_ns: fields.i64()? };
            let entry = Entry {
                first_seq: fields.u64()?,
                entered_ns: fields.i64()?,
                prev_segment: fields.u64()?,
                prev_end: fields.u64()?,
            };
            let end = Mark { segment: number, offset: fields.u64()?, next_seq: fields.u64()? };
            let next_segment = fields.u64()?;
            let mut part =
                || Some(Stored { offset: fields.u64()?, bytes: fields.u32()?, checksum: fields.u32()? });
            let (directory, tree) = (part()?, part()?);
            Some(Self { header, entry, end, next_segment, directory, tree })
        })()
        .ok_or(HeaderFault::Damaged("its header is too short"))?;
        if decoded.makes_sense() {
            Ok(decoded)
        } else {
            Err(HeaderFault::Damaged("its header makes no sense"))
        }
    }

    fn makes_sense(&self) -> bool {
        (RECORDS_OFFSET as u64..=self.header.file_bytes).contains(&self.end.offset)
            && self.end.next_seq >= self.entry.first_seq
            && self.entry.prev_segment < self.header.number
            && (self.next_segment == 0 || self.next_segment > self.header.number)
            && self.directory.offset >= SEALED_HEADER_BYTES as u64
            && (self.tree == Stored::default() || self.tree.offset == self.directory.end())
    }
}
