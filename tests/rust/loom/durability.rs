//! Durability and watermarks (R13, R16): production's `tail/sync.rs` while the appender goes on.
//!
//! The disk itself is the judge (support/witness.rs): it knows what each completed sync had to hold.

use std::{sync::Arc, time::Duration};

use _core::{config::Patience, tail::Tail};

use super::{
    stage::{Stage, event, explore},
    witness::Witness,
};

/// Whatever is called durable at this moment would survive at this moment.
fn assert_durable(tail: &Tail, disk: &Witness) {
    // ORDER: the claim is read first; the disk only ever gains.
    let claimed = tail.durable_seq().map_or(0, |seq| seq + 1);
    let kept = disk.durable_next_seq();
    assert!(claimed <= kept, "{claimed} events are called durable, {kept} are");
}

#[test]
fn nothing_is_called_durable_before_a_sync_that_began_behind_it() {
    explore("an appender, two syncs", 2, || {
        let disk = Witness::new(loom::thread::yield_now);
        let stage = Stage::new(disk.clone());
        let tail = stage.tail();
        tail.append(&event("1"), Patience::Wait).unwrap();
        let syncing = || {
            let (tail, disk) = (Arc::clone(&tail), Arc::clone(&disk));
            loom::thread::spawn(move || {
                tail.sync().unwrap();
                assert_durable(&tail, &disk);
            })
        };
        let syncs = [syncing(), syncing()];
        let appended = tail.append(&event("2"), Patience::Wait).unwrap();
        assert_durable(&tail, &disk);
        for sync in syncs {
            sync.join().unwrap();
        }
        assert!(tail.wait_durable(appended.seq, None).unwrap());
        assert_durable(&tail, &disk);
        tail.close().unwrap();
    });
}

/// Two appends in a group: each ends with its event durable, whoever synced for whom, and none waits for ever.
#[test]
fn who_shares_a_sync_ends_durable() {
    explore("two appends in a group", 2, || {
        let disk = Witness::new(loom::thread::yield_now);
        let stage = Stage::new(disk.clone());
        let tail = stage.tail();
        let first = tail.append(&event("1"), Patience::Wait).unwrap();
        let other = {
            let (tail, disk) = (Arc::clone(&tail), Arc::clone(&disk));
            loom::thread::spawn(move || {
                assert!(tail.share_sync(first.seq, Duration::MAX).unwrap());
                assert_durable(&tail, &disk);
                assert!(first.seq < disk.durable_next_seq());
            })
        };
        let second = tail.append(&event("2"), Patience::Wait).unwrap();
        assert!(tail.share_sync(second.seq, Duration::MAX).unwrap());
        assert!(second.seq < disk.durable_next_seq());
        other.join().unwrap();
        tail.close().unwrap();
    });
}

/// Segment n is synced whole before anything in n + 1 counts.
#[test]
fn a_segment_that_was_left_is_synced_before_the_next_one_counts() {
    explore("a roll, a sync", 2, || {
        let disk = Witness::new(loom::thread::yield_now);
        let stage = Stage::new(disk.clone());
        let tail = stage.tail();
        tail.append(&event("1"), Patience::Wait).unwrap();
        tail.keep_once();
        tail.append(&event("2"), Patience::Wait).unwrap();
        stage.next_day();
        let syncing = {
            let (tail, disk) = (Arc::clone(&tail), Arc::clone(&disk));
            loom::thread::spawn(move || {
                tail.sync().unwrap();
                assert_durable(&tail, &disk);
            })
        };
        tail.append(&event("3"), Patience::Wait).unwrap();
        assert_durable(&tail, &disk);
        syncing.join().unwrap();
        tail.sync().unwrap();
        assert_durable(&tail, &disk);
        tail.close().unwrap();
    });
}
