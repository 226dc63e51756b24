//! Logs that version 1 wrote once, kept in tests/data/v1/ with their stories: every later build reads them so.
//!
//! `make_golden` wrote them. It is run once for a format version and never again, which is why it refuses to replace them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use _core::{
    clock::ManualClock,
    config::{Mode, Patience},
    format::{Codec, NewEvent, SchemaCheck},
    log::Log,
    place::Place,
    scan::Query,
    verify::{Severity, Wanted, verify, verify_wanted},
    vfs::disk::Disk,
};

use super::{files, open, open_at};
use crate::support::{
    Dir, append,
    forge::{self, segment_path},
    payloads, read_all, read_snapshots, seqs,
};

/// 2024-08-08T23:54:15Z, and half an hour later: the next UTC day.
const EVENING_NS: i64 = 1_723_161_255_000_000_000;
const HALF_HOUR_NS: i64 = 1_800_000_000_000;
const ORDER: &str = "order-17";
const ROOT_OF_CLOSED: &str = "bd36990012af67d2337763f49a017b4b963f34a1b7a6891371fae3df7d569f58";
const ROOT_OF_DIED: &str = "d2db9a6bd859eb701bf06c77fac010155457582b9c2ed7a02c01456a22e2dead";
const POSITION: &str = "0191348f-8d93-7c21-9b04-6d1f2a3b4c5d";
/// Too long for the dictionary.
const LONG_TYPE: &str = "a_type_of_more_than_sixty_four_bytes_which_therefore_stands_inline_in_each_record";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1")
}

/// The first two events of the closed log: everything that an event can have.
fn full_events(bytes: &[u8]) -> [NewEvent<'_>; 2] {
    let full = NewEvent {
        event_id: Some("the caller's own id"),
        aggregate_id: Some(ORDER),
        correlation_id: Some(POSITION),
        causation_id: Some("cause"),
        source: "exchange",
        schema_version: Some("1.1.0"),
        event_time_ns: Some(-1),
        tags: &[("venue", "größe 😀"), ("", "")],
        schema: SchemaCheck::Valid,
        ..NewEvent::new("trade_executed", br#"{"symbol":"BTCUSDT","price":61250.5}"#, Codec::JsonGiven)
    };
    let inline = NewEvent {
        event_id: Some("2"),
        lossy: true,
        schema: SchemaCheck::Breach,
        ..NewEvent::new(LONG_TYPE, bytes, Codec::Bytes)
    };
    [full, inline]
}

fn all_bytes() -> Vec<u8> {
    (0..=255).collect()
}

fn write_closed(path: &Path) {
    let clock = Arc::new(ManualClock::new(EVENING_NS));
    let log = open_at(path, Mode::ReadWrite, clock.clone()).unwrap();
    for event in full_events(&all_bytes()) {
        log.append(&event, Patience::Wait).unwrap();
    }
    let member = NewEvent { source: "exchange", ..NewEvent::new("filled", b"{}", Codec::Json) };
    let batch = [
        NewEvent { event_id: Some("m0"), aggregate_id: Some(ORDER), ..member },
        NewEvent { event_id: Some("m1"), aggregate_id: Some(POSITION), ..member },
        NewEvent { event_id: Some("m2"), aggregate_id: Some(ORDER), ..member },
    ];
    log.append_many(&batch, Patience::Wait).unwrap();
    clock.advance(HALF_HOUR_NS);
    append(&log, "trade_executed", Some(ORDER), r#"{"day":"next"}"#);
    log.write_snapshot(ORDER, 5, b"the state of order 17", 2).unwrap();
    log.close().unwrap();
}

fn write_died(path: &Path) {
    let clock = Arc::new(ManualClock::new(EVENING_NS));
    let log = open_at(path, Mode::ReadWrite, clock.clone()).unwrap();
    append(&log, "tick", Some("a"), "durable 0");
    append(&log, "tick", Some("a"), "durable 1");
    log.sync().unwrap();
    log.keep();
    append(&log, "tick", Some("b"), "committed 2");
    let (end, id) = (used_bytes(&log), log.log_id());
    log.abandon();
    drop(log);
    // It died between the body of a record and its commit word.
    forge::write_at(&segment_path(path, 1), end + 4, &[0x5A; 60]);

    let log = open_at(path, Mode::ReadWrite, clock).unwrap();
    assert_eq!((log.epoch(), log.recovery().cut.is_some(), log.log_id()), (2, true, id));
    log.keep();
    append(&log, "tick", Some("a"), "next epoch 3");
    append(&log, "tick", Some("b"), "next epoch 4");
    let end = used_bytes(&log);
    append(&log, "tick", Some("b"), &"never on disk as a whole".repeat(4));
    log.abandon();
    // The power went: of the last record only its beginning had reached the disk.
    forge::write_at(&segment_path(path, 3), end + 64, &[0; 128]);
}

fn used_bytes(log: &Log) -> u64 {
    log.stats().unwrap().segments.last().unwrap().used_bytes
}

#[test]
#[ignore = "writes tests/data/v1, once for the format version"]
fn make_golden() {
    for (name, write) in [("closed", write_closed as fn(&Path)), ("died", write_died)] {
        let target = data().join(name);
        assert!(!target.exists(), "golden files are never replaced: {}", target.display());
        let dir = Dir::new();
        write(dir.path());
        copy(dir.path(), &target);
    }
}

/// Copies a log but for its lock, which says who wrote it.
fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

fn golden(name: &str) -> Dir {
    let dir = Dir::new();
    copy(&data().join(name), dir.path());
    dir
}

#[test]
fn the_closed_log_still_opens_and_holds_what_it_held() {
    let dir = golden("closed");
    let before = files(dir.path());
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.findings, verified.events, verified.segments), (Vec::new(), 6, 2));
    let reader = open(dir.path(), Mode::Read).unwrap();
    assert_closed(&reader);
    assert_eq!(files(dir.path()), before, "reading changed something");

    let writer = open(dir.path(), Mode::ReadWrite).unwrap();
    assert!(writer.recovery().clean);
    assert_closed(&writer);
    let appended = append(&writer, "trade_executed", Some(ORDER), "{}");
    assert_eq!((appended.seq, appended.aggregate_version, appended.aggregate_prev), (6, Some(4), Some(5)));
    writer.close().unwrap();
    assert_eq!(verify(dir.path()).unwrap().findings, []);
}

