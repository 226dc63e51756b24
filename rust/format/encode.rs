//! From an event to the bytes of its record.
//!
//! Owns the variable part's layout on the way out; [`super::view`] owns it on the way in, and a property test
//! holds the two together. Writes everything but the commit word, which only the tail may store (R5).

use super::{
    INLINE, MAX_ID_BYTES, MAX_TAG_VALUE_BYTES, MAX_TAGS, MAX_TEXT_BYTES, NO_SEQ,
    bytes::Sink,
    ids::IdView,
    record::{Codec, Kind, RECORD_ALIGN, RECORD_FIXED_BYTES, commit_word},
    record_checksum,
};
use crate::{
    config::Expected,
    error::{Error, Result},
};

pub(super) const FLAG_SOURCE: u16 = 1 << 0;
pub(super) const FLAG_SCHEMA_VERSION: u16 = 1 << 1;
pub(super) const FLAG_EVENT_TIME: u16 = 1 << 2;
pub(super) const FLAG_TAGS: u16 = 1 << 3;
pub(super) const FLAG_CALLER_ID: u16 = 1 << 4;
pub(super) const FLAG_LOSSY: u16 = 1 << 5;
pub(super) const FLAG_SCHEMA_CHECKED: u16 = 1 << 6;
pub(super) const FLAG_SCHEMA_BREACH: u16 = 1 << 7;

pub(super) const FORM_ABSENT: u8 = 0;
pub(super) const FORM_UUID: u8 = 1;
pub(super) const FORM_TEXT: u8 = 2;

/// Whether an event's data was held against its schema at publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaCheck {
    /// Nothing was checked.
    #[default]
    Unchecked,
    /// It fits.
    Valid,
    /// It does not, and was stored all the same.
    Breach,
}

/// An event to be appended. Everything is borrowed; nothing is kept beyond the call.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// 1–255 bytes.
    pub event_type: &'a str,
    /// The stored bytes.
    pub payload: &'a [u8],
    /// Who wrote them.
    pub codec: Codec,
    /// `None`: the log makes one. 1–1,024 bytes.
    pub event_id: Option<&'a str>,
    /// Up to 1,024 bytes, as the other ids.
    pub aggregate_id: Option<&'a str>,
    /// The conversation it belongs to.
    pub correlation_id: Option<&'a str>,
    /// The event that caused it.
    pub causation_id: Option<&'a str>,
    /// Empty means none; up to 255 bytes.
    pub source: &'a str,
    /// `None` means 1.0.0; up to 255 bytes.
    pub schema_version: Option<&'a str>,
    /// The time the event speaks of.
    pub event_time_ns: Option<i64>,
    /// Keys up to 255 bytes, values up to 65,535, at most 1,024 pairs.
    pub tags: &'a [(&'a str, &'a str)],
    /// Checked against the aggregate's newest version; needs an `aggregate_id` unless `Any`.
    pub expected: Expected,
    /// A NaN or infinity became null.
    pub lossy: bool,
    /// Result of the schema check.
    pub schema: SchemaCheck,
}

impl<'a> NewEvent<'a> {
    /// An event of nothing but type and payload.
    #[must_use]
    pub fn new(event_type: &'a str, payload: &'a [u8], codec: Codec) -> Self {
        Self {
            event_type,
            payload,
            codec,
            event_id: None,
            aggregate_id: None,
            correlation_id: None,
            causation_id: None,
            source: "",
            schema_version: None,
            event_time_ns: None,
            tags: &[],
            expected: Expected::Any,
            lossy: false,
            schema: SchemaCheck::Unchecked,
        }
    }

    /// Checks every length that the format limits.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Config`] for an empty type or event id, or an expectation without aggregate.
    pub fn check(&self) -> Result<()> {
        if self.event_type.is_empty() || self.event_id == Some("") {
            return Err(Error::Config {
                problems: vec!["an event's type and id are never empty".to_owned()],
            });
        }
        if self.expected != Expected::Any && self.aggregate_id.is_none() {
            return Err(Error::Config {
                problems: vec!["expected_version needs an aggregate_id".to_owned()],
            });
        }
        limit("the event type's length in bytes", self.event_type.len(), MAX_TEXT_BYTES)?;
        limit("the source's length in bytes", self.source.len(), MAX_TEXT_BYTES)?;
        limit(
            "the schema version's length in bytes",
            self.schema_version.map_or(0, str::len),
            MAX_TEXT_BYTES,
        )?;
        limit("the event id's length in bytes", self.event_id.map_or(0, str::len), MAX_ID_BYTES)?;
        check_aggregate_id(self.aggregate_id.unwrap_or_default())?;
        limit("the correlation id's length in bytes", self.correlation_id.map_or(0, str::len), MAX_ID_BYTES)?;
        limit("the causation id's length in bytes", self.causation_id.map_or(0, str::len), MAX_ID_BYTES)?;
        limit("the number of tags", self.tags.len(), MAX_TAGS)?;
        for (key, value) in self.tags {
            limit("a tag key's length in bytes", key.len(), MAX_TEXT_BYTES)?;
            limit("a tag value's length in bytes", value.len(), MAX_TAG_VALUE_BYTES)?;
        }
        Ok(())
    }

