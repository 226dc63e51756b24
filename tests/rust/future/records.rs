//! Records of a newer build in the segment of a real log: skipped and counted, or refused by name.

use _core::{
    config::Mode,
    error::Error,
    format::{Codec, Identity, NewEvent, meta::META_BYTES, segment::PAGE_BYTES},
    log::Log,
    scan::{Direction, Query},
};

use super::{End, assert_refused, end, open, young_log};
use crate::support::{
    Dir, append,
    forge::{self, bare, segment_path},
    payloads, read_all,
};

const EPOCH: u32 = 1;

fn identity(seq: u64, version: u32) -> Identity {
    let aggregate_prev = Some(seq - 1);
    Identity { seq, ts_ns: 5, aggregate_prev, aggregate_version: version, epoch: EPOCH }
}

/// The event that a newer build appended behind its own records.
fn fourth_event() -> Vec<u8> {
    let event = NewEvent { aggregate_id: Some("a"), ..NewEvent::new("trade", b"3", Codec::Json) };
    forge::event(&event, "by hand", &identity(3, 3))
}

/// One record of each ignorable kind, of all sizes.
fn ignorable_records() -> Vec<u8> {
    (8..16).flat_map(|kind| bare(kind, 3, EPOCH, &vec![kind; usize::from(kind - 8) * 100])).collect()
}

/// Puts `records` behind the events of a young log, as if its writer had appended them before it ended.
fn put(dir: &Dir, how: End, records: &[u8], next_seq: u64) {
    let offset = young_log(dir, how);
    forge::write_at(&segment_path(dir.path(), 1), offset, records);
    if how == End::Closed {
        let mark = [(offset + records.len() as u64).to_le_bytes(), next_seq.to_le_bytes()].concat();
        for copy in [0, PAGE_BYTES as u64] {
            let change = |bytes: &mut [u8]| bytes[104..120].copy_from_slice(&mark);
            forge::change::<META_BYTES>(&dir.path().join("META"), copy, change);
        }
    }
}

/// What a log holds, and how many records it passed over; the same in both directions.
fn read(log: &Log) -> (Vec<String>, u64) {
    let [forward, mut backward] = [Direction::Forward, Direction::Backward].map(|direction| {
        let mut scan = log.read(Query { direction, ..Query::default() }).unwrap();
        let mut events = Vec::new();
        scan.next_batch(&mut events, usize::MAX, usize::MAX).unwrap();
        (payloads(&events), scan.skipped_records())
    });
    backward.0.reverse();
    assert_eq!(backward, forward);
    forward
}

#[test]
fn ignorable_records_are_skipped_and_counted_and_the_log_goes_on() {
    for how in [End::Closed, End::Died] {
        let dir = Dir::new();
        put(&dir, how, &[ignorable_records(), fourth_event(), bare(9, 4, EPOCH, b"")].concat(), 4);
        let expected = ["0", "1", "2", "3"].map(str::to_owned).to_vec();
        let reader = open(dir.path(), Mode::Read).unwrap();
        assert_eq!(read(&reader), (expected.clone(), 9), "{how:?}");
        let verified = _core::verify::verify(dir.path()).unwrap();
        assert_eq!((verified.skipped_records, verified.events, verified.findings), (9, 4, Vec::new()));

        let writer = open(dir.path(), Mode::ReadWrite).unwrap();
        assert_eq!((writer.recovery().clean, &writer.recovery().cut), (how == End::Closed, &None));
        assert_eq!(writer.aggregate_version("a").unwrap(), Some(3));
        let appended = append(&writer, "trade", Some("a"), "4");
        assert_eq!((appended.seq, appended.aggregate_prev), (4, Some(3)));
        let expected = [expected, vec!["4".to_owned()]].concat();
        assert_eq!(read(&writer), (expected.clone(), 9), "{how:?}");
        end(&writer, how);
        drop(writer);
        let again = open(dir.path(), Mode::ReadWrite).unwrap();
        assert_eq!(read(&again), (expected, 9), "{how:?}");
        let verified = _core::verify::verify(dir.path()).unwrap();
        assert_eq!((verified.skipped_records, verified.events, verified.findings), (9, 5, Vec::new()));
    }
}

