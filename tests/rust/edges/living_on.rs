//! Readers that live through the death of a writer and the recovery of the next one.

use std::{sync::Arc, time::Duration};

use _core::{
    config::{Mode, Options},
    error::Error,
    log::Log,
    place::Place,
    scan::Query,
    vfs::Vfs,
};

use super::{ROOT, manual, open_with, segment_file};
use crate::support::{append, payloads, ram::Ram, read_all, seqs};

fn reader_on(ram: &Arc<Ram>) -> Log {
    open_with(ram, Options { mode: Mode::Read, ..manual() }).unwrap()
}

fn zero(ram: &Ram, from: u64, bytes: usize) {
    ram.open(&segment_file(1), true).unwrap().write_at(from, &vec![0; bytes]).unwrap();
}

/// A reader that had read what a failed sync then threw out stood for ever where the log does not go on, without a word.
#[test]
fn a_reader_that_was_ahead_of_the_cut_is_told() {
    for lost_from in [1, 3] {
        let ram = Ram::of(&Vec::new());
        let log = open_with(&ram, manual()).unwrap();
        for number in 0..5 {
            append(&log, "t", Some("a"), &format!("{number}"));
        }
        let reader = reader_on(&ram);
        let mut scan = reader.follow(Query::default()).unwrap();
        let mut seen = Vec::new();
        scan.next_batch(&mut seen, 99, usize::MAX).unwrap();
        assert_eq!(seqs(&seen), [0, 1, 2, 3, 4]);
        log.abandon();
        let offset = 12_288 + 56 + seen[..lost_from].iter().map(|one| one.bytes.len() as u64).sum::<u64>();
        zero(&ram, offset, 4096);
        let log = open_with(&ram, manual()).unwrap();
        assert_eq!(log.last_seq().unwrap(), Some(lost_from as u64 - 1));
        for _ in 0..9 {
            append(&log, "t", Some("a"), "another");
        }
        assert!(scan.wait(Duration::from_secs(9)).unwrap(), "nobody woke it");
        let outcome = scan.next_batch(&mut seen, 99, usize::MAX);
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}, {} seen", seen.len());
        assert!(matches!(reader.last_seq(), Err(Error::Corrupt { .. })));
        assert_eq!(read_all(&log, Query::default()).len(), lost_from + 9);
    }
}

/// Recovery puts a new file in the place of one that readers have mapped; the pages of the old one may then leave the cache,
/// and what a failed sync left of them on the disk is zeros. The reader waited for them for ever.
#[test]
fn a_reader_finds_what_it_has_not_read_yet_in_the_renewed_file() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    for number in 0..5 {
        append(&log, "t", Some("a"), &format!("{number}"));
    }
    let reader = reader_on(&ram);
    let mut slow = reader.follow(Query::default()).unwrap();
    let mut other = reader.follow(Query::default()).unwrap();
    let mut seen = Vec::new();
    slow.next_batch(&mut seen, 2, usize::MAX).unwrap();
    other.next_batch(&mut Vec::new(), 1, usize::MAX).unwrap();
    log.abandon();
    let place = Place { vfs: ram.clone(), path: ROOT.into() };
    let old = place.reopen_segment(1).unwrap();
    let log = open_with(&ram, manual()).unwrap();
    append(&log, "t", Some("a"), "5");
    old.write_at(12_288 + 56 + 2 * seen[0].bytes.len() as u64, &[0; 4096]).unwrap();
    assert!(slow.wait(Duration::from_secs(9)).unwrap(), "nobody woke it");
    slow.next_batch(&mut seen, 99, usize::MAX).unwrap();
    assert_eq!(payloads(&seen), ["0", "1", "2", "3", "4", "5"]);
    let mut rest = Vec::new();
    other.next_batch(&mut rest, 99, usize::MAX).unwrap();
    assert_eq!(payloads(&rest), ["1", "2", "3", "4", "5"]);
    assert_eq!(reader.last_seq().unwrap(), Some(5));
}

/// Where not even the renewed file has them, they are damaged: not the end of the log.
#[test]
fn zeros_where_the_next_segment_says_there_are_records_are_damage_to_a_reader() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, Options { sealing: None, ..manual() }).unwrap();
    for number in 0..5 {
        append(&log, "t", Some("a"), &format!("{number}"));
    }
    let reader = reader_on(&ram);
    let mut scan = reader.follow(Query::default()).unwrap();
    let mut seen = Vec::new();
    scan.next_batch(&mut seen, 2, usize::MAX).unwrap();
    let payload = "x".repeat(1000);
    while log.stats().unwrap().segments.len() < 2 {
        append(&log, "t", Some("a"), &payload);
    }
    log.sync().unwrap();
    append(&log, "t", Some("a"), "of the next segment");
    for _ in 0..3 {
        log.keep();
    }
    zero(&ram, 12_288 + 56 + 2 * seen[0].bytes.len() as u64, 64 * 1024 - 16_384);
    let outcome = scan.next_batch(&mut seen, 99, usize::MAX).and_then(|()| {
        assert!(scan.wait(Duration::from_secs(9)).unwrap(), "nobody woke it");
        scan.next_batch(&mut seen, 99, usize::MAX)
    });
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}, {} seen", seen.len());
}
