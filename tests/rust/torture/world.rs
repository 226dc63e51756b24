//! A log on a simulated machine, the model beside it, and the dice that decide what happens to them.
//!
//! Owns opening, ending and judging: what each crash must leave. [`super::steps`] owns what a live log is asked to do.

use std::{fmt::Display, path::Path, sync::Arc};

use _core::{
    clock::ManualClock,
    config::{Durability, Keeper, Mode, Options, Recover},
    error::Error,
    log::{Location, Log},
    place::Place,
    scan::{Direction, Query, Scan, StoredEvent},
    verify::{Severity, verify_place},
    vfs::simulated::{Crash, Image, Loss, Operation, SimulatedDisk},
};

use super::model::Model;

/// A directory whose parents have to be made too.
pub const ROOT: &str = "/var/lib/log";
const EPOCH_NS: i64 = 1_723_161_255_000_000_000;

/// A reader in another process, which outlives the writer.
pub struct Follower {
    pub reader: Log,
    pub scan: Scan,
    pub seen: usize,
    /// It may have seen what a failed sync then threw out: it goes on rightly or says that it cannot.
    pub is_doubtful: bool,
}

/// An older copy of the directory, and what was true then.
struct Copy {
    disk: Arc<SimulatedDisk>,
    model: Model,
}

/// See the module's first paragraph.
pub struct World {
    pub disk: Arc<SimulatedDisk>,
    pub clock: Arc<ManualClock>,
    pub dice: fastrand::Rng,
    pub model: Model,
    pub log: Option<Log>,
    pub followers: Vec<Follower>,
    /// What an append is promised that asks for nothing else.
    pub durability: Durability,
    /// The log was poisoned in this life.
    pub is_poisoned: bool,
    /// Events that the next opening must serve.
    pub least: usize,
    /// Told in the order of happening, for whoever has to understand a failure.
    pub trace: Vec<String>,
    /// Counts what was tried, for the campaign's report.
    pub tally: Tally,
    copy: Option<Copy>,
}

