//! The committed position (`tail/commit.rs`): a sequence lock that any thread reads while the appender publishes.

use std::sync::Arc;

use _core::config::Patience;

use super::{
    ram::Ram,
    stage::{Stage, event, explore},
};

/// Two loads of one reader, `readers` of them, while `appends` are published.
fn model(readers: usize, appends: usize) {
    let stage = Stage::new(Arc::new(Ram::default()));
    let tail = stage.tail();
    // The dictionary's record is committed before, so that each append publishes one position.
    tail.append(&event("1"), Patience::Wait).unwrap();
    let start = tail.committed();
    let reader = |_| {
        let tail = Arc::clone(&tail);
        loom::thread::spawn(move || [tail.committed(), tail.committed()])
    };
    let readers: Vec<_> = (0..readers).map(reader).collect();
    let publish = |_| {
        tail.append(&event("2"), Patience::Wait).unwrap();
        tail.committed()
    };
    let published: Vec<_> = (0..appends).map(publish).collect();
    for reader in readers {
        let seen = reader.join().unwrap();
        for position in seen {
            assert!(position == start || published.contains(&position), "torn: {position:?}");
        }
        assert!(seen.is_sorted_by_key(|position| position.next_seq), "it went back: {seen:?}");
    }
    tail.close().unwrap();
}

#[test]
fn a_position_is_seen_as_it_was_published_or_not_at_all() {
    explore("committed position, a reader, two appends", 1, || model(1, 2));
    explore("committed position, two readers, an append", 1, || model(2, 1));
}
