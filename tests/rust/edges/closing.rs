//! What a closing index is worth: everything with the META that it was written for, nothing with any other.

use std::{path::PathBuf, sync::Arc};

use _core::{
    config::{Expected, Mode, Options, Patience},
    error::Error,
    format::{Codec, NewEvent},
    place::Place,
    scan::Query,
    verify::verify_place,
};

use super::{ROOT, manual, open_with};
use crate::support::{
    append, payloads,
    ram::{Image, Ram},
    read_all,
};

const EVENTS: u64 = 400;

/// Raw segments full of events of three aggregates in turn; closed.
fn closed(options: &Options) -> Arc<Ram> {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, options.clone()).unwrap();
    for number in 0..EVENTS {
        append(&log, "t", Some(&format!("a{}", number % 3)), &format!("{number:600}"));
        log.keep();
    }
    log.close().unwrap();
    ram
}

fn raw() -> Options {
    Options { sealing: None, ..manual() }
}

fn files(image: &Image, kind: &str) -> Vec<usize> {
    let is_kind = |path: &PathBuf| path.extension().is_some_and(|extension| extension == kind);
    let found = image.iter().enumerate().filter(|(_, (path, _, bytes))| is_kind(path) && bytes.len() > 128);
    found.map(|(at, _)| at).collect()
}

/// The only index there is, for logs without sealed segments.
fn index_in(image: &Image) -> usize {
    let [at] = files(image, "idx")[..] else { panic!("one index") };
    at
}

/// A record in the middle of the first raw segment damaged.
fn damaged(image: &Image) -> Image {
    let mut image = image.clone();
    let at = files(&image, "log")[0];
    image[at].2[20_000] ^= 1;
    image
}

/// Opens, and holds what it knows against a plain list; then appends, and holds that against it too.
fn assert_whole(image: &Image, options: &Options, is_clean: bool) {
    for mode in [Mode::Read, Mode::ReadWrite] {
        let ram = Ram::of(image);
        let log = open_with(&ram, Options { mode, ..options.clone() }).unwrap();
        assert_eq!((log.recovery().clean, log.recovery().events), (is_clean, EVENTS));
        for number in 0..3 {
            let version = u32::try_from((EVENTS - 1 - number) / 3).unwrap();
            assert_eq!(log.aggregate_version(&format!("a{number}")).unwrap(), Some(version));
        }
        let part = read_all(&log, Query { after: Some(EVENTS / 2), limit: Some(1), ..Query::default() });
        assert_eq!(payloads(&part), [format!("{:600}", EVENTS / 2 + 1)]);
        if mode == Mode::ReadWrite {
            let version = u32::try_from((EVENTS - 1) / 3).unwrap();
            let event = NewEvent {
                aggregate_id: Some("a0"),
                expected: Expected::Exact(version),
                ..NewEvent::new("t", b"afterwards", Codec::Json)
            };
            let appended = log.append(&event, Patience::Wait).unwrap();
            assert_eq!((appended.seq, appended.aggregate_prev), (EVENTS, Some(EVENTS - 1)));
            assert_eq!(read_all(&log, Query::default()).len() as u64, EVENTS + 1);
            log.close().unwrap();
            let again = open_with(&ram, Options { mode: Mode::Read, ..options.clone() }).unwrap();
            assert_eq!(payloads(&read_all(&again, Query::default())).last().unwrap(), "afterwards");
        }
    }
}

fn is_refused(image: &Image) -> bool {
    let refused = [Mode::Read, Mode::ReadWrite].map(|mode| {
        matches!(open_with(&Ram::of(image), Options { mode, ..raw() }), Err(Error::Corrupt { .. }))
    });
    assert_eq!(refused[0], refused[1]);
    refused[0]
}

#[test]
fn an_opening_with_it_knows_what_a_walk_finds() {
    for options in [raw(), manual()] {
        let mut image = closed(&options).image();
        assert_whole(&image, &options, true);
        let newest = *files(&image, "idx").last().unwrap();
        image.remove(newest);
        assert_whole(&image, &options, true);
    }
}

