//! What a live log is asked to do, at random: one step at a time, each held against the model.
//!
//! A step may be interrupted by a crash or meet a fault of the system; then it may fail with a typed error that fits, and
//! what it did not acknowledge may be there or not.

use _core::{
    config::{Durability, Expected, Mode, Patience},
    error::Error,
    log::Appended,
    scan::{Direction, Query, StoredEvent},
    vfs::simulated::{Fault, Loss, Operation},
};

use super::{
    model::{Heads, Offer},
    world::{Follower, World},
};

const EIO: i32 = 5;
const EINTR: i32 = 4;
const ENOSPC: i32 = 28;
const DAY_NS: i64 = 86_400_000_000_000;
const AGGREGATES: usize = 5;
/// One, so that a removal before the newer one is durable leaves none.
const KEPT_SNAPSHOTS: usize = 1;
/// What fits a segment in any case.
const LARGEST_BYTES: usize = 45_000;

impl World {
    /// Does something; false where the machine went off meanwhile.
    pub fn step(&mut self) -> bool {
        self.tally.steps += 1;
        match self.dice.u8(..100) {
            0..41 => self.append(1),
            41..45 => self.retry(),
            45..58 => {
                let count = self.dice.usize(2..6);
                self.append(count);
            }
            58..64 => self.sync(),
            64..72 => self.keep(),
            72..77 => self.read(),
            77..82 => self.follow(),
            82..84 => self.snapshot(),
            84 => self.expire(),
            85..88 => self.move_clock(),
            88..91 => self.disk.write_back(self.dice.u64(..)),
            91..93 => self.take_copy(),
            93..97 => self.break_something(),
            _ => {
                let struck = self.heal();
                self.note(format_args!("healed after {struck:?}"));
            }
        }
        if self.disk.is_off() {
            return false;
        }
        self.look_around();
        true
    }

    /// After every step: positions are the model's, and poison stays.
    pub fn look_around(&mut self) {
        let log = self.log();
        let last = log.last_seq().unwrap();
        assert_eq!(last.map_or(0, |seq| seq + 1), self.model.history.len() as u64, "events in the log");
        let durable = log.durable_seq().map_or(0, |seq| usize::try_from(seq).unwrap() + 1);
        assert!(durable >= self.model.durable, "durable_seq fell from {} to {durable}", self.model.durable);
        assert!(durable <= self.model.history.len(), "durable beyond what is committed");
        let is_poisoned = log.poisoned().is_some();
        assert!(is_poisoned || !self.is_poisoned, "the poison was forgotten");
        self.model.durable = durable;
        self.is_poisoned = is_poisoned;
        self.least = if is_poisoned { durable } else { self.model.history.len() };
    }

    fn offer(&mut self) -> Offer {
        let number = self.dice.u32(..);
        let text =
            |dice: &mut fastrand::Rng, prefix: &str, count: usize| format!("{prefix}{}", dice.usize(..count));
        let size = match self.dice.u8(..100) {
            0..40 => self.dice.usize(..40),
            40..90 => self.dice.usize(..3000),
            90..98 => self.dice.usize(..30_000),
            _ => self.dice.usize(50_000..60_000),
        };
        let dice = &mut self.dice;
        let id = format!("{:08x}-0000-7000-8000-{:012x}", dice.u32(..), dice.u64(..1 << 48));
        Offer {
            event_type: text(dice, "type-", 9),
            aggregate_id: (dice.u8(..4) > 0).then(|| text(dice, "agg-", AGGREGATES)),
            source: if dice.bool() { String::new() } else { text(dice, "source-", 3) },
            correlation_id: dice.bool().then(|| text(dice, "c-", 100)),
            event_id: match dice.u8(..3) {
                0 => None,
                1 => Some(id),
                _ => Some(format!("own {number}")),
            },
            schema_version: (dice.u8(..5) == 0).then(|| "1.1.0".to_owned()),
            event_time_ns: dice.bool().then(|| dice.i64(..)),
            tags: (0..dice.usize(..3)).map(|at| (text(dice, "tag-", 4), format!("ü{at}"))).collect(),
            payload: format!("{number}:{}", "x".repeat(size)).into_bytes(),
            expected: Expected::Any,
            ts_ns: 0,
            member: 0,
            members: 1,
        }
    }

