//! Sealed segments: the same events, bit for bit, by the same queries; damage named; what is a cache made again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

mod support;

use std::{fs, path::PathBuf};

use _core::{
    config::{Compression, Keeper, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::Log,
    scan::{Query, StoredEvent},
    verify::verify,
};
use fastrand::Rng;
use support::{Dir, append, open, read_all, seqs, small};

/// Without a closing index, which would stand in for headers and the newest of the indexes here.
fn manual(sealing: Option<Compression>) -> Options {
    Options { keeper: Keeper::Manual, sealing, index_from: u64::MAX, ..small() }
}

fn reader() -> Options {
    Options { mode: Mode::Read, ..small() }
}

fn whole(events: &[StoredEvent]) -> Vec<(Vec<u8>, u32, String)> {
    let text = |event: &StoredEvent| format!("{:?}", event.view().unwrap());
    events.iter().map(|event| (event.bytes.to_vec(), event.epoch, text(event))).collect()
}

/// Events in all the shapes that records have.
fn append_any(log: &Log, dice: &mut Rng, count: usize) {
    let outsize = "t".repeat(90);
    let tags = [("a", ""), (outsize.as_str(), "ü")];
    for _ in 0..count {
        let uuid = format!("018f3c9e-{:04x}-7abc-8def-0123456789ab", dice.u16(..9));
        let given = format!("{:08x}-1111-4abc-8def-0123456789ab", dice.u32(..));
        let aggregate = format!("agg-{}", dice.u8(..30));
        let known = log.last_seq().unwrap().map(|seq| seq.saturating_sub(dice.u64(..9)));
        let cause = known.map(|seq| id_of(log, seq));
        let payload = vec![b'"'; dice.usize(..200)];
        let event = NewEvent {
            event_id: [None, None, None, Some(given.as_str())][dice.usize(..4)].filter(|_| dice.u8(..9) > 0),
            aggregate_id: [None, Some(aggregate.as_str()), Some(uuid.as_str())][dice.usize(..3)],
            correlation_id: [None, Some("talk"), Some(uuid.as_str())][dice.usize(..3)],
            causation_id: cause.as_deref().filter(|_| dice.bool()),
            source: ["", "desk", &outsize][dice.usize(..3)],
            schema_version: [None, Some("1.2.0")][dice.usize(..2)],
            event_time_ns: dice.bool().then(|| dice.i64(..)),
            tags: [&[][..], &[("a", "b")], &tags[..]][dice.usize(..3)],
            lossy: dice.bool(),
            ..NewEvent::new(["order", "trade", &outsize][dice.usize(..3)], &payload, Codec::Bytes)
        };
        match dice.u8(..12) {
            0 => {
                drop(
                    log.append_many(&[event, NewEvent { event_id: None, ..event }], Patience::Wait).unwrap(),
                );
            }
            _ => drop(log.append(&event, Patience::Wait).unwrap()),
        }
    }
}

fn id_of(log: &Log, seq: u64) -> String {
    let query = Query { after: seq.checked_sub(1), up_to: Some(seq), ..Query::default() };
    read_all(log, query)[0].view().unwrap().event_id.to_string()
}

fn files(dir: &Dir, kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.path().join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == kind))
        .collect();
    found.sort();
    found
}

/// A log with sealed segments, and what it held before they were.
fn sealed_log(dir: &Dir, compression: Compression, seed: u64, count: usize) -> Vec<(Vec<u8>, u32, String)> {
    let log = open(dir, manual(None));
    append_any(&log, &mut Rng::with_seed(seed), count);
    let before = whole(&read_all(&log, Query::default()));
    log.close().unwrap();
    let log = open(dir, manual(Some(compression)));
    log.keep();
    assert!(log.stats().unwrap().segments.iter().rev().skip(1).all(|segment| segment.is_sealed));
    assert_eq!(log.stats().unwrap().problem, None);
    log.close().unwrap();
    before
}

