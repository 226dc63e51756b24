//! What other builds wrote: newer ones, by hand-made records and headers (R2), and older ones, by golden files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

#[path = "future/golden.rs"]
mod golden;
#[path = "future/records.rs"]
mod records;
mod support;
#[path = "future/versions.rs"]
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use _core::{
    clock::ManualClock,
    config::{Keeper, Mode, Options},
    error::Error,
    log::{Location, Log},
};
use support::{Dir, append, clock, small};

/// Opens without a keeper's thread, so that files hold what the test did and nothing else.
fn open(path: &Path, mode: Mode) -> Result<Log, Error> {
    open_at(path, mode, clock())
}

fn open_at(path: &Path, mode: Mode, clock: Arc<ManualClock>) -> Result<Log, Error> {
    let options = Options { mode, keeper: Keeper::Manual, ..small() };
    Log::open(Location::Directory(path), options, clock)
}

/// How a writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Died,
}

fn end(log: &Log, end: End) {
    match end {
        End::Closed => log.close().unwrap(),
        End::Died => log.abandon(),
    }
}

/// A log of three events of one aggregate in segment 1; returns the offset behind them.
fn young_log(dir: &Dir, how: End) -> u64 {
    let log = open(dir.path(), Mode::ReadWrite).unwrap();
    for payload in ["0", "1", "2"] {
        append(&log, "trade", Some("a"), payload);
    }
    log.sync().unwrap();
    let offset = log.stats().unwrap().segments.last().unwrap().used_bytes;
    end(&log, how);
    offset
}

/// Every file of a log but its lock, for telling whether anything was changed.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("LOCK") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Holds that reader and writer refuse a log by version, name what they found and support, and change nothing.
fn assert_refused(dir: &Dir, file: &Path, what: &str, known: &str) {
    let before = files(dir.path());
    for mode in [Mode::Read, Mode::ReadWrite] {
        match open(dir.path(), mode) {
            Err(Error::Version { path, found, supported }) => {
                assert_eq!((path.as_path(), found.as_str()), (file, what), "{mode:?}");
                assert!(supported.contains(known), "{supported}");
            }
            other => panic!("{what}: {mode:?} gave {:?}", other.err()),
        }
    }
    let findings = _core::verify::verify(dir.path()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.message.contains(what)), "{findings:?}");
    assert_eq!(files(dir.path()), before, "{what}: a refused opening changed something");
}