#[test]
fn a_reader_that_follows_passes_over_them_too() {
    let dir = Dir::new();
    let offset = young_log(&dir, End::Died);
    let reader = open(dir.path(), Mode::Read).unwrap();
    let mut scan = reader.follow(Query::default()).unwrap();
    let mut events = Vec::new();
    scan.next_batch(&mut events, 10, usize::MAX).unwrap();
    let records = [ignorable_records(), fourth_event()].concat();
    forge::write_at(&segment_path(dir.path(), 1), offset, &records);
    scan.next_batch(&mut events, 10, usize::MAX).unwrap();
    assert_eq!((payloads(&events).join(" "), scan.skipped_records()), ("0 1 2 3".to_owned(), 8));

    forge::write_at(&segment_path(dir.path(), 1), offset + records.len() as u64, &bare(6, 4, EPOCH, b""));
    let refused = scan.next_batch(&mut events, 10, usize::MAX);
    assert!(matches!(refused, Err(Error::Version { .. })), "{refused:?}");
}

#[test]
fn unknown_kinds_that_are_not_ignorable_are_refused_by_name() {
    for how in [End::Closed, End::Died] {
        for kind in [0, 5, 6, 7] {
            let dir = Dir::new();
            put(&dir, how, &[bare(kind, 3, EPOCH, b"unheard of"), fourth_event()].concat(), 4);
            let what = format!("a record of unknown kind {kind}");
            assert_refused(&dir, &segment_path(dir.path(), 1), &what, "kinds 1 to 4");
        }
    }
}

#[test]
fn an_unknown_flag_is_refused_by_name() {
    for bit in 8..16 {
        let dir = Dir::new();
        let mut record = fourth_event();
        record[43] |= 1 << (bit - 8);
        forge::reseal(&mut record, EPOCH);
        put(&dir, End::Closed, &record, 4);
        let what = format!("a record with unknown flags {:#06x}", 1 << bit);
        assert_refused(&dir, &segment_path(dir.path(), 1), &what, "the flags of format version 1");
    }
}

/// Nobody knows what else such an event says, so a filter that rules out its type does not help.
#[test]
fn an_unknown_flag_is_refused_where_the_filter_passes_over_its_event() {
    let dir = Dir::new();
    let offset = young_log(&dir, End::Died);
    let reader = open(dir.path(), Mode::Read).unwrap();
    let query = Query { types: Some(vec!["nobody's".to_owned()]), ..Query::default() };
    let mut scan = reader.follow(query).unwrap();
    let mut events = Vec::new();
    scan.next_batch(&mut events, 10, usize::MAX).unwrap();
    assert_eq!((events.len(), scan.position()), (0, Some(2)));
    // Its type stands in the dictionary, under the first number.
    let mut record = fourth_event();
    record[36..40].fill(0);
    record[43] |= 1;
    forge::reseal(&mut record, EPOCH);
    forge::write_at(&segment_path(dir.path(), 1), offset, &record);
    let refused = scan.next_batch(&mut events, 10, usize::MAX);
    assert!(matches!(refused, Err(Error::Version { .. })), "{refused:?}");
    assert_eq!((events.len(), scan.position()), (0, Some(2)));
}

/// Only a checksum that fits tells the future from noise.
#[test]
fn a_strange_kind_without_its_checksum_is_a_torn_tail_or_damage() {
    for kind in [5, 11] {
        let dir = Dir::new();
        let mut record = bare(kind, 3, EPOCH, b"unheard of");
        record[20] ^= 1;
        put(&dir, End::Died, &record, 3);
        let log = open(dir.path(), Mode::ReadWrite).unwrap();
        let cut = log.recovery().cut.as_ref().unwrap();
        assert!(cut.reason.contains("checksum") && cut.quarantined_bytes > 0, "{cut:?}");
        assert_eq!(payloads(&read_all(&log, Query::default())), ["0", "1", "2"]);

        let dir = Dir::new();
        put(&dir, End::Closed, &[record, fourth_event()].concat(), 4);
        for mode in [Mode::Read, Mode::ReadWrite] {
            assert!(matches!(open(dir.path(), mode), Err(Error::Corrupt { .. })));
        }
    }
}

/// An ignorable record carries the next event's position and stands outside batches: else it is no record of ours.
#[test]
fn an_ignorable_record_out_of_place_is_not_skipped() {
    let displaced = bare(8, 9, EPOCH, b"");
    let member = fourth_event();
    let inside = bare(8, 3, EPOCH, b"");
    let bytes = member.len() + inside.len();
    let batch = [forge::head(&identity(3, 0), bytes, 1), inside, member].concat();
    for records in [displaced, batch] {
        let dir = Dir::new();
        put(&dir, End::Died, &records, 3);
        let log = open(dir.path(), Mode::ReadWrite).unwrap();
        assert!(log.recovery().cut.is_some());
        assert_eq!(read(&log), (["0", "1", "2"].map(str::to_owned).to_vec(), 0));
    }
}