#[test]
fn a_sealed_log_serves_the_very_same_records_in_every_compression() {
    for (seed, compression) in
        [Compression::Zstd, Compression::Lz4, Compression::None].into_iter().enumerate()
    {
        let dir = Dir::new();
        let before = sealed_log(&dir, compression, seed as u64, 2_000);
        assert!(files(&dir, "seg").len() > 3);
        assert!(files(&dir, "log").len() <= 2, "the segment that is written, and a spare");
        assert_eq!(files(&dir, "idx").len(), files(&dir, "seg").len());
        for mode in [Mode::Read, Mode::ReadWrite] {
            let log = open(&dir, Options { mode, ..manual(Some(compression)) });
            assert!(log.recovery().clean && log.recovery().warnings.is_empty());
            assert_eq!(whole(&read_all(&log, Query::default())), before);
            // By position, the last first: no walk from the front has been there.
            for seq in (0..before.len() as u64).rev().step_by(37) {
                let one =
                    read_all(&log, Query { after: seq.checked_sub(1), up_to: Some(seq), ..Query::default() });
                assert_eq!(whole(&one), before[usize::try_from(seq).unwrap()..][..1]);
            }
            log.close().unwrap();
        }
        assert_eq!(verify(dir.path()).unwrap().findings, []);
    }
}

#[test]
fn heads_and_proofs_are_the_same_of_raw_and_of_sealed_segments() {
    let dir = Dir::new();
    let log = open(&dir, manual(None));
    append_any(&log, &mut Rng::with_seed(21), 1_500);
    log.sync().unwrap();
    let head = log.tree_head().unwrap();
    let proof = log.prove(700, None).unwrap();
    log.close().unwrap();
    let log = open(&dir, manual(Some(Compression::Zstd)));
    log.keep();
    assert!(files(&dir, "seg").len() > 3);
    log.close().unwrap();
    let log = open(&dir, reader());
    assert_eq!(log.tree_head().unwrap(), head);
    assert_eq!(log.prove(700, None).unwrap(), proof);
    let wanted = _core::verify::Wanted { against: vec![head], since: None };
    let place =
        _core::place::Place { vfs: std::sync::Arc::new(_core::vfs::disk::Disk), path: dir.path().to_owned() };
    let found = _core::verify::verify_wanted(&place, &wanted, &mut |_| ()).unwrap();
    assert_eq!((found.findings, found.heads), (Vec::new(), 1));
}

#[test]
fn appends_go_on_from_the_versions_that_an_index_knows() {
    let dir = Dir::new();
    let before = sealed_log(&dir, Compression::Zstd, 7, 2_000);
    let heads =
        |log: &Log| (0..30).map(|n| log.aggregate_version(&format!("agg-{n}")).unwrap()).collect::<Vec<_>>();
    let log = open(&dir, manual(Some(Compression::Zstd)));
    let known = heads(&log);
    assert_eq!(known.iter().flatten().count(), 30);
    log.close().unwrap();
    // Without them: read from the segments, told, and made again.
    let indexes = files(&dir, "idx");
    fs::remove_file(&indexes[0]).unwrap();
    let newest = indexes.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    bytes[130] ^= 1;
    fs::write(newest, bytes).unwrap();
    let log = open(&dir, manual(Some(Compression::Zstd)));
    assert_eq!(heads(&log), known);
    let told = &log.recovery().warnings;
    assert!(told.iter().any(|line| line.contains("has no index")), "{told:?}");
    let next = append(&log, "order", Some("agg-3"), "x");
    assert_eq!(next.aggregate_version, Some(known[3].unwrap() + 1));
    assert_eq!(next.seq, before.len() as u64);
    log.keep();
    log.close().unwrap();
    let log = open(&dir, manual(Some(Compression::Zstd)));
    assert_eq!(log.recovery().warnings, Vec::<String>::new());
    assert_eq!(heads(&log)[4..], known[4..]);
}

