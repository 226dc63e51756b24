//! From columns back to records.
//!
//! Owns the way back, safe on any bytes: no length is believed before the bytes are there, and nothing grows beyond what the
//! caller expects.

use super::{
    COLUMNS, Columns, SHAPE_BYTES, Shape, Standing, forms_of,
    ids::{self, Seen},
    reader::Reader,
};
use crate::format::{
    NO_SEQ, RECORD_ALIGN,
    encode::{FLAG_EVENT_TIME, FLAG_SCHEMA_VERSION, FLAG_SOURCE, FLAG_TAGS, FORM_UUID},
    record::{Fixed, Kind, commit_word, split_commit_word},
    record_checksum,
};

const EVENT: u8 = 1;
/// The length of a record has 28 bits.
const MAX_RECORD_BYTES: usize = 1 << 28;

/// The records that `columns` stand for, `bytes` of them in all; the first event has `first_seq`, their checksums are
/// seeded with `epoch`. `None` where the columns are not such.
#[must_use]
pub fn decode(columns: &[u8], bytes: usize, first_seq: u64, epoch: u32) -> Option<Vec<u8>> {
    let columns_bytes = columns.len();
    let mut rest = Reader(columns);
    let mut lengths = [0; COLUMNS];
    for length in &mut lengths {
        *length = rest.length()?;
    }
    let mut columns = Columns::<Reader<'_>>::default();
    for (column, length) in columns.each().into_iter().zip(lengths) {
        *column = Reader(rest.take(length)?);
    }
    let shapes = std::mem::take(&mut columns.shapes);
    let (shapes, odd) = shapes.0.as_chunks::<SHAPE_BYTES>();
    let mut decoder = Decoder {
        // A few bytes of columns can stand for a long record, but not for so much that it would have to be reserved.
        records: Vec::with_capacity(bytes.min(32 * columns_bytes)),
        shapes: shapes.iter().map(Shape::of_bytes).collect(),
        columns,
        epoch,
        next_seq: first_seq,
        ts_ns: 0,
        event_time: 0,
        last_id: 0,
        aggregates: Vec::new(),
        seen: Seen::default(),
    };
    while decoder.records.len() < bytes {
        decoder.record(bytes)?;
    }
    let is_spent = decoder.columns.each().iter().all(|column| column.0.is_empty());
    (is_spent && odd.is_empty() && rest.0.is_empty() && decoder.records.len() == bytes)
        .then_some(decoder.records)
}

struct Decoder<'a> {
    records: Vec<u8>,
    shapes: Vec<Shape>,
    columns: Columns<Reader<'a>>,
    epoch: u32,
    next_seq: u64,
    ts_ns: i64,
    event_time: i64,
    last_id: u128,
    aggregates: Vec<(&'a [u8], Standing)>,
    seen: Seen,
}