    fn offers(&mut self, count: usize) -> Vec<Offer> {
        let ts_ns = _core::clock::Clock::now_ns(&*self.clock);
        let mut offers: Vec<Offer> = (0..count).map(|_| self.offer()).collect();
        for (member, offer) in offers.iter_mut().enumerate() {
            (offer.ts_ns, offer.member, offer.members) = (ts_ns, member, count);
        }
        offers
    }

    /// A step of the keeper.
    pub fn keep(&mut self) {
        self.note("keep");
        self.log().keep();
    }

    /// Appends one event or a batch, sometimes with an expectation, right or wrong, in any mode.
    pub fn append(&mut self, count: usize) {
        let mut offers = self.offers(count);
        let heads = self.model.heads(self.model.history.len());
        let actual = offers[0].aggregate_id.as_ref().map(|id| heads.get(id).map(|(_, version)| *version));
        let mut is_wrong = false;
        if let Some(actual) = actual.filter(|_| self.dice.u8(..4) == 0) {
            let choices =
                [Expected::None, Expected::Exists, Expected::Exact(actual.unwrap_or(3)), Expected::Exact(7)];
            offers[0].expected = choices[self.dice.usize(..choices.len())];
            is_wrong = !offers[0].expected.accepts(actual);
        }
        let expected = self.expectations(&heads, count);
        is_wrong |= expected.iter().any(|(id, wanted)| !wanted.accepts(heads.get(id).map(|head| head.1)));
        let modes = [
            None,
            None,
            Some(Durability::None),
            Some(Durability::Interval),
            Some(Durability::Group),
            Some(Durability::Always),
        ];
        let durability = modes[self.dice.usize(..modes.len())];
        let bytes: Vec<usize> = offers.iter().map(|offer| offer.payload.len()).collect();
        self.note(format_args!("append {bytes:?} {durability:?} wrong={is_wrong}"));
        if !is_wrong {
            self.model.in_doubt.clone_from(&offers);
        }
        let log = self.log.as_ref().unwrap();
        let expectations: Vec<_> = expected.iter().map(|(id, wanted)| (id.as_str(), *wanted)).collect();
        // As the binding does: at once if that is possible, else with all the patience it takes.
        let append = |patience| {
            Offer::lend(&offers, |events| match events {
                [event] => log.append(event, patience).map(|one| vec![one]),
                events => log.append_checked(events, &expectations, patience),
            })
        };
        let outcome = match append(Patience::Try) {
            Err(Error::WouldBlock) => append(Patience::Wait),
            outcome => outcome,
        };
        match outcome {
            _ if self.disk.is_off() => {}
            Ok(appended) => {
                assert!(!is_wrong, "a wrong expectation was met");
                assert!(!self.is_poisoned, "acknowledged after a failed sync");
                self.acknowledged(&appended, durability);
            }
            Err(error) => {
                self.model.in_doubt.clear();
                self.refused(&error, is_wrong, bytes.iter().sum());
            }
        }
    }

    /// What a batch expects of aggregates before it begins, some of which it does not write; mostly rightly.
    fn expectations(&mut self, heads: &Heads, count: usize) -> Vec<(String, Expected)> {
        let checked = if count > 1 { self.dice.usize(..3) } else { 0 };
        let mut any = || {
            let id = format!("agg-{}", self.dice.usize(..AGGREGATES));
            let right = heads.get(&id).map_or(Expected::None, |(_, version)| Expected::Exact(*version));
            let expected = if self.dice.u8(..8) == 0 { Expected::Exact(7) } else { right };
            (id, expected)
        };
        (0..checked).map(|_| any()).collect()
    }

