//! Crashes: at every file operation of a log's life, and at every one of the opening after that, by a kill or by a loss of
//! power. The next opening must succeed, hold what was promised, and be writable.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "support/mortal.rs"]
mod mortal;
mod support;

use std::{path::Path, sync::Arc};

use _core::{
    config::{Keeper, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::{Location, Log},
    place::Place,
    scan::Query,
    verify::{Severity, verify_place},
};
use mortal::{End, Mortal};
use support::{clock, payloads, read_all, small};

/// A directory whose parents have to be made too.
const ROOT: &str = "/var/lib/log";
const BATCH: usize = 3;
const FOREVER: usize = usize::MAX;

fn open(disk: &Arc<Mortal>, mode: Mode) -> Result<Log, Error> {
    let options = Options { mode, keeper: Keeper::Manual, ..small() };
    Log::open(Location::Elsewhere(disk.clone(), Path::new(ROOT)), options, clock())
}

/// What the log's user knows.
#[derive(Debug, Default, Clone)]
struct Told {
    /// Payloads in the order they were offered; members of a batch begin with its first one's number.
    offered: Vec<String>,
    committed: usize,
    durable: usize,
}

impl Told {
    fn offer(&mut self, log: &Log, count: usize) -> Result<(), Error> {
        let first = self.offered.len();
        let filling = "x".repeat(2000);
        let texts: Vec<String> =
            (first..first + count).map(|at| format!("{first} {count} {at} {filling}")).collect();
        let new = |text: &'static str| NewEvent::new(text, b"", Codec::Json);
        let events: Vec<_> = texts
            .iter()
            .map(|text| NewEvent { payload: text.as_bytes(), aggregate_id: Some("a"), ..new("t") })
            .collect();
        self.offered.extend(texts.iter().cloned());
        match &events[..] {
            [event] => drop(log.append(event, Patience::Wait)?),
            events => drop(log.append_many(events, Patience::Wait)?),
        }
        self.committed = self.offered.len();
        Ok(())
    }

    fn note_durable(&mut self, log: &Log) {
        let durable = log.durable_seq().map_or(0, |seq| usize::try_from(seq).unwrap() + 1);
        assert!(durable <= self.committed);
        self.durable = self.durable.max(durable);
    }

    fn sync(&mut self, log: &Log) -> Result<(), Error> {
        let outcome = log.sync();
        self.note_durable(log);
        outcome.map(drop)
    }
}

/// A log's life: made, rolled, closed, opened, abandoned, recovered, closed, opened.
fn live(disk: &Arc<Mortal>, told: &mut Told) -> Result<(), Error> {
    for (rounds, is_closed) in [(45, true), (6, false), (40, true), (3, false)] {
        let log = open(disk, Mode::ReadWrite)?;
        told.note_durable(&log);
        let outcome = write(&log, told, rounds);
        let outcome = if is_closed { outcome.and_then(|()| log.close()) } else { outcome };
        told.note_durable(&log);
        log.abandon();
        outcome?;
    }
    Ok(())
}

fn write(log: &Log, told: &mut Told, rounds: usize) -> Result<(), Error> {
    for round in 0..rounds {
        told.offer(log, if round % 5 == 3 { BATCH } else { 1 })?;
        if round % 7 == 2 {
            log.keep();
            told.note_durable(log);
        }
        if round % 11 == 4 {
            told.sync(log)?;
        }
    }
    Ok(())
}

/// What the next opening serves; panics where it breaks a promise.
fn hold_to_it(disk: &Arc<Mortal>, told: &Told, least: usize, place: &str) -> usize {
    let seen_by_reader = match open(disk, Mode::Read) {
        Ok(reader) => Some(payloads(&read_all(&reader, Query::default()))),
        Err(Error::Missing { .. }) => None,
        Err(error) => panic!("{place}: a reader: {error}"),
    };
    let log = open(disk, Mode::ReadWrite).unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut events = payloads(&read_all(&log, Query::default()));
    assert_eq!(seen_by_reader.unwrap_or_default(), events, "{place}: reader and writer disagree");
    assert!(told.offered.starts_with(&events), "{place}: something else was served");
    assert!(events.len() >= least, "{place}: {} of {least} events: {:?}", events.len(), log.recovery());
    if let Some(last) = events.last() {
        let numbers: Vec<usize> = last.split(' ').take(3).map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[0] + numbers[1] - 1, numbers[2], "{place}: half a batch");
    }
    let count = events.len();
    let event = NewEvent { aggregate_id: Some("a"), ..NewEvent::new("t", b"afterwards", Codec::Json) };
    log.append(&event, Patience::Wait).unwrap();
    log.keep();
    log.close().unwrap();
    let again = open(disk, Mode::ReadWrite).unwrap();
    assert!(again.recovery().clean, "{place}");
    events.push("afterwards".to_owned());
    assert_eq!(payloads(&read_all(&again, Query::default())), events, "{place}");
    let findings = verify_place(&Place { vfs: disk.clone(), path: ROOT.into() }).unwrap().findings;
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{place}: {findings:?}");
    count
}

/// The ways to end at operation `at`: nothing, everything, and some of what was not synced survives.
fn ends(at: usize) -> impl Iterator<Item = End> {
    let seeds = (0..3).map(move |round| (at * 3 + round) as u64);
    let some = seeds.zip([15, 50, 85]).map(|(seed, percent)| End::Power { seed, percent });
    [End::Kill, End::Power { seed: 0, percent: 0 }, End::Power { seed: 0, percent: 100 }]
        .into_iter()
        .chain(some)
}

/// Lives until operation `at` and tells what was known then.
fn die_at(at: usize) -> (Arc<Mortal>, Told) {
    let disk = Mortal::new(at);
    let mut told = Told::default();
    // A keeper's pass remembers what went wrong, so a life may end without hearing of it.
    let _outcome = live(&disk, &mut told);
    (disk, told)
}

fn operations_of_a_life() -> usize {
    let disk = Mortal::new(FOREVER);
    live(&disk, &mut Told::default()).unwrap();
    disk.done()
}

fn least(end: End, told: &Told) -> usize {
    if end == End::Kill { told.committed } else { told.durable }
}

#[test]
fn a_crash_at_any_file_operation_loses_nothing_promised() {
    let operations = operations_of_a_life();
    assert!(operations > 150, "{operations}");
    for at in 0..operations {
        let (disk, told) = die_at(at);
        for end in ends(at) {
            let place = format!("{end:?} at operation {at}");
            hold_to_it(&disk.after(end, FOREVER), &told, least(end, &told), &place);
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_loses_nothing_either() {
    let operations = operations_of_a_life();
    for at in (0..operations).step_by(3) {
        let (disk, told) = die_at(at);
        for first in [End::Kill, End::Power { seed: at as u64, percent: 60 }] {
            for during in 0.. {
                let second_life = disk.after(first, during);
                let opened = open(&second_life, Mode::ReadWrite);
                let is_open = opened.is_ok();
                if let Ok(log) = opened {
                    log.abandon();
                }
                let seed = (at * 100 + during) as u64;
                for second in [End::Kill, End::Power { seed, percent: 50 }] {
                    let end = if first == End::Kill { second } else { first };
                    let place = format!("{first:?} at operation {at}, {second:?} at {during} of the opening");
                    let third_life = second_life.after(second, FOREVER);
                    hold_to_it(&third_life, &told, least(end, &told), &place);
                }
                if is_open {
                    break;
                }
            }
        }
    }
}
