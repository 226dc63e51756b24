//! From records to columns.
//!
//! Owns what is foretold of a record by those before it, which [`super::decode`] repeats. Changes nothing before it knows that
//! a record fits the pattern.

use hashbrown::HashMap;

use super::{
    Columns, Shape, Standing, forms_of,
    ids::{self, Places},
    reader::{Reader, put, put_signed},
};
use crate::format::{
    INLINE, MAX_TAGS, NO_SEQ, RECORD_ALIGN,
    encode::{FLAG_EVENT_TIME, FLAG_SCHEMA_VERSION, FLAG_SOURCE, FLAG_TAGS, FORM_TEXT, FORM_UUID},
    record::Fixed,
    split_commit_word,
};

const EVENT: u8 = 1;

/// The columns of `records`, which lie one behind the other and were checked; the first event among them has `first_seq`.
/// `None` where that is not so.
#[must_use]
pub fn encode(records: &[u8], first_seq: u64) -> Option<Vec<u8>> {
    let mut encoder = Encoder { next_seq: first_seq, ..Encoder::default() };
    let mut rest = records;
    while !rest.is_empty() {
        let (word, _) = rest.split_first_chunk::<4>()?;
        let (kind, length) = split_commit_word(u32::from_le_bytes(*word));
        if !Fixed::is_possible_length(length) {
            return None;
        }
        let (record, behind) = rest.split_at_checked(length)?;
        if !(kind == EVENT && encoder.put_event(record).is_some()) {
            encoder.put_whole(record);
        }
        if kind == EVENT {
            encoder.next_seq += 1;
        }
        rest = behind;
    }
    Some(encoder.finish())
}

#[derive(Default)]
struct Encoder<'a> {
    columns: Columns<Vec<u8>>,
    shapes: HashMap<Shape, u64>,
    next_seq: u64,
    ts_ns: i64,
    event_time: i64,
    last_id: u128,
    aggregates: HashMap<&'a [u8], (u64, Standing)>,
    places: Places,
}

