//! The trees that sealed segments bring: heads are made of them, verification makes them again, damage and forgeries show.

use std::{fs, os::unix::fs::FileExt, path::Path};

use _core::{
    config::{Compression, Keeper, Options},
    error::Error,
    format::sealed::{SEALED_HEADER_BYTES, SealedHeader, Stored},
    log::Log,
    verify::{Finding, Severity},
};

use super::{
    against::{anchored, copy, forge_payload, verified},
    heads::root_of,
};
use crate::support::{Dir, open, raw, reading, small};

/// Seals every full segment of a log that is closed. Without a closing index, whose headers would stand in for those here.
fn seal_all(dir: &Dir) {
    let sealing = Some(Compression::Zstd);
    let options = Options { keeper: Keeper::Manual, sealing, index_from: u64::MAX, ..small() };
    let log = open(dir, options);
    log.keep();
    let stats = log.stats().unwrap();
    assert_eq!((stats.problem, stats.segments[0].is_sealed), (None, true));
    log.close().unwrap();
}

fn sealed_path(log: &Path) -> std::path::PathBuf {
    log.join("segments/0000000000000001.seg")
}

fn header(file: &[u8]) -> SealedHeader {
    SealedHeader::decode(file.first_chunk::<SEALED_HEADER_BYTES>().unwrap()).unwrap()
}

fn with_header(file: &mut [u8], header: SealedHeader) {
    file[..SEALED_HEADER_BYTES].copy_from_slice(&header.encode());
}

/// Those of kind `tree`, by their events.
fn tree_findings(findings: &[Finding]) -> Vec<(Severity, Option<u64>, Option<u64>)> {
    let trees = findings.iter().filter(|finding| finding.kind == "tree");
    trees.map(|finding| (finding.severity, finding.first_seq, finding.last_seq)).collect()
}

#[test]
fn a_head_is_made_of_them_without_reading_a_record() {
    let dir = Dir::new();
    let head = anchored(&dir, 12_000, &[])[0];
    seal_all(&dir);
    let path = sealed_path(dir.path());
    let first_block = SEALED_HEADER_BYTES as u64 + 9;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 64], first_block).unwrap();
    let log = open(&dir, reading());
    assert_eq!(
        log.tree_head().unwrap(),
        head,
        "the records of the first block are gone, their hashes are not"
    );
    assert!(matches!(log.prove(3, None), Err(Error::Corrupt { .. })), "a proof needs the record");
    let findings = verified(dir.path(), &[]).findings;
    assert_eq!((findings[0].kind, findings[0].first_seq), ("segment", Some(0)));
}

#[test]
fn segments_of_builds_before_there_were_trees_are_hashed() {
    let dir = Dir::new();
    let heads = anchored(&dir, 9_000, &[5_000]);
    seal_all(&dir);
    let path = sealed_path(dir.path());
    let mut file = fs::read(&path).unwrap();
    let whole = header(&file);
    with_header(&mut file, SealedHeader { tree: Stored::default(), ..whole });
    fs::write(&path, &file[..usize::try_from(whole.tree.offset).unwrap()]).unwrap();
    let log = open(&dir, reading());
    assert_eq!(log.tree_head().unwrap(), heads[1]);
    assert!(log.prove(17, Some(5_000)).unwrap().is_some_and(|proof| proof.holds() && proof.head == heads[0]));
    assert_eq!(verified(dir.path(), &heads).findings, []);
}

/// The head that a log has after each of these, in a handle that was asked before and after each sealing.
#[test]
fn a_handle_goes_on_from_the_middle_of_a_segment_that_is_sealed_meanwhile() {
    let dir = Dir::new();
    anchored(&dir, 100, &[]);
    let options = Options { keeper: Keeper::Manual, sealing: Some(Compression::Lz4), ..small() };
    let log: Log = open(&dir, options);
    for more in [50, 2_000, 1, 3_000, 700] {
        log.sync().unwrap();
        let size = log.tree_head().unwrap().tree_size;
        super::heads::fill(&log, more);
        log.keep();
        log.sync().unwrap();
        let head = log.tree_head().unwrap();
        assert_eq!(head.tree_size, size + more);
        assert_eq!(head.root, root_of(&log, usize::try_from(head.tree_size).unwrap()));
    }
    assert!(log.stats().unwrap().segments[0].is_sealed);
}

#[test]
fn every_flipped_bit_of_a_tree_is_found_and_does_no_harm() {
    let dir = Dir::new();
    let head = anchored(&dir, 3_000, &[])[0];
    seal_all(&dir);
    let path = sealed_path(dir.path());
    let sound = fs::read(&path).unwrap();
    let tree = header(&sound).tree;
    let range = usize::try_from(tree.offset).unwrap()..sound.len();
    assert!(range.len() >= 64);
    for bit in (range.start * 8..range.end * 8).step_by(61) {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(open(&dir, reading()).tree_head().unwrap(), head, "bit {bit}: made of the records");
        let findings = verified(dir.path(), &[]).findings;
        assert_eq!(tree_findings(&findings).len(), 1, "bit {bit}: {findings:?}");
    }
}

#[test]
fn an_event_forged_with_all_its_checksums_differs_from_its_tree_or_from_a_head() {
    let (dir, other) = (Dir::new(), Dir::new());
    let heads = anchored(&dir, 4_000, &[100, 200, 300, 3_000]);
    copy(dir.path(), other.path());
    forge_payload(other.path(), 250);
    seal_all(&dir);
    seal_all(&other);
    let (path, forged) = (sealed_path(dir.path()), fs::read(sealed_path(other.path())).unwrap());
    let sound = fs::read(&path).unwrap();

    // With its own tree nothing contradicts it, but a head.
    fs::write(&path, &forged).unwrap();
    assert_eq!(verified(dir.path(), &[]).findings, []);
    let findings = verified(dir.path(), &heads).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].kind, findings[0].first_seq, findings[0].last_seq),
        ("anchor", Some(200), Some(299))
    );
    assert_ne!(open(&dir, reading()).tree_head().unwrap(), heads[4]);

    // With the tree of the events that were there it shows without one.
    let (was, mut now) = (header(&sound), header(&forged));
    let mut mixed = forged[..usize::try_from(now.tree.offset).unwrap()].to_vec();
    now.tree = Stored { offset: now.tree.offset, ..was.tree };
    with_header(&mut mixed, now);
    mixed.extend_from_slice(&sound[usize::try_from(was.tree.offset).unwrap()..]);
    fs::write(&path, &mixed).unwrap();
    let found = tree_findings(&verified(dir.path(), &[]).findings);
    assert_eq!(found, [(Severity::Error, Some(0), Some(511))], "the subtree that event 250 is in");
    assert_eq!(open(&dir, reading()).tree_head().unwrap(), heads[4], "a head is made of the tree");
}

#[test]
fn what_expires_takes_its_tree_along() {
    let dir = Dir::new();
    let head = anchored(&dir, 6_000, &[])[0];
    seal_all(&dir);
    let log = open(&dir, raw());
    let second = log.stats().unwrap().segments[1];
    log.retain(second.first_seq).unwrap();
    assert_eq!(log.first_seq(), second.first_seq);
    assert_eq!(log.tree_head().unwrap().root, head.root);
    log.close().unwrap();
    assert_eq!(open(&dir, reading()).tree_head().unwrap().root, head.root);
    assert_eq!(verified(dir.path(), &[head]).findings, []);
}
