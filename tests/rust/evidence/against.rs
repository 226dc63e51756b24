//! Hostile edits, each with checksums that fit: a verification alone finds nothing, held against a head it names what changed.

use std::{fs, path::Path, sync::Arc};

use _core::{
    evidence::TreeHead,
    format::{
        Fixed, Kind,
        meta::Mark,
        segment::{RECORDS_OFFSET, Watermark, watermark_offset},
    },
    log::Log,
    place::Place,
    segment::{Segment, Step},
    verify::{Finding, Severity, Verification, Wanted, verify_wanted},
    vfs::disk::Disk,
};

use super::heads::fill;
use crate::support::{
    Dir, append,
    forge::{read_at, reseal, segment_path, write_at},
    open, raw, reading, small,
};

fn place(path: &Path) -> Place {
    Place { vfs: Arc::new(Disk), path: path.to_owned() }
}

pub fn verified(path: &Path, against: &[TreeHead]) -> Verification {
    let wanted = Wanted { against: against.to_vec(), since: None };
    verify_wanted(&place(path), &wanted, &mut |_| ()).unwrap()
}

/// What is found against the heads where checksums, positions and chains are whole.
fn found(path: &Path, against: &[TreeHead]) -> Vec<Finding> {
    assert_eq!(verified(path, &[]).findings, [], "without heads nothing is found");
    verified(path, against).findings
}

/// The one error: first and last event, file name, offset.
fn the_one(findings: &[Finding]) -> (Option<u64>, Option<u64>, String, u64) {
    let [finding] = findings else { panic!("{findings:?}") };
    assert_eq!((finding.severity, finding.kind), (Severity::Error, "anchor"));
    let file = Path::new(&finding.path).file_name().unwrap().to_str().unwrap().to_owned();
    (finding.first_seq, finding.last_seq, file, finding.offset)
}

/// A log of `count` events in several segments, closed; with a head after each of `sizes`.
pub fn anchored(dir: &Dir, count: u64, sizes: &[u64]) -> Vec<TreeHead> {
    let log = open(dir, raw());
    let mut heads = Vec::new();
    let mut size = 0;
    for next in sizes.iter().copied().chain([count]) {
        fill(&log, next - size);
        size = next;
        log.sync().unwrap();
        heads.push(log.tree_head().unwrap());
    }
    log.close().unwrap();
    heads
}

/// Position, offset and bytes of each event of a segment.
fn events(log: &Path, number: u64) -> (u32, Vec<(Fixed, u64, Vec<u8>)>) {
    let place = place(log);
    let id = place.read_meta().unwrap().unwrap().log_id;
    let opened = place.open_segment(number, &id).unwrap();
    let segment = Segment::new(opened.path, opened.header, opened.entry.unwrap());
    let mut walk = segment.walk(&Disk).unwrap();
    let mut found = Vec::new();
    while let Step::Event(fixed) = walk.step() {
        found.push((fixed, walk.record_offset as u64, walk.record().to_vec()));
    }
    (opened.header.epoch, found)
}

/// Makes an event of the first segment say something else, checksum included.
pub fn forge_payload(log: &Path, at: usize) {
    let (epoch, events) = events(log, 1);
    let (_, offset, record) = &events[at];
    let mut forged = record.clone();
    let digit = forged.windows(5).position(|bytes| bytes == b"{\"n\":").unwrap() + 5;
    forged[digit] = b'9';
    reseal(&mut forged, epoch);
    write_at(&segment_path(log, 1), *offset, &forged);
}

#[test]
fn an_untouched_log_fits_every_head() {
    let dir = Dir::new();
    let heads = anchored(&dir, 4000, &[0, 1, 64, 1000, 3999]);
    let verification = verified(dir.path(), &heads);
    assert_eq!((verification.findings, verification.heads), (vec![], 6));
}

