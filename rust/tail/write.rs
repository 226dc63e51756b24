//! The appending thread's part: from an event to a committed record.
//!
//! Owns the writable map, the dictionary and the heads, all under the tail lock. Makes no system call unless a
//! segment has to be prepared (R10). The order of stores is the commit protocol (R5): record, successor's zero word,
//! commit word.

use std::{slice, sync::Arc};

use hashbrown::HashMap;

use super::{
    CommittedPosition, Tail,
    checks::Checks,
    dictionary::{Dictionary, Missing},
    ids::IdMaker,
};
use crate::{
    clock::utc_day,
    config::{Expected, Patience},
    error::{Error, Result},
    format::{
        EventId, IdView, Identity, NO_SEQ, NewEvent, RECORD_FIXED_BYTES, RecordPlan, UuidBytes, batch_head,
        dictionary_record, dictionary_record_bytes, segment::RECORDS_OFFSET,
    },
    heads::{Head, Heads},
    map::WriteMap,
    planted::{Bug, is_planted},
    segment::{CUT_OFF, Position, Segment},
    threads::atomic::{AtomicU64, Ordering},
};

/// Every append leaves room for the record that ends the segment.
pub(super) const END_BYTES: usize = RECORD_FIXED_BYTES;

/// What an append returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position in the log.
    pub seq: u64,
    /// The caller's id, or the one that was made.
    pub event_id: EventId,
    /// Version within its aggregate.
    pub aggregate_version: Option<u32>,
    /// Position of its aggregate's previous event.
    pub aggregate_prev: Option<u64>,
    /// Epoch of its segment.
    pub epoch: u32,
    /// Real time of the append.
    pub ts_ns: i64,
    /// It had been appended before: this is its receipt again.
    pub is_duplicate: bool,
}

/// The segment being written.
pub(super) struct Active {
    pub map: WriteMap,
    pub number: u64,
    pub epoch: u32,
    pub offset: usize,
    /// UTC day of its first record.
    pub day: i64,
    dictionary: Dictionary,
}

impl Active {
    pub fn new(segment: &Segment, map: WriteMap, offset: usize, dictionary: Dictionary) -> Self {
        Self {
            map,
            number: segment.header.number,
            epoch: segment.header.epoch,
            offset,
            day: utc_day(segment.entry.entered_ns),
            dictionary,
        }
    }

    fn is_empty(&self) -> bool {
        self.offset == RECORDS_OFFSET
    }

    /// Bytes that records may still take.
    pub fn room(&self) -> usize {
        self.map.bytes().saturating_sub(self.offset + END_BYTES)
    }

    /// Commits the record of `bytes` bytes at the offset, already written but for `word`, and steps behind it.
    pub fn commit(&mut self, bytes: usize, word: u32) {
        self.seal_at(self.offset, self.offset + bytes, word);
        self.offset += bytes;
    }

    /// ORDER: the successor's word is zero before the commit word lets readers past this record (R5).
    fn seal_at(&mut self, start: usize, successor: usize, word: u32) {
        if successor + 4 <= self.map.bytes() && !is_planted(Bug::SuccessorNotZeroed) {
            self.map.commit(successor, 0);
        }
        self.map.commit(start, word);
    }
}

/// Versions inside a batch count on each other, yet are the log's only once it is committed.
struct BatchPlan<'a> {
    /// The head that each event replaces.
    heads: Vec<Option<Head>>,
    /// The heads after all of them.
    overlay: HashMap<&'a str, Head>,
}

/// Everything behind the tail lock.
pub(super) struct Writer {
    pub active: Active,
    pub next_seq: u64,
    heads: Heads,
    ids: Option<IdMaker>,
}