/// What a campaign has tried.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub steps: usize,
    pub crashes: usize,
    pub recoveries: usize,
    pub faults: usize,
    pub flips: usize,
    pub refused_flips: usize,
    pub cuts: usize,
    pub rollbacks: usize,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimulatedDisk::new(),
            clock: Arc::new(ManualClock::new(EPOCH_NS)),
            dice: fastrand::Rng::with_seed(seed),
            model: Model::default(),
            log: None,
            followers: Vec::new(),
            durability: Durability::Interval,
            is_poisoned: false,
            least: 0,
            trace: Vec::new(),
            tally: Tally::default(),
            copy: None,
        }
    }

    pub fn chance(&mut self, percent: u8) -> bool {
        self.dice.u8(..100) < percent
    }

    pub fn note(&mut self, what: impl Display) {
        self.trace.push(what.to_string());
    }

    pub fn open_on(&self, disk: &Arc<SimulatedDisk>, mode: Mode) -> Result<Log, Error> {
        self.open_with(disk, mode, Recover::Strict)
    }

    fn open_with(&self, disk: &Arc<SimulatedDisk>, mode: Mode, recover: Recover) -> Result<Log, Error> {
        let (durability, segment_bytes) = (self.durability, 64 * 1024);
        let keeper = Keeper::Manual;
        let options =
            Options { mode, recover, durability, segment_bytes, keeper, index_from: 0, ..Options::default() };
        Log::open(Location::Elsewhere(disk.clone(), Path::new(ROOT)), options, self.clock.clone())
    }

    /// Opens for writing, and gives up what does not read.
    pub fn open_accepting_loss(&self) -> Result<Log, Error> {
        self.open_with(&self.disk, Mode::ReadWrite, Recover::AcceptLoss)
    }

    /// The log's directory, for what works on files.
    pub fn place(&self) -> Place {
        Place { vfs: self.disk.clone(), path: ROOT.into() }
    }

    pub fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    /// Whether something went wrong on purpose since the last look; nothing does any more.
    pub fn heal(&mut self) -> Vec<Operation> {
        let struck = self.disk.heal();
        self.tally.faults += struck.len();
        struck
    }

    /// Any crash there is.
    pub fn any_crash(&mut self) -> Crash {
        let seed = self.dice.u64(..);
        match self.dice.u8(..12) {
            0..5 => Crash::Kill,
            5 => Crash::Power(Loss::DropAll),
            6 => Crash::Power(Loss::KeepAll),
            7 => Crash::Power(Loss::AlternatePages),
            8 => Crash::Power(Loss::TornSectors(seed)),
            9 => Crash::Power(Loss::ReorderedNames(seed)),
            _ => Crash::Power(Loss::Some(seed)),
        }
    }

    /// The machine, or only the process, ends and starts again.
    pub fn restart(&mut self, crash: Crash) {
        self.note(format_args!("{crash:?}"));
        self.tally.crashes += 1;
        self.drop_log();
        self.followers.clear();
        if crash != Crash::Kill {
            self.least = self.least.min(self.model.durable);
        }
        self.disk = self.disk.after(crash).unwrap();
    }

    /// The same log, promised the same, on the machine that `crash` leaves; for trying many ends of one life.
    pub fn fork(&self, crash: Crash) -> Self {
        let mut world = Self::new(0);
        world.disk = self.disk.after(crash).unwrap();
        world.clock = Arc::clone(&self.clock);
        world.model = self.model.clone();
        world.least = if crash == Crash::Kill { self.least } else { self.least.min(self.model.durable) };
        world
    }

    /// The process ends as if killed, beside readers that live on.
    pub fn drop_log(&mut self) {
        if self.is_poisoned {
            self.doubt_followers();
        }
        if let Some(log) = self.log.take() {
            log.abandon();
        }
    }

    /// Readers may have seen what a failed sync then threw out of the cache.
    pub fn doubt_followers(&mut self) {
        self.followers.iter_mut().for_each(|follower| follower.is_doubtful = true);
    }

    pub fn take_copy(&mut self) {
        if !self.is_poisoned {
            let disk = self.disk.after(Crash::Kill).unwrap();
            self.copy = Some(Copy { disk, model: self.model.clone() });
        }
    }

    /// An older copy of the directory takes the place of the log.
    pub fn roll_back(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        self.note(format_args!("rolled back to {} events", copy.model.history.len()));
        self.tally.rollbacks += 1;
        self.drop_log();
        self.followers.clear();
        self.disk = copy.disk;
        self.model = copy.model;
        self.least = self.model.history.len();
    }

    /// Opens the log after any end, judges what it serves, and takes that for true from then on; false where the machine
    /// went off meanwhile.
    pub fn open_and_judge(&mut self) -> bool {
        let by_reader = self.read_beside();
        let before = self.disk.image();
        let log = match self.open_on(&self.disk, Mode::ReadWrite) {
            Ok(log) => log,
            Err(_) if self.disk.is_off() => return false,
            Err(error) => panic!("the opening failed: {error:?}"),
        };
        self.note(format_args!("opened: {:?}", log.recovery()));
        let first = usize::try_from(log.first_seq()).unwrap();
        let dropping = std::mem::take(&mut self.model.dropping);
        assert!(first == self.model.dropped || dropping.contains(&first), "dropped up to {first}");
        self.model.dropped = first;
        let served = self.judge(&log, by_reader.as_deref());
        self.judge_cut(&log, &before);
        self.model.accept(served);
        let durable = log.durable_seq().map_or(0, |seq| usize::try_from(seq).unwrap() + 1);
        assert_eq!(durable, served, "an opening leaves nothing that is not durable");
        self.model.durable = durable;
        self.least = durable;
        self.tally.recoveries += usize::from(!log.recovery().clean);
        self.tally.cuts += usize::from(log.recovery().cut.is_some());
        self.is_poisoned = false;
        self.log = Some(log);
        true
    }

    /// What a reader serves that comes before the writer.
    pub fn read_beside(&self) -> Option<Vec<StoredEvent>> {
        match self.open_on(&self.disk, Mode::Read) {
            Ok(reader) => Some(read_all(&reader).unwrap()),
            Err(Error::Missing { .. }) => None,
            Err(error) => panic!("a reader: {error:?}"),
        }
    }

    fn judge(&self, log: &Log, by_reader: Option<&[StoredEvent]>) -> usize {
        let served = read_all(log).unwrap();
        if let Some(fault) = self.model.fault_of(&served) {
            panic!("{fault}");
        }
        assert!(
            self.model.dropped + served.len() >= self.least,
            "{} of {} promised events are there: {:?}",
            served.len(),
            self.least,
            log.recovery()
        );
        let texts =
            |events: &[StoredEvent]| events.iter().map(|event| event.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(texts(by_reader.unwrap_or_default()), texts(&served), "reader and writer disagree");
        let mut from_the_end = Vec::new();
        let query = Query { direction: Direction::Backward, ..Query::default() };
        log.read(query).unwrap().next_batch(&mut from_the_end, usize::MAX, usize::MAX).unwrap();
        from_the_end.reverse();
        assert_eq!(texts(&from_the_end), texts(&served), "read backward it is another log");
        let count = self.model.dropped + served.len();
        for (id, (_, version)) in self.model.heads(count) {
            assert_eq!(log.aggregate_version(&id).unwrap(), Some(version), "version of {id}");
        }
        self.judge_snapshots(log);
        count
    }

    /// What the report says was cut off lies in quarantine, every byte of it.
    fn judge_cut(&self, log: &Log, before: &Image) {
        let Some(cut) = &log.recovery().cut else { return };
        let root = Path::new(ROOT);
        let after = self.disk.image();
        for name in &cut.quarantine_files {
            let kept = &after[&root.join("quarantine").join(name)];
            let (segment, offset) = match name.split_once('-') {
                Some((segment, rest)) => (segment, rest.split('.').next().unwrap().parse().unwrap()),
                None => (name.strip_suffix(".log").unwrap(), 0),
            };
            let cut_from = &before[&root.join("segments").join(format!("{segment}.log"))][offset..];
            assert!(cut_from.starts_with(kept) && !kept.is_empty(), "{name} is not what was cut off");
            assert!(
                cut_from[kept.len()..].iter().all(|byte| *byte == 0),
                "{name} is not all that was cut off"
            );
        }
        assert_ne!(cut.quarantine_files, [""; 0], "a cut without a file");
    }

    fn judge_snapshots(&self, log: &Log) {
        for name in log.snapshots(None).unwrap() {
            let Some((key, payload)) = log.read_snapshot(name).unwrap() else {
                panic!("a crash left half a snapshot: {name}");
            };
            let offered = self.model.offered.get(&(key.clone(), name.seq));
            assert_eq!(offered, Some(&payload), "snapshot of {key} at {}: offered and served", name.seq);
        }
        for (aggregate_id, told) in &self.model.snapshots {
            let (seq, payload) = told.last().unwrap();
            let kept = log.snapshots(Some(aggregate_id)).unwrap();
            let newest = kept.iter().find(|name| name.seq == *seq);
            let found = newest.and_then(|name| log.read_snapshot(*name).unwrap());
            assert_eq!(found, Some((aggregate_id.clone(), payload.clone())), "snapshot of {aggregate_id}");
        }
    }

    /// Nothing is wrong with the log, as far as `verify` can tell.
    pub fn verify(&self) {
        let verification = verify_place(&self.place()).unwrap();
        let errors: Vec<_> =
            verification.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

pub fn read_all(log: &Log) -> Result<Vec<StoredEvent>, Error> {
    let mut events = Vec::new();
    log.read(Query::default())?.next_batch(&mut events, usize::MAX, usize::MAX)?;
    Ok(events)
}