#[test]
fn a_changed_payload_is_named_between_the_heads_around_it() {
    let dir = Dir::new();
    let heads = anchored(&dir, 4000, &[100, 200, 300, 3000]);
    let (_, events) = events(dir.path(), 1);
    forge_payload(dir.path(), 250);
    let (first, last, file, offset) = the_one(&found(dir.path(), &heads));
    assert_eq!((first, last), (Some(200), Some(299)));
    assert_eq!((file.as_str(), offset), ("0000000000000001.log", events[200].1));
    // One head says less.
    let (first, last, _, offset) = the_one(&found(dir.path(), &heads[4..]));
    assert_eq!((first, last, offset), (Some(0), Some(3999), events[0].1));
    // None that ends before the change says anything.
    assert_eq!(found(dir.path(), &heads[..2]), []);
}

#[test]
fn two_events_that_changed_places_are_found() {
    let dir = Dir::new();
    let log = open(&dir, raw());
    (0..10).for_each(|n| drop(append(&log, "trade", None, &format!("{{\"n\":{n}}}"))));
    log.sync().unwrap();
    let head = log.tree_head().unwrap();
    log.close().unwrap();
    let (epoch, events) = events(dir.path(), 1);
    let [(one, at_one, first), (two, at_two, second)] = [&events[3], &events[6]];
    assert_eq!(first.len(), second.len());
    for (seq, offset, record) in [(two.seq, at_two, first), (one.seq, at_one, second)] {
        let mut moved = record.clone();
        moved[8..16].copy_from_slice(&seq.to_le_bytes());
        reseal(&mut moved, epoch);
        write_at(&segment_path(dir.path(), 1), *offset, &moved);
    }
    let (first, last, ..) = the_one(&found(dir.path(), &[head]));
    assert_eq!((first, last), (Some(0), Some(9)));
}

#[test]
fn a_forged_dictionary_makes_no_other_event_type() {
    let dir = Dir::new();
    let heads = anchored(&dir, 10, &[]);
    let path = segment_path(dir.path(), 1);
    let record: [u8; 56] = read_at(&path, RECORDS_OFFSET as u64);
    let mut record = record.to_vec();
    let epoch = place(dir.path()).read_meta().unwrap().unwrap().epoch;
    assert_eq!(Fixed::check(&record, epoch).unwrap().kind, Kind::Dictionary);
    let at = record.windows(5).position(|bytes| bytes == b"trade").unwrap();
    record[at..at + 5].copy_from_slice(b"trick");
    reseal(&mut record, epoch);
    write_at(&path, RECORDS_OFFSET as u64, &record);
    let (first, last, ..) = the_one(&found(dir.path(), &heads));
    assert_eq!((first, last), (Some(0), Some(9)));
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    fs::copy(from.join("META"), to.join("META")).unwrap();
    for file in fs::read_dir(from.join("segments")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join("segments").join(file.file_name())).unwrap();
    }
}

#[test]
fn a_rolled_back_copy_has_fewer_events_than_the_head() {
    let (dir, old) = (Dir::new(), Dir::new());
    let heads = anchored(&dir, 500, &[]);
    copy(dir.path(), old.path());
    let log = open(&dir, raw());
    fill(&log, 250);
    log.sync().unwrap();
    let newer = log.tree_head().unwrap();
    log.close().unwrap();
    assert_eq!(found(dir.path(), &[heads[0], newer]), []);
    let findings = found(old.path(), &[heads[0], newer]);
    let (first, last, file, offset) = the_one(&findings);
    assert_eq!((first, last), (Some(500), Some(749)));
    assert_eq!(file, "0000000000000001.log");
    assert!(offset > 0 && findings[0].message.contains("rolled back"), "{findings:?}");
    // Written on, the copy is another history: as long, and different.
    let log = open(&old, raw());
    (0..400).for_each(|_| drop(append(&log, "trade", None, "{}")));
    log.close().unwrap();
    let (first, last, ..) = the_one(&found(old.path(), &[heads[0], newer]));
    assert_eq!((first, last), (Some(500), Some(749)));
}

