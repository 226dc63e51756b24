//! Edges of the engine that broke once: segments dropped under a scan, readers beside a dead writer, closing under a waiter,
//! full disks. One test for each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "edges/between.rs"]
mod between;
#[path = "edges/clean.rs"]
mod clean;
#[path = "edges/closing.rs"]
mod closing;
#[path = "edges/forged.rs"]
mod forged;
#[path = "edges/keeper.rs"]
mod keeper;
#[path = "edges/living_on.rs"]
mod living_on;
#[path = "edges/opening.rs"]
mod opening;
mod support;

use std::{path::Path, sync::Arc, time::Duration};

use _core::{
    config::{Durability, Expected, Keeper, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent, segment::ENTRY_OFFSET},
    log::{Location, Log},
    place::Place,
    scan::Query,
    segment::Segment,
    shelf::{News, Shelf},
};
use support::{
    append, clock, payloads,
    ram::{Image, Ram},
    read_all, seqs, small,
};

const ROOT: &str = "/log";
const DAY_NS: i64 = 86_400_000_000_000;

fn manual() -> Options {
    Options { keeper: Keeper::Manual, ..small() }
}

fn open_with(ram: &Arc<Ram>, options: Options) -> Result<Log, Error> {
    Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options, clock())
}

/// Three segments, none of them synced by anyone; with the number of events.
fn three_segments() -> (Image, u64) {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    let payload = "x".repeat(1000);
    while log.stats().unwrap().segments.len() < 3 {
        append(&log, "t", Some("a"), &payload);
    }
    log.abandon();
    let last = log.last_seq().unwrap().unwrap();
    (ram.image(), last + 1)
}

fn segment_file(number: u64) -> std::path::PathBuf {
    Path::new(ROOT).join("segments").join(_core::format::names::segment(number))
}

#[test]
fn a_scan_that_the_dropping_of_segments_has_overtaken_says_so() {
    let options = Options { memory_bytes: 1 << 20, ..Options::default() };
    let log = Log::open(Location::Memory, options, clock()).unwrap();
    let payload = "x".repeat(1000);
    append(&log, "t", Some("a"), &payload);
    let mut slow = log.follow(Query::default()).unwrap();
    let mut seen = Vec::new();
    slow.next_batch(&mut seen, 1, usize::MAX).unwrap();
    for _ in 0..5000 {
        append(&log, "t", Some("a"), &payload);
    }
    let outcome = loop {
        let before = seen.len();
        match slow.next_batch(&mut seen, 100, usize::MAX) {
            Ok(()) if seen.len() == before => break Ok(()),
            Ok(()) => {}
            Err(error) => break Err(error),
        }
    };
    assert!(seen.len() < 5001);
    assert!(matches!(outcome, Err(Error::Truncated { .. })), "{outcome:?} after {}", seen.len());
    assert!(slow.wait(Duration::ZERO).unwrap());
}

#[test]
fn waiting_for_what_is_committed_needs_none_of_what_was_dropped() {
    let options = Options { memory_bytes: 1 << 20, ..Options::default() };
    let log = Log::open(Location::Memory, options, clock()).unwrap();
    assert!(!log.wait_committed(None, Duration::ZERO).unwrap());
    let payload = "x".repeat(1000);
    for _ in 0..5000 {
        append(&log, "t", Some("a"), &payload);
    }
    assert!(log.first_seq() > 3);
    assert!(log.wait_committed(Some(3), Duration::MAX).unwrap());
    assert!(log.wait_durable(3, Some(Duration::MAX)).unwrap());
}

#[test]
fn a_reader_serves_nothing_behind_a_torn_tail() {
    let (mut image, count) = three_segments();
    let first = image.iter_mut().find(|(path, ..)| *path == segment_file(1)).unwrap();
    first.2.truncate(30_000);
    let ram = Ram::of(&image);
    let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
    let last = reader.last_seq().unwrap().unwrap();
    assert!(last < 40);
    for after in last..count {
        let events = read_all(&reader, Query { after: Some(after), ..Query::default() });
        assert_eq!(seqs(&events), [], "after {after}");
    }
    // The next writer puts those segments away and begins a new one, which the reader finds.
    let log = open_with(&ram, manual()).unwrap();
    append(&log, "t", Some("a"), "afterwards");
    let events = read_all(&reader, Query { after: Some(last), ..Query::default() });
    assert_eq!(payloads(&events), ["afterwards"]);
    assert_eq!(reader.last_seq().unwrap(), Some(last + 1));
}

#[test]
fn a_segment_whose_entry_was_lost_with_the_power_ends_the_log_and_is_kept() {
    let (image, _) = three_segments();
    let lost = |bytes: std::ops::Range<usize>| {
        let mut image = image.clone();
        image.iter_mut().find(|(path, ..)| *path == segment_file(2)).unwrap().2[bytes].fill(0);
        Ram::of(&image)
    };
    // Its first page but for the header; the same and its first records; and everything.
    for (bytes, is_kept) in [(512..12_288, true), (512..20_000, true), (512..image_bytes(&image, 2), false)] {
        let ram = lost(bytes);
        let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
        let seen = read_all(&reader, Query::default()).len();
        let log = open_with(&ram, manual()).unwrap();
        let cut = log.recovery().cut.clone().unwrap();
        assert_eq!(cut.quarantine_files.len(), 1 + usize::from(is_kept), "{cut:?}");
        append(&log, "t", Some("a"), "afterwards");
        assert_eq!(read_all(&log, Query::default()).len(), seen + 1);
        log.close().unwrap();
        assert!(open_with(&ram, manual()).unwrap().recovery().clean);
    }
}