#[test]
fn with_it_damage_is_found_by_reading_and_verifying_and_without_it_by_opening() {
    let mut image = damaged(&closed(&raw()).image());
    assert!(!is_refused(&image));
    let ram = Ram::of(&image);
    let log = open_with(&ram, Options { mode: Mode::Read, ..raw() }).unwrap();
    let mut events = Vec::new();
    let met = log.read(Query::default()).unwrap().next_batch(&mut events, usize::MAX, usize::MAX);
    assert!(matches!(met, Err(Error::Corrupt { .. })), "{met:?}");
    let found = verify_place(&Place { vfs: ram, path: ROOT.into() }).unwrap();
    assert!(found.findings.iter().any(|finding| finding.kind == "record"), "{found:?}");
    image.remove(index_in(&image));
    assert!(is_refused(&image));
}

#[test]
fn a_raw_segment_that_is_missing_or_cut_off_or_out_of_line_is_corruption_with_it_too() {
    let image = closed(&raw()).image();
    let segments = files(&image, "log");
    assert!(segments.len() > 3);
    for at in segments {
        let mut missing = image.clone();
        missing.remove(at);
        assert!(is_refused(&missing), "{}", image[at].0.display());
        let mut short = image.clone();
        let size = short[at].1 - 4096;
        short[at].1 = size;
        short[at].2.truncate(size);
        assert!(is_refused(&short), "{}", image[at].0.display());
        let mut ended = image.clone();
        let end = ended[at].2.len();
        ended[at].2[end - 70] ^= 1;
        ended[at].2[end - 10] ^= 1;
        assert!(is_refused(&ended), "{}", image[at].0.display());
    }
}

#[test]
fn one_that_is_damaged_or_of_another_close_is_done_without() {
    let ram = closed(&raw());
    let first = ram.image();
    let at = index_in(&first);
    for byte in (0..first[at].2.len()).step_by(97) {
        let mut image = first.clone();
        image[at].2[byte] ^= 0x10;
        assert_whole(&image, &raw(), true);
        assert!(is_refused(&damaged(&image)), "byte {byte}");
    }
    // The next writer was killed, with and without an append: only its own close would vouch for what lies there.
    for appends in 0..2 {
        let ram = Ram::of(&first);
        let log = open_with(&ram, raw()).unwrap();
        assert!(!is_refused(&damaged(&first)));
        for _ in 0..appends {
            append(&log, "t", Some("a0"), "lived on");
        }
        log.abandon();
        assert!(is_refused(&damaged(&ram.image())));
    }
    // Closed once more at the very same place: the older index speaks of an older META.
    open_with(&ram, raw()).unwrap().close().unwrap();
    let mut second = ram.image();
    assert!(!is_refused(&damaged(&second)));
    second[at].2.clone_from(&first[at].2);
    assert_whole(&second, &raw(), true);
    assert!(is_refused(&damaged(&second)));
}

#[test]
fn the_header_of_a_sealed_segment_is_not_fetched_with_it_and_verify_looks_at_it() {
    let mut image = closed(&manual()).image();
    let at = files(&image, "seg")[1];
    image[at].2[100] ^= 1;
    let path = image[at].0.display().to_string();
    assert_whole(&image, &manual(), true);
    let found = verify_place(&Place { vfs: Ram::of(&image), path: ROOT.into() }).unwrap();
    assert!(found.findings.iter().any(|finding| finding.path == path), "{found:?}");
    image.remove(*files(&image, "idx").last().unwrap());
    assert!(is_refused(&image));
}

#[test]
fn a_close_that_cannot_write_it_is_a_clean_close() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, raw()).unwrap();
    append(&log, "t", None, "0");
    ram.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    log.close().unwrap();
    assert!(files(&ram.image(), "idx").is_empty());
    ram.is_full.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(open_with(&ram, raw()).unwrap().recovery().clean);
}

#[test]
fn a_short_log_leaves_none() {
    let options = Options { index_from: Options::default().index_from, ..raw() };
    assert!(files(&closed(&options).image(), "idx").is_empty());
}
