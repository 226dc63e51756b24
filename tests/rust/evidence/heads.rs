//! What a log says of itself: heads that grow with it, and proofs that hold.

use _core::{
    config::Options,
    error::Error,
    evidence::{Hash, Run, TreeHead, empty_root, leaf},
    log::{Location, Log},
    scan::Query,
};

use crate::support::{Dir, append, clock, open, read_all, reading, small};

/// Root over the first `size` events, from the events themselves.
pub fn root_of(log: &Log, size: usize) -> Hash {
    let mut run = Run::new(0);
    for event in &read_all(log, Query::default())[..size] {
        run.push_leaf(leaf(&event.bytes, &event.view().unwrap()));
    }
    run.root()
}

pub fn fill(log: &Log, count: u64) {
    for n in 0..count {
        append(
            log,
            ["trade", "quote"][usize::try_from(n % 2).unwrap()],
            Some("book"),
            &format!("{{\"n\":{n}}}"),
        );
    }
}

#[test]
fn a_head_speaks_of_every_durable_event_and_grows() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let empty = log.tree_head().unwrap();
    assert_eq!((empty.seq, empty.tree_size, empty.root, empty.log_id), (None, 0, empty_root(), log.log_id()));
    let mut size = 0;
    for more in [1, 2, 700, 5000] {
        fill(&log, more);
        log.sync().unwrap();
        size += more;
        let head = log.tree_head().unwrap();
        let root = root_of(&log, usize::try_from(size).unwrap());
        let expected =
            TreeHead { log_id: log.log_id(), epoch: 1, seq: Some(size - 1), tree_size: size, root };
        assert_eq!(head, expected);
        assert_eq!(log.tree_head().unwrap(), head);
    }
    assert!(log.stats().unwrap().segments.len() > 2, "the log rolled");
    let reader = open(&dir, reading());
    log.close().unwrap();
    let again = open(&dir, reading());
    assert_eq!(again.tree_head().unwrap().root, root_of(&again, usize::try_from(size).unwrap()));
    assert!(reader.tree_head().unwrap().tree_size <= size);
    assert!(matches!(log.tree_head(), Err(Error::Closed { .. })));
}

#[test]
fn what_is_not_durable_is_not_in_it() {
    let dir = Dir::new();
    let log = open(&dir, Options { keeper: _core::config::Keeper::Manual, ..small() });
    fill(&log, 3);
    assert_eq!(log.tree_head().unwrap().tree_size, 0);
    assert_eq!(log.prove(0, None).unwrap(), None);
    log.sync().unwrap();
    assert_eq!(log.tree_head().unwrap().tree_size, 3);
}

#[test]
fn every_event_is_proved_to_every_head() {
    let dir = Dir::new();
    let log = open(&dir, small());
    let mut heads = Vec::new();
    for more in [1, 1, 30, 100, 9000, 37] {
        fill(&log, more);
        log.sync().unwrap();
        heads.push(log.tree_head().unwrap());
    }
    let newest = *heads.last().unwrap();
    let events = read_all(&log, Query::default());
    for seq in (0..newest.tree_size).step_by(41).chain([4095, 4096, 8191, 8192, newest.tree_size - 1]) {
        let proof = log.prove(seq, None).unwrap().unwrap();
        assert_eq!((proof.head, proof.seq), (newest, seq));
        assert_eq!(proof.record, events[usize::try_from(seq).unwrap()].bytes);
        assert!(proof.holds());
    }
    for head in heads {
        let proof = log.prove(head.tree_size - 1, Some(head.tree_size)).unwrap().unwrap();
        assert_eq!(proof.head, head);
        assert!(proof.holds());
        assert_eq!(log.prove(head.tree_size, Some(head.tree_size)).unwrap(), None);
    }
    let size = newest.tree_size;
    assert_eq!(log.prove(size, None).unwrap(), None);
    assert_eq!(log.prove(0, Some(size + 1)).unwrap(), None);
    let mut other = log.prove(7, None).unwrap().unwrap();
    other.texts[0] = "quotes".to_owned();
    assert!(!other.holds(), "the type is part of the leaf");
    let mut shifted = log.prove(7, None).unwrap().unwrap();
    let text = shifted.texts.remove(0);
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    shifted.record = [&shifted.record[..], &length, text.as_bytes()].concat().into();
    assert!(!shifted.holds(), "the bytes of the leaf are the same, the record is not");
}

#[test]
fn a_log_in_memory_has_a_head_as_long_as_nothing_went_before_it_was_hashed() {
    let options = Options { segment_bytes: 64 * 1024, memory_bytes: 256 * 1024, ..Options::default() };
    let [asked, unasked] = [(); 2].map(|()| Log::open(Location::Memory, options.clone(), clock()).unwrap());
    let mut run = Run::new(0);
    for _ in 1..40 {
        let after = asked.last_seq().unwrap();
        fill(&asked, 100);
        fill(&unasked, 100);
        for event in &read_all(&asked, Query { after, ..Query::default() }) {
            run.push_leaf(leaf(&event.bytes, &event.view().unwrap()));
        }
        assert_eq!(asked.tree_head().unwrap().root, run.root());
    }
    let first_seq = asked.first_seq();
    assert!((1..2048).contains(&first_seq), "the oldest went, and with them the first part of a block");
    assert!(asked.prove(3899, None).unwrap().unwrap().holds());
    assert!(matches!(asked.prove(0, None), Err(Error::Truncated { .. })));
    assert!(matches!(unasked.tree_head(), Err(Error::Truncated { .. })));
    fill(&asked, 4000);
    assert!(matches!(asked.tree_head(), Err(Error::Truncated { .. })), "for too long");
    assert!(matches!(asked.tree_head(), Err(Error::Truncated { .. })), "for good");
}