/// The parts of an event's record, as they lie in it.
struct Parts<'a> {
    shape: Shape,
    seq: u64,
    ts_ns: i64,
    prev: u64,
    version: u32,
    ids: [&'a [u8]; 4],
    event_time_ns: Option<i64>,
    tags: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None` where a text stands inline, or anything is not as a record of ours has it.
    fn of(record: &'a [u8]) -> Option<Self> {
        let mut fields = Reader(record.get(8..)?);
        let seq = u64::from_le_bytes(fields.array()?);
        let ts_ns = i64::from_le_bytes(fields.array()?);
        let prev = u64::from_le_bytes(fields.array()?);
        let version = u32::from_le_bytes(fields.array()?);
        let number = u32::from_le_bytes(fields.array()?);
        let [codec, forms] = fields.array()?;
        let flags = u16::from_le_bytes(fields.array()?);
        let payload_bytes = usize::try_from(u32::from_le_bytes(fields.array()?)).ok()?;
        let [event, aggregate, correlation, causation] = forms_of(forms);
        let mut ids = [record.get(..0)?; 4];
        ids[0] = fields.id(event)?;
        ids[1] = fields.id(aggregate)?;
        let source = take_number(&mut fields, flags & FLAG_SOURCE != 0)?;
        ids[2] = fields.id(correlation)?;
        ids[3] = fields.id(causation)?;
        let schema = take_number(&mut fields, flags & FLAG_SCHEMA_VERSION != 0)?;
        let event_time_ns =
            if flags & FLAG_EVENT_TIME == 0 { None } else { Some(i64::from_le_bytes(fields.array()?)) };
        let tags = take_tags(&mut fields, flags & FLAG_TAGS != 0)?;
        let payload = fields.take(payload_bytes)?;
        let is_padded = fields.0.len() < RECORD_ALIGN && fields.0.iter().all(|byte| *byte == 0);
        let is_plain = is_padded && number != INLINE && (aggregate != 0 || prev == NO_SEQ && version == 0);
        let shape = Shape { codec, forms, flags, number, source, schema };
        is_plain.then_some(Self { shape, seq, ts_ns, prev, version, ids, event_time_ns, tags, payload })
    }
}

/// A text's number; 0 where there is no text, `None` where it stands inline.
fn take_number(fields: &mut Reader<'_>, is_there: bool) -> Option<u32> {
    if !is_there {
        return Some(0);
    }
    Some(u32::from_le_bytes(fields.array()?)).filter(|number| *number != INLINE)
}

/// The tags with their count, as they lie there.
fn take_tags<'a>(fields: &mut Reader<'a>, are_there: bool) -> Option<&'a [u8]> {
    let whole = fields.0;
    if are_there {
        let count = usize::from(u16::from_le_bytes(fields.array()?));
        for _ in 0..Some(count).filter(|count| *count <= MAX_TAGS)? {
            if u32::from_le_bytes(fields.array()?) == INLINE {
                fields.id(FORM_TEXT)?;
            }
            fields.id(FORM_TEXT)?;
        }
    }
    whole.get(..whole.len() - fields.0.len())
}

impl<'a> Encoder<'a> {
    fn put_whole(&mut self, record: &[u8]) {
        put(&mut self.columns.shape, 0);
        put(&mut self.columns.whole, record.len() as u64);
        self.columns.whole.extend_from_slice(record);
    }

    /// `None`, and nothing changed, where it does not fit the pattern.
    fn put_event(&mut self, record: &'a [u8]) -> Option<()> {
        let parts = Parts::of(record).filter(|parts| parts.seq == self.next_seq)?;
        self.put_shape(parts.shape);
        put_signed(&mut self.columns.time, parts.ts_ns.wrapping_sub(self.ts_ns));
        self.ts_ns = parts.ts_ns;
        let [event, aggregate, correlation, causation] = forms_of(parts.shape.forms);
        let [event_id, aggregate_id, correlation_id, causation_id] = parts.ids;
        self.put_event_id(event, event_id, parts.ts_ns);
        if aggregate != 0 {
            self.put_aggregate(aggregate_id, &parts);
        }
        for (form, id) in [(correlation, correlation_id), (causation, causation_id)] {
            match <[u8; 16]>::try_from(id) {
                Ok(uuid) if form == FORM_UUID => self.put_reference(uuid),
                _ => self.columns.ids.extend_from_slice(id),
            }
        }
        if let Some(time) = parts.event_time_ns {
            let ahead = time.wrapping_sub(parts.ts_ns);
            put_signed(&mut self.columns.event_time, ahead.wrapping_sub(self.event_time));
            self.event_time = ahead;
        }
        if !parts.tags.is_empty() {
            put(&mut self.columns.tags, parts.tags.len() as u64);
            self.columns.tags.extend_from_slice(parts.tags);
        }
        put(&mut self.columns.payload_bytes, parts.payload.len() as u64);
        self.columns.payload.extend_from_slice(parts.payload);
        Some(())
    }

    fn put_shape(&mut self, shape: Shape) {
        let next = self.shapes.len() as u64 + 1;
        let number = *self.shapes.entry(shape).or_insert(next);
        if number == next {
            self.columns.shapes.extend_from_slice(&shape.to_bytes());
        }
        put(&mut self.columns.shape, number);
    }

    fn put_event_id(&mut self, form: u8, id: &[u8], ts_ns: i64) {
        let Some(uuid) = <[u8; 16]>::try_from(id).ok().filter(|_| form == FORM_UUID) else {
            self.columns.ids.extend_from_slice(id);
            return;
        };
        let value = u128::from_be_bytes(uuid);
        if value == ids::expected(self.last_id, ts_ns) {
            self.columns.event_id.push(ids::AS_EXPECTED);
        } else if let Some(behind) = ids::behind_time(value, ts_ns) {
            self.columns.event_id.push(ids::OF_ITS_TIME);
            self.columns.ids.extend_from_slice(&behind);
        } else {
            self.columns.event_id.push(ids::WHOLE);
            self.columns.ids.extend_from_slice(&uuid);
        }
        self.last_id = value;
        self.places.add(uuid);
    }

    fn put_reference(&mut self, uuid: [u8; 16]) {
        if let Some(distance) = self.places.distance(&uuid) {
            put(&mut self.columns.reference, distance as u64);
        } else {
            put(&mut self.columns.reference, 0);
            self.columns.ids.extend_from_slice(&uuid);
            self.places.add(uuid);
        }
    }

    fn put_aggregate(&mut self, id: &'a [u8], parts: &Parts<'a>) {
        let next = self.aggregates.len() as u64 + 1;
        let now = Standing { seq: parts.seq, version: parts.version };
        let (number, before) = if let Some((number, standing)) = self.aggregates.get_mut(id) {
            (*number, Some(std::mem::replace(standing, now)))
        } else {
            self.aggregates.insert(id, (next, now));
            self.columns.aggregate_ids.extend_from_slice(id);
            (0, None)
        };
        put(&mut self.columns.aggregate, number);
        if before.is_some_and(|before| {
            parts.prev == before.seq && Some(parts.version) == before.version.checked_add(1)
        }) {
            put(&mut self.columns.previous, 0);
            return;
        }
        let distance = if parts.prev == NO_SEQ { 0 } else { parts.seq.wrapping_sub(parts.prev) };
        put(&mut self.columns.previous, distance.wrapping_add(1));
        put(&mut self.columns.version, u64::from(parts.version));
    }

    /// The lengths of the columns, then the columns.
    fn finish(mut self) -> Vec<u8> {
        let columns = self.columns.each();
        let mut bytes = Vec::with_capacity(columns.iter().map(|column| column.len() + 10).sum());
        for column in &columns {
            put(&mut bytes, column.len() as u64);
        }
        for column in &columns {
            bytes.extend_from_slice(column);
        }
        bytes
    }
}
