//! The index beside a sealed segment: the newest event of each aggregate in it, and where its conversations are.
//!
//! A cache (R18): whatever is wrong with it, the segment itself still has everything. Its heads are those of this one segment, on
//! top of an earlier index, or all there are up to its end; which of the two decides how many files an opening reads.

use crate::{
    format::{
        FORMAT_VERSION,
        bytes::{Fields, Sink},
        checksum,
        segment::{HeaderFault, check_features, put_checksum},
    },
    heads::{Head, Heads},
};

use super::Stored;

/// Bytes of the header.
pub const INDEX_HEADER_BYTES: usize = 128;

const MAGIC: [u8; 8] = *b"AresIdx\0";
/// Longest aggregate id in a record.
const MAX_ID_BYTES: usize = crate::format::MAX_ID_BYTES;

/// What an index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexHeader {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// Its segment.
    pub number: u64,
    /// Position behind the segment's last event.
    pub next_seq: u64,
    /// Whether its heads are all there are; else they come on top of those of the segment before.
    pub is_full: bool,
    /// Bytes of the heads since the last full index, this one included; of the full one itself, if it is.
    pub heads_since_full: u64,
    /// Bytes of the last full index.
    pub full_bytes: u64,
    /// The heads.
    pub heads: Stored,
    /// The conversations.
    pub conversations: Stored,
}

impl IndexHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; INDEX_HEADER_BYTES] {
        let mut bytes = [0; INDEX_HEADER_BYTES];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(u32::from(self.is_full));
        sink.put(&self.log_id);
        sink.u64(0); // incompatible features
        sink.u64(0); // compatible features
        sink.u64(self.number);
        sink.u64(self.next_seq);
        sink.u64(self.heads_since_full);
        sink.u64(self.full_bytes);
        for part in [self.heads, self.conversations] {
            sink.u64(part.offset);
            sink.u32(part.bytes);
            sink.u32(part.checksum);
        }
        sink.pad();
        put_checksum(&mut bytes);
        bytes
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn decode(bytes: &[u8; INDEX_HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let mut fields = check_features(bytes, MAGIC, "it is no index")?;
        (|| {
            let is_full = fields.u32()? == 1;
            let log_id = fields.uuid()?;
            fields.take(16)?;
            let (number, next_seq) = (fields.u64()?, fields.u64()?);
            let (heads_since_full, full_bytes) = (fields.u64()?, fields.u64()?);
            let mut part =
                || Some(Stored { offset: fields.u64()?, bytes: fields.u32()?, checksum: fields.u32()? });
            let (heads, conversations) = (part()?, part()?);
            Some(Self {
                log_id,
                number,
                next_seq,
                is_full,
                heads_since_full,
                full_bytes,
                heads,
                conversations,
            })
        })()
        .ok_or(HeaderFault::Damaged("its header is too short"))
    }
}

/// The bytes of heads: position, version, length and text of each.
#[must_use]
pub fn encode_heads(heads: &Heads) -> Vec<u8> {
    let mut bytes = Vec::new();
    heads.show(|id, head| {
        bytes.extend_from_slice(&head.seq.to_le_bytes());
        bytes.extend_from_slice(&head.version.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(id.as_bytes());
    });
    bytes
}

/// The reverse of [`encode_heads`].
#[must_use]
pub fn decode_heads(bytes: &[u8]) -> Option<Heads> {
    let mut fields = Fields::new(bytes);
    let mut heads = Heads::default();
    while !fields.rest().is_empty() {
        let head = Head { seq: fields.u64()?, version: fields.u32()? };
        heads.set(fields.text(MAX_ID_BYTES)?, head);
    }
    Some(heads)
}

/// Bytes of a conversation's entry.
pub const CONVERSATION_BYTES: usize = 6;

/// In which block a conversation has an event: the low half of the BLAKE3 hash of its id's text, and the block's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// See [`fingerprint`].
    pub fingerprint: u32,
    /// The block's number in the segment.
    pub block: u16,
}

/// What stands for an id in the index: the first four bytes of its BLAKE3 hash. Two ids in four thousand million share one; a reader
/// looks at the events.
#[must_use]
pub fn fingerprint(id: &str) -> u32 {
    let hash = blake3::hash(id.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The bytes of conversations, ascending.
#[must_use]
pub fn encode_conversations(conversations: &[Conversation]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CONVERSATION_BYTES * conversations.len());
    for one in conversations {
        bytes.extend_from_slice(&one.fingerprint.to_le_bytes());
        bytes.extend_from_slice(&one.block.to_le_bytes());
    }
    bytes
}

/// The blocks in which `fingerprint` occurs, among conversations that are ascending.
#[must_use]
pub fn blocks_of(bytes: &[u8], fingerprint: u32) -> Vec<u16> {
    let (entries, _) = bytes.as_chunks::<CONVERSATION_BYTES>();
    let print = |entry: &[u8; CONVERSATION_BYTES]| {
        let [a, b, c, d, ..] = *entry;
        u32::from_le_bytes([a, b, c, d])
    };
    let first = entries.partition_point(|entry| print(entry) < fingerprint);
    let found = entries.iter().skip(first).take_while(|entry| print(entry) == fingerprint);
    found.map(|[.., low, high]| u16::from_le_bytes([*low, *high])).collect()
}

/// An index file: header, heads, conversations.
#[must_use]
pub fn encode_index(mut header: IndexHeader, heads: &[u8], conversations: &[u8]) -> Vec<u8> {
    let part = |offset: usize, bytes: &[u8]| Stored {
        offset: offset as u64,
        bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        checksum: checksum(bytes),
    };
    header.heads = part(INDEX_HEADER_BYTES, heads);
    header.conversations = part(INDEX_HEADER_BYTES + heads.len(), conversations);
    [&header.encode()[..], heads, conversations].concat()
}
