//! The engine without Python: append of 256 opaque bytes.
//!
//! For comparing two commits on one machine; claims are made as ratios by `bench_figures.py`. Criterion's own
//! output lies under target/criterion. The log lies in the system's temporary folder: mind whether that is a disk.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot start says why and ends")]

use std::{sync::Arc, time::Duration};

use _core::{
    clock::SystemClock,
    config::{Options, Patience},
    format::{Codec, NewEvent},
    log::{Location, Log},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

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

criterion_group!(benches, append);
criterion_main!(benches);
