//! What the models share: a log on a disk in memory, its readers, and the run of a model with its numbers.
//!
//! A reader here is a handle of its own on the same files, as another process has it: it shares no lock with the writer,
//! so nothing but the commit words orders the two.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use _core::{
    clock::{Clock, ManualClock},
    config::{Keeper, MIN_SEGMENT_BYTES, Mode, Options, Patience},
    error::Error,
    format::{
        Codec, NewEvent,
        segment::{ENTRY_OFFSET, RECORDS_OFFSET},
    },
    log::{Location, Log},
    place::Place,
    recovery::open_for_writing,
    scan::{Query, Scan},
    tail::Tail,
    threads::modelled,
    vfs::Vfs,
};

pub const ROOT: &str = "/log";
/// 2024-08-09, noon: far from the end of a day.
const NOON_NS: i64 = 1_723_204_800_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;
/// Where the models write: the entry, and the first records of each segment.
const WATCHED: [Range<usize>; 2] = [ENTRY_OFFSET..ENTRY_OFFSET + 64, RECORDS_OFFSET..RECORDS_OFFSET + 640];

/// Segments that a model makes while its threads run, at the most.
const SEGMENTS: usize = 6;

/// A disk and a clock.
pub struct Stage {
    pub disk: Arc<dyn Vfs>,
    pub clock: Arc<ManualClock>,
}

impl Stage {
    pub fn new(disk: Arc<dyn Vfs>) -> Self {
        modelled::watch(&WATCHED, SEGMENTS);
        Self { disk, clock: Arc::new(ManualClock::new(NOON_NS)) }
    }

    pub fn options(mode: Mode) -> Options {
        Options { mode, keeper: Keeper::Manual, segment_bytes: MIN_SEGMENT_BYTES, ..Options::default() }
    }

    pub fn open(&self, mode: Mode) -> Result<Log, Error> {
        let location = Location::Elsewhere(Arc::clone(&self.disk), Path::new(ROOT));
        Log::open(location, Self::options(mode), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// The writer without its face, to look at positions.
    pub fn tail(&self) -> Arc<Tail> {
        let place = Place { vfs: Arc::clone(&self.disk), path: ROOT.into() };
        let (options, clock) = (Self::options(Mode::ReadWrite), Arc::clone(&self.clock) as Arc<dyn Clock>);
        let (start, _) = open_for_writing(&place, &options, &*clock).unwrap();
        Tail::start(place, options, clock, start).unwrap()
    }

    /// The next append of the writer goes to a new segment, as on every new day.
    pub fn next_day(&self) {
        self.clock.advance(DAY_NS);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        modelled::unwatch();
    }
}

pub fn event(payload: &str) -> NewEvent<'_> {
    NewEvent::new("t", payload.as_bytes(), Codec::Json)
}

pub fn append(log: &Log, payload: &str) {
    log.append(&event(payload), Patience::Wait).unwrap();
}

/// All that is there now, by a scan of its own.
pub fn seen(log: &Log) -> Vec<String> {
    drained(log.read(Query::default()).unwrap())
}

/// Payloads of all that a scan gives out now.
pub fn drained(mut scan: Scan) -> Vec<String> {
    let mut events = Vec::new();
    scan.next_batch(&mut events, usize::MAX, usize::MAX).unwrap();
    let payload = |event: &_core::scan::StoredEvent| {
        String::from_utf8_lossy(event.view().unwrap().payload).into_owned()
    };
    events.iter().map(payload).collect()
}

/// Runs a model, at most `preemptions` of them in one execution (`LOOM_MAX_PREEMPTIONS` says otherwise), and says what it took.
pub fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound.get_or_insert(preemptions);
    let (bound, start) = (builder.preemption_bound, Instant::now());
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let count = count.load(Ordering::Relaxed);
    println!("{name}: {count} executions, {bound:?} preemptions, {:.1} s", start.elapsed().as_secs_f64());
    count
}
