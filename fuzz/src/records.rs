//! The records of one segment: any bytes behind the three pages, walked as every reader walks them.
//!
//! Input: switches, an epoch's low byte, a choice of the first position, then the record area as it stands.

use std::{path::Path, sync::Arc};

use _core::{
    format::{
        Fixed, INLINE, IdView, Identity, Names, NewEvent, RecordPlan, RecordView, segment::RECORDS_OFFSET,
        split_commit_word,
    },
    map::ReadMap,
    segment::{Position, Step, Walk},
    vfs::{Vfs, memory::InMemory},
};

use super::{
    allocation::{allocating_at_most, allocating_nothing},
    input::{Input, Switches},
    seal,
};

/// Checksums are made to fit.
const SEAL: u32 = 0;
/// Positions are made to follow each other.
const RENUMBER: u32 = 1;

/// The walk holds a copy of one record in a buffer that doubles, both halves of which are there while it grows (three
/// times the record), and the dictionary, some 40 bytes and the text for a record of at least 48.
const WALK_CLASS: usize = 4;
/// Whoever keeps what was read holds some 150 bytes for an event of at least 56, in a vector that doubles, and a share of
/// the dictionary: never a dictionary for each event.
const KEEP_CLASS: usize = 10;
const SMALL_BYTES: usize = 4096;
const BATCH_HEAD: u8 = 2;

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let epoch = u32::from(input.u8());
    let first_seq = input.choice(&[0, 1, 1 << 40, u64::MAX - 1, u64::MAX]);
    let area = input.rest();
    let mut file = vec![0; RECORDS_OFFSET + area.len()];
    seal::put(&mut file, 12, &epoch.to_le_bytes());
    seal::put(&mut file, RECORDS_OFFSET, area);
    if switches.has(SEAL) {
        seal::records(&mut file, switches.has(RENUMBER).then_some(first_seq));
    }
    let map = map_of(&file);
    let limit = |class: usize| class * area.len() + SMALL_BYTES;
    let (count, end, stop) = allocating_at_most(limit(WALK_CLASS), || walk_once(&map, epoch, first_seq));
    let (events, second_end, second_stop) =
        allocating_at_most(limit(KEEP_CLASS), || keep_events(&map, epoch, first_seq));
    assert_eq!((count, end, &stop), (events.len(), second_end, &second_stop), "two walks differ");
    assert!(!matches!(stop, Step::Event(_)) && end <= file.len());
    assert_batches_are_whole(&file, end, events.len());
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.fixed.seq, first_seq + index as u64);
        event.assert_comes_back(epoch);
    }
}

fn map_of(file: &[u8]) -> ReadMap {
    let stored = InMemory::default().create(Path::new("segment")).unwrap();
    stored.allocate(file.len() as u64).unwrap();
    stored.write_at(0, file).unwrap();
    ReadMap::new(stored.map(file.len(), false).unwrap())
}

fn start(map: &ReadMap, epoch: u32, next_seq: u64) -> Walk {
    Walk::new(
        _core::segment::Source::Raw(map.clone()),
        epoch,
        Position { offset: RECORDS_OFFSET, next_seq, names: Arc::default() },
    )
}

/// Walks to the end and touches all of every event; keeps none.
fn walk_once(map: &ReadMap, epoch: u32, first_seq: u64) -> (usize, usize, Step) {
    let mut walk = start(map, epoch, first_seq);
    let mut count = 0;
    loop {
        match walk.step_with(|view| allocating_nothing(|| touch(view))) {
            Step::Event(_) => count += 1,
            stop => return (count, walk.position.offset, stop),
        }
    }
}

/// Reads every byte that a view gives out, and holds it to the limits of the format.
pub fn touch(view: &RecordView<'_>) {
    let texts = [view.event_type, view.source, view.schema_version.unwrap_or("")];
    assert!(texts.iter().all(|text| text.len() <= 255 && std::str::from_utf8(text.as_bytes()).is_ok()));
    assert!(!view.event_type.is_empty());
    let ids = [Some(view.event_id), view.aggregate_id, view.correlation_id, view.causation_id];
    for id in ids.iter().flatten() {
        assert!(id.with_text(|text| text.len() <= 1024 && std::str::from_utf8(text.as_bytes()).is_ok()));
    }
    let tag_bytes: usize = view.tags().map(|(key, value)| key.len() + value.len()).sum();
    assert!(view.tags().count() <= 1024);
    std::hint::black_box((tag_bytes, view.payload.iter().fold(0_u8, |sum, byte| sum ^ byte)));
}

