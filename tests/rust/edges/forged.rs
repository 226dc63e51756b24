//! Files that no writer leaves, under checksums that fit: refused with a reason or served, never a panic, never a loop.
//!
//! Each was found by `make fuzz` or by asking what it might find. A good checksum is no authentication (docs/format.md).

use std::{path::Path, sync::Arc};

use _core::{
    config::{Keeper, MAX_SEGMENT_BYTES, Mode, Options, Patience},
    error::{Error, Result},
    format::{
        Codec, Fixed, Identity, NewEvent, RECORD_FIXED_BYTES, RecordFault, dictionary_record,
        dictionary_record_bytes, end_record,
        meta::{META_BYTES, Mark, Meta},
        names,
        segment::{
            ENTRY_BYTES, ENTRY_OFFSET, Entry, HEADER_BYTES, RECORDS_OFFSET, SegmentHeader, WATERMARK_BYTES,
            Watermark, watermark_offset,
        },
        split_commit_word,
    },
    heads::Heads,
    log::{Location, Log},
    place::Place,
    scan::Query,
    verify::verify_place,
};

use crate::support::{
    clock,
    forge::{bare, event},
    payloads,
    ram::{Image, Ram},
    read_all, small,
};

const ROOT: &str = "/log";
const SEGMENT: &str = "/log/segments/0000000000000001.log";

fn open(ram: &Arc<Ram>, mode: Mode) -> Result<Log> {
    let options = Options { mode, keeper: Keeper::Manual, ..small() };
    Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options, clock())
}

fn plain(text: &str) -> NewEvent<'_> {
    NewEvent::new("t", text.as_bytes(), Codec::Json)
}

/// A log of two events in one segment, closed.
fn young() -> Image {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    for text in ["0", "1"] {
        log.append(&plain(text), Patience::Wait).unwrap();
    }
    log.close().unwrap();
    ram.image()
}

fn file<'i>(image: &'i mut Image, path: &str) -> &'i mut Vec<u8> {
    let found = image.iter_mut().find(|(known, ..)| known == Path::new(path));
    let (_, size, bytes) = found.unwrap();
    bytes.resize(*size, 0);
    bytes
}

fn change_meta(image: &mut Image, change: impl Fn(&mut Meta)) {
    let bytes = file(image, "/log/META");
    for offset in [0, 4096] {
        let copy = &mut bytes[offset..offset + META_BYTES];
        let mut meta = Meta::decode(copy.first_chunk().unwrap()).unwrap();
        change(&mut meta);
        copy.copy_from_slice(&meta.encode());
    }
}

/// Lets META know of dropped events, and keeps what has to be kept of them: nothing.
fn forget_before(image: &mut Image, first_seq: u64) {
    let ram = Ram::of(image);
    let place = Place { vfs: ram.clone(), path: ROOT.into() };
    let log_id = place.read_meta().unwrap().unwrap().log_id;
    place.write_heads(log_id, first_seq, &Heads::default()).unwrap();
    *image = ram.image();
    change_meta(image, |meta| meta.first_seq = first_seq);
}

