//! What the keeper does beside the others: it asks a full disk for room, and is at work when the log is closed.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use _core::{
    config::{Keeper, Mode, Options},
    log::{Location, Log},
};

use super::{
    ROOT,
    between::{Meddled, Through, open_on},
    small,
};
use crate::support::{append, clock, ram::Ram};

/// A full disk is not asked for room at each pass, and says what is wrong until it has some.
#[test]
fn a_keeper_that_got_no_room_lets_a_moment_pass_before_it_asks_again() {
    let ram = Ram::of(&Vec::new());
    let (asked, is_full) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut disk = Meddled::new(Through(Arc::clone(&ram)));
    let (count, full) = (Arc::clone(&asked), Arc::clone(&is_full));
    disk.before_allocate = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        if full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let log = open_on(Arc::new(disk), Path::new(ROOT), Mode::ReadWrite).unwrap();
    is_full.store(true, Ordering::SeqCst);
    asked.store(0, Ordering::SeqCst);
    for _ in 0..5 {
        log.keep();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let problem = log.stats().unwrap().problem.unwrap();
    assert!(problem.contains("the disk is full"), "{problem}");
    is_full.store(false, Ordering::SeqCst);
    let payload = "x".repeat(1000);
    while log.stats().unwrap().segments.len() < 2 {
        append(&log, "t", Some("a"), &payload);
    }
    assert_eq!(log.stats().unwrap().problem, None);
}

/// What it still does in a pass would meet the next writer of the same log.
#[test]
fn a_close_waits_for_a_keeper_that_is_at_work() {
    let (is_met, may_go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let nap = || thread::sleep(Duration::from_millis(1));
    let mut disk = Meddled::new(Through(Ram::of(&Vec::new())));
    let (met, go_on) = (Arc::clone(&is_met), Arc::clone(&may_go_on));
    disk.before_answer = Box::new(move || {
        if thread::current().name() == Some("aresbus-keeper") {
            met.store(true, Ordering::SeqCst);
            while !go_on.load(Ordering::SeqCst) {
                nap();
            }
        }
    });
    let sync_interval = Duration::from_millis(1);
    let options = Options { keeper: Keeper::Thread, sync_interval, ..small() };
    let log = Log::open(Location::Elsewhere(Arc::new(disk), Path::new(ROOT)), options, clock()).unwrap();
    while !is_met.load(Ordering::SeqCst) {
        nap();
    }
    let closing = thread::spawn(move || log.close());
    thread::sleep(Duration::from_millis(200));
    let is_over = closing.is_finished();
    may_go_on.store(true, Ordering::SeqCst);
    closing.join().unwrap().unwrap();
    assert!(!is_over, "closed under its keeper");
}
