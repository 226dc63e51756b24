//! A small file written once: header, key, payload under one checksum. Snapshots are the first of its kind.
//!
//! Owns its bytes. The key tells whose file it is, since file names hold only hashes.

use super::{
    FORMAT_VERSION,
    bytes::{Fields, Sink},
    checksum,
};

const MAGIC: [u8; 8] = *b"AresBlob";
const HEADER_BYTES: usize = 64;

/// What such a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// The log it belongs to.
    pub log_id: [u8; 16],
    /// The position it speaks of.
    pub seq: u64,
    /// Whose it is.
    pub key: &'a str,
    /// What it says; opaque here.
    pub payload: &'a [u8],
}

impl<'a> Blob<'a> {
    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + self.key.len() + self.payload.len()];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(0);
        sink.put(&self.log_id);
        sink.u64(self.seq);
        sink.u64(self.key.len() as u64);
        sink.u64(self.payload.len() as u64);
        sink.put(&[0; HEADER_BYTES - 56]);
        sink.put(self.key.as_bytes());
        sink.put(self.payload);
        let sum = checksum(&bytes);
        if let Some(field) = bytes.get_mut(12..16) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    /// `None`: damaged, foreign or of another version; for a cache these are all the same (R18).
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let mut zeroed: [u8; HEADER_BYTES] = head.try_into().ok()?;
        zeroed.get_mut(12..16)?.fill(0);
        let mut fields = Fields::new(head);
        if fields.take(8)? != MAGIC || fields.u32()? != FORMAT_VERSION {
            return None;
        }
        if fields.u32()? != crc32c::crc32c_append(checksum(&zeroed), rest) {
            return None;
        }
        let log_id = fields.uuid()?;
        let seq = fields.u64()?;
        let key_bytes = usize::try_from(fields.u64()?).ok()?;
        let payload_bytes = usize::try_from(fields.u64()?).ok()?;
        let (key, payload) = rest.split_at_checked(key_bytes)?;
        (payload.len() == payload_bytes).then_some(Self {
            log_id,
            seq,
            key: std::str::from_utf8(key).ok()?,
            payload,
        })
    }
}