impl Writer {
    pub fn new(segment: &Arc<Segment>, map: WriteMap, heads: Heads, position: &Position) -> Self {
        let active = Active::new(segment, map, position.offset, Dictionary::of(&position.names));
        Self { active, next_seq: position.next_seq, heads, ids: None }
    }

    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Continues in `segment`, just entered.
    pub fn enter(&mut self, segment: &Segment, map: WriteMap) -> WriteMap {
        let next = Active::new(segment, map, RECORDS_OFFSET, Dictionary::default());
        std::mem::replace(&mut self.active, next).map
    }

    /// Appends one event.
    pub fn append(
        &mut self,
        tail: &Tail,
        event: &NewEvent<'_>,
        now_ns: i64,
        patience: Patience,
    ) -> Result<Appended> {
        self.refuse_beyond_last_position(1)?;
        let head = event.aggregate_id.and_then(|id| self.heads.get(id));
        let mut checks = Checks::default();
        checks.hold(event.aggregate_id, event.expected, head, true);
        checks.outcome()?;
        let event_id = self.id_for(event, now_ns)?;
        let mut plan = self.plan(event, &event_id);
        if !self.has_place_for(slice::from_ref(&plan), plan.record_bytes(), now_ns) {
            self.make_room(tail, slice::from_ref(event), false, now_ns, patience)?;
            plan = self.plan(event, &event_id);
        }
        let identity = self.identity(now_ns, head);
        let bytes = plan.record_bytes();
        let word = self.encode(&plan, self.active.offset, &identity);
        self.active.commit(bytes, word);
        self.refuse_if_broken(tail)?;
        self.next_seq += 1;
        self.publish(tail, 1, bytes);
        if let Some(id) = event.aggregate_id {
            self.heads.set(id, Head { seq: identity.seq, version: identity.aggregate_version });
        }
        Ok(appended(event, event_id, &identity))
    }

    /// Appends all events behind one head record, whose commit word goes last (R7). `expected` is held against the log as it
    /// is before the batch.
    pub fn append_batch(
        &mut self,
        tail: &Tail,
        events: &[NewEvent<'_>],
        expected: &[(&str, Expected)],
        now_ns: i64,
        patience: Patience,
    ) -> Result<Vec<Appended>> {
        self.refuse_beyond_last_position(events.len())?;
        let BatchPlan { heads, overlay } = self.plan_heads(events, expected)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if is_planted(Bug::BatchNotAtomic) {
            return events.iter().map(|event| self.append(tail, event, now_ns, patience)).collect();
        }
        let ids = events.iter().map(|event| self.id_for(event, now_ns)).collect::<Result<Vec<_>>>()?;
        let mut plans = self.plans(events, &ids);
        let bytes = RECORD_FIXED_BYTES + plans.iter().map(RecordPlan::record_bytes).sum::<usize>();
        if !self.has_place_for(&plans, bytes, now_ns) {
            self.make_room(tail, events, true, now_ns, patience)?;
            plans = self.plans(events, &ids);
        }
        let start = self.active.offset;
        let first = self.identity(now_ns, None);
        let mut offset = start + RECORD_FIXED_BYTES;
        for ((plan, head), seq) in plans.iter().zip(&heads).zip(self.next_seq..) {
            let identity = Identity { seq, ..self.identity(now_ns, *head) };
            let word = self.encode(plan, offset, &identity);
            // Not visible yet: readers stop at the head's zero word.
            self.active.map.commit(offset, word);
            offset += plan.record_bytes();
        }
        let members = (offset - start - RECORD_FIXED_BYTES) as u64;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let write = |target: &mut [u8]| batch_head(target, &first, members, count);
        let word = self.active.map.fill(start, RECORD_FIXED_BYTES, write);
        self.active.seal_at(start, offset, word);
        self.refuse_if_broken(tail)?;
        self.active.offset = offset;
        let receipts = events.iter().zip(ids).zip(heads).zip(self.next_seq..);
        let receipts = receipts.map(|(((event, id), head), seq)| {
            appended(event, id, &Identity { seq, ..self.identity(now_ns, head) })
        });
        let receipts = receipts.collect();
        self.next_seq += u64::from(count);
        self.publish(tail, u64::from(count), offset - start);
        for (id, head) in overlay {
            self.heads.set(id, head);
        }
        Ok(receipts)
    }

    /// Which heads a batch replaces and leaves, if everything expected is met.
    fn plan_heads<'a>(
        &self,
        events: &[NewEvent<'a>],
        expected: &[(&str, Expected)],
    ) -> Result<BatchPlan<'a>> {
        let mut checks = Checks::default();
        for (id, expected) in expected {
            checks.hold(Some(*id), *expected, self.heads.get(id), true);
        }
        let mut overlay: HashMap<&str, Head> = HashMap::new();
        let mut heads = Vec::with_capacity(events.len());
        for (event, seq) in events.iter().zip(self.next_seq..) {
            let own = event.aggregate_id.and_then(|id| overlay.get(id).copied());
            let head = own.or_else(|| event.aggregate_id.and_then(|id| self.heads.get(id)));
            checks.hold(event.aggregate_id, event.expected, head, own.is_none());
            heads.push(head);
            if let Some(id) = event.aggregate_id {
                overlay.insert(id, Head { seq, version: Head::next_version(head) });
            }
        }
        checks.outcome()?;
        Ok(BatchPlan { heads, overlay })
    }

