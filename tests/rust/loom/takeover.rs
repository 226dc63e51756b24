//! A writer that dies between any two of its stores, and the one that takes over while two readers are at work (R17).
//!
//! The dead writer's handle is left as it stood; the lock goes to the next one as the kernel would hand it over, behind
//! everything the dead one did. Readers share no lock with either.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use _core::{
    config::{Mode, Patience},
    log::Log,
    threads::modelled,
};

use super::{
    ram::Ram,
    stage::{Stage, append, event, explore, seen},
};

/// What the writer is doing when it dies.
#[derive(Debug, Clone, Copy)]
enum Last {
    Event,
    Batch,
    Roll,
}

fn reader(stage: &Stage) -> loom::thread::JoinHandle<Vec<Vec<String>>> {
    let log = stage.open(Mode::Read).unwrap();
    loom::thread::spawn(move || [seen(&log), seen(&log)].to_vec())
}

/// Does the last thing; whether it came to its end.
fn die_doing(log: &Log, last: Last, stores: usize) -> bool {
    modelled::die_after(Some(stores));
    let outcome = catch_unwind(AssertUnwindSafe(|| match last {
        Last::Event | Last::Roll => append(log, "2"),
        Last::Batch => drop(log.append_many(&[event("2"), event("3")], Patience::Wait).unwrap()),
    }));
    modelled::die_after(None);
    log.abandon();
    outcome.is_ok()
}

fn take_over(last: Last, stores: usize, came_to_its_end: &AtomicBool) {
    let stage = Stage::new(Arc::new(Ram::default()));
    let dying = stage.open(Mode::ReadWrite).unwrap();
    append(&dying, "1");
    dying.sync().unwrap();
    if matches!(last, Last::Roll) {
        dying.keep();
        stage.next_day();
    }
    let readers = [reader(&stage), reader(&stage)];
    if die_doing(&dying, last, stores) {
        came_to_its_end.store(true, Ordering::Relaxed);
    }
    let next = stage.open(Mode::ReadWrite).unwrap();
    let kept = seen(&next);
    let possible: [&[&str]; 2] = match last {
        Last::Event | Last::Roll => [&["1"], &["1", "2"]],
        Last::Batch => [&["1"], &["1", "2", "3"]],
    };
    assert!(possible.iter().any(|all| kept == *all), "{kept:?} was kept");
    append(&next, "new");
    let all = [kept, vec!["new".to_owned()]].concat();
    for reader in readers {
        for seen in reader.join().unwrap() {
            assert_eq!(seen, all.get(..seen.len()).unwrap(), "no prefix of what there is");
            assert!(!matches!(last, Last::Batch) || seen.len() != 2 || all.len() == 2, "half of a batch");
        }
    }
    assert_eq!(seen(&next), all);
    assert!(next.epoch() > 1);
}

/// Once for each number of stores, until the writer no longer dies of it.
fn at_every_store(last: Last) {
    for stores in 0.. {
        let came_to_its_end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&came_to_its_end);
        explore(&format!("take-over, {last:?} after {stores} stores"), 1, move || {
            take_over(last, stores, &told);
        });
        if came_to_its_end.load(Ordering::Relaxed) {
            assert!(stores >= 3, "a record takes three stores at least");
            return;
        }
    }
}

#[test]
fn the_next_writer_takes_over_from_one_that_died_in_an_append() {
    at_every_store(Last::Event);
}

#[test]
fn the_next_writer_takes_over_from_one_that_died_in_a_batch() {
    at_every_store(Last::Batch);
}

#[test]
fn the_next_writer_takes_over_from_one_that_died_in_a_roll() {
    at_every_store(Last::Roll);
}