fn image_bytes(image: &Image, number: u64) -> usize {
    image.iter().find(|(path, ..)| *path == segment_file(number)).unwrap().2.len()
}

#[test]
fn a_segment_seen_entered_before_the_one_before_it_waits_for_that_one() {
    let (image, _) = three_segments();
    let ram = Ram::of(&image);
    let place = Place { vfs: ram, path: ROOT.into() };
    let log_id = place.read_meta().unwrap().unwrap().log_id;
    let first = place.open_segment(1, &log_id).unwrap();
    let first = Arc::new(Segment::new(first.path, first.header, first.entry.unwrap()));
    let shelf = Shelf::new(place.clone(), log_id, News::LookedFor, vec![first]);
    let numbers = || shelf.list().iter().map(|segment| segment.header.number).collect::<Vec<_>>();
    // As if the writer entered the second one, and went on to the third, between two looks of ours.
    let second = place.reopen_segment(2).unwrap();
    let mut entry = [0; 64];
    second.read_at(ENTRY_OFFSET as u64, &mut entry).unwrap();
    second.write_at(ENTRY_OFFSET as u64, &[0; 64]).unwrap();
    shelf.look_for_news().unwrap();
    assert_eq!(numbers(), [1]);
    second.write_at(ENTRY_OFFSET as u64, &entry).unwrap();
    shelf.look_for_news().unwrap();
    assert_eq!(numbers(), [1, 2, 3]);
}

#[test]
fn an_append_that_a_close_overtakes_is_durable_and_no_error() {
    for mode in [Durability::Group, Durability::Always] {
        for keeper in [Keeper::Manual, Keeper::Thread] {
            let ram = Ram::of(&Vec::new());
            let log = open_with(&ram, Options { durability: mode, keeper, ..small() }).unwrap();
            let appended = append(&log, "t", None, "1");
            log.close().unwrap();
            log.settle(&appended, None).unwrap();
            assert!(log.wait_durable(0, None).unwrap());
            assert!(matches!(log.wait_durable(1, None), Err(Error::Closed { .. })));
            assert!(matches!(log.sync(), Err(Error::Closed { .. })));
        }
    }
}

#[test]
fn what_a_sync_has_covered_is_not_synced_again() {
    let log = open_with(&Ram::of(&Vec::new()), manual()).unwrap();
    let first = append(&log, "t", None, "1");
    let second = append(&log, "t", None, "2");
    log.settle(&second, Some(Durability::Always)).unwrap();
    append(&log, "t", None, "3");
    let syncs = log.stats().unwrap().syncs.0;
    log.settle(&first, Some(Durability::Always)).unwrap();
    assert_eq!((log.stats().unwrap().syncs.0, log.durable_seq()), (syncs, Some(1)));
}

#[test]
fn a_conflict_cites_an_event_that_is_durable() {
    for mode in [Durability::Group, Durability::Always] {
        let log = open_with(&Ram::of(&Vec::new()), Options { durability: mode, ..manual() }).unwrap();
        append(&log, "t", Some("a"), "1");
        assert_eq!(log.durable_seq(), None);
        let event = NewEvent {
            aggregate_id: Some("a"),
            expected: Expected::None,
            ..NewEvent::new("t", b"2", Codec::Json)
        };
        let refused = log.append(&event, Patience::Wait);
        assert!(matches!(refused, Err(Error::Conflict { conflicts }) if conflicts[0].seq == Some(0)));
        assert_eq!(log.durable_seq(), Some(0));
    }
}

#[test]
fn the_end_of_a_day_refuses_nothing_on_a_full_disk() {
    let (ram, time) = (Ram::of(&Vec::new()), clock());
    let at = Location::Elsewhere(ram.clone(), Path::new(ROOT));
    let log = Log::open(at, manual(), time.clone()).unwrap();
    append(&log, "t", None, "1");
    ram.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    time.advance(DAY_NS);
    append(&log, "t", None, "2");
    assert_eq!(log.stats().unwrap().segments.len(), 1);
    ram.is_full.store(false, std::sync::atomic::Ordering::SeqCst);
    time.advance(DAY_NS);
    append(&log, "t", None, "3");
    assert_eq!(log.stats().unwrap().segments.len(), 2);
}

#[test]
fn a_batch_that_no_segment_can_take_does_not_end_the_one_at_hand() {
    let types: Vec<String> = (0..310).map(|number| format!("{number:064}")).collect();
    let batch: Vec<_> = types.iter().map(|name| NewEvent::new(name, b"", Codec::Json)).collect();
    let log = open_with(&Ram::of(&Vec::new()), manual()).unwrap();
    let tags: Vec<_> = types.iter().map(|name| (name.as_str(), "")).collect();
    log.append(&NewEvent { tags: &tags, ..NewEvent::new("t", b"", Codec::Json) }, Patience::Wait).unwrap();
    // Here all names are known and only the room is short; the next segment would have to learn them all.
    let refused = log.append_many(&batch, Patience::Wait);
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
    assert_eq!(log.stats().unwrap().segments.len(), 1, "rolled in vain");
}

#[test]
fn zeros_where_events_were_committed_are_damage_to_the_writers_own_scans() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    for number in 0..3 {
        append(&log, "t", None, &number.to_string());
    }
    let mut scan = log.read(Query::default()).unwrap();
    let mut events = Vec::new();
    scan.next_batch(&mut events, 1, usize::MAX).unwrap();
    let place = Place { vfs: ram, path: ROOT.into() };
    let second = 12_288 + 56 + events[0].bytes.len() as u64;
    place.reopen_segment(1).unwrap().write_at(second, &[0; 4]).unwrap();
    assert!(matches!(scan.next_batch(&mut events, 9, usize::MAX), Err(Error::Corrupt { .. })));
}