    /// Positions end before [`NO_SEQ`]. No log gets there, but one that was forged.
    fn refuse_beyond_last_position(&self, count: usize) -> Result<()> {
        match self.next_seq.checked_add(count as u64) {
            Some(_) => Ok(()),
            None => Err(Error::Limit { what: "the event's position", got: NO_SEQ, limit: NO_SEQ - 1 }),
        }
    }

    /// Nothing is acknowledged that went to a page whose file is gone.
    pub fn refuse_if_broken(&self, tail: &Tail) -> Result<()> {
        if self.active.map.is_broken() {
            return Err(tail.poison(format!("segment {}: {CUT_OFF}", self.active.number)));
        }
        Ok(())
    }

    fn plan<'a>(&self, event: &'a NewEvent<'a>, event_id: &'a EventId) -> RecordPlan<'a> {
        RecordPlan::new(event, event_id.view(), &|text| self.active.dictionary.number_of(text))
    }

    fn plans<'a>(&self, events: &'a [NewEvent<'a>], ids: &'a [EventId]) -> Vec<RecordPlan<'a>> {
        events.iter().zip(ids).map(|(event, id)| self.plan(event, id)).collect()
    }

    /// Whether [`Writer::make_room`] would do nothing for `bytes` of records, which is so for nearly every event.
    fn has_place_for(&self, plans: &[RecordPlan<'_>], bytes: usize, now_ns: i64) -> bool {
        let active = &self.active;
        let needs_no_name = |plan: &RecordPlan<'_>| {
            plan.is_named() || active.dictionary.missing(slice::from_ref(plan.event())).texts.is_empty()
        };
        bytes <= active.room()
            && !active.is_empty()
            && utc_day(now_ns) <= active.day
            && plans.iter().all(needs_no_name)
    }

    /// Sees to it that the records of `events` fit, rolling if they must go to the next segment, and that their texts
    /// are in the dictionary. Nothing is stored where this fails, but dictionary records, which stand for themselves.
    fn make_room(
        &mut self,
        tail: &Tail,
        events: &[NewEvent<'_>],
        is_batch: bool,
        now_ns: i64,
        patience: Patience,
    ) -> Result<()> {
        loop {
            let dictionary = &self.active.dictionary;
            let missing = dictionary.missing(events);
            let fits = measure(events, dictionary, &missing, is_batch) <= self.active.room();
            let is_new_day = utc_day(now_ns) > self.active.day;
            if fits && (self.active.is_empty() || !is_new_day) {
                if self.active.is_empty() {
                    self.active.day = utc_day(now_ns);
                }
                for text in missing.texts {
                    self.append_name(text, now_ns);
                }
                return Ok(());
            }
            // The next segment's dictionary begins empty.
            let empty = Dictionary::default();
            let needed = measure(events, &empty, &empty.missing(events), is_batch);
            match self.roll(tail, needed, !fits, now_ns, patience) {
                // The day's end alone refuses nothing that has room here: a full disk must not.
                Err(error) if fits && !matches!(error, Error::WouldBlock) => {
                    self.active.day = utc_day(now_ns);
                }
                rolled => rolled?,
            }
        }
    }

    /// Commits a dictionary record on its own, before any record that uses it (R4).
    fn append_name(&mut self, text: &str, now_ns: i64) {
        let bytes = dictionary_record_bytes(text);
        let identity = self.identity(now_ns, None);
        let number = self.active.dictionary.next_number();
        let write = |target: &mut [u8]| dictionary_record(target, &identity, number, text);
        let word = self.active.map.fill(self.active.offset, bytes, write);
        self.active.commit(bytes, word);
        self.active.dictionary.add(text);
    }

    fn encode(&mut self, plan: &RecordPlan<'_>, offset: usize, identity: &Identity) -> u32 {
        let dictionary = &self.active.dictionary;
        let write = |target: &mut [u8]| plan.encode(target, identity, &|text| dictionary.number_of(text));
        self.active.map.fill(offset, plan.record_bytes(), write)
    }

    pub fn identity(&self, ts_ns: i64, head: Option<Head>) -> Identity {
        Identity {
            seq: self.next_seq,
            ts_ns,
            aggregate_prev: head.map(|head| head.seq),
            aggregate_version: Head::next_version(head),
            epoch: self.active.epoch,
        }
    }

    fn id_for(&mut self, event: &NewEvent<'_>, now_ns: i64) -> Result<EventId> {
        if let Some(given) = event.event_id {
            return Ok(IdView::of(given).to_owned());
        }
        let maker = match &mut self.ids {
            Some(maker) => maker,
            none => none.insert(IdMaker::new()?),
        };
        Ok(EventId::Uuid(UuidBytes(maker.next(now_ns))))
    }

    fn publish(&self, tail: &Tail, events: u64, bytes: usize) {
        tail.committed.store(self.committed());
        count(&tail.counters.appended, events);
        count(&tail.counters.appended_bytes, bytes as u64);
    }

    pub fn committed(&self) -> CommittedPosition {
        CommittedPosition {
            segment: self.active.number,
            offset: self.active.offset as u64,
            next_seq: self.next_seq,
        }
    }
}

