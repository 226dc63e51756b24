//! What an opening says: of the file system it is asked to trust, and of what it found.

use std::{path::Path, sync::Arc};

use _core::{
    config::{Durability, Keeper, Mode, Options},
    error::Error,
    format::{
        names,
        segment::{ENTRY_BYTES, ENTRY_OFFSET, Entry, PAGE_BYTES, WATERMARK_BYTES, Watermark},
    },
    log::Log,
    scan::Query,
    vfs::{Filesystem, Vfs},
};

use super::{
    ROOT, manual, open_with, segment_file,
    support::{append, ram::Ram, read_all},
    three_segments,
};

fn on(kind: Filesystem) -> Arc<Ram> {
    let ram = Ram::of(&Vec::new());
    *ram.lies_on.lock().unwrap() = kind;
    ram
}

#[test]
fn a_file_system_that_keeps_no_promises_is_refused_by_name_unless_forced() {
    let ram = on(Filesystem::Unsupported("NFS"));
    for mode in [Mode::ReadWrite, Mode::Read] {
        let refused = open_with(&ram, Options { mode, ..manual() });
        match refused.err() {
            Some(Error::UnsupportedFilesystem { kind, .. }) => assert_eq!(kind, "NFS"),
            Some(Error::Missing { .. }) if mode == Mode::Read => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ram.image(), [], "a refused opening left something");
    let log = open_with(&ram, Options { force_filesystem: true, ..manual() }).unwrap();
    assert_eq!(log.recovery().warnings.len(), 1);
    assert!(log.recovery().warnings[0].contains("NFS"), "{:?}", log.recovery());
    log.close().unwrap();
    let refused = open_with(&ram, Options { mode: Mode::Read, ..manual() });
    assert!(matches!(refused.err(), Some(Error::UnsupportedFilesystem { .. })));
}

#[test]
fn a_doubtful_file_system_is_warned_of_and_a_dependable_one_not() {
    for (kind, warnings) in [(Filesystem::Doubtful("sand"), 1), (Filesystem::Dependable, 0)] {
        let ram = on(kind);
        let log = open_with(&ram, manual()).unwrap();
        append(&log, "t", None, "1");
        let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
        for recovery in [log.recovery(), reader.recovery()] {
            assert_eq!(recovery.warnings.len(), warnings, "{recovery:?}");
        }
    }
}

#[test]
fn an_opening_reports_what_it_found_and_did() {
    let ram = Ram::of(&Vec::new());
    let report = |log: &Log| {
        let found = log.recovery();
        (found.created, found.clean, found.epoch, found.events, found.watermark_seq)
    };
    let log = open_with(&ram, manual()).unwrap();
    assert_eq!(report(&log), (true, true, 1, 0, None));
    append(&log, "t", None, "1");
    append(&log, "t", None, "2");
    log.keep(); // syncs, and has a spare ready
    log.keep(); // stores the watermark
    append(&log, "t", None, "3");
    log.abandon();
    let log = open_with(&ram, manual()).unwrap();
    assert_eq!(report(&log), (false, false, 2, 3, Some(1)));
    assert_eq!((&log.recovery().removed_spares[..], &log.recovery().cut), (&[2][..], &None));
    let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
    assert_eq!(report(&reader), (false, false, 2, 3, Some(2)));
    log.close().unwrap();
    let log = open_with(&ram, manual()).unwrap();
    assert_eq!(report(&log), (false, true, 2, 3, Some(2)));
    assert_eq!(log.recovery().removed_spares, [0_u64; 0]);
}

#[test]
fn a_segment_without_events_whose_entry_is_damaged_is_not_stepped_over() {
    let ram = Ram::of(&Vec::new());
    for payload in [None, None, Some("1")] {
        let log = open_with(&ram, manual()).unwrap();
        if let Some(payload) = payload {
            append(&log, "t", None, payload);
            log.sync().unwrap();
        }
        log.abandon();
    }
    let image = ram.image();
    // The first two epochs have no events: their segments end at the same place and position.
    let at = image.iter().position(|(path, ..)| *path == segment_file(2)).unwrap();
    for byte in 512..576 {
        let damaged = Ram::flipped(&image, at, byte, 6);
        for mode in [Mode::Read, Mode::ReadWrite] {
            let refused = open_with(&damaged, Options { mode, ..manual() }).err();
            assert!(matches!(refused, Some(Error::Corrupt { .. })), "byte {byte} {mode:?}: {refused:?}");
        }
    }
}

/// Before each sync the result of the one before it is written down, in the one and the other page by turns (R16): who dies
/// later leaves a bound below which nothing may be missing.
#[test]
fn each_sync_writes_down_what_the_one_before_it_made_durable() {
    let ram = Ram::of(&Vec::new());
    let log = open_with(&ram, manual()).unwrap();
    for _ in 0..4 {
        append(&log, "t", None, "1");
        log.sync().unwrap();
    }
    log.abandon();
    let file = ram.open(&segment_file(1), false).unwrap();
    let marks = [PAGE_BYTES, 2 * PAGE_BYTES].map(|offset| {
        let mut bytes = [0; WATERMARK_BYTES];
        file.read_at(offset as u64, &mut bytes).unwrap();
        let mark = Watermark::decode(&bytes).unwrap();
        (mark.generation, mark.durable_seq)
    });
    // The first sync had none before it, and wrote down that nothing was there.
    assert_eq!(marks, [(4, Some(2)), (3, Some(1))]);
    let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
    assert_eq!((reader.durable_seq(), reader.recovery().watermark_seq), (Some(2), Some(2)));
}

/// In a forked child: its syncs are the parent's business.
#[test]
fn an_abandoned_handle_makes_nothing_durable_and_says_so() {
    for keeper in [Keeper::Manual, Keeper::Thread] {
        let log =
            open_with(&Ram::of(&Vec::new()), Options { durability: Durability::None, keeper, ..manual() })
                .unwrap();
        let appended = append(&log, "t", None, "1");
        log.abandon();
        assert!(matches!(log.settle(&appended, Some(Durability::Always)), Err(Error::Closed { .. })));
        assert_eq!(log.durable_seq(), None);
        log.close().unwrap();
        assert_eq!(log.durable_seq(), None);
    }
}

/// What an interrupted preparation left is ours to remove; what somebody else put there is not.
#[test]
fn a_left_over_goes_and_a_stray_file_stays_and_is_named() {
    let ram = Ram::of(&Vec::new());
    open_with(&ram, manual()).unwrap().close().unwrap();
    let left_over = Path::new(ROOT).join("segments").join(names::prepared(9));
    let strays = ["notes.txt", "segments/7.log", "segments/backup.tmp"];
    for is_clean in [true, false] {
        for path in strays.map(|name| Path::new(ROOT).join(name)).iter().chain([&left_over]) {
            ram.create(path).unwrap().allocate(1).unwrap();
        }
        for mode in [Mode::Read, Mode::ReadWrite] {
            let log = open_with(&ram, Options { mode, ..manual() }).unwrap();
            assert_eq!(
                (log.recovery().clean, &log.recovery().stray_files[..]),
                (is_clean, &strays.map(String::from)[..])
            );
            if mode == Mode::ReadWrite {
                log.abandon();
            }
        }
        assert!(ram.open(&left_over, false).is_err());
        for name in strays {
            assert!(ram.open(&Path::new(ROOT).join(name), false).is_ok(), "{name} is gone");
        }
    }
}

/// Where the one before it ended, and at which event: both have to fit, or what is in it is not the log's.
#[test]
fn a_segment_whose_entry_does_not_fit_the_one_before_is_not_read() {
    let (image, count) = three_segments();
    let changes: [fn(&mut Entry); 3] =
        [|entry| entry.prev_segment -= 1, |entry| entry.prev_end += 8, |entry| entry.first_seq += 1];
    for (at, change) in [(3, changes[0]), (2, changes[1]), (3, changes[1]), (2, changes[2]), (3, changes[2])]
    {
        let mut image = image.clone();
        let found = image.iter_mut().find(|(path, ..)| *path == segment_file(at)).unwrap();
        let bytes = &mut found.2[ENTRY_OFFSET..ENTRY_OFFSET + ENTRY_BYTES];
        let mut entry = Entry::decode(bytes.first_chunk().unwrap(), 1).unwrap().unwrap();
        let first_seq = entry.first_seq;
        change(&mut entry);
        bytes.copy_from_slice(&entry.encode(1));
        let ram = Ram::of(&image);
        let reader = open_with(&ram, Options { mode: Mode::Read, ..manual() }).unwrap();
        assert!(first_seq < count);
        assert_eq!(read_all(&reader, Query::default()).len() as u64, first_seq, "{entry:?}");
        let log = open_with(&ram, manual()).unwrap();
        let cut = log.recovery().cut.clone().unwrap();
        assert_eq!((cut.next_seq, cut.quarantine_files.len() as u64), (first_seq, 4 - at));
        append(&log, "t", Some("a"), "afterwards");
        assert_eq!(read_all(&log, Query::default()).len() as u64, first_seq + 1);
    }
}
