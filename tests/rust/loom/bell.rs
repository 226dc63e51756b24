//! The protocol of the control page (`control/bell.rs`): a reader that sleeps is woken for what is committed, whenever it is.
//!
//! No sleep has a time-out here, so that a lost wake is a deadlock, or a ringer that looks without end, and either fails the
//! model. The words and the futex are the model's: a word may be seen as late as its ordering allows, and the kernel compares
//! it under a lock that who wakes takes, too.

use std::{sync::Arc, time::Duration};

use _core::{
    control::{Bell, Rounds, Slept},
    format::control::{BELL_OFFSET, SLEEPERS_OFFSET},
    threads::Words,
};
use loom::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{JoinHandle, spawn, yield_now},
};

use super::stage::explore;

const NEVER: Duration = Duration::MAX;

#[derive(Default)]
struct Word {
    value: AtomicU32,
    queue: Mutex<()>,
    woken: Condvar,
}

#[derive(Default)]
struct Page {
    bell: Word,
    sleepers: Word,
}

impl Page {
    fn word(&self, offset: usize) -> &Word {
        match offset {
            BELL_OFFSET => &self.bell,
            SLEEPERS_OFFSET => &self.sleepers,
            other => panic!("there is no word at {other}"),
        }
    }
}

impl Words for Page {
    fn load(&self, offset: usize, order: Ordering) -> u32 {
        self.word(offset).value.load(order)
    }

    fn add_one(&self, offset: usize, order: Ordering) -> u32 {
        self.word(offset).value.fetch_add(1, order)
    }

    fn take(&self, offset: usize, order: Ordering) -> u32 {
        self.word(offset).value.swap(0, order)
    }

    fn sleep_while(&self, offset: usize, value: u32, _timeout: Duration) -> bool {
        let word = self.word(offset);
        let queue = word.queue.lock().unwrap();
        if word.value.load(Ordering::Relaxed) == value {
            drop(word.woken.wait(queue).unwrap());
        }
        true
    }

    fn wake(&self, offset: usize) {
        let word = self.word(offset);
        drop(word.queue.lock().unwrap());
        word.woken.notify_all();
    }
}

/// A log of which only its end is left: what readers see of it, and what the writer says of it a moment later.
#[derive(Default)]
struct Scene {
    page: Page,
    commit_word: AtomicU64,
    committed: AtomicU64,
    is_over: AtomicBool,
}

impl Scene {
    fn append(&self, count: u64) {
        self.commit_word.store(count, Ordering::Release);
        self.committed.store(count, Ordering::Release);
    }

    /// Sleeps, again and again, until so much is there.
    fn follow(&self, wanted: u64) {
        let bell = Bell::new(&self.page);
        let is_there = || self.commit_word.load(Ordering::Acquire) >= wanted;
        while bell.sleep(NEVER, true, || Ok(is_there())).unwrap() != Slept::NotAtAll {}
    }

    /// The ringer's thread (`tail/ringer.rs`), for which the lease does not end.
    fn ring_for_sleepers(&self) {
        let bell = Bell::new(&self.page);
        let mut rounds = Rounds::new();
        while !self.is_over.load(Ordering::Acquire) {
            if rounds.look(&bell, || self.committed.load(Ordering::Acquire), |_| ()) {
                yield_now();
            } else {
                assert!(bell.wait_for_sleepers(NEVER));
            }
        }
    }
}

fn begin(scene: &Arc<Scene>, run: impl FnOnce(&Scene) + Send + 'static) -> JoinHandle<()> {
    let scene = Arc::clone(scene);
    spawn(move || run(&scene))
}

/// Readers that each sleep until `appends` are there; before them one that is killed when it had been counted.
fn model(readers: usize, appends: u64, is_one_killed: bool) {
    let scene = Arc::new(Scene::default());
    if is_one_killed {
        Bell::new(&scene.page).call();
    }
    let ringer = begin(&scene, Scene::ring_for_sleepers);
    let readers: Vec<_> = (0..readers).map(|_| begin(&scene, move |scene| scene.follow(appends))).collect();
    for count in 1..=appends {
        scene.append(count);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    scene.is_over.store(true, Ordering::Release);
    Bell::new(&scene.page).call();
    ringer.join().unwrap();
}

#[test]
fn a_reader_that_sleeps_is_woken_for_what_is_committed() {
    explore("bell, a reader, an append", 3, || model(1, 1, false));
    explore("bell, a reader, two appends", 2, || model(1, 2, false));
}

#[test]
fn nobody_sleeps_on_because_another_was_woken_or_killed() {
    explore("bell, two readers, an append", 1, || model(2, 1, false));
    explore("bell, a reader beside a killed one", 2, || model(1, 1, true));
}