    fn acknowledged(&mut self, appended: &[Appended], durability: Option<Durability>) {
        let first = self.model.history.len() as u64;
        assert!(appended.iter().zip(first..).all(|(one, seq)| one.seq == seq), "{appended:?}");
        let last = appended.last().unwrap();
        let log = self.log.as_ref().unwrap();
        if !log.needs_settling(durability) {
            return self.model.acknowledge();
        }
        let before = self.disk.struck().len();
        let outcome = log.settle(last, durability);
        if self.disk.is_off() {
            return;
        }
        let has_failed = self.disk.struck().len() > before;
        match outcome {
            Ok(())
                if matches!(
                    durability.unwrap_or(self.durability),
                    Durability::Group | Durability::Always
                ) =>
            {
                assert!(!has_failed, "acknowledged a sync that failed");
                assert!(log.durable_seq() >= Some(last.seq), "acknowledged before its sync");
            }
            Ok(()) => {}
            Err(Error::Poisoned { committed, .. }) => {
                assert_eq!(committed.map(|one| one.seq), Some(last.seq), "an error after the commit says so");
            }
            Err(error) => panic!("{error:?}"),
        }
        self.model.acknowledge();
    }

    /// An append that failed: nothing of it is there, and the reason fits.
    pub fn refused(&mut self, error: &Error, is_wrong: bool, bytes: usize) {
        let fits = match error {
            Error::Conflict { .. } => is_wrong,
            Error::Poisoned { .. } => self.log().poisoned().is_some(),
            Error::Limit { .. } => bytes > LARGEST_BYTES,
            Error::DiskFull { .. } | Error::Io { .. } => !self.disk.struck().is_empty(),
            _ => false,
        };
        assert!(fits, "{error:?} after {:?}", self.disk.struck());
    }

