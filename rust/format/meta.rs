//! META: what is true of the whole log, in two copies.
//!
//! Owns the bytes of one copy. Both copies are rewritten at every change, each synced before the next is touched,
//! so that one is always whole and damage to one of them costs nothing.

use super::{
    FORMAT_VERSION,
    bytes::Sink,
    segment::{HeaderFault, PAGE_BYTES, check_features, put_checksum},
};

/// Bytes of one copy; each stands at the start of a page of its own.
pub const META_BYTES: usize = 256;
/// Size of the file.
pub const META_FILE_BYTES: usize = 2 * PAGE_BYTES;

const MAGIC: [u8; 8] = *b"AresMeta";

/// A place in the log: behind the last record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Number of the segment; 0 means none.
    pub segment: u64,
    /// Offset behind the last record.
    pub offset: u64,
    /// Position that the next event gets.
    pub next_seq: u64,
}

/// What META says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The log's own id, made at creation.
    pub log_id: [u8; 16],
    /// Counts the writes of META; the higher of two whole copies holds.
    pub generation: u64,
    /// Oldest event still kept.
    pub first_seq: u64,
    /// Oldest segment still kept; 0 before the first.
    pub first_segment: u64,
    /// Newest prepared segment; it must exist. 0 before the first.
    pub newest_segment: u64,
    /// Highest number ever given to a segment.
    pub highest_segment: u64,
    /// The current epoch, from 1.
    pub epoch: u32,
    /// Where a clean close ended; none while a writer is at work, and after its death.
    pub clean: Option<Mark>,
    /// Where the last recovery cut the log.
    pub cut: Option<Mark>,
    /// Real time of the log's creation.
    pub created_ns: i64,
}

impl Meta {
    /// The bytes of one copy.
    #[must_use]
    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(0);
        sink.put(&self.log_id);
        sink.u64(0); // incompatible features
        sink.u64(0); // compatible features
        sink.u64(self.generation);
        sink.u64(self.first_seq);
        sink.u64(self.first_segment);
        sink.u64(self.newest_segment);
        sink.u64(self.highest_segment);
        sink.u32(self.epoch);
        sink.u32(u32::from(self.clean.is_some()));
        for mark in [self.clean.unwrap_or_default(), self.cut.unwrap_or_default()] {
            sink.u64(mark.segment);
            sink.u64(mark.offset);
            sink.u64(mark.next_seq);
        }
        sink.i64(self.created_ns);
        sink.pad();
        put_checksum(&mut bytes);
        bytes
    }

    /// Decodes and checks one copy.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(bytes: &[u8; META_BYTES]) -> Result<Self, HeaderFault> {
        let mut fields = check_features(bytes, MAGIC, "it is no META file")?;
        (|| {
            fields.u32()?;
            let log_id = fields.uuid()?;
            fields.take(16)?;
            let generation = fields.u64()?;
            let first_seq = fields.u64()?;
            let first_segment = fields.u64()?;
            let newest_segment = fields.u64()?;
            let highest_segment = fields.u64()?;
            let epoch = fields.u32()?;
            let is_clean = fields.u32()? != 0;
            let mut mark =
                || Some(Mark { segment: fields.u64()?, offset: fields.u64()?, next_seq: fields.u64()? });
            let (clean, cut) = (mark()?, mark()?);
            Some(Self {
                log_id,
                generation,
                first_seq,
                first_segment,
                newest_segment,
                highest_segment,
                epoch,
                clean: is_clean.then_some(clean),
                cut: (cut.segment != 0).then_some(cut),
                created_ns: fields.i64()?,
            })
        })()
        .ok_or(HeaderFault::Damaged("it is too short"))
    }
}
