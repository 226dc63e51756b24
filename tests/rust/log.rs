//! The log through its public face: append, read, roll, batch, reopen, follow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "log/dictionary.rs"]
mod dictionary;
#[path = "log/keeping.rs"]
mod keeping;
#[path = "log/refusals.rs"]
mod refusals;
#[path = "log/retention.rs"]
mod retention;
#[path = "log/stats.rs"]
mod stats;
mod support;

use std::sync::Arc;

use _core::{
    clock::ManualClock,
    config::{Expected, Keeper, Options, Patience},
    error::{Conflict, Error},
    format::{Codec, NewEvent},
    log::{Location, Log},
    scan::Query,
};
use support::{Dir, append, clock, open, payloads, read_all, read_snapshots, seqs, small};

const DAY_NS: i64 = 86_400_000_000_000;

#[test]
fn an_event_comes_back_as_it_was_given() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let id = "018f3c9e-1111-7abc-8def-0123456789ab";
    let event = NewEvent {
        event_id: Some("my own id"),
        aggregate_id: Some(id),
        correlation_id: Some("corr"),
        causation_id: Some(id),
        source: "feed",
        schema_version: Some("1.1.0"),
        event_time_ns: Some(-5),
        tags: &[("venue", "übung"), ("", "")],
        lossy: true,
        ..NewEvent::new("trade_executed", b"{\"a\":1}", Codec::JsonGiven)
    };
    let appended = log.append(&event, Patience::Wait).unwrap();
    assert_eq!((appended.seq, appended.aggregate_version, appended.aggregate_prev), (0, Some(0), None));
    let events = read_all(&log, Query::default());
    let view = events[0].view().unwrap();
    assert_eq!(view.event_type, "trade_executed");
    assert_eq!(view.event_id.to_string(), "my own id");
    assert_eq!(view.aggregate_id.unwrap().to_string(), id);
    assert_eq!(view.correlation_id.unwrap().to_string(), "corr");
    assert_eq!(view.causation_id.unwrap().to_string(), id);
    assert_eq!((view.source, view.schema_version, view.event_time_ns), ("feed", Some("1.1.0"), Some(-5)));
    assert_eq!(view.tags().collect::<Vec<_>>(), [("venue", "übung"), ("", "")]);
    assert_eq!((view.payload, view.codec, view.lossy), (&b"{\"a\":1}"[..], Codec::JsonGiven, true));
}

#[test]
fn order_survives_many_rolls_and_reopening() {
    let dir = Dir::new();
    for round in 0..5_u32 {
        let log = open(&dir, small());
        assert!(log.recovery().clean);
        assert_eq!(log.last_seq().unwrap(), (round > 0).then(|| u64::from(round) * 2000 - 1));
        for number in 0..2000 {
            append(&log, "tick", Some("a"), &format!("{}", round * 2000 + number));
        }
        log.close().unwrap();
    }
    let log = open(&dir, small());
    assert!(log.stats().unwrap().segments.len() > 5);
    let expected: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&read_all(&log, Query::default())), expected);
    assert_eq!(log.aggregate_version("a").unwrap(), Some(9_999));
    assert_eq!(log.stats().unwrap().aggregate_count, 1);
    assert_eq!(_core::verify::verify(dir.path()).unwrap().findings, []);
}

#[test]
fn filters_agree_with_filtering_by_hand() {
    let dir = Dir::new();
    let time = clock();
    let log = Log::open(Location::Directory(dir.path()), small(), time.clone()).unwrap();
    for number in 0..3000_u64 {
        time.advance(if number % 7 == 0 { -3 } else { 10 });
        let aggregate = format!("agg-{}", number % 400);
        append(&log, if number % 3 == 0 { "a" } else { "b" }, Some(&aggregate), &number.to_string());
    }
    let all = read_all(&log, Query::default());
    assert_eq!(all.len(), 3000);
    let times: Vec<i64> = all.iter().map(|event| event.fixed.ts_ns).collect();
    let check = |query: Query, keep: &dyn Fn(usize) -> bool| {
        let expected: Vec<u64> = (0..3000).filter(|at| keep(*at)).map(|at| at as u64).collect();
        assert_eq!(seqs(&read_all(&log, query)), expected);
    };
    check(Query { after: Some(99), up_to: Some(200), ..Query::default() }, &|at| (100..=200).contains(&at));
    check(Query { types: Some(vec!["a".into()]), ..Query::default() }, &|at| at % 3 == 0);
    check(Query { aggregate_id: Some("agg-17".into()), ..Query::default() }, &|at| at % 400 == 17);
    check(
        Query {
            aggregate_id: Some("agg-17".into()),
            after: Some(500),
            up_to: Some(2000),
            ..Query::default()
        },
        &|at| at % 400 == 17 && at > 500 && at <= 2000,
    );
    check(Query { since: Some(times[1000]), until: Some(times[2000]), ..Query::default() }, &|at| {
        times[at] >= times[1000] && times[at] < times[2000]
    });
    check(Query { limit: Some(5), types: Some(vec!["b".into()]), ..Query::default() }, &|at| {
        [1, 2, 4, 5, 7].contains(&at)
    });
    check(Query { after: Some(2999), ..Query::default() }, &|_| false);
    check(Query { aggregate_id: Some("none".into()), ..Query::default() }, &|_| false);
}