    pub fn sync(&mut self) {
        self.note("sync");
        let before = self.disk.struck().len();
        let outcome = self.log().sync();
        if self.disk.is_off() {
            return;
        }
        let struck = self.disk.struck().split_off(before);
        match outcome {
            Ok(durable) => {
                assert!(struck.is_empty(), "acknowledged a sync that failed");
                assert_eq!(durable.map_or(0, |seq| seq + 1), self.model.history.len() as u64);
            }
            Err(Error::Poisoned { .. }) => assert!(self.is_poisoned || !struck.is_empty()),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// A random query, held against the same filter on the model.
    pub fn read(&mut self) {
        let count = self.model.history.len() as u64;
        let number = self.dice.usize(..AGGREGATES);
        let dice = &mut self.dice;
        let query = Query {
            after: dice.bool().then(|| dice.u64(..=count)),
            up_to: dice.bool().then(|| dice.u64(..=count)),
            types: (dice.u8(..3) == 0).then(|| vec!["type-1".to_owned(), "type-4*".to_owned()]),
            aggregate_id: (dice.u8(..2) == 0).then(|| format!("agg-{number}")),
            source: (dice.u8(..4) == 0).then(|| "source-1".to_owned()),
            tags: if dice.u8(..4) == 0 { vec![("tag-1".to_owned(), "ü0".to_owned())] } else { Vec::new() },
            limit: (dice.u8(..4) == 0).then(|| dice.u64(..20)),
            direction: if dice.bool() { Direction::Forward } else { Direction::Backward },
            ..Query::default()
        };
        let is_wanted = |(seq, offer): &(u64, &Offer)| {
            query.after.is_none_or(|after| *seq > after)
                && query.up_to.is_none_or(|up_to| *seq <= up_to)
                && (query.types.is_none() || ["type-1", "type-4"].contains(&offer.event_type.as_str()))
                && query.source.as_ref().is_none_or(|source| *source == offer.source)
                && query.tags.iter().all(|tag| offer.has_tag(tag))
                && query.aggregate_id.as_ref().is_none_or(|id| offer.aggregate_id.as_ref() == Some(id))
        };
        let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut wanted: Vec<u64> = (0..)
            .zip(&self.model.history)
            .skip(self.model.dropped)
            .filter(is_wanted)
            .map(|(seq, _)| seq)
            .collect();
        if query.direction == Direction::Backward {
            wanted.reverse();
        }
        wanted.truncate(limit);
        self.note(format_args!("read {query:?}"));
        let mut events: Vec<StoredEvent> = Vec::new();
        let is_cut_short = self.is_cut_short(&query);
        let is_backward = query.direction == Direction::Backward;
        let scan = self.log().read(query);
        match scan.and_then(|mut scan| scan.next_batch(&mut events, usize::MAX, usize::MAX)) {
            Ok(()) => {
                assert_eq!(events.iter().map(|one| one.fixed.seq).collect::<Vec<_>>(), wanted);
                // Backward what is missed comes last, and is not asked for where the limit or the range ends before it.
                assert!(!is_cut_short || is_backward || limit == 0, "a part was given out for the whole");
            }
            Err(Error::Truncated { first_seq }) => {
                assert!(is_cut_short && first_seq == self.model.dropped as u64, "told that events are gone");
            }
            Err(error) => self.is_excused(&error),
        }
    }

    /// A read may fail where the system did, or where a failed sync threw out what nobody had called durable.
    fn is_excused(&self, error: &Error) {
        let fits = match error {
            Error::Io { .. } => !self.disk.struck().is_empty(),
            Error::Corrupt { .. } => self.is_poisoned,
            _ => false,
        };
        assert!(fits || self.disk.is_off(), "{error:?} after {:?}", self.disk.struck());
    }

    /// A reader of another process takes in what is new, which is exactly what was appended.
    pub fn follow(&mut self) {
        if self.followers.len() < 2 {
            match self.open_on(&self.disk, Mode::Read) {
                Ok(reader) => {
                    self.note("a follower comes");
                    let scan = reader.follow(Query::default()).unwrap_or_else(|error| panic!("{error:?}"));
                    self.followers.push(Follower { reader, scan, seen: 0, is_doubtful: false });
                }
                Err(error) => return self.is_excused(&error),
            }
        }
        if self.is_poisoned {
            self.doubt_followers();
        }
        for at in 0..self.followers.len() {
            let follower = &mut self.followers[at];
            let mut events = Vec::new();
            let outcome = follower
                .reader
                .last_seq()
                .and_then(|_| follower.scan.next_batch(&mut events, usize::MAX, usize::MAX));
            let from =
                events.first().map_or(follower.seen, |event| usize::try_from(event.fixed.seq).unwrap());
            let until = from + events.len();
            let is_front = from == self.model.dropped || self.model.dropping.contains(&from);
            assert!(from == follower.seen || follower.seen == 0 && is_front, "it left out some");
            follower.seen = until;
            let expected = from as u64..until as u64;
            assert!(events.iter().map(|event| event.fixed.seq).eq(expected), "a follower went astray");
            match outcome {
                Ok(()) if self.is_poisoned => assert!(until <= self.model.history.len(), "told too much"),
                Ok(()) => assert_eq!(until, self.model.history.len(), "a follower was told less"),
                // It was overtaken by what expired.
                Err(Error::Truncated { .. }) => {
                    assert!(until < self.model.dropped, "told that events are gone that are there");
                    self.followers.remove(at);
                    return;
                }
                Err(error) => {
                    if !(follower.is_doubtful && matches!(error, Error::Corrupt { .. })) {
                        self.is_excused(&error);
                    }
                    self.followers.remove(at);
                    return;
                }
            }
        }
    }

    pub fn snapshot(&mut self) {
        let aggregate_id = format!("agg-{}", self.dice.usize(..AGGREGATES));
        let own = self.model.offered.range((aggregate_id.clone(), 0)..=(aggregate_id.clone(), u64::MAX));
        let told = own.last().map_or(0, |((_, seq), _)| seq + 1);
        let payload = format!("state {}", self.dice.u32(..)).into_bytes();
        self.note(format_args!("snapshot of {aggregate_id} at {told}"));
        self.model.offered.insert((aggregate_id.clone(), told), payload.clone());
        match self.log().write_snapshot(&aggregate_id, told, &payload, KEPT_SNAPSHOTS) {
            Ok(()) => self.model.snapshots.entry(aggregate_id).or_default().push((told, payload)),
            Err(Error::Io { .. } | Error::DiskFull { .. }) => {
                assert!(self.disk.is_off() || !self.disk.struck().is_empty());
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// All snapshots of all aggregates.
    pub fn drop_snapshots(&mut self) {
        self.note("drop all snapshots");
        let names = self.log().snapshots(None).unwrap();
        self.model.snapshots.clear();
        match self.log().drop_snapshots(&names) {
            Ok(()) => self.model.offered.clear(),
            Err(Error::Io { .. }) => assert!(self.disk.is_off() || !self.disk.struck().is_empty()),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Whole sealed segments go from the front.
    pub fn expire(&mut self) {
        let last = self.model.history.len() as u64;
        let seq = if self.dice.bool() { last } else { self.dice.u64(..=last) };
        let log = self.log.as_ref().unwrap();
        let segments = log.stats().unwrap().segments;
        let next = segments.get(1).filter(|next| segments[0].is_sealed && next.first_seq <= seq);
        let expected = next.map_or(self.model.dropped, |next| usize::try_from(next.first_seq).unwrap());
        self.note(format_args!("drop before {seq} of {} segments: {expected}", segments.len()));
        self.model.dropping.push(expected);
        match self.log().retain(seq) {
            _ if self.disk.is_off() => {}
            Ok(retained) => {
                assert!(segments.len() >= 20 || retained.first_seq == expected as u64, "{retained:?}");
                self.model.dropped = usize::try_from(retained.first_seq).unwrap();
                self.model.dropping.clear();
            }
            // META may say so all the same, where only its second copy failed.
            Err(Error::Io { .. } | Error::DiskFull { .. }) => assert!(!self.disk.struck().is_empty()),
            Err(Error::Poisoned { .. }) => {
                assert!(self.is_poisoned || !self.disk.struck().is_empty());
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Whether the answer to `query` lacks events that were dropped.
    fn is_cut_short(&self, query: &Query) -> bool {
        let dropped = self.model.dropped as u64;
        let is_behind = query.after.is_some_and(|after| after + 1 < dropped);
        let is_before = query.up_to.is_some_and(|up_to| up_to < dropped);
        let mut gone = self.model.history.iter().take(self.model.dropped);
        let is_missed = query.aggregate_id.is_some()
            && query.after.is_none()
            && gone.any(|offer| offer.aggregate_id == query.aggregate_id);
        is_behind || is_before || is_missed
    }

    fn move_clock(&mut self) {
        let by = match self.dice.u8(..4) {
            0 => DAY_NS,
            1 => -DAY_NS / 3,
            _ => self.dice.i64(-1_000_000..1_000_000_000),
        };
        self.note(format_args!("the clock moves by {by} ns"));
        self.clock.advance(by);
    }

    /// Lets one of the next operations fail, once or until it is healed.
    pub fn break_something(&mut self) {
        let on = [
            None,
            Some(Operation::Read),
            Some(Operation::Write),
            Some(Operation::Allocate),
            Some(Operation::Name),
            Some(Operation::Sync),
            Some(Operation::Sync),
        ];
        let on = on[self.dice.usize(..on.len())];
        // Nobody is told that the disk is full who only wanted to read.
        let errors =
            if matches!(on, None | Some(Operation::Read)) { [EIO, EINTR, EIO] } else { [EIO, EINTR, ENOSPC] };
        let seed = self.dice.u64(..);
        let fault = Fault {
            on,
            skip: self.dice.usize(..8),
            errno: errors[self.dice.usize(..errors.len())],
            lasts: self.dice.bool(),
            leaves: [Loss::DropAll, Loss::KeepAll, Loss::Some(seed)][self.dice.usize(..3)],
        };
        self.note(format_args!("{fault:?}"));
        self.disk.fail(fault);
    }
}
