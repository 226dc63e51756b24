//! Many seeds on all cores: those that once failed first, then new ones, until the limit or the first failure.
//!
//! Owns the report: how many, what they met, and for a failure its seed, its story and the command that repeats it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    life::live,
    world::{Tally, World},
};

/// Seeds that failed once, and why; they run first.
const KNOWN_SEEDS: &str = include_str!("seeds.txt");
/// Lines of a failed life's story that are printed.
const STORY_LINES: usize = 60;

/// How long a campaign goes on.
#[derive(Clone, Copy)]
pub enum Limit {
    Seeds(u64),
    Minutes(u64),
}

/// A number in the environment.
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, it takes a number")))
}

fn known_seeds() -> Vec<u64> {
    let lines = KNOWN_SEEDS.lines().filter_map(|line| line.split_whitespace().next());
    lines.filter(|word| !word.starts_with('#')).map(|word| word.parse().unwrap()).collect()
}

/// One life, with its story.
pub fn tell(seed: u64) {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    println!("{}", world.trace.join("\n"));
    if let Err(panic) = outcome {
        panic!("seed {seed}: {}", message(&*panic));
    }
}

/// Lives until the limit, on all cores.
pub fn campaign(limit: Limit, first_seed: u64) {
    let (seeds, time) = match limit {
        Limit::Seeds(seeds) => (seeds, Duration::MAX),
        Limit::Minutes(minutes) => (u64::MAX, Duration::from_secs(60 * minutes)),
    };
    let start = Instant::now();
    let known = known_seeds();
    let next = AtomicU64::new(0);
    let total = Mutex::new((0, Tally::default()));
    let failure = Mutex::new(None);
    let work = || {
        while start.elapsed() < time && failure.lock().unwrap().is_none() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds {
                return;
            }
            let new_seed = || first_seed + at - known.len() as u64;
            let seed =
                usize::try_from(at).ok().and_then(|at| known.get(at).copied()).unwrap_or_else(new_seed);
            let mut world = World::new(seed);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(&mut world))) {
                let from = world.trace.len().saturating_sub(STORY_LINES);
                let story = world.trace[from..].join("\n");
                *failure.lock().unwrap() = Some((seed, format!("{story}\n{}", message(&*panic))));
                // What it held may be half done; nobody is to look at it again.
                std::mem::forget(world);
                return;
            }
            let mut total = total.lock().unwrap();
            total.0 += 1;
            total.1 = total.1 + world.tally;
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let (lives, tally) = *total.lock().unwrap();
    println!("{lives} seeds from {first_seed} in {:?}: {tally:?}", start.elapsed());
    if let Some((seed, story)) = failure.lock().unwrap().take() {
        panic!("{story}\nseed {seed} broke a promise; `make torture SEED={seed}` repeats it");
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            crashes: self.crashes + other.crashes,
            recoveries: self.recoveries + other.recoveries,
            faults: self.faults + other.faults,
            flips: self.flips + other.flips,
            refused_flips: self.refused_flips + other.refused_flips,
            cuts: self.cuts + other.cuts,
            rollbacks: self.rollbacks + other.rollbacks,
        }
    }
}