#[test]
fn a_batch_is_whole_or_absent_and_checks_versions_inside() {
    let dir = Dir::new();
    let log = open(&dir, small());
    append(&log, "x", Some("a"), "0");
    let mut events = vec![NewEvent { aggregate_id: Some("a"), ..NewEvent::new("x", b"1", Codec::Json) }; 3];
    events[2].expected = Expected::Exact(2);
    let appended = log.append_many(&events, Patience::Wait).unwrap();
    assert_eq!(
        appended.iter().map(|one| one.aggregate_version).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
    events[1].expected = Expected::None;
    let refused = log.append_many(&events, Patience::Wait).unwrap_err();
    let Error::Conflict { conflicts } = refused else { panic!("{refused:?}") };
    assert_eq!(
        conflicts.iter().map(|one| (one.actual, one.seq)).collect::<Vec<_>>(),
        [(Some(4), None), (Some(5), None)]
    );
    assert_eq!(log.last_seq().unwrap(), Some(3));
    assert_eq!(log.append_many(&[], Patience::Wait).unwrap(), []);
    let large = vec![b'x'; 40_000];
    let too_large = vec![NewEvent::new("y", &large, Codec::Bytes); 2];
    assert!(matches!(log.append_many(&too_large, Patience::Wait), Err(Error::Limit { .. })));
    assert_eq!(log.last_seq().unwrap(), Some(3));
}

#[test]
fn expected_versions_are_held() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let with =
        |expected| NewEvent { aggregate_id: Some("a"), expected, ..NewEvent::new("t", b"1", Codec::Json) };
    assert!(log.append(&with(Expected::Exists), Patience::Wait).is_err());
    log.append(&with(Expected::None), Patience::Wait).unwrap();
    log.append(&with(Expected::Exact(0)), Patience::Wait).unwrap();
    log.append(&with(Expected::Exists), Patience::Wait).unwrap();
    let refused = log.append(&with(Expected::Exact(0)), Patience::Wait).unwrap_err();
    let Error::Conflict { conflicts } = refused else { panic!("{refused:?}") };
    let [Conflict { actual, seq, event_type, .. }] = &conflicts[..] else { panic!("{conflicts:?}") };
    assert_eq!((*actual, *seq, event_type.as_deref()), (Some(2), Some(2), Some("t")));
}

#[test]
fn a_record_larger_than_the_first_segments_is_taken_and_beyond_the_limit_refused() {
    let dir = Dir::new();
    let options = Options { segment_bytes: 8 << 20, ..small() };
    let log = open(&dir, options);
    let large = vec![b'7'; 6 << 20];
    append(&log, "small", None, "1");
    log.append(&NewEvent::new("large", &large, Codec::Bytes), Patience::Wait).unwrap();
    append(&log, "small", None, "2");
    let beyond = vec![b'7'; 8 << 20];
    let refused = log.append(&NewEvent::new("large", &beyond, Codec::Bytes), Patience::Wait).unwrap_err();
    let Error::Limit { limit, .. } = refused else { panic!("{refused:?}") };
    let events = read_all(&log, Query::default());
    assert_eq!(events[1].view().unwrap().payload, large);
    assert_eq!(seqs(&events), [0, 1, 2]);
    // What the error calls the limit is the truth: a record of just that size is taken.
    let just_fitting = vec![b'7'; usize::try_from(limit).unwrap() - 48 - 16 - 56];
    log.append(&NewEvent::new("large", &just_fitting, Codec::Bytes), Patience::Wait).unwrap();
    // It leaves room for the end record, which ends where the file does.
    append(&log, "small", None, "4");
    assert_eq!(seqs(&read_all(&log, Query::default())), [0, 1, 2, 3, 4]);
}

