//! Where a walk gets its bytes: the mapping of a raw file, or the blocks of a sealed one.
//!
//! Owns what both have in common: an offset leads to a commit word, and a length behind it to a record.

use super::{Segment, sealed::SealedView};
use crate::{
    error::{Error, Result},
    format::RecordFault,
    map::ReadMap,
};

/// What is said of a mapping that broke.
pub const CUT_OFF: &str = "the file was cut off while it was mapped, or its device cannot read it";

/// How much of a raw file is copied at a time.
const PART_BYTES: usize = 64 * 1024;

/// The records of a segment.
#[derive(Debug, Clone)]
pub enum Source {
    /// As they were appended.
    Raw(ReadMap),
    /// In blocks.
    Sealed(Box<SealedView>),
}

impl Source {
    /// Where the bytes end.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Raw(map) => map.bytes(),
            Self::Sealed(view) => view.bytes(),
        }
    }

    /// The commit word at `offset`, 0 where there is none yet.
    pub(super) fn commit(&mut self, offset: usize) -> std::result::Result<u32, RecordFault> {
        const OVER: RecordFault = RecordFault::Content("the records run over the segment's end");
        match self {
            Self::Raw(map) => map.commit(offset).ok_or(OVER),
            Self::Sealed(view) => {
                let bytes = view.from(offset).ok_or(RecordFault::Content("its block cannot be read"))?;
                if bytes.is_empty() {
                    return Ok(0);
                }
                bytes.first_chunk().map(|word| u32::from_le_bytes(*word)).ok_or(OVER)
            }
        }
    }

    /// The commit word at `offset` of a file that may still be written; `None` behind its end.
    #[must_use]
    pub fn pending_word(&self, offset: usize) -> Option<u32> {
        match self {
            Self::Raw(map) => map.commit(offset),
            Self::Sealed(_) => Some(0),
        }
    }

    /// Copies out; false where they do not all lie inside, or not in one block.
    pub(super) fn copy(&mut self, offset: usize, target: &mut [u8]) -> bool {
        match self {
            Self::Raw(map) => map.copy(offset, target),
            Self::Sealed(view) => {
                let found = view.from(offset).and_then(|bytes| bytes.get(..target.len()));
                found.is_some_and(|bytes| {
                    target.copy_from_slice(bytes);
                    true
                })
            }
        }
    }

    /// The bytes from `offset` that lie together, at most up to `end`; `None` where they cannot be read.
    #[must_use]
    pub fn part(&mut self, offset: usize, end: usize) -> Option<Vec<u8>> {
        let room = end.checked_sub(offset)?;
        match self {
            Self::Raw(map) => {
                let mut bytes = vec![0; room.min(PART_BYTES)];
                map.copy(offset, &mut bytes).then_some(bytes)
            }
            Self::Sealed(view) => {
                let bytes = view.from(offset)?;
                bytes.get(..room.min(bytes.len())).filter(|part| !part.is_empty()).map(<[u8]>::to_vec)
            }
        }
    }

    /// The error for bytes of `segment` that could not be read: its file was cut off, or is damaged, or its device failed.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn refuse_if_broken(&self, segment: &Segment, offset: usize) -> Result<()> {
        match self {
            Self::Raw(map) if map.is_broken() => Err(Error::corrupt(segment.path(), offset as u64, CUT_OFF)),
            Self::Sealed(view) => view.refuse_if_broken(),
            Self::Raw(_) => Ok(()),
        }
    }
}
