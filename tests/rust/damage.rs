//! Damage: every bit of a small log flipped, each alone; torn tails; lost files. Detected, harmless, or cut as a tail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that breaks off has failed, which is what it is for"
)]

mod support;

use std::{path::Path, sync::Arc};

use _core::{
    config::{Keeper, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    log::{Location, Log},
    scan::Query,
    verify::verify_place,
};
use support::{
    append, clock, payloads,
    ram::{Image, Ram},
    read_all, small,
};

const ROOT: &str = "/log";

fn options(mode: Mode) -> Options {
    Options { mode, keeper: Keeper::Manual, ..small() }
}

fn open(ram: &Arc<Ram>, mode: Mode) -> Result<Log, Error> {
    Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options(mode), clock())
}

/// A log of 12 events, the first 7 of them known to be durable; closed cleanly or not at all.
fn image(is_clean: bool) -> (Image, Vec<String>) {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    for number in 0..7 {
        append(&log, "trade", Some("a"), &format!("first {number}"));
    }
    log.sync().unwrap();
    log.keep();
    let events = [NewEvent {
        aggregate_id: Some("b"),
        source: "feed",
        ..NewEvent::new("batch", b"member", Codec::Json)
    }; 3];
    log.append_many(&events, Patience::Wait).unwrap();
    append(&log, "trade", Some("a"), "last 0");
    append(&log, "trade", Some("a"), "last 1");
    let all = payloads(&read_all(&log, Query::default()));
    if is_clean {
        log.close().unwrap();
    } else {
        log.abandon();
    }
    (ram.image(), all)
}

/// Reads a damaged log and holds what it serves against what was written; `None`: refused with a typed error. Only where
/// nothing but zeros is left of the last records may an opening end the log early without naming a cut.
fn served(ram: &Arc<Ram>, mode: Mode, all: &[String], may_end_early: bool, place: &str) -> Option<usize> {
    let log = match open(ram, mode) {
        Ok(log) => log,
        Err(Error::Corrupt { .. } | Error::Version { .. }) => return None,
        Err(other) => panic!("{place}: {other:?}"),
    };
    let mut events = Vec::new();
    match log.read(Query::default()).and_then(|mut scan| scan.next_batch(&mut events, usize::MAX, usize::MAX))
    {
        Ok(()) => {}
        Err(Error::Corrupt { .. } | Error::Version { .. }) => return None,
        Err(other) => panic!("{place}: {other:?}"),
    }
    let events = payloads(&events);
    assert!(all.starts_with(&events), "{place}: served {events:?}");
    if mode == Mode::ReadWrite {
        let cut = log.recovery().cut.is_some();
        assert!(
            cut || may_end_early || events.len() == all.len(),
            "{place}: lost without a word: {:?}",
            log.recovery()
        );
        append(&log, "trade", Some("a"), "afterwards");
        log.close().unwrap();
        let again = open(ram, Mode::Read).unwrap();
        let mut expected = events.clone();
        expected.push("afterwards".to_owned());
        assert_eq!(payloads(&read_all(&again, Query::default())), expected, "{place}");
    }
    Some(events.len())
}