impl Decoder<'_> {
    /// The next record, within `limit` bytes of all records.
    fn record(&mut self, limit: usize) -> Option<()> {
        let room = limit.checked_sub(self.records.len())?;
        match self.columns.shape.length()?.checked_sub(1) {
            None => self.whole(room),
            Some(number) => self.event(*self.shapes.get(number)?, room),
        }
    }

    fn whole(&mut self, room: usize) -> Option<()> {
        let length = self.columns.whole.length().filter(|length| *length <= room)?;
        let record = self.columns.whole.take(length)?;
        let (kind, stated) = split_commit_word(u32::from_le_bytes(*record.first_chunk()?));
        if stated != length || !Fixed::is_possible_length(length) {
            return None;
        }
        self.records.extend_from_slice(record);
        self.next_seq = self.next_seq.checked_add(u64::from(kind == EVENT))?;
        Some(())
    }

    fn event(&mut self, shape: Shape, room: usize) -> Option<()> {
        let start = self.records.len();
        let ts_ns = self.ts_ns.wrapping_add(self.columns.time.signed()?);
        self.ts_ns = ts_ns;
        let [event, aggregate, correlation, causation] = forms_of(shape.forms);
        // The fixed part; what is not known yet follows below.
        self.records.extend_from_slice(&[0; 8]);
        self.put(&self.next_seq.to_le_bytes());
        self.put(&ts_ns.to_le_bytes());
        self.put(&[0; 12]);
        self.put(&shape.number.to_le_bytes());
        self.put(&[shape.codec, shape.forms]);
        self.put(&shape.flags.to_le_bytes());
        let payload_bytes = self.columns.payload_bytes.length()?;
        self.put(&u32::try_from(payload_bytes).ok()?.to_le_bytes());
        self.event_id(event, ts_ns)?;
        let (prev, version) = if aggregate == 0 { (NO_SEQ, 0) } else { self.aggregate(aggregate)? };
        if shape.flags & FLAG_SOURCE != 0 {
            self.put(&shape.source.to_le_bytes());
        }
        self.reference(correlation)?;
        self.reference(causation)?;
        if shape.flags & FLAG_SCHEMA_VERSION != 0 {
            self.put(&shape.schema.to_le_bytes());
        }
        if shape.flags & FLAG_EVENT_TIME != 0 {
            self.event_time = self.event_time.wrapping_add(self.columns.event_time.signed()?);
            self.put(&ts_ns.wrapping_add(self.event_time).to_le_bytes());
        }
        if shape.flags & FLAG_TAGS != 0 {
            let length = self.columns.tags.length()?;
            let tags = self.columns.tags.take(length)?;
            self.put(tags);
        }
        let payload = self.columns.payload.take(payload_bytes)?;
        self.put(payload);
        let length = (self.records.len() - start).next_multiple_of(RECORD_ALIGN);
        if length > room || length >= MAX_RECORD_BYTES {
            return None;
        }
        self.records.resize(start + length, 0);
        let record = self.records.get_mut(start..)?;
        record.get_mut(24..32)?.copy_from_slice(&prev.to_le_bytes());
        record.get_mut(32..36)?.copy_from_slice(&version.to_le_bytes());
        let word = commit_word(Kind::Event, length);
        let checksum = record_checksum(self.epoch, word, record.get(8..)?);
        record.get_mut(..4)?.copy_from_slice(&word.to_le_bytes());
        record.get_mut(4..8)?.copy_from_slice(&checksum.to_le_bytes());
        self.next_seq = self.next_seq.checked_add(1)?;
        Some(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.records.extend_from_slice(bytes);
    }

    fn event_id(&mut self, form: u8, ts_ns: i64) -> Option<()> {
        if form != FORM_UUID {
            let id = self.columns.ids.id(form)?;
            self.put(id);
            return Some(());
        }
        let id = match self.columns.event_id.byte()? {
            ids::AS_EXPECTED => ids::expected(self.last_id, ts_ns),
            ids::OF_ITS_TIME => ids::of_time(ts_ns, self.columns.ids.array()?),
            ids::WHOLE => u128::from_be_bytes(self.columns.ids.array()?),
            _ => return None,
        };
        self.last_id = id;
        self.seen.add(id.to_be_bytes());
        self.put(&id.to_be_bytes());
        Some(())
    }

    fn reference(&mut self, form: u8) -> Option<()> {
        if form != FORM_UUID {
            let id = self.columns.ids.id(form)?;
            self.put(id);
            return Some(());
        }
        let distance = self.columns.reference.length()?;
        let id = if distance == 0 {
            let id = self.columns.ids.array()?;
            self.seen.add(id);
            id
        } else {
            self.seen.at(distance)?
        };
        self.put(&id);
        Some(())
    }

    /// Stores the aggregate's id; its previous event and its version.
    fn aggregate(&mut self, form: u8) -> Option<(u64, u32)> {
        let number = self.columns.aggregate.length()?;
        let before = match number.checked_sub(1) {
            Some(known) => Some(*self.aggregates.get(known)?),
            None => None,
        };
        let id = match before {
            Some((id, _)) => id,
            None => self.columns.aggregate_ids.id(form)?,
        };
        self.put(id);
        let (prev, version) = match self.columns.previous.number()? {
            0 => {
                let (_, standing) = before?;
                (standing.seq, standing.version.checked_add(1)?)
            }
            distance => {
                let prev = match distance - 1 {
                    0 => NO_SEQ,
                    distance => self.next_seq.wrapping_sub(distance),
                };
                (prev, u32::try_from(self.columns.version.number()?).ok()?)
            }
        };
        let now = Standing { seq: self.next_seq, version };
        match number.checked_sub(1) {
            Some(known) => self.aggregates.get_mut(known)?.1 = now,
            None => self.aggregates.push((id, now)),
        }
        Some((prev, version))
    }
}
