//! A small file written once: header, key, payload under one checksum. Snapshots are such files, and the subtrees over events
//! that expired.
//!
//! Owns its bytes. The key tells whose file it is, since file names hold only hashes.

use super::{
    FORMAT_VERSION,
    bytes::{Fields, Sink},
    checksum,
    segment::HeaderFault,
};

const MAGIC: [u8; 8] = *b"AresBlob";
/// Size of what stands before key and payload.
pub const BLOB_HEADER_BYTES: usize = 64;

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
        let mut bytes = vec![0; BLOB_HEADER_BYTES + self.key.len() + self.payload.len()];
        let mut sink = Sink::new(&mut bytes);
        sink.put(&MAGIC);
        sink.u32(FORMAT_VERSION);
        sink.u32(0);
        sink.put(&self.log_id);
        sink.u64(self.seq);
        sink.u64(self.key.len() as u64);
        sink.u64(self.payload.len() as u64);
        sink.put(&[0; BLOB_HEADER_BYTES - 56]);
        sink.put(self.key.as_bytes());
        sink.put(self.payload);
        let sum = checksum(&bytes);
        if let Some(field) = bytes.get_mut(12..16) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    /// How large the file is that begins so, if it is one.
    #[must_use]
    pub fn size_of(header: &[u8]) -> Option<u64> {
        let mut fields = Fields::new(header);
        fields.take(40)?;
        (BLOB_HEADER_BYTES as u64).checked_add(fields.u64()?)?.checked_add(fields.u64()?)
    }

    /// `None`: damaged, foreign or of another version; for a cache these are all the same (R18).
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        Self::check(bytes).ok()
    }

    /// As [`Blob::decode`], for an authority: says what is wrong.
    ///
    /// # Errors
    /// [`HeaderFault`].
    pub fn check(bytes: &'a [u8]) -> Result<Self, HeaderFault> {
        const SHORT: HeaderFault = HeaderFault::Damaged("it is too short");
        let (head, rest) = bytes.split_first_chunk::<BLOB_HEADER_BYTES>().ok_or(SHORT)?;
        let mut fields = Fields::new(head);
        if fields.take(8) != Some(&MAGIC[..]) {
            return Err(HeaderFault::Damaged("it is no such file"));
        }
        let version = fields.u32().ok_or(SHORT)?;
        if version != FORMAT_VERSION {
            return Err(HeaderFault::Version(version));
        }
        let mut zeroed = *head;
        zeroed.get_mut(12..16).unwrap_or_default().fill(0);
        if fields.u32() != Some(crc32c::crc32c_append(checksum(&zeroed), rest)) {
            return Err(HeaderFault::Damaged("its checksum does not fit"));
        }
        let mut decode = || {
            let log_id = fields.uuid()?;
            let seq = fields.u64()?;
            let key_bytes = usize::try_from(fields.u64()?).ok()?;
            let payload_bytes = usize::try_from(fields.u64()?).ok()?;
            let (key, payload) = rest.split_at_checked(key_bytes)?;
            let key = std::str::from_utf8(key).ok()?;
            (payload.len() == payload_bytes).then_some(Self { log_id, seq, key, payload })
        };
        decode().ok_or(HeaderFault::Damaged("its lengths make no sense"))
    }
}
