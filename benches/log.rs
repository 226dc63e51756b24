//! The engine without Python: append of 256 opaque bytes, and a scan of what was appended.
//!
//! For comparing two commits on one machine; claims are made as ratios by `bench_ratios.py`. Criterion's own
//! output lies under target/criterion. The log lies in the system's temporary folder: mind whether that is a disk.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot start says why and ends")]

use std::{sync::Arc, time::Duration};

use _core::{
    clock::SystemClock,
    config::{Options, Patience},
    format::{Codec, NewEvent},
    log::{Location, Log},
    scan::Query,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

/// Enough to fill some segments of the young log.
const SCANNED_EVENTS: u64 = 100_000;

fn opened(folder: &TempDir) -> Log {
    Log::open(Location::Directory(folder.path()), Options::default(), Arc::new(SystemClock))
        .expect("a new log opens")
}

fn append(bench: &mut Criterion) {
    let folder = TempDir::new().expect("a temporary folder");
    let log = opened(&folder);
    let payload = [7; 256];
    let event = NewEvent::new("raw", &payload, Codec::Bytes);
    let mut group = bench.benchmark_group("log");
    // Each round of a fast call appends millions of records: keep what lands on the disk below a gigabyte.
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group.throughput(Throughput::Elements(1));
    group.bench_function("append 256 bytes", |round| round.iter(|| log.append(&event, Patience::Wait)));
    group.finish();
}

fn scan(bench: &mut Criterion) {
    let folder = TempDir::new().expect("a temporary folder");
    let log = opened(&folder);
    let payload = [7; 256];
    for _ in 0..SCANNED_EVENTS {
        log.append(&NewEvent::new("raw", &payload, Codec::Bytes), Patience::Wait).expect("an append");
    }
    let mut group = bench.benchmark_group("log");
    group.sample_size(20).throughput(Throughput::Elements(SCANNED_EVENTS));
    group.bench_function("scan", |round| round.iter(|| scan_all(&log)));
    group.finish();
}

fn scan_all(log: &Log) -> usize {
    let mut scan = log.read(Query::default()).expect("a scan");
    let (mut batch, mut count) = (Vec::new(), 0);
    loop {
        batch.clear();
        scan.next_batch(&mut batch, 1024, 1 << 20).expect("a batch");
        if batch.is_empty() {
            return count;
        }
        count += batch.len();
    }
}

criterion_group!(benches, append, scan);
criterion_main!(benches);
