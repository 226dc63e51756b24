//! Everybody wakes: the whole engine under shuttle, which tries some thousand orders of steps, at random and by priorities
//! (PCT). `cargo test --features shuttle --test shuttle`.
//!
//! Keeper, appenders in every mode, waiters, followers, a close, a failed sync, a keeper that dies. Time stands still, unless
//! a model says otherwise: who counts on a time-out to wake never does, and shuttle reports the deadlock with its
//! schedule, which `SHUTTLE_REPLAY=schedule` repeats (CONTRIBUTING.md).

#![cfg(all(test, feature = "shuttle"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for; it prints how much it explored"
)]

#[path = "support/witness.rs"]
mod witness;

use std::{
    cell::Cell,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use _core::{
    clock::{Clock, ManualClock},
    config::{Durability, MIN_SEGMENT_BYTES, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::{Location, Log},
    scan::Query,
    threads::{scheduled::let_time_pass, sleep},
};
use shuttle::{
    Config, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    thread::{self, JoinHandle},
};
use witness::Witness;

/// Schedules of each kind; `SHUTTLE_SCHEDULES` says otherwise.
const SCHEDULES: usize = 1000;
/// Changes of priority in one PCT schedule: a bug that takes `d` of them shows with a known probability.
const PCT_DEPTH: usize = 3;
/// A follower asks again after so long, as the binding does.
const SLICE: Duration = Duration::from_millis(5);
const NOON_NS: i64 = 1_723_204_800_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;
/// Turns of everybody else in which a keeper that works reaches the disk.
const TURNS: usize = 200;

std::thread_local! {
    // The threads of a model all run on one thread of the machine.
    static DISK_STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Each step of the disk is a chance for the others.
fn step_of_the_disk() {
    DISK_STEPS.set(DISK_STEPS.get() + 1);
    thread::yield_now();
}

/// As [`step_of_the_disk`], of one that takes its time.
fn slow_step_of_the_disk() {
    DISK_STEPS.set(DISK_STEPS.get() + 1);
    sleep(Duration::from_micros(10));
}

/// Lets the keeper end its first pass, after which it sleeps: else that pass, which has the most steps of all there are, comes
/// across whatever a model does.
fn let_the_keeper_rest() {
    let mut before = None;
    while before.replace(DISK_STEPS.get()) != Some(DISK_STEPS.get()) {
        (0..TURNS).for_each(|_| thread::yield_now());
    }
}

/// A log whose keeper runs, on a disk that knows what is durable.
struct Stage {
    log: Log,
    disk: Arc<Witness>,
    clock: Arc<ManualClock>,
}

impl Stage {
    fn new(durability: Durability) -> Arc<Self> {
        Self::on(Witness::new(step_of_the_disk), durability)
    }

    fn on(disk: Arc<Witness>, durability: Durability) -> Arc<Self> {
        let clock = Arc::new(ManualClock::new(NOON_NS));
        let options = Options { durability, segment_bytes: MIN_SEGMENT_BYTES, ..Options::default() };
        let location = Location::Elsewhere(disk.clone(), Path::new("/log"));
        let log = Log::open(location, options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        Arc::new(Self { log, disk, clock })
    }

    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let stage = Arc::clone(self);
        thread::spawn(move || run(&stage))
    }

    /// Appends and settles; what was promised then holds.
    fn append(&self, durability: Durability) -> Result<u64, Error> {
        let event = NewEvent::new("t", b"{}", Codec::Json);
        let appended = self.log.append(&event, Patience::Wait)?;
        self.log.settle(&appended, Some(durability))?;
        if matches!(durability, Durability::Group | Durability::Always) {
            self.assert_durable(appended.seq);
        }
        Ok(appended.seq)
    }

    fn assert_durable(&self, seq: u64) {
        let kept = self.disk.durable_next_seq();
        assert!(seq < kept, "{seq} was called durable, {kept} events are");
    }

    /// Follows with a scan until it has seen `count` events.
    fn scan(&self, count: usize) -> Result<(), Error> {
        let (mut scan, mut events) = (self.log.follow(Query::default())?, Vec::new());
        while events.len() < count {
            scan.next_batch(&mut events, 1, usize::MAX)?;
            scan.wait(SLICE)?;
        }
        assert!(events.iter().map(|event| event.fixed.seq).eq(0..count as u64));
        Ok(())
    }

    /// Waits until `count` events are there, or the log is closed.
    fn follow(&self, count: u64) -> Result<(), Error> {
        while self.log.last_seq()?.is_none_or(|last| last + 1 < count) {
            let last = self.log.last_seq()?;
            if self.log.wait_committed(last, SLICE)? {
                assert!(self.log.last_seq()? > last, "an event is there, and the newest is still {last:?}");
            }
        }
        Ok(())
    }
}

/// Runs a model under both schedulers and says what it took; or repeats one schedule of it.
fn explore(name: &str, model: impl Fn() + Send + Sync + Copy + 'static) {
    if let Ok(schedule) = std::env::var("SHUTTLE_REPLAY") {
        return shuttle::replay(model, &schedule);
    }
    let count =
        std::env::var("SHUTTLE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true; // Orderings are loom's part.
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    let start = Instant::now();
    let random = Runner::new(RandomScheduler::new(count), config.clone()).run(model);
    let pct = Runner::new(PctScheduler::new(PCT_DEPTH, count), config).run(model);
    println!("{name}: {random} random and {pct} PCT schedules, {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn appenders_waiters_and_followers_all_wake() {
    explore("group, always, a waiter, a follower", || {
        let stage = Stage::new(Durability::Group);
        let appenders = [Durability::Group, Durability::Always]
            .map(|durability| stage.spawn(move |stage| stage.append(durability).unwrap()));
        let waiter = stage.spawn(|stage| {
            assert!(stage.log.wait_durable(1, None).unwrap());
            stage.assert_durable(1);
        });
        let followers =
            [stage.spawn(|stage| stage.follow(2).unwrap()), stage.spawn(|stage| stage.scan(2).unwrap())];
        let mut seqs = appenders.map(|appender| appender.join().unwrap());
        seqs.sort_unstable();
        assert_eq!(seqs, [0, 1]);
        waiter.join().unwrap();
        for follower in followers {
            follower.join().unwrap();
        }
        stage.log.close().unwrap();
    });
}

#[test]
fn a_roll_delays_nobody_for_ever() {
    explore("rolls", || {
        let stage = Stage::new(Durability::Group);
        let appenders = [0, 1].map(|_| {
            stage.spawn(|stage| {
                stage.append(Durability::Group).unwrap();
                stage.clock.advance(DAY_NS);
                stage.append(Durability::Group).unwrap()
            })
        });
        let follower = stage.spawn(|stage| stage.scan(4).unwrap());
        for appender in appenders {
            assert!(appender.join().unwrap() < 4);
        }
        follower.join().unwrap();
        assert!(stage.log.stats().unwrap().roll_count >= 1);
        stage.log.close().unwrap();
    });
}

/// A sync fails at some moment: who waits for what was not durable before is told so, by the error.
#[test]
fn a_failed_sync_wakes_everybody_with_the_error() {
    explore("a failed sync", || {
        let stage = Stage::new(Durability::Group);
        let appenders =
            [Durability::Group, Durability::Always].map(|mode| stage.spawn(move |stage| stage.append(mode)));
        let waiter = stage.spawn(|stage| stage.log.wait_durable(1, None));
        let breaking = stage.spawn(|stage| stage.disk.fail_syncs.store(true, Ordering::SeqCst));
        let outcomes = appenders.map(|appender| appender.join().unwrap());
        for outcome in &outcomes {
            assert!(matches!(outcome, Ok(_) | Err(Error::Poisoned { .. })), "{outcome:?}");
        }
        breaking.join().unwrap();
        // The waiter waits for two: if one append was refused, only poison or this close ends it.
        let outcome = stage.log.close();
        let told = waiter.join().unwrap();
        let is_told = matches!(told, Ok(true) | Err(Error::Poisoned { .. } | Error::Closed { .. }));
        assert!(is_told, "{told:?}");
        if told.is_ok() {
            stage.assert_durable(1);
        }
        assert!(outcome.is_ok() != stage.log.poisoned().is_some());
    });
}

/// The wish for a sync is all that wakes a keeper which has nothing to do.
#[test]
fn a_wish_alone_wakes_the_keeper() {
    explore("a wish", || {
        let stage = Stage::new(Durability::None);
        let_the_keeper_rest();
        let seq = stage.append(Durability::None).unwrap();
        let waiters = [0, 1].map(|_| stage.spawn(move |stage| stage.log.wait_durable(seq, None)));
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap());
        }
        stage.assert_durable(seq);
        stage.log.close().unwrap();
    });
}

/// In a group whoever comes first syncs, the others with it or after it, and nobody waits for a wake that went before.
#[test]
fn who_shares_a_sync_wakes() {
    explore("a group", || {
        let stage = Stage::new(Durability::Group);
        let_the_keeper_rest();
        let appenders = [0, 1, 2].map(|_| stage.spawn(|stage| stage.append(Durability::Group).unwrap()));
        let mut seqs = appenders.map(|appender| appender.join().unwrap());
        seqs.sort_unstable();
        assert_eq!(seqs, [0, 1, 2]);
        stage.log.close().unwrap();
    });
}

/// Where a sync takes time the first of a group waits for those who shared the last one: also for who does not come back, and
/// whoever cannot wait for that ends it.
#[test]
fn a_group_that_gathers_ends_durable() {
    explore("a group that gathers", || {
        let_time_pass(true);
        let stage = Stage::on(Witness::new(slow_step_of_the_disk), Durability::Group);
        let appenders = [1, 2, 3].map(|count| {
            stage.spawn(move |stage| {
                for _ in 0..count {
                    stage.append(Durability::Group).unwrap();
                }
            })
        });
        let hasty = stage.spawn(|stage| stage.append(Durability::Always).unwrap());
        for appender in appenders {
            appender.join().unwrap();
        }
        assert!(hasty.join().unwrap() < 7);
        stage.assert_durable(6);
        stage.log.close().unwrap();
        let_time_pass(false);
    });
}

/// The error reaches a waiter though nobody closes or appends afterwards.
#[test]
fn poison_alone_wakes_a_waiter() {
    explore("poison", || {
        let stage = Stage::new(Durability::Interval);
        stage.append(Durability::Interval).unwrap();
        stage.disk.fail_syncs.store(true, Ordering::SeqCst);
        let waiters = [0, 1].map(|_| stage.spawn(|stage| stage.log.wait_durable(0, None)));
        for waiter in waiters {
            let outcome = waiter.join().unwrap();
            assert!(matches!(outcome, Err(Error::Poisoned { .. })), "{outcome:?}");
        }
        assert!(stage.log.close().is_err());
    });
}

#[test]
fn a_close_wakes_everybody() {
    explore("a close", || {
        let stage = Stage::new(Durability::Interval);
        stage.append(Durability::Interval).unwrap();
        let kept = stage.spawn(|stage| stage.log.wait_durable(0, None));
        let lost = stage.spawn(|stage| stage.log.wait_durable(7, None));
        let follower = stage.spawn(|stage| stage.follow(7));
        let appender = stage.spawn(|stage| stage.append(Durability::Group));
        stage.log.close().unwrap();
        assert!(kept.join().unwrap().unwrap(), "a close makes durable what is committed");
        stage.assert_durable(0);
        assert!(matches!(lost.join().unwrap(), Err(Error::Closed { .. })));
        assert!(matches!(follower.join().unwrap(), Err(Error::Closed { .. })));
        assert!(matches!(appender.join().unwrap(), Ok(1) | Err(Error::Closed { .. })));
    });
}

/// Where all is durable already, a close has nothing to sync and still has somebody to wake.
#[test]
fn a_close_wakes_who_waits_for_what_never_comes() {
    explore("a close, nothing to sync", || {
        let stage = Stage::new(Durability::Interval);
        stage.append(Durability::Always).unwrap();
        let waiters = [0, 1].map(|_| stage.spawn(|stage| stage.log.wait_durable(7, None)));
        thread::yield_now();
        stage.log.close().unwrap();
        for waiter in waiters {
            assert!(matches!(waiter.join().unwrap(), Err(Error::Closed { .. })));
        }
    });
}

/// The keeper dies in the middle of a pass: that poisons, and poison wakes.
#[test]
fn a_keeper_that_dies_leaves_nobody_waiting() {
    explore("a dying keeper", || {
        let stage = Stage::new(Durability::Group);
        stage.disk.die_in_syncs.store(true, Ordering::SeqCst);
        let waiters = [0, 1]
            .map(|_| stage.spawn(|stage| stage.log.wait_durable(stage.append(Durability::None)?, None)));
        for waiter in waiters {
            let outcome = waiter.join().unwrap();
            assert!(matches!(outcome, Err(Error::Poisoned { .. })), "{outcome:?}");
        }
        stage.disk.die_in_syncs.store(false, Ordering::SeqCst);
        assert!(stage.log.close().is_err());
    });
}

/// The one thing that depends on time: under `interval` nobody asks, the keeper looks.
#[test]
fn the_interval_makes_durable_what_nobody_asks_for() {
    explore("interval", || {
        let stage = Stage::new(Durability::Interval);
        let_time_pass(true);
        let appenders = [0, 1].map(|_| stage.spawn(|stage| stage.append(Durability::Interval).unwrap()));
        for appender in appenders {
            assert!(appender.join().unwrap() < 4);
        }
        while stage.log.durable_seq() < Some(1) {
            sleep(SLICE);
        }
        stage.assert_durable(1);
        stage.log.close().unwrap();
        let_time_pass(false);
    });
}