#[test]
fn a_reader_that_knew_the_raw_file_goes_on_in_the_sealed_one() {
    let dir = Dir::new();
    let log = open(&dir, manual(Some(Compression::Zstd)));
    append_any(&log, &mut Rng::with_seed(3), 800);
    let beside = open(&dir, reader());
    let mut inside = beside.read(Query::default()).unwrap();
    let mut seen = Vec::new();
    inside.next_batch(&mut seen, 10, usize::MAX).unwrap();
    log.keep();
    assert!(files(&dir, "seg").len() > 1, "it was sealed under its readers");
    while {
        let before = seen.len();
        inside.next_batch(&mut seen, 99, usize::MAX).unwrap();
        seen.len() > before
    } {}
    let expected = whole(&read_all(&log, Query::default()));
    assert_eq!(whole(&seen), expected);
    assert_eq!(whole(&read_all(&beside, Query::default())), expected, "a second scan finds the sealed files");
    // One that was away while a segment was filled and sealed.
    append_any(&log, &mut Rng::with_seed(4), 800);
    log.keep();
    assert_eq!(whole(&read_all(&beside, Query::default())), whole(&read_all(&log, Query::default())));
}

/// Each bit of a small sealed segment: what is served is right as far as it goes, and the damage has its place.
#[test]
fn every_flipped_bit_of_a_sealed_segment_is_found_or_harmless() {
    let dir = Dir::new();
    let before = sealed_log(&dir, Compression::Zstd, 11, 260);
    let path = files(&dir, "seg").remove(0);
    let sound = fs::read(&path).unwrap();
    let stride = if std::env::var("EVERY_BIT").is_ok() { 1 } else { 29 };
    let (mut refused, mut harmless) = (0, 0);
    for bit in (0..sound.len() * 8).step_by(stride) {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let outcome = Log::open(_core::log::Location::Directory(dir.path()), reader(), support::clock())
            .and_then(|log| {
                let mut seen = Vec::new();
                let mut scan = log.read(Query::default())?;
                loop {
                    let count = seen.len();
                    let read = scan.next_batch(&mut seen, 1_000, usize::MAX);
                    assert!(before.starts_with(&whole(&seen)), "bit {bit}: something else was served");
                    read?;
                    if seen.len() == count {
                        return Ok(seen.len());
                    }
                }
            });
        match outcome {
            Ok(count) => {
                assert_eq!(count, before.len(), "bit {bit}");
                harmless += 1;
            }
            Err(Error::Corrupt { path: named, .. } | Error::Version { path: named, .. }) => {
                assert!(named == path || named.ends_with("META"), "bit {bit}: {}", named.display());
                refused += 1;
            }
            Err(error) => panic!("bit {bit}: {error:?}"),
        }
    }
    println!("{refused} refused, {harmless} harmless of {} bits", sound.len() * 8);
    assert!(refused > 50 * harmless, "almost every bit means something");
}

#[test]
fn a_sealed_segment_that_was_cut_off_or_swapped_is_named() {
    let dir = Dir::new();
    sealed_log(&dir, Compression::Lz4, 5, 1_500);
    let paths = files(&dir, "seg");
    let sound = fs::read(&paths[1]).unwrap();
    let other = fs::read(&paths[2]).unwrap();
    for bytes in [&sound[..100], &sound[..sound.len() / 2], &sound[..sound.len() - 1], &other[..]] {
        fs::write(&paths[1], bytes).unwrap();
        let findings = verify(dir.path()).unwrap().findings;
        assert!(findings.iter().any(|one| one.path == paths[1].display().to_string()), "{findings:?}");
    }
    fs::remove_file(&paths[1]).unwrap();
    let missing = verify(dir.path()).unwrap().findings;
    assert!(missing.iter().any(|one| one.message.contains("missing")), "{missing:?}");
}

#[test]
fn readers_and_writers_without_sealing_leave_full_segments_raw() {
    let dir = Dir::new();
    let log = open(&dir, manual(None));
    append_any(&log, &mut Rng::with_seed(1), 600);
    log.keep();
    assert_eq!(files(&dir, "seg"), Vec::<PathBuf>::new());
    assert_eq!(seqs(&read_all(&log, Query::default())).len() as u64, log.last_seq().unwrap().unwrap() + 1);
}