#[test]
fn a_segment_ends_at_the_utc_day() {
    let dir = Dir::new();
    let time = clock();
    let options = Options { keeper: Keeper::Manual, ..small() };
    let log = Log::open(Location::Directory(dir.path()), options, time.clone()).unwrap();
    // An empty segment is of the day of its first record, however long it has waited.
    time.advance(DAY_NS);
    append(&log, "t", None, "1");
    time.advance(DAY_NS);
    let event = NewEvent::new("t", b"2", Codec::Json);
    assert!(matches!(log.append(&event, Patience::Try), Err(Error::WouldBlock)), "no segment is ready");
    append(&log, "t", None, "2");
    append(&log, "t", None, "3");
    time.advance(-DAY_NS);
    append(&log, "t", None, "4");
    let firsts: Vec<u64> = log.stats().unwrap().segments.iter().map(|segment| segment.first_seq).collect();
    assert_eq!(firsts, [0, 1]);
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_it() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let refused = Log::open(Location::Directory(dir.path()), small(), clock()).err().unwrap();
    assert!(
        matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{refused:?}"
    );
    log.close().unwrap();
    drop(open(&dir, small()));
}

#[test]
fn a_reader_follows_rolls_and_the_next_writer() {
    let dir = Dir::new();
    let log = open(&dir, small());
    append(&log, "t", Some("a"), "0");
    let reader = Log::open(Location::Directory(dir.path()), support::reading(), clock()).unwrap();
    assert_eq!(reader.last_seq().unwrap(), Some(0));
    let mut scan = reader.follow(Query::default()).unwrap();
    let mut seen = Vec::new();
    for number in 1..3000 {
        append(&log, "t", Some("a"), &number.to_string());
    }
    support::drain(&mut scan, &mut seen, 3000);
    log.close().unwrap();
    drop(log);
    let log = open(&dir, small());
    append(&log, "t", Some("a"), "3000");
    support::drain(&mut scan, &mut seen, 3001);
    // A writer that dies: its handle is forgotten, its lock released as the kernel would.
    log.abandon();
    let log = open(&dir, small());
    assert_eq!((log.recovery().clean, log.epoch()), (false, 2));
    append(&log, "t", Some("a"), "3001");
    support::drain(&mut scan, &mut seen, 3002);
    let expected: Vec<String> = (0..3002).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&seen), expected);
    assert_eq!(reader.last_seq().unwrap(), Some(3001));
    assert_eq!(reader.aggregate_version("a").unwrap(), Some(3001));
    assert_eq!(reader.epoch(), 2);
    assert!(matches!(reader.sync(), Err(Error::ReadOnly { .. })));
}

#[test]
fn without_a_disk_the_oldest_segments_go() {
    let options = Options { memory_bytes: 1 << 20, ..Options::default() };
    let log = Log::open(Location::Memory, options, clock()).unwrap();
    let payload = "x".repeat(1000);
    for _ in 0..5000 {
        append(&log, "t", Some("a"), &payload);
    }
    assert_eq!(log.durable_seq(), Some(4999));
    assert!(log.first_seq() > 3000);
    let sizes =
        |log: &Log| log.stats().unwrap().segments.iter().map(|one| one.file_bytes).collect::<Vec<_>>();
    assert_eq!(sizes(&log), [256 << 10; 4]);
    let events = read_all(&log, Query::default());
    assert_eq!(events.len() as u64, 5000 - log.first_seq());
    assert!(matches!(log.read(Query { after: Some(3), ..Query::default() }), Err(Error::Truncated { .. })));
    // While segments grow, one that is new may take the place of several.
    let options = Options { memory_bytes: 16 << 20, ..Options::default() };
    let log = Log::open(Location::Memory, options, clock()).unwrap();
    let payload = "x".repeat(100_000);
    for _ in 0..200 {
        append(&log, "t", Some("a"), &payload);
        let total: u64 = sizes(&log).iter().sum();
        assert!(total <= 16 << 20, "{total}");
    }
    assert_eq!(sizes(&log), [4 << 20; 4]);
}