    /// The texts that belong into the segment's dictionary.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        let source = (!self.source.is_empty()).then_some(self.source);
        let keys = self.tags.iter().map(|(key, _)| *key);
        std::iter::once(self.event_type).chain(source).chain(self.schema_version).chain(keys)
    }

    fn flags(&self) -> u16 {
        let mut flags = 0;
        let mut set = |condition: bool, flag: u16| flags |= if condition { flag } else { 0 };
        set(!self.source.is_empty(), FLAG_SOURCE);
        set(self.schema_version.is_some(), FLAG_SCHEMA_VERSION);
        set(self.event_time_ns.is_some(), FLAG_EVENT_TIME);
        set(!self.tags.is_empty(), FLAG_TAGS);
        set(self.event_id.is_some(), FLAG_CALLER_ID);
        set(self.lossy, FLAG_LOSSY);
        set(self.schema != SchemaCheck::Unchecked, FLAG_SCHEMA_CHECKED);
        set(self.schema == SchemaCheck::Breach, FLAG_SCHEMA_BREACH);
        flags
    }
}

/// Refuses an id that no aggregate can have.
///
/// # Errors
/// [`Error::Limit`].
pub fn check_aggregate_id(id: &str) -> Result<()> {
    limit("the aggregate id's length in bytes", id.len(), MAX_ID_BYTES)
}

fn limit(what: &'static str, got: usize, limit: usize) -> Result<()> {
    if got <= limit {
        return Ok(());
    }
    Err(Error::Limit { what, got: got as u64, limit: limit as u64 })
}

/// What only the tail can say about an event.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its position.
    pub seq: u64,
    /// Real time of the append.
    pub ts_ns: i64,
    /// Position of its aggregate's previous event.
    pub aggregate_prev: Option<u64>,
    /// Its version within the aggregate; 0 without one.
    pub aggregate_version: u32,
    /// Epoch of the segment.
    pub epoch: u32,
}

/// An event with its ids in their stored form, the numbers of its texts looked up, and its size known.
#[derive(Debug)]
pub struct RecordPlan<'a> {
    event: &'a NewEvent<'a>,
    ids: [Option<IdView<'a>>; 4],
    event_type: u32,
    source: u32,
    schema_version: u32,
    bytes: usize,
    is_named: bool,
}

impl<'a> RecordPlan<'a> {
    /// Plans the record of `event` under `event_id`; `number_of` answers [`INLINE`] for texts without entry.
    pub fn new(event: &'a NewEvent<'a>, event_id: IdView<'a>, number_of: &impl Fn(&str) -> u32) -> Self {
        let mut plan = Self {
            event,
            ids: [
                Some(event_id),
                event.aggregate_id.map(IdView::of),
                event.correlation_id.map(IdView::of),
                event.causation_id.map(IdView::of),
            ],
            event_type: number_of(event.event_type),
            source: if event.source.is_empty() { INLINE } else { number_of(event.source) },
            schema_version: event.schema_version.map_or(INLINE, number_of),
            bytes: 0,
            is_named: true,
        };
        plan.bytes = plan.measure(number_of);
        plan
    }

    /// The event as it was given.
    #[must_use]
    pub fn event(&self) -> &'a NewEvent<'a> {
        self.event
    }

