//! What the engine's tests share: a directory, a small log, reading it whole.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod forge;
pub mod ram;

use std::{path::Path, sync::Arc, time::Duration};

use _core::{
    clock::ManualClock,
    config::{Mode, Options, Patience},
    format::{Codec, NewEvent},
    log::{Appended, Location, Log},
    scan::{Query, Scan, StoredEvent},
};

/// Position and payload of an aggregate's snapshots, newest first; `None` for one that is damaged.
pub fn read_snapshots(log: &Log, aggregate_id: &str) -> Vec<(u64, Option<Vec<u8>>)> {
    let read = |name| {
        log.read_snapshot(name)
            .unwrap()
            .map(|(key, payload)| (key == aggregate_id).then_some(payload).unwrap())
    };
    log.snapshots(Some(aggregate_id)).unwrap().into_iter().map(|name| (name.seq, read(name))).collect()
}

/// A directory for one log, gone with the test.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Segments so small that rolling happens all the time; every clean close leaves an index.
pub fn small() -> Options {
    Options { segment_bytes: 64 * 1024, index_from: 0, ..Options::default() }
}

/// As [`small`], for tests that lay hands on raw files.
pub fn raw() -> Options {
    Options { sealing: None, ..small() }
}

pub fn reading() -> Options {
    Options { mode: Mode::Read, ..small() }
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_723_161_255_000_000_000))
}

pub fn open(dir: &Dir, options: Options) -> Log {
    Log::open(Location::Directory(dir.path()), options, clock()).unwrap()
}

pub fn append(log: &Log, event_type: &str, aggregate_id: Option<&str>, payload: &str) -> Appended {
    let event = NewEvent { aggregate_id, ..NewEvent::new(event_type, payload.as_bytes(), Codec::Json) };
    log.append(&event, Patience::Wait).unwrap()
}

/// One pass of a keeper that has no thread.
pub fn tick(log: &Log) {
    log.keep();
}

pub fn read_all(log: &Log, query: Query) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    log.read(query).unwrap().next_batch(&mut events, usize::MAX, usize::MAX).unwrap();
    events
}

/// Follows until `count` events were seen.
pub fn drain(scan: &mut Scan, seen: &mut Vec<StoredEvent>, count: usize) {
    while seen.len() < count {
        scan.next_batch(seen, 100, 10_000).unwrap();
        if seen.len() < count {
            assert!(scan.wait(Duration::from_secs(30)).unwrap(), "nothing came after {}", seen.len());
        }
    }
}

pub fn seqs(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.fixed.seq).collect()
}

pub fn payloads(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(event.view().unwrap().payload).into_owned()).collect()
}