#[test]
fn closed_handles_refuse_everything() {
    let dir = Dir::new();
    let log = open(&dir, small());
    log.close().unwrap();
    log.close().unwrap();
    let event = NewEvent::new("t", b"1", Codec::Json);
    assert!(matches!(log.append(&event, Patience::Wait), Err(Error::Closed { .. })));
    assert!(matches!(log.sync(), Err(Error::Closed { .. })));
    assert!(log.read(Query::default()).is_err());
}

#[test]
fn a_reader_needs_a_log() {
    let dir = Dir::new();
    let missing = Log::open(Location::Directory(&dir.path().join("no")), support::reading(), clock());
    assert!(matches!(missing, Err(Error::Missing { .. })));
    assert!(!dir.path().join("no").exists());
}

#[test]
fn many_threads_append_in_one_order() {
    let dir = Dir::new();
    let log = Arc::new(open(&dir, small()));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for number in 0..1000 {
                    append(&log, "t", Some(&format!("agg-{thread}")), &number.to_string());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let events = read_all(&log, Query::default());
    assert_eq!(seqs(&events), (0..4000).collect::<Vec<_>>());
    for thread in 0..4 {
        let one = read_all(&log, Query { aggregate_id: Some(format!("agg-{thread}")), ..Query::default() });
        assert_eq!(payloads(&one), (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(_core::verify::verify(dir.path()).unwrap().findings, []);
}

#[test]
fn made_ids_are_distinct_and_ordered() {
    let dir = Dir::new();
    let time = Arc::new(ManualClock::new(1_700_000_000_000_000_000));
    let log = Log::open(Location::Directory(dir.path()), small(), time.clone()).unwrap();
    let id = |_| append(&log, "t", None, "1").event_id.to_string();
    let mut ids: Vec<String> = (0..1000).map(id).collect();
    let in_order = ids.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, in_order);
    assert_eq!(ids[0].as_bytes()[14], b'7');
    // Each millisecond begins in the lower half of its ids, so that none of them wraps.
    for id in (0..64).inspect(|_| time.advance(1_000_000)).map(id) {
        assert!(matches!(id.as_bytes()[19], b'8' | b'9'), "{id}");
    }
}

#[test]
fn snapshots_of_one_aggregate_may_be_stored_by_many_threads() {
    let dir = Dir::new();
    let log = Arc::new(open(&dir, small()));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for round in 0..50 {
                    log.write_snapshot("system", round * 4 + thread, b"state", 2).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let kept = read_snapshots(&log, "system");
    assert_eq!(kept[0], (199, Some(b"state".to_vec())));
    assert_eq!(kept.len(), 2);
}

#[test]
fn a_snapshot_is_removed_only_after_a_newer_one_and_only_as_told() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let seqs = |log: &Log, id| read_snapshots(log, id).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
    for seq in 0..5 {
        log.write_snapshot("a", seq, b"state", 3).unwrap();
        log.write_snapshot("b", seq, b"state", 1).unwrap();
    }
    assert_eq!((seqs(&log, "a"), seqs(&log, "b")), (vec![4, 3, 2], vec![4]));
    log.write_snapshot("a", 1, b"late", 2).unwrap();
    assert_eq!(seqs(&log, "a"), [4, 3], "one that comes late is not among them");
    let reader = Log::open(Location::Directory(dir.path()), support::reading(), clock()).unwrap();
    assert_eq!(reader.snapshots(None).unwrap(), log.snapshots(None).unwrap());
    let old = log.snapshots(Some("a")).unwrap();
    log.drop_snapshots(&old).unwrap();
    assert_eq!((seqs(&log, "a"), seqs(&reader, "a"), seqs(&log, "b")), (vec![], vec![], vec![4]));
    assert!(matches!(reader.read_snapshot(old[0]), Err(Error::Missing { .. })));
    assert!(matches!(reader.drop_snapshots(&old), Err(Error::ReadOnly { .. })));
    let left_over = dir.path().join("snapshots").join(format!("{}.tmp", old[0]));
    std::fs::write(&left_over, b"half").unwrap();
    log.write_snapshot("a", 7, b"state", 2).unwrap();
    assert!(left_over.exists(), "known already, so nobody looked");
    drop(log);
    let log = open(&dir, small());
    log.write_snapshot("b", 8, b"state", 2).unwrap();
    assert!(!left_over.exists());
    assert_eq!((seqs(&log, "a"), seqs(&log, "b")), (vec![7], vec![8, 4]));
}
