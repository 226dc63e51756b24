//! The scan below Python, beside the least that reading the same records can cost (P11).
//!
//! Subjects: scans of a whole log through the engine, which check each record. One passes every event over, since its filter
//! matches none; the other gives each out with bytes of its own.
//! Floor: a plain loop over the same files in memory, which goes from length to length and computes each record's checksum;
//! it decodes nothing and gives nothing out. By turns, who goes first drawn by lot; the first round is thrown away.
//!
//! Run by `figures/scan.py` as `cargo bench --bench scan -- ROUNDS EVENTS`; prints a line a round: nanoseconds an event of the
//! floor and of each subject. The log lies in the system's temporary folder, and in the page cache.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark says what it found, or why it ends"
)]

use std::{env, fs, hint::black_box, path::Path, sync::Arc, time::Instant};

use _core::{
    clock::SystemClock,
    config::{Options, Patience},
    format::{Codec, NewEvent, record_checksum, segment::RECORDS_OFFSET},
    log::{Location, Log},
    scan::Query,
};
use tempfile::TempDir;

const FIRST_EPOCH: u32 = 1;
const LENGTH_BITS: u32 = 28;
const EVENT: u32 = 1;
const BATCH_EVENTS: usize = 64;

fn main() {
    let numbers: Vec<u32> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let &[rounds, events] = numbers.as_slice() else {
        return; // `cargo test --benches` only looks whether it starts
    };
    let folder = TempDir::new().expect("a temporary folder");
    let log = filled(&folder, events);
    let segments = records(&folder.path().join("segments"));
    let count = f64::from(events);
    let works: [&dyn Fn() -> u32; 3] = [&|| plain_loop(&segments), &|| pass_over(&log), &|| give_out(&log)];
    for round in 0..=rounds {
        let mut turns: Vec<_> = works.iter().enumerate().collect();
        fastrand::shuffle(&mut turns);
        let mut found: Vec<_> = turns.into_iter().map(|(at, work)| (at, timed(count, work))).collect();
        found.sort_by_key(|(at, _)| *at);
        if round > 0 {
            let figures: Vec<_> = found.iter().map(|(_, ns)| ns.to_string()).collect();
            println!("{}", figures.join(" "));
        }
    }
}

fn filled(folder: &TempDir, events: u32) -> Log {
    let options = Options { sealing: None, ..Options::default() };
    let log = Log::open(Location::Directory(folder.path()), options, Arc::new(SystemClock))
        .expect("a new log opens");
    let payload = [7; 256];
    for _ in 0..events {
        log.append(&NewEvent::new("raw", &payload, Codec::Bytes), Patience::Wait).expect("an append");
    }
    log
}

/// What stands behind the first pages of each segment.
fn records(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the segments")
        .map(|entry| entry.expect("a segment").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a segment").split_off(RECORDS_OFFSET)).collect()
}

/// Nanoseconds an event; what was done has to have met all of them.
fn timed(count: f64, work: &dyn Fn() -> u32) -> f64 {
    let start = Instant::now();
    let found = work();
    let took = start.elapsed();
    assert!((f64::from(found) - count).abs() < 0.5, "{found} events were found, not {count}");
    took.as_secs_f64() * 1e9 / count
}

fn plain_loop(segments: &[Vec<u8>]) -> u32 {
    let mut count = 0;
    for segment in segments {
        let mut rest = segment.as_slice();
        while let Some((record, behind)) = first_record(rest) {
            assert!(
                record_checksum(FIRST_EPOCH, record.commit, record.checked) == record.stored,
                "a damaged record"
            );
            count += u32::from(record.commit >> LENGTH_BITS == EVENT);
            rest = behind;
        }
    }
    count
}

struct Record<'bytes> {
    commit: u32,
    stored: u32,
    checked: &'bytes [u8],
}

/// What `rest` begins with, and what stands behind it; nothing where no record was ever written.
fn first_record(rest: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let commit = u32::from_le_bytes(*rest.first_chunk()?);
    if commit == 0 {
        return None;
    }
    let bytes = usize::try_from(commit & ((1 << LENGTH_BITS) - 1)).ok()?;
    let (record, behind) = rest.split_at_checked(bytes)?;
    let (stored, checked) = record.split_at_checked(4)?.1.split_first_chunk()?;
    Some((Record { commit, stored: u32::from_le_bytes(*stored), checked }, behind))
}

fn pass_over(log: &Log) -> u32 {
    let query = Query { types: Some(vec!["nobody's".to_owned()]), ..Query::default() };
    let (mut scan, mut batch) = (log.read(query).expect("a scan"), Vec::new());
    scan.next_batch(&mut batch, 1, 1).expect("a batch");
    assert!(batch.is_empty(), "the filter matched");
    scan.position().map_or(0, |last| u32::try_from(last + 1).expect("a small log"))
}

fn give_out(log: &Log) -> u32 {
    let mut scan = log.read(Query::default()).expect("a scan");
    let (mut batch, mut count) = (Vec::new(), 0);
    loop {
        batch.clear();
        scan.next_batch(&mut batch, BATCH_EVENTS, usize::MAX).expect("a batch");
        if batch.is_empty() {
            return count;
        }
        count += u32::try_from(black_box(&batch).len()).expect("a batch is small");
    }
}