fn assert_closed(log: &Log) {
    let events = read_all(log, Query::default());
    assert_eq!(seqs(&events), [0, 1, 2, 3, 4, 5]);
    let bytes = all_bytes();
    for (stored, given) in events.iter().zip(full_events(&bytes)) {
        let view = stored.view().unwrap();
        assert_eq!(
            (view.event_type, view.payload, view.codec),
            (given.event_type, given.payload, given.codec)
        );
        assert_eq!((Some(view.event_id.to_string().as_str()), view.is_caller_id), (given.event_id, true));
        let ids =
            [view.aggregate_id, view.correlation_id, view.causation_id].map(|id| id.map(|id| id.to_string()));
        let given_ids = [given.aggregate_id, given.correlation_id, given.causation_id];
        assert_eq!(ids.each_ref().map(Option::as_deref), given_ids);
        assert_eq!((view.source, view.schema_version), (given.source, given.schema_version));
        assert_eq!((view.event_time_ns, view.fixed.ts_ns), (given.event_time_ns, EVENING_NS));
        assert_eq!(view.tags().collect::<Vec<_>>(), given.tags);
        assert_eq!((view.lossy, view.schema), (given.lossy, given.schema));
    }
    let chain: Vec<_> = events
        .iter()
        .map(|event| {
            let view = event.view().unwrap();
            (view.aggregate_id.map(|id| id.to_string()), view.aggregate_version(), view.fixed.aggregate_prev)
        })
        .collect();
    let of = |id: &str, version, prev| (Some(id.to_owned()), Some(version), prev);
    let expected = [
        of(ORDER, 0, None),
        (None, None, None),
        of(ORDER, 1, Some(0)),
        of(POSITION, 0, None),
        of(ORDER, 2, Some(2)),
        of(ORDER, 3, Some(4)),
    ];
    assert_eq!(chain, expected);
    let last = events[5].view().unwrap();
    let made = uuid::Uuid::parse_str(&last.event_id.to_string()).unwrap();
    assert_eq!((made.get_version_num(), last.is_caller_id), (7, false));
    assert_eq!((last.payload, last.fixed.ts_ns), (&br#"{"day":"next"}"#[..], EVENING_NS + HALF_HOUR_NS));
    assert_eq!(read_snapshots(log, ORDER), [(5, Some(b"the state of order 17".to_vec()))]);
}

#[test]
fn the_log_whose_writer_died_still_opens_and_is_cut_where_it_was_torn() {
    let survivors = ["durable 0", "durable 1", "committed 2", "next epoch 3", "next epoch 4"];
    let dir = golden("died");
    let before = files(dir.path());
    let findings = verify(dir.path()).unwrap().findings;
    assert_eq!(
        findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(),
        ["torn tail"],
        "{findings:?}"
    );
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning));
    let reader = open(dir.path(), Mode::Read).unwrap();
    assert_eq!(payloads(&read_all(&reader, Query::default())), survivors);
    assert_eq!(files(dir.path()), before, "reading changed something");

    let writer = open(dir.path(), Mode::ReadWrite).unwrap();
    let cut = writer.recovery().cut.as_ref().unwrap();
    assert_eq!((writer.epoch(), cut.segment, cut.next_seq, cut.quarantine_files.len()), (3, 3, 5, 1));
    assert_eq!(payloads(&read_all(&writer, Query::default())), survivors);
    assert_eq!(writer.aggregate_version("a").unwrap(), Some(2));
    append(&writer, "tick", Some("b"), "third epoch 5");
    writer.close().unwrap();
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.findings, verified.events), (Vec::new(), 6));
}

/// The roots were written down when the tree was introduced: no later build may make another tree of the same events.
#[test]
fn the_roots_of_golden_logs_are_what_they_were_and_go_on_across_a_crash() {
    for (name, size, root) in [("closed", 6, ROOT_OF_CLOSED), ("died", 5, ROOT_OF_DIED)] {
        let dir = golden(name);
        let place = Place { vfs: Arc::new(Disk), path: dir.path().to_owned() };
        let writer = open(dir.path(), Mode::ReadWrite).unwrap();
        let before = writer.tree_head().unwrap();
        assert_eq!((before.tree_size, hex(before.root).as_str()), (size, root), "{name}");
        append(&writer, "tick", Some("b"), "one more");
        writer.sync().unwrap();
        let after = writer.tree_head().unwrap();
        assert_eq!((after.tree_size, after.epoch), (size + 1, writer.epoch()));
        writer.close().unwrap();
        let wanted = Wanted { against: vec![before, after], since: None };
        let verified = verify_wanted(&place, &wanted, &mut |_| ()).unwrap();
        assert_eq!((verified.findings, verified.heads), (Vec::new(), 2));
    }
}

fn hex(root: [u8; 32]) -> String {
    blake3::Hash::from(root).to_hex().to_string()
}