fn change_header(image: &mut Image, change: impl Fn(&mut SegmentHeader)) {
    let bytes = file(image, SEGMENT);
    let mut header = SegmentHeader::decode(bytes.first_chunk::<HEADER_BYTES>().unwrap()).unwrap();
    change(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
}

fn change_entry(image: &mut Image, change: impl Fn(&mut Entry)) {
    let bytes = &mut file(image, SEGMENT)[ENTRY_OFFSET..ENTRY_OFFSET + ENTRY_BYTES];
    let mut entry = Entry::decode(bytes.first_chunk().unwrap(), 1).unwrap().unwrap();
    change(&mut entry);
    bytes.copy_from_slice(&entry.encode(1));
}

fn put_watermark(image: &mut Image, watermark: &Watermark) {
    let offset = watermark_offset(watermark.generation);
    file(image, SEGMENT)[offset..offset + WATERMARK_BYTES].copy_from_slice(&watermark.encode());
}

/// Puts `records` in the place of those that are there, `events` of them events, and META's clean mark behind them.
fn replace_records(image: &mut Image, records: &[u8], events: u64) {
    let bytes = file(image, SEGMENT);
    bytes[4096..].fill(0);
    bytes[RECORDS_OFFSET..RECORDS_OFFSET + records.len()].copy_from_slice(records);
    let offset = (RECORDS_OFFSET + records.len()) as u64;
    change_meta(image, |meta| {
        meta.clean = Some(Mark { segment: 1, offset, next_seq: meta.first_seq + events });
    });
}

/// To everybody, and nothing is changed.
fn assert_refused(image: &Image, modes: &[Mode], what: &str) {
    for mode in modes {
        let ram = Ram::of(image);
        let before = ram.image();
        match open(&ram, *mode).err() {
            Some(Error::Corrupt { reason, .. }) => assert!(reason.contains(what), "{reason}"),
            other => panic!("{mode:?}: {other:?}"),
        }
        let mut after = ram.image();
        after.retain(|(path, ..)| !path.ends_with("LOCK"));
        assert_eq!(after, before);
    }
}

const BOTH: [Mode; 2] = [Mode::Read, Mode::ReadWrite];

#[test]
fn numbers_that_cannot_be_raised_are_refused_to_a_writer_and_no_business_of_a_reader() {
    let worn_out: [fn(&mut Meta); 5] = [
        |meta| meta.epoch = u32::MAX,
        |meta| meta.generation = u64::MAX / 2 + 1,
        |meta| meta.generation = u64::MAX,
        |meta| meta.highest_segment = names::MAX_SEGMENT_NUMBER,
        |meta| meta.highest_segment = u64::MAX,
    ];
    for wear in worn_out {
        let mut image = young();
        change_meta(&mut image, |meta| {
            meta.clean = None;
            wear(meta);
        });
        assert_refused(&image, &[Mode::ReadWrite], "leaves no higher");
        let reader = open(&Ram::of(&image), Mode::Read).unwrap();
        assert_eq!(payloads(&read_all(&reader, Query::default())), ["0", "1"]);
    }
}

#[test]
fn no_event_has_the_position_that_means_none_and_the_one_before_it_is_the_last() {
    let identity = |seq| Identity { seq, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let record = event(&plain("x"), "id", &identity(u64::MAX));
    assert!(matches!(Fixed::check(&record, 1), Err(RecordFault::Content(_))));

    let mut image = young();
    let last = event(&plain("last"), "id", &identity(u64::MAX - 1));
    change_entry(&mut image, |entry| entry.first_seq = u64::MAX - 1);
    forget_before(&mut image, u64::MAX - 1);
    replace_records(&mut image, &last, 1);
    let ram = Ram::of(&image);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    assert_eq!(log.last_seq().unwrap(), Some(u64::MAX - 1));
    let refused = log.append(&plain("more"), Patience::Wait);
    assert!(matches!(refused, Err(Error::Limit { got: u64::MAX, limit, .. }) if limit == u64::MAX - 1));
    assert!(matches!(log.append_many(&[plain("more"); 2], Patience::Wait), Err(Error::Limit { .. })));
    log.close().unwrap();
    assert_eq!(payloads(&read_all(&open(&ram, Mode::Read).unwrap(), Query::default())), ["last"]);
}

#[test]
fn an_entry_that_names_itself_or_a_later_segment_as_the_one_before_is_damage_and_no_circle() {
    for before in [1, 2, u64::MAX] {
        let mut image = young();
        let end = split_end(file(&mut image, SEGMENT));
        change_entry(&mut image, |entry| (entry.prev_segment, entry.prev_end) = (before, end as u64));
        assert_refused(&image, &BOTH, "as the one before");
    }
}

/// Where the records end.
fn split_end(bytes: &[u8]) -> usize {
    let mut at = RECORDS_OFFSET;
    loop {
        match split_commit_word(u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())) {
            (_, 0) => return at,
            (_, length) => at += length,
        }
    }
}

#[test]
fn a_size_that_no_segment_has_is_damage() {
    for size in [0, 1, RECORDS_OFFSET as u64 + 47] {
        let mut image = young();
        change_header(&mut image, |header| header.file_bytes = size);
        assert_refused(&image, &BOTH, "a segment never has");
    }
    // A sparse file costs nothing and may be of any size: recovery would ask for memory as large as it.
    let mut image = young();
    change_header(&mut image, |header| header.file_bytes = MAX_SEGMENT_BYTES + 4096);
    let segment = image.iter_mut().find(|(path, ..)| path == Path::new(SEGMENT)).unwrap();
    segment.1 = usize::try_from(MAX_SEGMENT_BYTES).unwrap() + 4096;
    segment.2.truncate(20_000);
    let refused = open(&Ram::of(&image), Mode::Read).err();
    assert!(matches!(refused, Some(Error::Corrupt { offset: 56, .. })), "{refused:?}");
}

#[test]
fn a_closed_segment_without_room_for_its_end_record_is_left_for_a_new_one() {
    let identity = Identity { seq: 0, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    for room in (0..48).step_by(8) {
        let mut image = young();
        let payload = "x".repeat(65_536 - RECORDS_OFFSET - room - 48 - 8);
        let mut record = event(&plain(&payload), "id", &identity);
        record.truncate(65_536 - RECORDS_OFFSET - room);
        assert_eq!(record.len(), 65_536 - RECORDS_OFFSET - room);
        replace_records(&mut image, &record, 1);
        let ram = Ram::of(&image);
        let log = open(&ram, Mode::ReadWrite).unwrap();
        log.append(&plain("more"), Patience::Wait).unwrap();
        log.close().unwrap();
        let again = open(&ram, Mode::Read).unwrap();
        assert_eq!(payloads(&read_all(&again, Query::default())), [payload.as_str(), "more"]);
    }
}

#[test]
fn a_text_with_two_numbers_does_not_make_the_writer_give_a_number_twice() {
    let identity = Identity { seq: 0, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let mut records = Vec::new();
    for number in 0..2 {
        let mut record = vec![0; dictionary_record_bytes("same")];
        let word = dictionary_record(&mut record, &identity, number, "same");
        record[..4].copy_from_slice(&word.to_le_bytes());
        records.extend(record);
    }
    let mut image = young();
    replace_records(&mut image, &records, 0);
    let ram = Ram::of(&image);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    assert!(log.recovery().clean);
    log.append(&plain("appended"), Patience::Wait).unwrap();
    log.close().unwrap();
    assert_eq!(payloads(&read_all(&open(&ram, Mode::Read).unwrap(), Query::default())), ["appended"]);
}

#[test]
fn a_mark_that_knows_of_events_which_are_not_there_is_damage() {
    let mark = Watermark {
        generation: 8,
        epoch: 1,
        segment: 1,
        durable_seq: Some(1_000_000),
        durable_offset: RECORDS_OFFSET as u64,
    };
    let mut image = young();
    put_watermark(&mut image, &mark);
    assert_refused(&image, &BOTH, "event 1000000 is said to be durable");
    let mut image = young();
    change_meta(&mut image, |meta| meta.cut = Some(Mark { segment: 1, offset: 0, next_seq: 77 }));
    assert_refused(&image, &BOTH, "event 76 is said to be durable");
}

/// META names the newest segment as well; where it does not, the record before it does.
#[test]
fn a_file_that_an_end_record_names_is_there_or_in_quarantine() {
    let identity = Identity { seq: 2, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let mut record = [0; RECORD_FIXED_BYTES];
    let word = end_record(&mut record, &identity, 2);
    record[..4].copy_from_slice(&word.to_le_bytes());
    let mut image = young();
    let bytes = file(&mut image, SEGMENT);
    let end = split_end(bytes);
    bytes[end..end + RECORD_FIXED_BYTES].copy_from_slice(&record);
    change_meta(&mut image, |meta| meta.clean = None);
    assert_refused(&image, &BOTH, "the end record of segment 1 names it");
    image.push(("/log/quarantine/0000000000000002.log".into(), 1, vec![1]));
    for mode in BOTH {
        assert_eq!(payloads(&read_all(&open(&Ram::of(&image), mode).unwrap(), Query::default())), ["0", "1"]);
    }
}

#[test]
fn segments_without_a_meta_are_no_new_log() {
    let mut image = young();
    image.retain(|(path, ..)| !path.ends_with("META"));
    assert_refused(&image, &BOTH, "META is missing");
}

#[test]
fn a_meta_of_an_earlier_epoch_than_a_segment_is_damage() {
    let mut image = young();
    change_meta(&mut image, |meta| (meta.epoch, meta.clean) = (0, None));
    assert_refused(&image, &BOTH, "META is of epoch 0, segment 1 of a later one");
}

#[test]
fn a_meta_that_knows_of_dropped_events_and_has_no_segment_behind_them_is_damage() {
    let mut image = young();
    image.retain(|(path, ..)| path == Path::new("/log/META"));
    change_meta(&mut image, |meta| (meta.newest_segment, meta.clean) = (0, None));
    forget_before(&mut image, 5);
    assert_refused(&image, &BOTH, "it names event 5 as the first");
}

#[test]
fn a_watermark_of_the_last_generation_does_not_count() {
    for generation in [u64::MAX, u64::MAX - 1, u64::MAX / 2 + 1] {
        let mark = Watermark {
            generation,
            epoch: 1,
            segment: 1,
            durable_seq: Some(1),
            durable_offset: RECORDS_OFFSET as u64,
        };
        let mut image = young();
        put_watermark(&mut image, &mark);
        let ram = Ram::of(&image);
        let log = open(&ram, Mode::ReadWrite).unwrap();
        for _ in 0..4 {
            log.append(&plain("more"), Patience::Wait).unwrap();
            log.sync().unwrap();
        }
        log.close().unwrap();
        assert_eq!(read_all(&open(&ram, Mode::Read).unwrap(), Query::default()).len(), 6);
    }
}

#[test]
fn a_record_of_the_future_behind_a_cut_is_no_business_of_a_reader() {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    log.append(&plain("before"), Patience::Wait).unwrap();
    log.abandon();
    let mut image = ram.image();
    image.retain(|(path, ..)| !path.ends_with("LOCK"));
    let ram = Ram::of(&image);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    log.append(&plain("after"), Patience::Wait).unwrap();
    log.close().unwrap();
    let mut image = ram.image();
    let bytes = file(&mut image, SEGMENT);
    let end = split_end(bytes);
    bytes[end..end + 48].copy_from_slice(&bare(5, 1, 1, &[]));
    let ram = Ram::of(&image);
    for mode in [Mode::Read, Mode::ReadWrite] {
        let log = open(&ram, mode).unwrap();
        assert_eq!(payloads(&read_all(&log, Query::default())), ["before", "after"]);
    }
}

/// Looking through all earlier findings for each would take hours here.
#[test]
fn a_log_in_which_every_event_is_wrong_is_verified_in_the_time_of_reading_it() {
    const EVENTS: u64 = 200_000;
    let mut records = Vec::new();
    for seq in 0..EVENTS {
        let wrong = NewEvent { aggregate_id: Some("a"), ..plain("") };
        let identity = Identity { seq, ts_ns: 0, aggregate_prev: None, aggregate_version: 7, epoch: 1 };
        records.extend(event(&wrong, "i", &identity));
    }
    let mut image = young();
    let size = RECORDS_OFFSET + records.len() + 48;
    change_header(&mut image, |header| header.file_bytes = size as u64);
    image.iter_mut().find(|(path, ..)| path == Path::new(SEGMENT)).unwrap().1 = size;
    replace_records(&mut image, &records, EVENTS);
    let place = Place { vfs: Ram::of(&image), path: ROOT.into() };
    let start = std::time::Instant::now();
    assert_eq!(verify_place(&place).unwrap().findings.len() as u64, EVENTS);
    assert!(start.elapsed() < std::time::Duration::from_secs(300), "{:?}", start.elapsed());
}
