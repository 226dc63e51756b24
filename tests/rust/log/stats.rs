//! What is counted, and that it is true.

use _core::{
    config::{Keeper, Options, Patience},
    format::{Codec, NewEvent, segment::RECORDS_OFFSET},
    scan::Query,
};

use crate::support::{Dir, open, read_all, small};

#[test]
fn events_bytes_syncs_and_aggregates_are_counted() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    let one = |aggregate_id, lossy| NewEvent {
        aggregate_id: Some(aggregate_id),
        lossy,
        ..NewEvent::new("t", b"1", Codec::Json)
    };
    log.append(&one("a", true), Patience::Wait).unwrap();
    log.append(&one("b", false), Patience::Wait).unwrap();
    log.append_many(&[one("c", true), one("a", false), one("a", true)], Patience::Wait).unwrap();
    log.sync().unwrap();
    let stats = log.stats().unwrap();
    let events = read_all(&log, Query::default());
    let bytes: u64 = events.iter().map(|event| event.bytes.len() as u64).sum();
    assert_eq!((stats.appended, stats.lossy_count), ((5, bytes + 48), 3), "with the head of the batch");
    assert_eq!(stats.segments[0].used_bytes, RECORDS_OFFSET as u64 + 56 + bytes + 48);
    assert_eq!((stats.aggregate_count, stats.roll_count, stats.problem), (3, 0, None));
    let (count, ns, longest_ns) = stats.syncs;
    assert_eq!(count, 1);
    assert!(ns > 1 && longest_ns == ns, "{ns} {longest_ns}");
    log.append(&one("a", false), Patience::Wait).unwrap();
    log.sync().unwrap();
    let (count, ns, longest_ns) = log.stats().unwrap().syncs;
    assert!((count, longest_ns < ns) == (2, true), "{count} {ns} {longest_ns}");
}