    /// Whether each of its texts has a number; one without may stand inline for good.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// Size of the record, padding included.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.bytes
    }

    fn measure(&mut self, number_of: &impl Fn(&str) -> u32) -> usize {
        let event = self.event;
        let mut bytes = RECORD_FIXED_BYTES + event.payload.len();
        if self.event_type == INLINE {
            bytes += 2 + event.event_type.len();
            self.is_named = false;
        }
        bytes += self.ids.iter().flatten().map(IdView::encoded_bytes).sum::<usize>();
        let mut name = |number: u32, text: &str| {
            self.is_named &= number != INLINE;
            name_bytes(number, text)
        };
        if !event.source.is_empty() {
            bytes += name(self.source, event.source);
        }
        if let Some(version) = event.schema_version {
            bytes += name(self.schema_version, version);
        }
        if event.event_time_ns.is_some() {
            bytes += 8;
        }
        if !event.tags.is_empty() {
            bytes += 2;
            for (key, value) in event.tags {
                bytes += name(number_of(key), key) + 2 + value.len();
            }
        }
        bytes.next_multiple_of(RECORD_ALIGN)
    }

    /// Writes the record but for its commit word, which is returned, into `target` of exactly [`Self::record_bytes`].
    pub fn encode(&self, target: &mut [u8], identity: &Identity, number_of: &impl Fn(&str) -> u32) -> u32 {
        let event = self.event;
        let (word, mut sink) = open(target, Kind::Event, identity, self.event_type);
        sink.u8(event.codec.code());
        sink.u8(self.forms());
        sink.u16(event.flags());
        sink.u32(u32::try_from(event.payload.len()).unwrap_or(u32::MAX));
        if self.event_type == INLINE {
            sink.text(event.event_type);
        }
        let [event_id, aggregate, correlation, causation] = &self.ids;
        for id in [event_id, aggregate].into_iter().flatten() {
            put_id(&mut sink, id);
        }
        if !event.source.is_empty() {
            put_name(&mut sink, self.source, event.source);
        }
        for id in [correlation, causation].into_iter().flatten() {
            put_id(&mut sink, id);
        }
        if let Some(version) = event.schema_version {
            put_name(&mut sink, self.schema_version, version);
        }
        if let Some(time) = event.event_time_ns {
            sink.i64(time);
        }
        if !event.tags.is_empty() {
            sink.u16(u16::try_from(event.tags.len()).unwrap_or(u16::MAX));
            for (key, value) in event.tags {
                put_name(&mut sink, number_of(key), key);
                sink.text(value);
            }
        }
        sink.put(event.payload);
        sink.pad();
        seal(target, word, identity.epoch);
        word
    }

    fn forms(&self) -> u8 {
        self.ids.iter().rev().fold(0, |forms, id| {
            let form = match id {
                None => FORM_ABSENT,
                Some(IdView::Uuid(_)) => FORM_UUID,
                Some(IdView::Text(_)) => FORM_TEXT,
            };
            (forms << 2) | form
        })
    }
}

/// Size of a dictionary record for `text`.
#[must_use]
pub fn dictionary_record_bytes(text: &str) -> usize {
    (RECORD_FIXED_BYTES + text.len()).next_multiple_of(RECORD_ALIGN)
}

/// Writes a dictionary record (R4) but for its commit word, which is returned.
pub fn dictionary_record(target: &mut [u8], identity: &Identity, number: u32, text: &str) -> u32 {
    let (word, mut sink) = open(target, Kind::Dictionary, identity, number);
    sink.u32(0);
    sink.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    sink.put(text.as_bytes());
    sink.pad();
    seal(target, word, identity.epoch);
    word
}

/// Writes a batch head but for its commit word, which is returned. `bytes` and `count` are the members'.
pub fn batch_head(target: &mut [u8], identity: &Identity, bytes: u64, count: u32) -> u32 {
    let identity = Identity { aggregate_prev: Some(bytes), aggregate_version: count, ..*identity };
    bare(target, Kind::BatchHead, &identity)
}

/// Writes an end record but for its commit word, which is returned. `next_segment` stands in the place of `aggregate_prev`.
pub fn end_record(target: &mut [u8], identity: &Identity, next_segment: u64) -> u32 {
    let identity = Identity { aggregate_prev: Some(next_segment), aggregate_version: 0, ..*identity };
    bare(target, Kind::End, &identity)
}

fn bare(target: &mut [u8], kind: Kind, identity: &Identity) -> u32 {
    let (word, sink) = open(target, kind, identity, INLINE);
    sink.pad();
    seal(target, word, identity.epoch);
    word
}

/// Writes the bytes 8–40, which all kinds share.
fn open<'t>(target: &'t mut [u8], kind: Kind, identity: &Identity, number: u32) -> (u32, Sink<'t>) {
    let word = commit_word(kind, target.len());
    let (_, body) = target.split_at_mut(8);
    let mut sink = Sink::new(body);
    sink.u64(identity.seq);
    sink.i64(identity.ts_ns);
    sink.u64(identity.aggregate_prev.unwrap_or(NO_SEQ));
    sink.u32(identity.aggregate_version);
    sink.u32(number);
    (word, sink)
}

/// Stores the checksum once everything behind it stands.
fn seal(target: &mut [u8], word: u32, epoch: u32) {
    let (head, rest) = target.split_at_mut(8);
    let (_, checksum_field) = head.split_at_mut(4);
    checksum_field.copy_from_slice(&record_checksum(epoch, word, rest).to_le_bytes());
}

fn name_bytes(number: u32, text: &str) -> usize {
    if number == INLINE { 4 + 2 + text.len() } else { 4 }
}

fn put_name(sink: &mut Sink<'_>, number: u32, text: &str) {
    sink.u32(number);
    if number == INLINE {
        sink.text(text);
    }
}

fn put_id(sink: &mut Sink<'_>, id: &IdView<'_>) {
    match id {
        IdView::Uuid(bytes) => sink.put(&bytes.0),
        IdView::Text(text) => sink.text(text),
    }
}