#[test]
fn a_removed_tail_is_missed() {
    let dir = Dir::new();
    let heads = anchored(&dir, 100, &[]);
    let (epoch, events) = events(dir.path(), 1);
    let (_, offset, _) = events[90];
    let end = events[99].1 + events[99].2.len() as u64;
    let path = segment_path(dir.path(), 1);
    write_at(&path, offset, &vec![0; usize::try_from(end - offset).unwrap()]);
    for generation in 1..3 {
        let mark = Watermark { generation, epoch, segment: 1, durable_seq: Some(89), durable_offset: offset };
        write_at(&path, watermark_offset(generation) as u64, &mark.encode());
    }
    let place = place(dir.path());
    let mut meta = place.read_meta().unwrap().unwrap();
    meta.clean = Some(Mark { segment: 1, offset, next_seq: 90 });
    place.write_meta(&mut meta).unwrap();
    let (first, last, _, at) = the_one(&found(dir.path(), &heads));
    assert_eq!((first, last, at), (Some(90), Some(99), offset));
}

#[test]
fn another_log_is_told_from_this_one() {
    let (one, two) = (Dir::new(), Dir::new());
    let (first, second) = (anchored(&one, 10, &[]), anchored(&two, 10, &[]));
    let findings = found(two.path(), &first);
    assert!(findings[0].message.contains("is of log"), "{findings:?}");
    assert_eq!(the_one(&findings).0, None);
    // Among heads of several logs, those of this one count.
    let verification = verified(two.path(), &[first[0], second[0]]);
    assert_eq!((verification.findings, verification.heads), (vec![], 1));
}

#[test]
fn behind_damage_no_head_can_be_compared() {
    let dir = Dir::new();
    let heads = anchored(&dir, 4000, &[100, 3000]);
    let (_, events) = events(dir.path(), 1);
    write_at(&segment_path(dir.path(), 1), events[150].1 + 60, &[0xFF; 4]);
    let verification = verified(dir.path(), &heads);
    assert_eq!(verification.heads, 1, "the one before the damage");
    let (first, last, ..) =
        the_one(&verification.findings.into_iter().filter(|one| one.kind == "anchor").collect::<Vec<_>>());
    assert_eq!((first, last), (Some(150), Some(3999)));
}

#[test]
fn a_head_of_another_history_is_told_from_a_change() {
    let dir = Dir::new();
    let heads = anchored(&dir, 300, &[100, 200]);
    let forged = TreeHead { root: [1; 32], ..heads[1] };
    let findings = found(dir.path(), &[heads[0], forged, heads[2]]);
    assert!(findings[0].message.contains("another history"), "{findings:?}");
    assert_eq!((the_one(&findings).0, the_one(&findings).1), (Some(100), Some(199)));
}

#[test]
fn since_passes_over_what_was_full_before_and_takes_no_heads() {
    let dir = Dir::new();
    let clock = crate::support::clock();
    let location = _core::log::Location::Directory(dir.path());
    let log = Log::open(location, small(), clock.clone()).unwrap();
    fill(&log, 1000);
    clock.advance(1_000_000_000);
    let since = _core::clock::Clock::now_ns(&*clock);
    fill(&log, 3000);
    log.close().unwrap();
    let all = verified(dir.path(), &[]);
    let wanted = Wanted { since: Some(since), ..Wanted::default() };
    let mut told = Vec::new();
    let some = verify_wanted(&place(dir.path()), &wanted, &mut |bytes| told.push(bytes)).unwrap();
    assert_eq!(some.findings, []);
    assert!(some.segments < all.segments && some.events >= 3000, "{some:?}");
    let head = open(&dir, reading()).tree_head().unwrap();
    let both = Wanted { against: vec![head], ..wanted };
    assert!(verify_wanted(&place(dir.path()), &both, &mut |_| ()).is_err());
}
