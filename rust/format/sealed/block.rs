//! One block: a run of records, in columns where that works, compressed where that helps.
//!
//! Owns the choice of form, which the packer checks by unpacking. A block's own checksum covers what is stored; whoever unpacks
//! has checked it and trusts nothing all the same.

use std::{cell::RefCell, io};

use super::columns;
use crate::config::Compression;

/// Level 3 made the recorded futures feed larger than level 1 does (41.8 bytes an event instead of 38.4).
const ZSTD_LEVEL: i32 = 1;

/// The form a block is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The records as columns; else as they are.
    pub is_columns: bool,
    /// How these bytes are compressed.
    pub compression: Compression,
}

impl Form {
    /// Its number in a block directory.
    #[must_use]
    pub fn code(self) -> u8 {
        let compression = match self.compression {
            Compression::None => 0,
            Compression::Lz4 => 1,
            Compression::Zstd => 2,
        };
        compression << 1 | u8::from(self.is_columns)
    }

    /// The form with this number.
    #[must_use]
    pub fn of(code: u8) -> Option<Self> {
        let compression = match code >> 1 {
            0 => Compression::None,
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            _ => return None,
        };
        Some(Self { is_columns: code & 1 == 1, compression })
    }
}

/// What a block says of the records in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of the records.
    pub record_bytes: usize,
    /// Bytes before they were compressed: of the records or of their columns.
    pub packed_bytes: usize,
    /// Position of the first event in it, or of the next where there is none.
    pub first_seq: u64,
    /// Seed of the records' checksums.
    pub epoch: u32,
}

/// Makes blocks; keeps what the compression needs from one to the next.
pub struct Packer {
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Packer {
    /// A packer of blocks of one compression.
    ///
    /// # Errors
    /// Of the system: no memory.
    pub fn new(compression: Compression) -> io::Result<Self> {
        let zstd = match compression {
            Compression::Zstd => Some(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
            _ => None,
        };
        Ok(Self { compression, zstd })
    }

    /// The stored bytes of `records`, their form, and how many there were before the compression.
    ///
    /// # Errors
    /// Of the system: no memory.
    pub fn pack(&mut self, records: &[u8], first_seq: u64, epoch: u32) -> io::Result<(Vec<u8>, Form, usize)> {
        let is_same = |columns: &Vec<u8>| {
            columns::decode(columns, records.len(), first_seq, epoch).is_some_and(|same| same == records)
        };
        let columns = columns::encode(records, first_seq).filter(is_same);
        let is_columns = columns.is_some();
        let bytes = columns.unwrap_or_else(|| records.to_vec());
        let compressed = match (&mut self.zstd, self.compression) {
            (Some(zstd), _) => Some(zstd.compress(&bytes)?),
            (None, Compression::Lz4) => Some(lz4_flex::block::compress(&bytes)),
            (None, _) => None,
        };
        let packed_bytes = bytes.len();
        let smaller = compressed.filter(|compressed| compressed.len() < packed_bytes);
        let compression = if smaller.is_some() { self.compression } else { Compression::None };
        Ok((smaller.unwrap_or(bytes), Form { is_columns, compression }, packed_bytes))
    }
}

/// The records of a block; `None` where the stored bytes are not what they should be.
#[must_use]
pub fn unpack(stored: &[u8], form: Form, contents: &Contents) -> Option<Vec<u8>> {
    let size = contents.packed_bytes;
    let bytes = match form.compression {
        Compression::None => stored.to_vec(),
        Compression::Lz4 => lz4_flex::block::decompress(stored, size).ok()?,
        Compression::Zstd => decompress_zstd(stored, size).ok()?,
    };
    if bytes.len() != size {
        return None;
    }
    if form.is_columns {
        return columns::decode(&bytes, contents.record_bytes, contents.first_seq, contents.epoch);
    }
    (size == contents.record_bytes).then_some(bytes)
}

/// With the context that this thread has: a new one for each block made reading one event a sixth dearer.
fn decompress_zstd(stored: &[u8], size: usize) -> io::Result<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(zstd::bulk::Decompressor::new()?),
        };
        context.decompress(stored, size)
    })
}
