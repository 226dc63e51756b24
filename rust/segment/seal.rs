//! From the records of a raw segment to the bytes of a sealed one.
//!
//! Owns where blocks are cut and what the directory says of each. Every record is checked on the way, as by any reader; a
//! segment that does not end where the log says is not sealed. Makes the whole file in memory: a sixth of the
//! raw one on recorded feeds, as much as the raw one at worst.

use std::sync::Arc;

use super::{Sealed, Segment, Source, Step, note_head};
use crate::{
    config::Compression,
    error::{Error, Result},
    evidence::{Run, leaf},
    format::{
        INLINE, RecordView, checksum,
        meta::Mark,
        sealed::{
            BlockEntry, Directory, MAX_TYPES, SEALED_HEADER_BYTES, SealedHeader, Stored, TYPE_OTHER,
            block::Packer,
            index::{Conversation, fingerprint},
        },
        segment::RECORDS_OFFSET,
    },
    heads::Heads,
    vfs::Vfs,
};

/// A block ends with the record that fills this many bytes: of the recorded futures feed 64 KiB made 42.5 bytes an event, this
/// 41.8, 128 KiB 41.3, and unpacking all of it is what reading one event costs.
const BLOCK_BYTES: usize = 96 * 1024;
/// A small segment has some blocks too.
const BLOCKS_AT_LEAST: usize = 8;

/// Called between blocks; false gives up.
pub type Pause<'a> = &'a mut dyn FnMut() -> bool;

/// A sealed segment in the making.
pub struct Made {
    /// The file.
    pub bytes: Vec<u8>,
    /// What its index is made from.
    pub indexed: Indexed,
}

/// What the index of a segment is made from.
#[derive(Default)]
pub struct Indexed {
    /// The newest event of each aggregate in the segment.
    pub heads: Heads,
    /// Its conversations and their blocks, in the order of the events.
    pub conversations: Vec<Conversation>,
}

impl Indexed {
    fn note(&mut self, view: &RecordView<'_>, block: usize) {
        note_head(&mut self.heads, view);
        if let Some(id) = view.correlation_id {
            let block = u16::try_from(block).unwrap_or(u16::MAX);
            let one = Conversation { fingerprint: id.with_text(fingerprint), block };
            if self.conversations.last() != Some(&one) {
                self.conversations.push(one);
            }
        }
    }
}

/// What the index of a sealed segment is made from, by reading it all.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Io`].
pub fn index(segment: &Segment, vfs: &dyn Vfs) -> Result<Indexed> {
    let mut walk = segment.walk(vfs)?;
    let Some(directory) = walk.directory().cloned() else {
        return Err(Error::corrupt(segment.path(), 0, "it is not sealed"));
    };
    let mut indexed = Indexed::default();
    // A block ends behind an event, so the records up to the next one lie in one block.
    let mut block = Some(0);
    while let Step::Event(_) = walk.step_with(|view| indexed.note(view, block.unwrap_or(usize::MAX))) {
        block = directory.at_offset(walk.position.offset);
    }
    walk.refuse_if_broken(segment)?;
    if directory.at_offset(walk.position.offset).is_some() {
        return Err(Error::corrupt(segment.path(), walk.position.offset as u64, "its records break off"));
    }
    Ok(indexed)
}

/// The sealed segment, or `None` where `pause` gave up. The records have to end at `end`.
///
/// # Errors
/// [`Error::Corrupt`] where they do not, [`Error::Io`].
pub fn seal(
    segment: &Segment,
    vfs: &dyn Vfs,
    end: Mark,
    compression: Compression,
    pause: Pause<'_>,
) -> Result<Option<Made>> {
    let mut source = segment.source(vfs)?;
    let mut walk = segment.walk(vfs)?;
    let mut sealing = Sealing::new(segment, compression)?;
    let mut next_segment = 0;
    let block_bytes = BLOCK_BYTES.min(source.bytes() / BLOCKS_AT_LEAST);
    loop {
        let step = walk.step_with(|view| sealing.note(view));
        let position = (walk.position.offset, walk.position.next_seq);
        let is_over = !matches!(step, Step::Event(_));
        if let Step::Event(fixed) = step
            && let Ok(view) = walk.view(fixed)
        {
            sealing.tree.push_leaf(leaf(walk.record(), &view));
        }
        if let Step::End { next_segment: named } = step {
            next_segment = named;
        }
        if is_over || position.0 - sealing.start.0 >= block_bytes {
            sealing.end_block(segment, &mut source, position)?;
            if !pause() {
                return Ok(None);
            }
        }
        if is_over {
            break;
        }
    }
    walk.refuse_if_broken(segment)?;
    let found = (walk.position.offset as u64, walk.position.next_seq);
    if found != (end.offset, end.next_seq) {
        let why = format!("the records end before event {}, not before event {}", found.1, end.next_seq);
        return Err(Error::corrupt(segment.path(), found.0, why));
    }
    sealing.directory.names = walk.position.names;
    Ok(Some(sealing.finish(segment, end, next_segment)))
}

