//! What a filter rules out by an event's fixed part is checked and not decoded: where that begins and ends.

use _core::{
    config::{Compression, Keeper, Options},
    error::Error,
    format::{MAX_DICTIONARY_ENTRIES, names},
    log::Log,
    scan::{Query, StoredEvent},
};

use crate::support::{Dir, append, forge, open, raw, read_all, reading, seqs, small};

const EPOCH: u32 = 1;
const COUNT: u64 = 10;

fn of(event_type: &str) -> Query {
    Query { types: Some(vec![event_type.to_owned()]), ..Query::default() }
}

/// A reader of ten events of type `a`, and where each begins.
fn ten(dir: &Dir) -> (Log, Vec<u64>) {
    let log = open(dir, raw());
    for number in 0..COUNT {
        append(&log, "a", None, &number.to_string());
    }
    log.close().unwrap();
    let reader = open(dir, reading());
    let events = read_all(&reader, Query::default());
    let first = 12_288 + 56;
    let begin = |at: usize| first + events[..at].iter().map(|event| event.bytes.len() as u64).sum::<u64>();
    (reader, (0..events.len()).map(begin).collect())
}

/// The events, where the scan stands behind them, and where it met damage.
fn outcome(reader: &Log, query: Query) -> (Vec<u64>, Option<u64>, Option<u64>) {
    let (mut scan, mut events) = (reader.read(query).unwrap(), Vec::<StoredEvent>::new());
    let damage = match scan.next_batch(&mut events, usize::MAX, usize::MAX) {
        Ok(()) => None,
        Err(Error::Corrupt { offset, .. }) => Some(offset),
        Err(other) => panic!("{other}"),
    };
    (seqs(&events), scan.position(), damage)
}

#[test]
fn nothing_behind_the_last_event_of_the_range_is_looked_at() {
    let dir = Dir::new();
    let (reader, begins) = ten(&dir);
    forge::write_at(&forge::segment_path(dir.path(), 1), begins[6] + 16, &[0xff; 8]);
    let damage = Some(begins[6]);
    for (event_type, found) in [("a", 6), ("nobody's", 0)] {
        let found: Vec<u64> = (0..found).collect();
        let up_to = |last| outcome(&reader, Query { up_to: Some(last), ..of(event_type) });
        assert_eq!(up_to(5), (found.clone(), Some(5), None));
        assert_eq!(up_to(6), (found.clone(), Some(5), damage));
        assert_eq!(outcome(&reader, of(event_type)), (found, Some(5), damage));
    }
}

#[test]
fn what_is_passed_over_is_checked_and_not_decoded() {
    let dir = Dir::new();
    let (reader, begins) = ten(&dir);
    let path = forge::segment_path(dir.path(), 1);
    let mut record = read_all(&reader, Query { after: Some(3), ..Query::default() })[0].bytes.to_vec();
    record[44..48].fill(0xff); // the length of its payload
    forge::reseal(&mut record, EPOCH);
    forge::write_at(&path, begins[4], &record);
    let nobodys = || outcome(&reader, of("nobody's"));
    assert_eq!(nobodys(), (Vec::new(), Some(COUNT - 1), None));
    assert_eq!(outcome(&reader, of("a")), (vec![0, 1, 2, 3], Some(3), Some(begins[4])));
    assert_eq!(
        outcome(&reader, Query { until: Some(0), ..of("a") }),
        (Vec::new(), Some(COUNT - 1), None),
        "its time stands in the fixed part as well"
    );
    // And now a checksum that does not fit.
    record[44] = 0;
    forge::write_at(&path, begins[4], &record);
    assert_eq!(nobodys(), (Vec::new(), Some(3), Some(begins[4])));
}

/// A block that holds nothing for the filter is not even unpacked, also where the one before it holds something.
#[test]
fn passing_over_events_stops_where_the_next_block_has_to_be_asked_for() {
    let dir = Dir::new();
    let sealing = Some(Compression::None);
    let options = Options { segment_bytes: 1 << 19, sealing, keeper: Keeper::Manual, ..small() };
    let log = open(&dir, options);
    let wanted = [3, 400];
    let mut seq = 0;
    while log.stats().unwrap().segments.len() < 2 {
        let event_type = if wanted.contains(&seq) { "b" } else { "a" };
        seq = append(&log, event_type, None, &"x".repeat(1_000)).seq + 1;
    }
    assert!(seq > 420, "a segment of several blocks: {seq}");
    log.sync().unwrap();
    log.keep();
    log.close().unwrap();
    let path = dir.path().join("segments").join(names::sealed(1));
    forge::write_at(&path, std::fs::metadata(&path).unwrap().len() / 2, &[0xff; 8]);
    let reader = open(&dir, reading());
    assert_eq!(outcome(&reader, of("b")), (wanted.to_vec(), Some(seq - 1), None));
    assert!(outcome(&reader, of("a")).2.is_some(), "no block was damaged");
}

#[test]
fn a_type_for_which_the_dictionary_had_no_room_is_found() {
    let dir = Dir::new();
    let log = open(&dir, Options { segment_bytes: 8 << 20, ..raw() });
    let count = MAX_DICTIONARY_ENTRIES as u64 + 20;
    for number in 0..count {
        append(&log, &format!("t{number}"), None, "1");
    }
    for seq in [0, 1, count / 2, count - 20, count - 1] {
        assert_eq!(seqs(&read_all(&log, of(&format!("t{seq}")))), [seq]);
    }
    assert_eq!(seqs(&read_all(&log, of("t*"))), (0..count).collect::<Vec<_>>());
}