fn flip_every_bit(is_clean: bool, mode: Mode, stride: usize) {
    let (image, all) = image(is_clean);
    let durable = if is_clean { all.len() } else { 7 };
    let mut outcomes = [0_usize; 3];
    for (at, (path, size, bytes)) in image.iter().enumerate() {
        let used = (bytes.len() + 64).min(*size);
        // Beyond the records every byte is a zero like the one before it: there a stride samples them, unless told not to.
        let stride = if std::env::var_os("EVERY_BIT").is_some() { 1 } else { stride };
        let beyond = (used..*size).step_by(stride);
        for byte in (0..used).chain(beyond) {
            for bit in 0..8 {
                let damaged = Ram::flipped(&image, at, byte, bit);
                let place = format!("{} byte {byte} bit {bit}", path.display());
                match served(&damaged, mode, &all, false, &place) {
                    None => outcomes[0] += 1,
                    Some(count) if count == all.len() => outcomes[1] += 1,
                    Some(count) => {
                        assert!(count >= durable, "{place}: a durable event was cut");
                        outcomes[2] += 1;
                    }
                }
            }
        }
    }
    let [refused, harmless, cut] = outcomes;
    println!("clean={is_clean} {mode:?}: {refused} refused, {harmless} harmless, {cut} cut as a torn tail");
    assert!(refused > 1000 && harmless > 1000);
    assert_eq!(cut > 0, !is_clean);
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_detected_or_harmless_to_a_reader() {
    flip_every_bit(true, Mode::Read, 61);
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_detected_or_harmless_to_a_writer() {
    flip_every_bit(true, Mode::ReadWrite, 509);
}

#[test]
fn every_flipped_bit_of_a_log_whose_writer_died_is_detected_or_harmless_or_cut() {
    flip_every_bit(false, Mode::Read, 61);
    flip_every_bit(false, Mode::ReadWrite, 509);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_there_and_never_below_what_was_durable() {
    let (image, all) = image(false);
    let (at, end) = last_used(&image);
    for kept in (12_288..end).rev() {
        let mut torn = image.clone();
        torn[at].2.truncate(kept);
        let place = format!("torn at {kept}");
        if let Some(count) = served(&Ram::of(&torn), Mode::ReadWrite, &all, true, &place) {
            assert!(count >= 7, "{place}");
        }
    }
}

fn last_used(image: &Image) -> (usize, usize) {
    let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let segments =
        image.iter().enumerate().filter(|(_, (path, _, bytes))| is_segment(path) && bytes.len() > 12_288);
    segments.map(|(at, (_, _, bytes))| (at, bytes.len())).next_back().unwrap()
}

#[test]
fn a_lost_file_is_corruption() {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    let payload = "x".repeat(1000);
    for _ in 0..200 {
        append(&log, "t", None, &payload);
        log.keep();
    }
    log.close().unwrap();
    let image = ram.image();
    assert!(image.len() > 4);
    let mut spares = 0;
    for at in 0..image.len() {
        let mut lost = image.clone();
        let (path, ..) = lost.remove(at);
        for mode in [Mode::Read, Mode::ReadWrite] {
            let refused = open(&Ram::of(&lost), mode);
            if path.extension().is_some_and(|kind| kind == "idx") {
                assert!(refused.is_ok(), "an index is a cache");
                continue;
            }
            assert!(
                matches!(refused, Err(Error::Corrupt { .. })),
                "{} {mode:?} {:?}",
                path.display(),
                refused.err()
            );
        }
        spares += usize::from(path.ends_with("META"));
    }
    assert_eq!(spares, 1);
}

#[test]
fn a_failed_sync_poisons_and_reading_goes_on() {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    let first = append(&log, "t", None, "1");
    log.settle(&first, Some(_core::config::Durability::Always)).unwrap();
    let second = append(&log, "t", None, "2");
    ram.fail_syncs.store(true, std::sync::atomic::Ordering::SeqCst);
    let failed = log.settle(&second, Some(_core::config::Durability::Always)).unwrap_err();
    let Error::Poisoned { committed: Some(committed), .. } = &failed else { panic!("{failed:?}") };
    assert_eq!((committed.seq, &committed.event_id), (1, &second.event_id.to_string()));
    ram.fail_syncs.store(false, std::sync::atomic::Ordering::SeqCst);
    let refused = log.append(&NewEvent::new("t", b"3", Codec::Json), Patience::Wait);
    assert!(matches!(refused, Err(Error::Poisoned { committed: None, .. })));
    assert!(matches!(log.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(log.durable_seq(), Some(0));
    assert_eq!(payloads(&read_all(&log, Query::default())), ["1", "2"]);
    assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
    drop(log);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    assert_eq!((log.recovery().clean, log.epoch()), (false, 2));
    assert_eq!(payloads(&read_all(&log, Query::default())), ["1", "2"]);
}

#[test]
fn a_full_disk_stops_the_roll_and_nothing_else() {
    let ram = Ram::of(&Vec::new());
    let log = open(&ram, Mode::ReadWrite).unwrap();
    ram.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    let payload = vec![b'x'; 1000];
    let event = NewEvent::new("t", &payload, Codec::Bytes);
    let mut taken = 0;
    let refused = loop {
        match log.append(&event, Patience::Wait) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused:?}");
    assert!(taken > 40);
    append(&log, "t", None, "a small one still fits");
    assert_eq!(read_all(&log, Query::default()).len(), taken + 1);
    log.abandon();
    drop(log);
    assert!(matches!(open(&ram, Mode::ReadWrite), Err(Error::DiskFull { .. })));
    assert_eq!(read_all(&open(&ram, Mode::Read).unwrap(), Query::default()).len(), taken + 1);
    ram.is_full.store(false, std::sync::atomic::Ordering::SeqCst);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    log.append(&event, Patience::Wait).unwrap();
    assert_eq!(read_all(&log, Query::default()).len(), taken + 2);
}

#[test]
fn verify_names_every_finding_and_a_whole_log_has_none() {
    let (image, _) = image(true);
    let verify = |image: &Image| {
        let place = _core::place::Place { vfs: Ram::of(image), path: ROOT.into() };
        verify_place(&place).unwrap()
    };
    let whole = verify(&image);
    assert_eq!((whole.findings, whole.events), (Vec::new(), 12));
    let (at, end) = last_used(&image);
    let mut damaged = image.clone();
    damaged[at].2[end - 20] ^= 1;
    damaged[0].2[20] ^= 1;
    let findings = verify(&damaged).findings;
    assert!(findings.iter().any(|finding| finding.kind == "meta"), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.path.contains("segments")), "{findings:?}");
}

#[test]
fn left_overs_of_an_interrupted_preparation_do_no_harm() {
    for is_clean in [true, false] {
        let (image, all) = image(is_clean);
        let (at, _) = last_used(&image);
        let highest = image.iter().filter(|(path, ..)| path.starts_with("/log/segments")).count();
        let next = |extension: &str| format!("/log/segments/{:016}.{extension}", highest + 1).into();
        // Killed while it wrote the next spare; killed after its rename, before META named it.
        let mut torn = image.clone();
        torn.push((next("tmp"), 65_536, vec![1, 2, 3]));
        let mut unnamed = image.clone();
        let mut header = image[at].2[..128].to_vec();
        header[48] = u8::try_from(highest + 1).unwrap();
        let sum = _core::format::checksum(&header[..124]).to_le_bytes();
        header[124..].copy_from_slice(&sum);
        unnamed.push((next("log"), 65_536, header));
        for left in [torn, unnamed] {
            let ram = Ram::of(&left);
            let log = open(&ram, Mode::ReadWrite).unwrap();
            let payload = "x".repeat(2000);
            for _ in 0..100 {
                append(&log, "t", None, &payload);
                log.keep();
            }
            log.close().unwrap();
            let events = payloads(&read_all(&open(&ram, Mode::ReadWrite).unwrap(), Query::default()));
            assert_eq!((events.len(), &events[..all.len()]), (all.len() + 100, &all[..]));
        }
    }
}

#[test]
fn a_reader_that_is_open_already_meets_damage_of_an_earlier_epoch_as_damage() {
    let (image, _) = image(false);
    let ram = Ram::of(&image);
    let log = open(&ram, Mode::ReadWrite).unwrap();
    append(&log, "t", None, "of the next epoch");
    log.abandon();
    let (at, end) = image
        .iter()
        .enumerate()
        .find_map(|(at, (_, _, bytes))| (bytes.len() > 12_288).then_some((at, bytes.len())))
        .unwrap();
    // Above every stored watermark, below where the epoch was cut.
    let path = image[at].0.clone();
    for page in [4096, 8192] {
        _core::vfs::Vfs::open(&*ram, &path, true).unwrap().write_at(page, &[0; 64]).unwrap();
    }
    let reader = open(&ram, Mode::Read).unwrap();
    _core::vfs::Vfs::open(&*ram, &path, true).unwrap().write_at(end as u64 - 200, &[0xFF; 8]).unwrap();
    let mut events = Vec::new();
    let met = reader.read(Query::default()).unwrap().next_batch(&mut events, usize::MAX, usize::MAX);
    assert!(matches!(met, Err(Error::Corrupt { .. })), "{met:?} after {} events", events.len());
}