struct Sealing {
    bytes: Vec<u8>,
    packer: Packer,
    directory: Directory,
    records: Vec<u8>,
    indexed: Indexed,
    tree: Run,
    /// Offset and position of the first record of the block that is being filled.
    start: (usize, u64),
    types: u64,
    appended_ns: (i64, i64),
    event_time_ns: (i64, i64),
}

const NO_TIME: (i64, i64) = (i64::MAX, i64::MIN);

impl Sealing {
    fn new(segment: &Segment, compression: Compression) -> Result<Self> {
        let packer = Packer::new(compression);
        Ok(Self {
            bytes: vec![0; SEALED_HEADER_BYTES],
            packer: packer.map_err(|error| Error::io(segment.path(), "compress", error))?,
            directory: Directory::default(),
            records: Vec::new(),
            indexed: Indexed::default(),
            tree: Run::of_blocks(segment.entry.first_seq),
            start: (RECORDS_OFFSET, segment.entry.first_seq),
            types: 0,
            appended_ns: NO_TIME,
            event_time_ns: NO_TIME,
        })
    }

    fn note(&mut self, view: &RecordView<'_>) {
        let (appended, own) = (view.fixed.ts_ns, view.event_time_ns.unwrap_or(view.fixed.ts_ns));
        self.appended_ns = widened(self.appended_ns, appended);
        self.event_time_ns = widened(self.event_time_ns, own);
        self.types |= self.type_bit(view.fixed.number);
        self.indexed.note(view, self.directory.blocks.len());
    }

    fn type_bit(&mut self, number: u32) -> u64 {
        let types = &mut self.directory.types;
        let known = types.iter().position(|known| *known == number);
        match known {
            Some(bit) => 1 << bit,
            None if number != INLINE && types.len() < MAX_TYPES => {
                types.push(number);
                1 << (types.len() - 1)
            }
            None => TYPE_OTHER,
        }
    }

    fn end_block(&mut self, segment: &Segment, source: &mut Source, end: (usize, u64)) -> Result<()> {
        let record_bytes = end.0 - self.start.0;
        if record_bytes == 0 {
            return Ok(());
        }
        let unreadable = || Error::corrupt(segment.path(), self.start.0 as u64, "its records cannot be read");
        self.records.resize(record_bytes, 0);
        if !source.copy(self.start.0, &mut self.records) {
            return Err(unreadable());
        }
        let packed = self.packer.pack(&self.records, self.start.1, segment.header.epoch);
        let (stored, form, packed_bytes) =
            packed.map_err(|error| Error::io(segment.path(), "compress", error))?;
        let word = |bytes: usize| u32::try_from(bytes).map_err(|_| unreadable());
        self.directory.blocks.push(BlockEntry {
            offset: self.bytes.len() as u64,
            stored_bytes: word(stored.len())?,
            packed_bytes: word(packed_bytes)?,
            record_bytes: word(record_bytes)?,
            record_offset: word(self.start.0)?,
            first_seq: self.start.1,
            types: self.types,
            appended_ns: self.appended_ns,
            event_time_ns: self.event_time_ns,
            checksum: checksum(&stored),
            form,
        });
        self.bytes.extend_from_slice(&stored);
        self.start = end;
        (self.types, self.appended_ns, self.event_time_ns) = (0, NO_TIME, NO_TIME);
        Ok(())
    }

    fn finish(mut self, segment: &Segment, end: Mark, next_segment: u64) -> Made {
        let directory = self.add(&self.directory.encode());
        let tree = self.add(&self.tree.hashes());
        let (header, entry) = (segment.header, segment.entry);
        let header = SealedHeader { header, entry, end, next_segment, directory, tree };
        if let Some(target) = self.bytes.first_chunk_mut::<SEALED_HEADER_BYTES>() {
            *target = header.encode();
        }
        Made { bytes: self.bytes, indexed: self.indexed }
    }

    fn add(&mut self, part: &[u8]) -> Stored {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(part);
        let bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
        Stored { offset, bytes, checksum: checksum(part) }
    }
}

fn widened((low, high): (i64, i64), time: i64) -> (i64, i64) {
    (low.min(time), high.max(time))
}

/// Holds `sealed` against the records of `raw`, block by block and bit for bit; false where `pause` gave up.
///
/// # Errors
/// [`Error::Corrupt`] at the first block that is not the same, [`Error::Io`].
pub fn compare(sealed: &Arc<Sealed>, raw: &mut Source, vfs: &dyn Vfs, pause: Pause<'_>) -> Result<bool> {
    sealed.tree(vfs)?; // its checksum was made before it was written
    let mut view = sealed.view(vfs)?;
    let mut offset = RECORDS_OFFSET;
    let mut expected = Vec::new();
    while offset < view.bytes() {
        let Some(found) = view.from(offset) else {
            view.refuse_if_broken()?;
            break;
        };
        expected.resize(found.len(), 0);
        if !raw.copy(offset, &mut expected) || found != expected {
            let why = "it does not hold what the raw segment holds";
            return Err(Error::corrupt(&sealed.path, offset as u64, why));
        }
        offset += expected.len();
        if !pause() {
            return Ok(false);
        }
    }
    Ok(true)
}
