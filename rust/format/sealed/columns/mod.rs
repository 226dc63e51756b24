//! The records of one block as columns: what changes little stands together, as differences.
//!
//! Owns the transposition, both ways; docs/format.md has the table of the columns. Lossless by construction, not by trust:
//! what does not fit the pattern stands whole in a column of its own. What can be computed is not stored: checksums, lengths,
//! positions, and an id that the log made. Invariants: [`decode`] is safe on any bytes, and never makes more of them
//! than it was told to expect.

mod decode;
mod encode;
mod ids;
mod reader;

pub use decode::decode;
pub use encode::encode;

/// How many columns there are.
const COLUMNS: usize = 15;

/// The columns of a block.
#[derive(Clone, Copy, Default)]
struct Columns<T> {
    /// The distinct shapes, [`SHAPE_BYTES`] each.
    shapes: T,
    /// Of each record the number of its shape, from 1; 0: it stands whole.
    shape: T,
    /// Length and bytes of each record that stands whole.
    whole: T,
    /// Time of the append: difference to the event before.
    time: T,
    /// Of each event with an aggregate the number of that in the block, from 1; 0: it is new.
    aggregate: T,
    /// The ids of the aggregates that are new.
    aggregate_ids: T,
    /// Where the aggregate's previous event is: 0: where the block had it; 1: nowhere; else so many before, from 2.
    previous: T,
    /// The version, where the previous event was not where the block had it.
    version: T,
    /// How the event id came about: [`ids::AS_EXPECTED`] and its like.
    event_id: T,
    /// How far back a correlation or causation id was seen, from 1; 0: it was not.
    reference: T,
    /// Ids that nothing foretells.
    ids: T,
    /// The event's own time less that of the append: difference to the event before.
    event_time: T,
    /// Length and bytes of the tags.
    tags: T,
    /// Length of the payload.
    payload_bytes: T,
    /// The payloads.
    payload: T,
}

impl<T> Columns<T> {
    /// Each, in the order in which they are stored.
    fn each(&mut self) -> [&mut T; COLUMNS] {
        [
            &mut self.shapes,
            &mut self.shape,
            &mut self.whole,
            &mut self.time,
            &mut self.aggregate,
            &mut self.aggregate_ids,
            &mut self.previous,
            &mut self.version,
            &mut self.event_id,
            &mut self.reference,
            &mut self.ids,
            &mut self.event_time,
            &mut self.tags,
            &mut self.payload_bytes,
            &mut self.payload,
        ]
    }
}

/// Kind of the record's parts, and the numbers of its texts: codec, forms, flags, type, source, schema version.
const SHAPE_BYTES: usize = 16;

/// What all records of a block may have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    codec: u8,
    forms: u8,
    flags: u16,
    number: u32,
    source: u32,
    schema: u32,
}

impl Shape {
    fn to_bytes(self) -> [u8; SHAPE_BYTES] {
        let mut bytes = [0; SHAPE_BYTES];
        let fields = [
            &[self.codec, self.forms][..],
            &self.flags.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.source.to_le_bytes(),
            &self.schema.to_le_bytes(),
        ];
        for (target, byte) in bytes.iter_mut().zip(fields.iter().flat_map(|field| field.iter())) {
            *target = *byte;
        }
        bytes
    }

    fn of_bytes(bytes: &[u8; SHAPE_BYTES]) -> Self {
        let [codec, forms, f0, f1, n0, n1, n2, n3, s0, s1, s2, s3, v0, v1, v2, v3] = *bytes;
        Self {
            codec,
            forms,
            flags: u16::from_le_bytes([f0, f1]),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            source: u32::from_le_bytes([s0, s1, s2, s3]),
            schema: u32::from_le_bytes([v0, v1, v2, v3]),
        }
    }
}

/// Where an aggregate stands, as far as a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    seq: u64,
    version: u32,
}

/// Forms of the four ids: event, aggregate, correlation, causation.
fn forms_of(forms: u8) -> [u8; 4] {
    [forms & 3, forms >> 2 & 3, forms >> 4 & 3, forms >> 6 & 3]
}
