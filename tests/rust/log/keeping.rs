//! When what was appended becomes durable, and what the keeper has ready.

use std::{
    thread,
    time::{Duration, Instant},
};

use _core::{
    config::{Durability, Keeper, Options, Patience},
    format::{Codec, NewEvent, names},
    log::{Location, Log},
};

use crate::support::{Dir, append, clock, open, small};

#[test]
fn durability_is_what_each_mode_says() {
    for (mode, is_durable_at_once) in [
        (Durability::None, false),
        (Durability::Interval, false),
        (Durability::Group, true),
        (Durability::Always, true),
    ] {
        let dir = Dir::new();
        let options = Options { durability: mode, sync_interval: Duration::from_secs(3600), ..small() };
        let log = open(&dir, options);
        assert_eq!(log.needs_settling(None), is_durable_at_once, "{mode:?}");
        assert_eq!(log.durable_seq(), None);
        let appended = append(&log, "t", None, "1");
        log.settle(&appended, None).unwrap();
        assert_eq!(log.durable_seq().is_some(), is_durable_at_once, "{mode:?}");
        assert_eq!(log.sync().unwrap(), Some(0));
        assert_eq!(log.durable_seq(), Some(0));
    }
    let dir = Dir::new();
    let log = open(&dir, Options { sync_interval: Duration::from_millis(1), ..small() });
    append(&log, "t", None, "1");
    assert!(log.wait_durable(0, Some(Duration::from_secs(20))).unwrap());
}

/// Not only the first, which meets a keeper that has just begun.
#[test]
fn each_wish_for_a_sync_is_heard() {
    let dir = Dir::new();
    let log = open(&dir, Options { sync_interval: Duration::from_secs(3600), ..small() });
    for seq in 0..3 {
        append(&log, "t", None, "1");
        assert!(log.wait_durable(seq, Some(Duration::from_secs(20))).unwrap(), "the wish for {seq}");
    }
}

/// Nobody asks, nobody waits: the keeper looks by itself, and in a log that never syncs it is told.
#[test]
fn an_event_of_interval_becomes_durable_by_itself() {
    for mode in [Durability::Interval, Durability::None] {
        let sync_interval = match mode {
            Durability::Interval => Duration::from_millis(1),
            _ => Duration::from_secs(3600),
        };
        let dir = Dir::new();
        let log = open(&dir, Options { durability: mode, sync_interval, ..small() });
        let appended = append(&log, "t", None, "1");
        assert_eq!(log.needs_settling(Some(Durability::Interval)), mode == Durability::None);
        log.settle(&appended, Some(Durability::Interval)).unwrap();
        let start = Instant::now();
        while log.durable_seq().is_none() {
            assert!(start.elapsed() < Duration::from_secs(30), "never, in a log of {mode:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn without_a_disk_nothing_needs_settling() {
    let log = Log::open(Location::Memory, Options::default(), clock()).unwrap();
    for mode in [Durability::None, Durability::Interval, Durability::Group, Durability::Always] {
        assert!(!log.needs_settling(Some(mode)), "{mode:?}");
    }
}

/// A spare that is there and large enough is taken; for a record that is larger the appender makes another.
#[test]
fn a_segment_that_the_keeper_has_ready_is_the_next_one() {
    let dir = Dir::new();
    let log = open(&dir, Options { segment_bytes: 8 << 20, keeper: Keeper::Manual, ..Options::default() });
    let fill = |bytes: usize| {
        let payload = vec![b'x'; bytes];
        log.append(&NewEvent::new("t", &payload, Codec::Bytes), Patience::Wait).unwrap();
        let stats = log.stats().unwrap();
        (stats.roll_count, stats.appender_prepared, stats.segments.last().unwrap().file_bytes)
    };
    log.keep();
    assert_eq!(fill(900_000), (0, 0, 1 << 20));
    assert_eq!(fill(900_000), (1, 0, 2 << 20));
    log.keep();
    // The three pages, its name, its own record and the end record, which takes one page more.
    let large = (12_288_usize + 56 + 5_996_448 + 48).next_multiple_of(4096) as u64;
    assert_eq!(fill(5_996_384), (2, 1, large));
    log.keep();
    assert_eq!(fill(1_500_000), (3, 1, 8 << 20));
}

/// The keeper has one spare ready, not one more at each pass.
#[test]
fn one_spare_is_enough() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    for _ in 0..3 {
        log.keep();
    }
    assert_eq!(std::fs::read_dir(dir.path().join("segments")).unwrap().count(), 2);
    assert_eq!(log.stats().unwrap().problem, None);
}

/// `none` says that nobody syncs, but for a segment that was left: its descriptor is not kept for ever.
#[test]
fn a_log_that_never_syncs_still_syncs_what_it_has_left() {
    let dir = Dir::new();
    let sync_interval = Duration::from_millis(1);
    let log = open(&dir, Options { durability: Durability::None, sync_interval, ..small() });
    append(&log, "t", None, "1");
    // The keeper is at work once there is a spare.
    let spare = dir.path().join("segments").join(names::segment(2));
    while !spare.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(log.durable_seq(), None);
    let payload = "x".repeat(1000);
    while log.stats().unwrap().roll_count == 0 {
        append(&log, "t", None, &payload);
    }
    let start = Instant::now();
    while log.durable_seq().is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "never");
        thread::sleep(Duration::from_millis(1));
    }
}