/// An event with all that its view needs.
struct Event {
    record: Vec<u8>,
    fixed: Fixed,
    names: Arc<Names>,
}

fn keep_events(map: &ReadMap, epoch: u32, first_seq: u64) -> (Vec<Event>, usize, Step) {
    let mut walk = start(map, epoch, first_seq);
    let mut events = Vec::new();
    loop {
        match walk.step() {
            Step::Event(fixed) => {
                let names = Arc::clone(&walk.position.names);
                events.push(Event { record: walk.record().to_vec(), fixed, names });
            }
            stop => return (events, walk.position.offset, stop),
        }
    }
}

/// A walk that got past a batch head gave out all of the batch, as many events as the head says.
fn assert_batches_are_whole(file: &[u8], end: usize, event_count: usize) {
    let offsets: Vec<usize> = seal::record_offsets(file).into_iter().filter(|at| *at <= end).collect();
    assert_eq!(offsets.last(), Some(&end), "the walk ended between two records");
    let mut announced = 0;
    for pair in offsets.windows(2) {
        let record = &file[pair[0]..pair[1]];
        if split_commit_word(seal::word(record, 0)).0 == BATCH_HEAD {
            let behind = pair[1] as u64 + seal::long(record, 24);
            assert!(behind <= end as u64, "the walk ended inside a batch");
            announced += seal::word(record, 32) as usize;
        }
    }
    assert!(announced <= event_count, "a batch gave out fewer events than its head says");
}

impl Event {
    /// What was decoded, encoded once more, decodes to the same: with all texts inline and ids in the form we choose.
    fn assert_comes_back(&self, epoch: u32) {
        let view = RecordView::parse(&self.record, self.fixed, &self.names).unwrap();
        let ids = [Some(view.event_id), view.aggregate_id, view.correlation_id, view.causation_id];
        let [event_id, aggregate_id, correlation_id, causation_id] =
            ids.map(|id| id.map(|id| id.to_string()));
        let event_id = event_id.unwrap();
        let tags: Vec<_> = view.tags().collect();
        let event = NewEvent {
            event_id: view.is_caller_id.then_some(&event_id),
            aggregate_id: aggregate_id.as_deref(),
            correlation_id: correlation_id.as_deref(),
            causation_id: causation_id.as_deref(),
            source: view.source,
            schema_version: view.schema_version,
            event_time_ns: view.event_time_ns,
            tags: &tags,
            lossy: view.lossy,
            schema: view.schema,
            ..NewEvent::new(view.event_type, view.payload, view.codec)
        };
        assert!(event_id.is_empty() || event.check().is_ok(), "decoded beyond the limits: {event:?}");
        let identity = Identity {
            seq: view.fixed.seq,
            ts_ns: view.fixed.ts_ns,
            aggregate_prev: view.fixed.aggregate_prev,
            aggregate_version: view.fixed.aggregate_version,
            epoch,
        };
        let plan = RecordPlan::new(&event, IdView::of(&event_id), &|_| INLINE);
        let mut record = vec![0xAA; plan.record_bytes()];
        let word = plan.encode(&mut record, &identity, &|_| INLINE);
        record[..4].copy_from_slice(&word.to_le_bytes());
        let fixed = Fixed::check(&record, epoch).unwrap();
        let none = Names::default();
        let again = RecordView::parse(&record, fixed, &none).unwrap();
        assert_eq!(facts(&again), facts(&view));
    }
}

/// All that an event says, without how it is stored.
fn facts<'v>(view: &RecordView<'v>) -> impl PartialEq + std::fmt::Debug + use<'v> {
    let ids = [Some(view.event_id), view.aggregate_id, view.correlation_id, view.causation_id];
    (
        (view.fixed.seq, view.fixed.ts_ns, view.fixed.aggregate_prev, view.fixed.aggregate_version),
        (view.event_type, ids.map(|id| id.map(|id| id.to_string())), view.is_caller_id),
        (view.source, view.schema_version, view.event_time_ns, view.codec, view.lossy, view.schema),
        (view.tags().collect::<Vec<_>>(), view.payload),
    )
}
