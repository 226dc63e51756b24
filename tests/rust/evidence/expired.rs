//! What stays of events that expired: heads and proofs go on, and damage to it is an error.

use std::{fs, sync::Arc};

use _core::{
    config::{Keeper, Options},
    error::Error,
    evidence::{Run, TreeHead},
    format::names,
    place::Place,
    verify::{Severity, Wanted, verify, verify_wanted},
    vfs::disk::Disk,
};

use super::heads::fill;
use crate::support::{Dir, open, raw, reading, small};

const LOG: [u8; 16] = [7; 16];

fn place(dir: &Dir) -> Place {
    Place { vfs: Arc::new(Disk), path: dir.path().to_owned() }
}

fn run_of(count: u64) -> Run {
    let mut run = Run::of_blocks(0);
    (0..count).for_each(|n| run.push_leaf(*blake3::hash(&n.to_le_bytes()).as_bytes()));
    run
}

#[test]
fn what_is_written_is_read_and_older_files_go() {
    let dir = Dir::new();
    let place = place(&dir);
    for count in [1, 2, 3, 100, 8191, 8192, 8193] {
        place.write_expired(LOG, &run_of(count)).unwrap();
        let read = place.read_expired(LOG, count).unwrap();
        assert_eq!((read.root(), read.end()), (run_of(count).root(), count));
    }
    place.drop_expired_before(8192).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path().join("footers")).unwrap().collect();
    assert_eq!(left.len(), 2);
    assert_eq!(place.read_expired(LOG, 0).unwrap(), Run::new(0));
}

#[test]
fn a_damaged_missing_or_foreign_file_is_an_error() {
    let dir = Dir::new();
    let place = place(&dir);
    assert!(matches!(place.read_expired(LOG, 5), Err(Error::Corrupt { .. })));
    place.drop_expired_before(5).unwrap();
    place.write_expired(LOG, &run_of(5)).unwrap();
    assert!(matches!(place.read_expired([8; 16], 5), Err(Error::Corrupt { .. })));
    let path = dir.path().join("footers").join(names::expired(5));
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        let found = place.read_expired(LOG, 5);
        assert!(matches!(found, Err(Error::Corrupt { .. } | Error::Version { .. })), "bit {bit}: {found:?}");
    }
    for bytes in [0, 63, whole.len() - 1] {
        fs::write(&path, &whole[..bytes]).unwrap();
        assert!(matches!(place.read_expired(LOG, 5), Err(Error::Corrupt { .. })));
    }
    fs::write(&path, vec![0; 5000]).unwrap();
    assert!(matches!(place.read_expired(LOG, 5), Err(Error::Corrupt { .. })));
    let other = dir.path().join("footers").join(names::expired(6));
    fs::write(&other, &whole).unwrap();
    assert!(matches!(place.read_expired(LOG, 6), Err(Error::Corrupt { .. })), "it speaks of five events");
}

#[test]
fn heads_and_proofs_go_on_when_the_first_segments_are_gone() {
    let dir = Dir::new();
    let log = open(&dir, raw());
    fill(&log, 6000);
    log.close().unwrap();
    let whole = open(&dir, reading());
    let head = whole.tree_head().unwrap();
    let segments = whole.stats().unwrap().segments;
    let first = segments[2];
    let size = first.first_seq + 1;
    let earlier = whole.prove(size - 1, Some(size)).unwrap().unwrap();
    let writer = open(&dir, Options { keeper: Keeper::Manual, ..small() });
    writer.keep();
    while writer.first_seq() < first.first_seq {
        assert_ne!(writer.retain(first.first_seq).unwrap().segments, [0; 0]);
    }
    assert_eq!(writer.tree_head().unwrap(), head);
    writer.close().unwrap();
    let place = place(&dir);
    let rest = open(&dir, reading());
    assert_eq!(rest.tree_head().unwrap(), head);
    for seq in (first.first_seq..6000).step_by(97) {
        assert!(rest.prove(seq, None).unwrap().unwrap().holds());
    }
    assert!(matches!(rest.prove(first.first_seq - 1, None), Err(Error::Truncated { .. })));
    assert_eq!(rest.prove(size - 1, Some(size)).unwrap().unwrap(), earlier);
    assert_eq!(verify(dir.path()).unwrap().findings, []);
    let wanted = Wanted { against: vec![earlier.head, head, TreeHead { tree_size: 3, ..head }], since: None };
    let verified = verify_wanted(&place, &wanted, &mut |_| ()).unwrap();
    let [expired] = &verified.findings[..] else { panic!("{verified:?}") };
    assert_eq!(
        (expired.severity, verified.heads),
        (Severity::Warning, 2),
        "the one of three events cannot be compared"
    );
    fs::remove_dir_all(dir.path().join("footers")).unwrap();
    assert_eq!(verify(dir.path()).unwrap().findings[0].kind, "expired");
    assert_eq!(verify_wanted(&place, &wanted, &mut |_| ()).unwrap().heads, 0);
    assert!(matches!(open(&dir, reading()).tree_head(), Err(Error::Corrupt { .. })));
}