/// Adds to what only the holder of the writer's lock changes. A locked addition would wait until the record has reached the cache,
/// whose lines nobody has asked for before: as dear as all else together.
fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// Bytes that the records of `events` will take, with those of the names they miss.
fn measure(events: &[NewEvent<'_>], dictionary: &Dictionary, missing: &Missing<'_>, is_batch: bool) -> usize {
    let number_of = |text: &str| dictionary.future_number_of(missing, text);
    // Every made id is a UUID, whatever its value.
    let made = IdView::Uuid(UuidBytes([0; 16]));
    let size = |event: &NewEvent<'_>| {
        RecordPlan::new(event, event.event_id.map_or(made, IdView::of), &number_of).record_bytes()
    };
    let head = if is_batch { RECORD_FIXED_BYTES } else { 0 };
    head + missing.record_bytes() + events.iter().map(size).sum::<usize>()
}

fn appended(event: &NewEvent<'_>, event_id: EventId, identity: &Identity) -> Appended {
    Appended {
        seq: identity.seq,
        event_id,
        aggregate_version: event.aggregate_id.map(|_| identity.aggregate_version),
        aggregate_prev: identity.aggregate_prev,
        epoch: identity.epoch,
        ts_ns: identity.ts_ns,
        is_duplicate: false,
    }
}
