//! The closing index: what a clean close knew, so that the next opening need not walk raw segments or fetch the headers of sealed
//! ones.
//!
//! A cache (R18): the segments themselves still have everything. It speaks of one moment, and says which: the generation of META
//! that the same close wrote after it, and the place where the log ended. Written whole; nothing in it ever changes.

use super::{
    FORMAT_VERSION, Names,
    bytes::{Fields, Sink},
    checksum,
    meta::Mark,
    sealed::{
        SEALED_HEADER_BYTES, SealedHeader,
        index::{decode_heads, encode_heads},
    },
    segment::{check_features, put_checksum},
};
use crate::heads::Heads;

/// Bytes of the header.
pub const CLOSING_INDEX_HEADER_BYTES: usize = 128;

const MAGIC: [u8; 8] = *b"AresClos";
/// Where the header says how large the rest is.
const BODY_BYTES_OFFSET: usize = 100;

/// What was known of a log.
#[derive(Debug, Clone)]
pub struct ClosingIndex {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// The generation of META that says that the log was closed here.
    pub generation: u64,
    /// Where the log ended: in the newest segment.
    pub end: Mark,
    /// The headers of the sealed segments, ascending.
    pub sealed: Vec<SealedHeader>,
    /// Position of the first event that its heads speak of.
    pub first_seq: u64,
    /// The dictionary of the newest segment.
    pub names: Names,
    /// Position and offset of every 64th event in the newest segment.
    pub marks: Vec<(u64, u32)>,
    /// The newest event of each aggregate that has one from `first_seq` on.
    pub heads: Heads,
}

impl ClosingIndex {
    /// The header of sealed segment `number` of this log.
    #[must_use]
    pub fn sealed_header(&self, number: u64) -> Option<SealedHeader> {
        let at = self.sealed.binary_search_by_key(&number, |sealed| sealed.header.number).ok()?;
        self.sealed.get(at).copied().filter(|sealed| sealed.header.log_id == self.log_id)
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body: Vec<u8> = self.sealed.iter().flat_map(SealedHeader::encode).collect();
        self.names.put(&mut body);
        for (seq, offset) in &self.marks {
            body.extend_from_slice(&seq.to_le_bytes());
            body.extend_from_slice(&offset.to_le_bytes());
        }
        body.extend_from_slice(&encode_heads(&self.heads));
        let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let mut header = [0; CLOSING_INDEX_HEADER_BYTES];
        let mut sink = Sink::new(&mut header);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(0);
        sink.put(&self.log_id);
        sink.u64(0); // incompatible features
        sink.u64(0); // compatible features
        sink.u64(self.generation);
        sink.u64(self.end.segment);
        sink.u64(self.end.offset);
        sink.u64(self.end.next_seq);
        sink.u64(self.first_seq);
        sink.u32(count(self.sealed.len()));
        sink.u32(count(self.names.count()));
        sink.u32(count(self.marks.len()));
        sink.u64(body.len() as u64);
        sink.u32(checksum(&body));
        sink.pad();
        put_checksum(&mut header);
        [&header[..], &body].concat()
    }

    /// How large the file is that begins so, if it is one.
    #[must_use]
    pub fn size_of(header: &[u8]) -> Option<u64> {
        let mut fields = Fields::new(header);
        fields.take(BODY_BYTES_OFFSET)?;
        (CLOSING_INDEX_HEADER_BYTES as u64).checked_add(fields.u64()?)
    }

    /// Decodes and checks; `None` for anything that is not whole.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_first_chunk::<CLOSING_INDEX_HEADER_BYTES>()?;
        let mut fields = check_features(header, MAGIC, "it is no closing index").ok()?;
        fields.u32()?;
        let log_id = fields.uuid()?;
        fields.take(16)?;
        let generation = fields.u64()?;
        let end = Mark { segment: fields.u64()?, offset: fields.u64()?, next_seq: fields.u64()? };
        let first_seq = fields.u64()?;
        let (sealed_count, names_count, marks_count) = (fields.u32()?, fields.u32()?, fields.u32()?);
        if fields.u64()? != body.len() as u64 || fields.u32()? != checksum(body) {
            return None;
        }
        let mut fields = Fields::new(body);
        let mut header = || SealedHeader::decode(fields.take(SEALED_HEADER_BYTES)?.first_chunk()?).ok();
        let sealed = (0..sealed_count).map(|_| header()).collect::<Option<_>>()?;
        let names = Names::take(&mut fields, usize::try_from(names_count).ok()?)?;
        let marks = (0..marks_count).map(|_| Some((fields.u64()?, fields.u32()?))).collect::<Option<_>>()?;
        let heads = decode_heads(fields.rest())?;
        Some(Self { log_id, generation, end, sealed, first_seq, names, marks, heads })
    }
}
