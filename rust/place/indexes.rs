//! Indexes of segments: written whole or not at all, believed only if everything fits (R18).
//!
//! Owns the chain that leads from the index of a sealed segment to the full one it builds on, and which closing index belongs to
//! a META. What is missing or damaged is told, never an error.

use std::{path::PathBuf, sync::Arc};

use super::Place;
use crate::{
    error::Result,
    format::{
        checksum,
        closing_index::{CLOSING_INDEX_HEADER_BYTES, ClosingIndex},
        meta::Meta,
        names,
        sealed::{
            Stored,
            index::{
                INDEX_HEADER_BYTES, IndexHeader, decode_heads, encode_conversations, encode_heads,
                encode_index,
            },
        },
    },
    heads::Heads,
    planted::{Bug, is_planted},
    segment::{Indexed, Sealed, Segment, index},
    vfs::File,
};

impl Place {
    /// Writes the index of a sealed segment, `before` being the sealed segments before it, oldest first. It becomes a full one
    /// where those since the last full one have grown as large as that: writing them all costs no more than twice that
    /// way, and an opening reads at most twice as much as a full one has.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub fn write_index(&self, sealed: &Sealed, indexed: Indexed, before: &[Arc<Segment>]) -> Result<()> {
        let number = sealed.header.header.number;
        let mut conversations = indexed.conversations;
        conversations.sort_unstable();
        conversations.dedup();
        let own = encode_heads(&indexed.heads);
        let known = before.last().map(|segment| self.index_header(segment));
        let (since_full, full_bytes) = match &known {
            Some(Some(header)) => (header.heads_since_full + own.len() as u64, header.full_bytes),
            _ => (own.len() as u64, 0),
        };
        let is_full = known.is_none() || since_full >= full_bytes;
        let mut header = IndexHeader {
            log_id: sealed.header.header.log_id,
            number,
            next_seq: sealed.header.end.next_seq,
            is_full,
            heads_since_full: since_full,
            full_bytes,
            heads: Stored::default(),
            conversations: Stored::default(),
        };
        let mut heads = own;
        if is_full && !before.is_empty() {
            let (mut all, _rebuilt) = self.heads_of(before)?;
            all.update(indexed.heads);
            heads = encode_heads(&all);
        }
        if is_full {
            (header.heads_since_full, header.full_bytes) = (0, heads.len() as u64);
        }
        let bytes = encode_index(header, &heads, &encode_conversations(&conversations));
        let (aside, name) = (names::indexing(number), names::index(number));
        self.replace(&self.segments_dir(), &aside, &name, &bytes)
    }

    /// The heads up to the end of `sealed`, which are oldest first, and the numbers of those whose index had to be done
    /// without.
    ///
    /// # Errors
    /// Of a segment that has no index and cannot be read.
    pub fn heads_of(&self, sealed: &[Arc<Segment>]) -> Result<(Heads, Vec<u64>)> {
        let (mut tables, mut rebuilt) = (Vec::new(), Vec::new());
        for segment in sealed.iter().rev() {
            let found = self
                .index_header(segment)
                .and_then(|header| Some((header, self.index_heads(segment, &header)?)));
            let Some((header, heads)) = found else {
                rebuilt.push(segment.header.number);
                tables.push(index(segment, &*self.vfs)?.heads);
                continue;
            };
            tables.push(heads);
            if header.is_full {
                break;
            }
        }
        let mut heads = Heads::default();
        for table in tables.into_iter().rev() {
            heads.update(table);
        }
        Ok((heads, rebuilt))
    }

    /// The header of the index of a sealed segment; `None` where there is none that can be believed.
    fn index_header(&self, segment: &Segment) -> Option<IndexHeader> {
        let sealed = segment.as_sealed()?;
        let file = self.open_index(segment)?;
        let mut bytes = [0; INDEX_HEADER_BYTES];
        file.read_at(0, &mut bytes).ok()?;
        let fits = |header: &IndexHeader| {
            header.log_id == segment.header.log_id
                && header.number == segment.header.number
                && header.next_seq == sealed.header.end.next_seq
        };
        IndexHeader::decode(&bytes).ok().filter(fits)
    }

    fn index_heads(&self, segment: &Segment, header: &IndexHeader) -> Option<Heads> {
        decode_heads(&self.index_part(segment, &header.heads)?)
    }

    fn index_part(&self, segment: &Segment, part: &Stored) -> Option<Vec<u8>> {
        let file = self.open_index(segment)?;
        let room = file.bytes().ok()?.checked_sub(part.offset)?;
        if u64::from(part.bytes) > room {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(part.bytes).ok()?];
        file.read_at(part.offset, &mut bytes).ok()?;
        (checksum(&bytes) == part.checksum).then_some(bytes)
    }

    fn open_index(&self, segment: &Segment) -> Option<Arc<dyn File>> {
        self.vfs.open(&self.index_path(segment.header.number), false).ok()
    }

    /// The conversations of a sealed segment, as they are stored; `None` where there is no index to be believed.
    #[must_use]
    pub fn conversations_of(&self, segment: &Segment) -> Option<Vec<u8>> {
        self.index_part(segment, &self.index_header(segment)?.conversations)
    }

    /// Writes the closing index beside the newest segment; sealing that one replaces it. Durable on return.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io), [`Error::DiskFull`](crate::error::Error::DiskFull).
    pub fn write_closing_index(&self, index: &ClosingIndex) -> Result<()> {
        let number = index.end.segment;
        self.replace(&self.segments_dir(), &names::indexing(number), &names::index(number), &index.encode())
    }

    /// The closing index that belongs to `meta`; `None` where that knows of no clean close, or where there is none that can be
    /// believed.
    #[must_use]
    pub fn closing_index(&self, meta: &Meta) -> Option<ClosingIndex> {
        let is_of_any_time = is_planted(Bug::ClosingIndexOfAnyTime);
        let number = meta.clean.map(|end| end.segment).or(is_of_any_time.then_some(meta.newest_segment))?;
        let file = self.vfs.open(&self.index_path(number), false).ok()?;
        let bytes = Self::read_whole(&*file, CLOSING_INDEX_HEADER_BYTES, ClosingIndex::size_of).ok()?;
        let index = ClosingIndex::decode(&bytes).filter(|index| index.log_id == meta.log_id)?;
        let is_of_this_close = (index.generation, Some(index.end)) == (meta.generation, meta.clean);
        (is_of_this_close || is_of_any_time).then_some(index)
    }

    fn index_path(&self, number: u64) -> PathBuf {
        self.segments_dir().join(names::index(number))
    }
}
