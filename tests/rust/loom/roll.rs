//! A roll: the end record, the entry of the next segment, the committed position, and readers on their way across.

use std::sync::{Arc, atomic::Ordering};

use _core::{
    config::{Mode, Patience},
    scan::{Query, Scan},
};

use super::{
    ram::Ram,
    stage::{Stage, append, drained, event, explore, seen},
};

const ALL: &[&str] = &["1", "2", "3"];

fn assert_prefix(seen: &[String]) {
    assert_eq!(seen, ALL.get(..seen.len()).unwrap(), "not a prefix");
}

/// The reader in the writer's process samples the committed position and must find all up to there.
#[test]
fn a_reader_beside_the_writer_finds_all_that_is_committed() {
    explore("a roll, a reader beside the writer", 1, || {
        let stage = Stage::new(Arc::new(Ram::default()));
        let tail = stage.tail();
        tail.append(&event("1"), Patience::Wait).unwrap();
        tail.keep_once(); // The next segment is ready.
        stage.next_day();
        let reader = {
            let tail = Arc::clone(&tail);
            loom::thread::spawn(move || {
                let committed = tail.committed().next_seq;
                let scan = Scan::new(Arc::clone(&tail.shelf), Query::default(), None).unwrap();
                let found = drained(scan.expecting(committed.checked_sub(1)));
                assert!(found.len() as u64 >= committed, "{committed} are committed, found are {found:?}");
                assert_prefix(&found);
            })
        };
        tail.append(&event("2"), Patience::Wait).unwrap();
        reader.join().unwrap();
        assert_eq!(tail.counters().rolls.load(Ordering::Relaxed), 1);
        tail.close().unwrap();
    });
}

/// Readers elsewhere find the next segment in the directory, in which its entry names the one before.
#[test]
fn readers_elsewhere_cross_into_the_next_segment() {
    explore("a roll, two readers elsewhere", 1, || {
        let stage = Stage::new(Arc::new(Ram::default()));
        let log = stage.open(Mode::ReadWrite).unwrap();
        append(&log, "1");
        log.keep();
        stage.next_day();
        let reader = || {
            let reader = stage.open(Mode::Read).unwrap();
            loom::thread::spawn(move || {
                let (first, second) = (seen(&reader), seen(&reader));
                assert_prefix(&second);
                assert!(second.starts_with(&first), "{second:?} after {first:?}");
            })
        };
        let readers = [reader(), reader()];
        append(&log, "2");
        append(&log, "3");
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(seen(&log), ALL);
        assert_eq!(log.stats().unwrap().roll_count, 1);
    });
}
