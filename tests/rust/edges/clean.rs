//! What a clean mark is worth where something lies behind the end that it names: nothing, and what lies there is kept.

use std::{path::Path, sync::Arc};

use _core::{
    config::{Mode, Options, Patience},
    format::{
        Codec, Identity, NewEvent, RECORD_FIXED_BYTES, end_record,
        meta::{META_BYTES, Meta},
        segment::{ENTRY_OFFSET, Entry, RECORDS_OFFSET},
    },
    log::Log,
    recovery::Recovery,
    scan::Query,
    vfs::{File, Vfs},
};

use super::{ROOT, manual, open_with, segment_file};
use crate::support::{append, forge::event, payloads, ram::Ram, read_all};

/// A log of two events and a spare, closed; with the offset of its end.
fn closed() -> (Arc<Ram>, u64) {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    append(&log, "t", Some("a"), "0");
    append(&log, "t", Some("a"), "1");
    log.keep();
    log.close().unwrap();
    let end = meta(&ram).clean.unwrap().offset;
    (ram, end)
}

fn file(ram: &Ram, number: u64) -> Arc<dyn File> {
    ram.open(&segment_file(number), true).unwrap()
}

fn meta(ram: &Ram) -> Meta {
    let mut bytes = [0; META_BYTES];
    ram.open(&Path::new(ROOT).join("META"), false).unwrap().read_at(0, &mut bytes).unwrap();
    Meta::decode(&bytes).unwrap()
}

fn kept(ram: &Ram) -> usize {
    ram.image().iter().filter(|(path, ..)| path.starts_with("/log/quarantine")).count()
}

/// The next writer sees that the log did not end there, and what it then appends is read.
fn assert_not_continued(ram: &Arc<Ram>, kept_files: usize) -> Recovery {
    let log = open_with(ram, manual()).unwrap();
    let report = log.recovery().clone();
    assert!(!report.clean);
    assert_eq!(kept(ram), kept_files);
    append(&log, "t", Some("a"), "2");
    log.close().unwrap();
    for mode in [Mode::Read, Mode::ReadWrite] {
        let log: Log = open_with(ram, Options { mode, ..manual() }).unwrap();
        assert!(log.recovery().clean);
        assert_eq!(payloads(&read_all(&log, Query::default())), ["0", "1", "2"]);
    }
    report
}

#[test]
fn what_is_no_record_at_the_end_is_cut_and_kept() {
    let (ram, end) = closed();
    file(&ram, 1).write_at(end, &[7, 0, 7]).unwrap();
    let report = assert_not_continued(&ram, 1);
    let cut = report.cut.unwrap();
    assert_eq!((cut.segment, cut.offset, cut.next_seq, cut.quarantined_bytes), (1, end, 2, 3));
}

#[test]
fn an_end_record_before_the_mark_leads_to_a_new_segment() {
    let (ram, end) = closed();
    let identity = Identity { seq: 2, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
    let mut record = [0; RECORD_FIXED_BYTES];
    let word = end_record(&mut record, &identity, 2);
    record[..4].copy_from_slice(&word.to_le_bytes());
    file(&ram, 1).write_at(end, &record).unwrap();
    let mut forged = meta(&ram);
    forged.clean.as_mut().unwrap().offset += RECORD_FIXED_BYTES as u64;
    let file = ram.open(&Path::new(ROOT).join("META"), true).unwrap();
    file.write_at(0, &forged.encode()).unwrap();
    file.write_at(4096, &forged.encode()).unwrap();
    assert_not_continued(&ram, 0);
}

#[test]
fn an_entered_segment_behind_the_mark_is_set_aside() {
    let (ram, end) = closed();
    let entry = Entry { first_seq: 9, entered_ns: 0, prev_segment: 1, prev_end: end };
    file(&ram, 2).write_at(ENTRY_OFFSET as u64, &entry.encode(1)).unwrap();
    assert_not_continued(&ram, 1);
}

/// Only what nothing was ever written to is removed.
#[test]
fn a_spare_that_was_written_to_is_set_aside() {
    for offset in [ENTRY_OFFSET, RECORDS_OFFSET] {
        let (ram, _) = closed();
        file(&ram, 2).write_at(offset as u64, &[1]).unwrap();
        assert_not_continued(&ram, 1);
    }
}

/// Each append makes the word behind it zero before it shows (R5): what an append that broke off left there is no record.
#[test]
fn nobody_takes_what_lies_behind_the_next_record_for_one() {
    let payload = "x".repeat(1000);
    let one = NewEvent::new("t", payload.as_bytes(), Codec::Json);
    for batch in [1, 2] {
        let ram = Ram::of(&Vec::new());
        let log = open_with(&ram, manual()).unwrap();
        for _ in 0..20 {
            log.append(&one, Patience::Wait).unwrap();
        }
        let bytes = read_all(&log, Query::default())[0].bytes.len() as u64;
        log.close().unwrap();
        let seq = 20 + batch;
        let identity = Identity { seq, ts_ns: 0, aggregate_prev: None, aggregate_version: 0, epoch: 1 };
        let remains = event(&NewEvent::new("t", b"remains", Codec::Json), "id", &identity);
        let head = if batch > 1 { RECORD_FIXED_BYTES as u64 } else { 0 };
        let behind = meta(&ram).clean.unwrap().offset + head + batch * bytes;
        file(&ram, 1).write_at(behind, &remains).unwrap();
        let log = open_with(&ram, manual()).unwrap();
        assert!(log.recovery().clean);
        match batch {
            1 => drop(log.append(&one, Patience::Wait).unwrap()),
            _ => drop(log.append_many(&[one; 2], Patience::Wait).unwrap()),
        }
        let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
        assert_eq!(reader.last_seq().unwrap(), Some(seq - 1));
        assert_eq!(read_all(&reader, Query::default()).len() as u64, seq);
    }
}
