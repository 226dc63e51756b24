//! The directory of a sealed segment: its texts, its types, and what each block holds.
//!
//! Small enough to be held whole while a segment is read: about 80 bytes for 64 KiB of records.

use std::sync::Arc;

use super::block::{Contents, Form};
use crate::format::{INLINE, bytes::Fields, dictionary::Names, segment::RECORDS_OFFSET};

/// Types that a block can name; whatever comes after them in the segment shares [`TYPE_OTHER`].
pub const MAX_TYPES: usize = 63;
/// The bit of an event whose type is none of those.
pub const TYPE_OTHER: u64 = 1 << 63;
/// Bytes of a block's entry.
const ENTRY_BYTES: usize = 80;

/// One block, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where it is stored in the file.
    pub offset: u64,
    /// Bytes there.
    pub stored_bytes: u32,
    /// Bytes before they were compressed.
    pub packed_bytes: u32,
    /// Bytes of its records.
    pub record_bytes: u32,
    /// Where its records began in the raw file.
    pub record_offset: u32,
    /// Position of the first event in it, or of the next where there is none.
    pub first_seq: u64,
    /// A bit for each type of the directory that occurs in it.
    pub types: u64,
    /// Earliest and latest append.
    pub appended_ns: (i64, i64),
    /// Earliest and latest of the events' own times; of the append where an event has none.
    pub event_time_ns: (i64, i64),
    /// CRC-32C of the stored bytes.
    pub checksum: u32,
    /// How they are stored.
    pub form: Form,
}

impl BlockEntry {
    /// Where its records ended in the raw file.
    #[must_use]
    pub fn record_end(&self) -> usize {
        usize::try_from(u64::from(self.record_offset) + u64::from(self.record_bytes)).unwrap_or(usize::MAX)
    }

    /// What unpacking it needs.
    #[must_use]
    pub fn contents(&self, epoch: u32) -> Contents {
        Contents {
            record_bytes: usize::try_from(self.record_bytes).unwrap_or(usize::MAX),
            packed_bytes: usize::try_from(self.packed_bytes).unwrap_or(usize::MAX),
            first_seq: self.first_seq,
            epoch,
        }
    }

    fn put(&self, target: &mut Vec<u8>) {
        let words = [self.stored_bytes, self.packed_bytes, self.record_bytes, self.record_offset];
        target.extend_from_slice(&self.offset.to_le_bytes());
        for word in words {
            target.extend_from_slice(&word.to_le_bytes());
        }
        target.extend_from_slice(&self.first_seq.to_le_bytes());
        target.extend_from_slice(&self.types.to_le_bytes());
        for time in [self.appended_ns.0, self.appended_ns.1, self.event_time_ns.0, self.event_time_ns.1] {
            target.extend_from_slice(&time.to_le_bytes());
        }
        target.extend_from_slice(&self.checksum.to_le_bytes());
        target.extend_from_slice(&[self.form.code(), 0, 0, 0]);
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            offset: fields.u64()?,
            stored_bytes: fields.u32()?,
            packed_bytes: fields.u32()?,
            record_bytes: fields.u32()?,
            record_offset: fields.u32()?,
            first_seq: fields.u64()?,
            types: fields.u64()?,
            appended_ns: (fields.i64()?, fields.i64()?),
            event_time_ns: (fields.i64()?, fields.i64()?),
            checksum: fields.u32()?,
            form: {
                let code = fields.u8()?;
                fields.take(3)?;
                Form::of(code)?
            },
        })
    }
}

/// What is known of a sealed segment without its blocks.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The texts of its dictionary, all of them.
    pub names: Arc<Names>,
    /// The numbers of the types that blocks name, in the order of their bits.
    pub types: Vec<u32>,
    /// Its blocks, in order; their records follow one another without a gap.
    pub blocks: Vec<BlockEntry>,
}

impl Directory {
    /// The bytes of the directory.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + ENTRY_BYTES * self.blocks.len());
        put_count(&mut bytes, self.names.count());
        put_count(&mut bytes, self.types.len());
        put_count(&mut bytes, self.blocks.len());
        self.names.put(&mut bytes);
        for number in &self.types {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for block in &self.blocks {
            block.put(&mut bytes);
        }
        bytes
    }

    /// Decodes, and checks that the blocks hold records from the beginning up to `end` without a gap.
    #[must_use]
    pub fn decode(bytes: &[u8], end: u64) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let mut counts = [0; 3];
        for count in &mut counts {
            *count = usize::try_from(fields.u32()?).ok()?;
        }
        let [names_count, types_count, blocks_count] = counts;
        let names = Names::take(&mut fields, names_count)?;
        if types_count > MAX_TYPES
            || fields.rest().len() != 4 * types_count + ENTRY_BYTES.checked_mul(blocks_count)?
        {
            return None;
        }
        let types = (0..types_count).map(|_| fields.u32()).collect::<Option<Vec<_>>>()?;
        let blocks = (0..blocks_count).map(|_| BlockEntry::take(&mut fields)).collect::<Option<Vec<_>>>()?;
        let mut reached = RECORDS_OFFSET as u64;
        let mut seq = 0;
        for block in &blocks {
            if u64::from(block.record_offset) != reached || block.first_seq < seq {
                return None;
            }
            reached += u64::from(block.record_bytes);
            seq = block.first_seq;
        }
        (reached == end).then_some(Self { names: Arc::new(names), types, blocks })
    }

    /// The index of the block that holds the record at `offset` of the raw file.
    #[must_use]
    pub fn at_offset(&self, offset: usize) -> Option<usize> {
        let behind = self.blocks.partition_point(|block| block.record_end() <= offset);
        self.blocks.get(behind).map(|_| behind)
    }

    /// The index of the last block that begins with an event at or before `seq`, or with what belongs to it.
    #[must_use]
    pub fn at_seq(&self, seq: u64) -> usize {
        self.blocks.partition_point(|block| block.first_seq <= seq).saturating_sub(1)
    }

    /// The bits of the types that `is_wanted` by their text; those that are not named count as wanted.
    pub fn type_bits(&self, is_wanted: impl Fn(&str) -> bool) -> u64 {
        let mut bits = TYPE_OTHER;
        for (bit, number) in self.types.iter().enumerate() {
            let text = usize::try_from(*number).ok().and_then(|number| self.names.get(number));
            if *number == INLINE || text.is_none_or(&is_wanted) {
                bits |= 1 << bit;
            }
        }
        bits
    }
}

fn put_count(target: &mut Vec<u8>, count: usize) {
    target.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}
