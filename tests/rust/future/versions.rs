//! Headers of a newer build: an unknown version or an incompatible feature refuses, a compatible one does not.

use std::path::{Path, PathBuf};

use _core::{
    config::Mode,
    format::{blob::Blob, meta::META_BYTES, names, segment::HEADER_BYTES, segment::PAGE_BYTES},
    scan::Query,
};

use super::{End, assert_refused, open, young_log};
use crate::support::{
    Dir, append,
    forge::{change, read_at, segment_path},
    payloads, read_all, read_snapshots,
};

const VERSION: usize = 8;
const INCOMPATIBLE: usize = 32;
const COMPATIBLE: usize = 40;

fn meta_path(dir: &Dir) -> PathBuf {
    dir.path().join("META")
}

/// Stores `value` at `at` of both copies of META.
fn change_meta(dir: &Dir, at: usize, value: u8) {
    for copy in [0, PAGE_BYTES as u64] {
        change::<META_BYTES>(&meta_path(dir), copy, |bytes| bytes[at] = value);
    }
}

fn change_header(path: &Path, at: usize, value: u8) {
    change::<HEADER_BYTES>(path, 0, |bytes| bytes[at] = value);
}

#[test]
fn a_newer_format_version_is_refused_by_name() {
    for how in [End::Closed, End::Died] {
        let dir = Dir::new();
        young_log(&dir, how);
        change_meta(&dir, VERSION, 2);
        assert_refused(&dir, &meta_path(&dir), "format version 2", "version 1");

        let dir = Dir::new();
        young_log(&dir, how);
        let segment = segment_path(dir.path(), 1);
        change_header(&segment, VERSION, 2);
        assert_refused(&dir, &segment, "format version 2", "version 1");
    }
}

#[test]
fn an_incompatible_feature_is_refused_by_name() {
    for how in [End::Closed, End::Died] {
        let dir = Dir::new();
        young_log(&dir, how);
        change_meta(&dir, INCOMPATIBLE, 4);
        assert_refused(&dir, &meta_path(&dir), "unknown feature bits 0x4", "feature bits 0x0");

        let dir = Dir::new();
        young_log(&dir, how);
        let segment = segment_path(dir.path(), 1);
        change_header(&segment, INCOMPATIBLE + 7, 0x80);
        assert_refused(&dir, &segment, "unknown feature bits 0x8000000000000000", "feature bits 0x0");
    }
}

/// A spare counts too: its header says what the records in it will be.
#[test]
fn a_spare_of_a_newer_build_is_refused() {
    let dir = Dir::new();
    let log = open(dir.path(), Mode::ReadWrite).unwrap();
    log.keep();
    log.close().unwrap();
    drop(log);
    let spare = segment_path(dir.path(), 2);
    change_header(&spare, VERSION, 2);
    assert_refused(&dir, &spare, "format version 2", "version 1");
}

#[test]
fn a_compatible_feature_is_ignored() {
    for how in [End::Closed, End::Died] {
        let dir = Dir::new();
        young_log(&dir, how);
        change_meta(&dir, COMPATIBLE, 0xFF);
        change_header(&segment_path(dir.path(), 1), COMPATIBLE, 0xFF);
        let reader = open(dir.path(), Mode::Read).unwrap();
        assert_eq!(payloads(&read_all(&reader, Query::default())), ["0", "1", "2"]);
        assert_eq!(_core::verify::verify(dir.path()).unwrap().findings, []);
        let writer = open(dir.path(), Mode::ReadWrite).unwrap();
        append(&writer, "trade", Some("a"), "3");
        writer.close().unwrap();
        assert_eq!(payloads(&read_all(&reader, Query::default())), ["0", "1", "2", "3"]);
        // A writer that does not know the bit cannot answer for what it promises; a segment's header is never rewritten.
        let meta: [u8; META_BYTES] = read_at(&meta_path(&dir), 0);
        let header: [u8; HEADER_BYTES] = read_at(&segment_path(dir.path(), 1), 0);
        assert_eq!((meta[COMPATIBLE], header[COMPATIBLE]), (0, 0xFF));
    }
}

/// One strange copy of META may as well be a flipped bit: the other one holds.
#[test]
fn one_strange_copy_of_meta_refuses_nothing() {
    for (at, value) in [(VERSION, 2), (INCOMPATIBLE, 1), (0, 0)] {
        for copy in [0, PAGE_BYTES as u64] {
            let dir = Dir::new();
            young_log(&dir, End::Closed);
            change::<META_BYTES>(&meta_path(&dir), copy, |bytes| bytes[at] = value);
            let log = open(dir.path(), Mode::ReadWrite).unwrap();
            assert_eq!(payloads(&read_all(&log, Query::default())), ["0", "1", "2"]);
        }
    }
}

#[test]
fn a_snapshot_of_a_newer_build_is_no_snapshot() {
    let dir = Dir::new();
    let log = open(dir.path(), Mode::ReadWrite).unwrap();
    log.write_snapshot("a", 5, b"state", 2).unwrap();
    assert_eq!(read_snapshots(&log, "a"), [(5, Some(b"state".to_vec()))]);
    let path = dir.path().join("snapshots").join(names::snapshot("a", 5));
    let mut bytes = Blob { log_id: log.log_id(), seq: 5, key: "a", payload: b"state" }.encode();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    bytes[VERSION] = 2;
    bytes[12..16].fill(0);
    let sum = _core::format::checksum(&bytes).to_le_bytes();
    bytes[12..16].copy_from_slice(&sum);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read_snapshots(&log, "a"), [(5, None)]);
}
