//! What goes from the front of a log, what stays of it, and who hears of it.

use std::fs;

use _core::{
    config::{Expected, Keeper, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::Log,
    scan::{Direction, Query},
};

use super::support::{Dir, append, open, read_all, reading, seqs, small, tick};

fn manual() -> Options {
    Options { keeper: Keeper::Manual, ..small() }
}

/// `rounds` segments and more of events, of which every fortieth belongs to the aggregate "rare", the first to "gone".
fn filled(dir: &Dir, rounds: u64) -> Log {
    let log = open(dir, manual());
    append(&log, "tick", Some("gone"), "0");
    while log.stats().unwrap().segments.len() as u64 <= rounds {
        let seq = log.last_seq().unwrap().unwrap() + 1;
        let id = if seq.is_multiple_of(40) { Some("rare") } else { seq.is_multiple_of(2).then_some("often") };
        append(&log, "tick", id, &"x".repeat(900));
    }
    tick(&log);
    log
}

fn files(dir: &Dir, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn truncated(result: Result<Vec<u64>, Error>) -> u64 {
    match result {
        Err(Error::Truncated { first_seq }) => first_seq,
        other => panic!("{other:?}"),
    }
}

fn read(log: &Log, query: Query) -> Result<Vec<u64>, Error> {
    let mut events = Vec::new();
    log.read(query)?.next_batch(&mut events, usize::MAX, usize::MAX)?;
    Ok(seqs(&events))
}

#[test]
fn whole_sealed_segments_go_a_tenth_but_at_least_one_a_pass() {
    let dir = Dir::new();
    let log = filled(&dir, 24);
    let before = log.stats().unwrap().segments;
    let last = log.last_seq().unwrap().unwrap();
    let retained = log.retain(last).unwrap();
    assert_eq!(retained.segments, [1, 2]);
    assert_eq!((retained.first_seq, log.first_seq()), (before[2].first_seq, before[2].first_seq));
    assert_eq!(retained.event_count, before[2].first_seq);
    assert_eq!(retained.file_bytes, before[0].file_bytes + before[1].file_bytes);
    assert!(!files(&dir, "segments").iter().any(|name| name.starts_with("0000000000000001.")));
    // Never part of a segment.
    let inside = log.stats().unwrap().segments[1].first_seq - 1;
    assert_eq!(log.retain(inside).unwrap().segments, [0; 0]);
    assert_eq!(log.retain(inside + 1).unwrap().segments, [3]);
    while !log.retain(u64::MAX).unwrap().segments.is_empty() {}
    // The active one stays, and what is not sealed.
    assert_eq!(log.stats().unwrap().segments.len(), 1);
    append(&log, "tick", None, "more");
    assert_eq!(read_all(&log, Query::default()).last().unwrap().fixed.seq, last + 1);
    assert_eq!(_core::verify::verify(dir.path()).unwrap().findings, []);
}

#[test]
fn versions_go_on_where_their_events_are_gone() {
    let dir = Dir::new();
    let mut log = filled(&dir, 6);
    let often = log.aggregate_version("often").unwrap();
    while !log.retain(u64::MAX).unwrap().segments.is_empty() {}
    for _reopened in 0..3 {
        assert_eq!(log.aggregate_version("gone").unwrap(), Some(0));
        assert_eq!(log.aggregate_version("often").unwrap(), often);
        let reader = open(&dir, reading());
        assert_eq!(reader.aggregate_version("gone").unwrap(), Some(0));
        log.close().unwrap();
        log = open(&dir, manual());
    }
    let with = |expected| NewEvent {
        aggregate_id: Some("gone"),
        expected,
        ..NewEvent::new("tick", b"1", Codec::Json)
    };
    let refused = log.append(&with(Expected::None), Patience::Wait);
    let Err(Error::Conflict { conflicts }) = refused else { panic!("{refused:?}") };
    assert_eq!((conflicts[0].actual, conflicts[0].seq), (Some(0), Some(0)));
    let appended = log.append(&with(Expected::Exact(0)), Patience::Wait).unwrap();
    assert_eq!((appended.aggregate_version, appended.aggregate_prev), (Some(1), Some(0)));
    log.close().unwrap();
    assert_eq!(open(&dir, manual()).aggregate_version("gone").unwrap(), Some(1));
}

#[test]
fn a_part_is_never_given_for_the_whole() {
    let dir = Dir::new();
    let log = filled(&dir, 8);
    log.retain(u64::MAX).unwrap();
    let first = log.first_seq();
    let of = |id: &str| Query { aggregate_id: Some(id.to_owned()), ..Query::default() };
    for id in ["gone", "rare", "often"] {
        assert_eq!(truncated(read(&log, of(id))), first, "{id}");
        assert_eq!(truncated(read(&log, Query { direction: Direction::Backward, ..of(id) })), first, "{id}");
        // Who says that he knows what went before gets what is left, and who asks for the newest one gets that.
        let kept = read(&log, Query { after: Some(first - 1), ..of(id) }).unwrap();
        let newest = Query { direction: Direction::Backward, limit: Some(1), ..of(id) };
        if id != "gone" {
            assert_eq!(read(&log, newest).unwrap(), [*kept.last().unwrap()]);
        }
    }
    // Its first event lies behind the range: whether some were before it is said all the same.
    let rare = read(&log, Query { after: Some(first - 1), ..of("rare") }).unwrap()[0];
    assert_eq!(truncated(read(&log, Query { up_to: Some(rare - 1), ..of("rare") })), first);
    append(&log, "tick", Some("new"), "0");
    assert_eq!(read(&log, of("new")).unwrap().len(), 1);
    assert_eq!(read(&log, Query { up_to: Some(first + 1), ..of("new") }).unwrap(), [0; 0]);
    assert_eq!(truncated(read(&log, Query { after: Some(first - 2), ..Query::default() })), first);
    assert_eq!(truncated(read(&log, Query { up_to: Some(first - 1), ..Query::default() })), first);
    assert_eq!(read(&log, Query::default()).unwrap()[0], first);
}

#[test]
fn a_reader_inside_finishes_and_a_late_one_hears_of_it() {
    let dir = Dir::new();
    let log = filled(&dir, 8);
    let (inside, late, asleep) = (open(&dir, reading()), open(&dir, reading()), open(&dir, reading()));
    let mut scan = inside.read(Query::default()).unwrap();
    let mut backward = inside.read(Query { direction: Direction::Backward, ..Query::default() }).unwrap();
    let mut follow = log.follow(Query::default()).unwrap();
    let (mut seen, mut newest, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    scan.next_batch(&mut seen, 1, usize::MAX).unwrap();
    follow.next_batch(&mut followed, 1, usize::MAX).unwrap();
    backward.next_batch(&mut newest, 1, usize::MAX).unwrap();
    let second = log.stats().unwrap().segments[1].first_seq;
    while log.stats().unwrap().segments.len() > 2 {
        log.retain(u64::MAX).unwrap();
    }
    let first = log.first_seq();
    for (scan, seen) in [(&mut scan, &mut seen), (&mut follow, &mut followed)] {
        let mut end = Ok(());
        while end.is_ok() {
            end = scan.next_batch(seen, 1, usize::MAX);
        }
        assert!(matches!(end, Err(Error::Truncated { first_seq }) if first_seq == first), "{end:?}");
        // It had begun with the first segment, and got it whole.
        assert_eq!(seqs(seen), (0..second).collect::<Vec<_>>());
    }
    // Nobody asked this one to go back to the beginning: it ends with what is kept.
    backward.next_batch(&mut newest, usize::MAX, usize::MAX).unwrap();
    assert_eq!(newest.last().unwrap().fixed.seq, first);
    assert_eq!(truncated(read(&late, Query { after: Some(3), ..Query::default() })), first);
    assert_eq!(read(&late, Query::default()).unwrap()[0], first);
    // Everything that this one knew has gone meanwhile.
    while log.first_seq() <= asleep.stats().unwrap().last_seq.unwrap().min(first) {
        append(&log, "tick", Some("often"), &"x".repeat(900));
        tick(&log);
        log.retain(u64::MAX).unwrap();
    }
    assert_eq!(asleep.last_seq().unwrap(), log.last_seq().unwrap());
    assert_eq!(asleep.aggregate_version("often").unwrap(), log.aggregate_version("often").unwrap());
    assert_eq!(asleep.aggregate_version("gone").unwrap(), Some(0));
}

#[test]
fn a_reader_that_slept_through_all_it_knew_goes_on() {
    let dir = Dir::new();
    let log = filled(&dir, 2);
    let asleep = open(&dir, reading());
    let mut follow = asleep.follow(Query::default()).unwrap();
    let known = log.stats().unwrap().segments.last().unwrap().number;
    while log.stats().unwrap().segments[0].number <= known + 2 {
        append(&log, "tick", Some("late"), &"x".repeat(900));
        tick(&log);
        log.retain(u64::MAX).unwrap();
    }
    let mut events = Vec::new();
    let outcome = follow.next_batch(&mut events, usize::MAX, usize::MAX);
    assert!(
        matches!(outcome, Err(Error::Truncated { first_seq }) if first_seq == log.first_seq()),
        "{outcome:?}"
    );
    assert_eq!(asleep.last_seq().unwrap(), log.last_seq().unwrap());
    for id in ["gone", "rare", "often", "late"] {
        assert_eq!(asleep.aggregate_version(id).unwrap(), log.aggregate_version(id).unwrap(), "{id}");
    }
}

#[test]
fn what_a_crash_left_behind_goes_at_the_next_opening() {
    let dir = Dir::new();
    let log = filled(&dir, 4);
    let left = dir.path().join("segments/0000000000000001.seg");
    let kept = fs::read(&left).unwrap();
    log.retain(u64::MAX).unwrap();
    let first = log.first_seq();
    log.close().unwrap();
    fs::write(&left, kept).unwrap();
    assert_eq!(_core::verify::verify(dir.path()).unwrap().findings, []);
    assert_eq!(open(&dir, reading()).first_seq(), first);
    assert!(left.exists());
    let log = open(&dir, manual());
    assert_eq!((log.first_seq(), left.exists()), (first, false));
    assert_eq!(log.recovery().stray_files, [""; 0]);
}

#[test]
fn the_heads_are_an_authority() {
    let dir = Dir::new();
    let log = filled(&dir, 4);
    log.retain(u64::MAX).unwrap();
    log.close().unwrap();
    assert_eq!(files(&dir, "heads"), ["expired.heads"]);
    let path = dir.path().join("heads/expired.heads");
    let whole = fs::read(&path).unwrap();
    let refused = |why: &str| match Log::open(
        _core::log::Location::Directory(dir.path()),
        manual(),
        super::support::clock(),
    ) {
        Err(Error::Corrupt { path: named, .. }) => assert_eq!(named, path, "{why}"),
        other => panic!("{why}: {:?}", other.err()),
    };
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        fs::write(&path, damaged).unwrap();
        match Log::open(_core::log::Location::Directory(dir.path()), reading(), super::support::clock()) {
            Err(Error::Corrupt { .. } | Error::Version { .. }) => {}
            other => panic!("byte {byte}: {:?}", other.err()),
        }
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused("cut off");
    fs::remove_file(&path).unwrap();
    refused("missing");
    fs::write(&path, whole).unwrap();
    assert_eq!(open(&dir, manual()).aggregate_version("gone").unwrap(), Some(0));
}
