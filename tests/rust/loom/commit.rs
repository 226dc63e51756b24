//! The commit protocol (R5, R7): one writer, two readers that share nothing with it but the segment.

use std::sync::Arc;

use _core::{
    config::{Mode, Patience},
    map::WriteMap,
    segment::{Segment, Step, Walk},
    vfs::Vfs,
};

use super::{
    ram::Ram,
    stage::{ROOT, Stage, append, event, explore},
};

/// A walk over the log's only segment, by whoever has nothing but the file.
fn walk(disk: &dyn Vfs) -> Walk {
    let path = std::path::Path::new(ROOT);
    let place = _core::place::Place { vfs: Arc::new(Ram::default()), path: path.to_owned() };
    let path = place.segment_path(1);
    let file = disk.open(&path, false).unwrap();
    let mut bytes = vec![0; 4096];
    file.read_at(0, &mut bytes).unwrap();
    let header = _core::format::segment::SegmentHeader::decode(bytes.first_chunk().unwrap()).unwrap();
    let entry = bytes.get(_core::format::segment::ENTRY_OFFSET..).unwrap();
    let entry = _core::format::segment::Entry::decode(entry.first_chunk().unwrap(), header.epoch).unwrap();
    Segment::new(path, header, entry.unwrap()).walk(disk).unwrap()
}

/// Steps as far as there are records; the payloads.
fn steps(walk: &mut Walk) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match walk.step() {
            Step::Event(fixed) => {
                let view = walk.view(fixed).unwrap();
                seen.push(String::from_utf8_lossy(view.payload).into_owned());
            }
            Step::Pending => return seen,
            other => panic!("a reader met {other:?}"),
        }
    }
}

/// A reader that walks twice with one walk: what it sees is a prefix, and it never sees less than before.
fn reader(disk: &Arc<Ram>, all: &'static [&'static str]) -> loom::thread::JoinHandle<Vec<String>> {
    let disk = Arc::clone(disk);
    loom::thread::spawn(move || {
        let mut walk = walk(&*disk);
        let mut seen = steps(&mut walk);
        seen.extend(steps(&mut walk));
        assert_eq!(seen, all.get(..seen.len()).unwrap(), "not a prefix");
        seen
    })
}

#[test]
fn a_reader_sees_a_prefix_of_whole_records() {
    const ALL: &[&str] = &["1", "2"];
    explore("one writer, two readers", 2, || {
        let disk = Arc::new(Ram::default());
        let log = Stage::new(disk.clone()).open(Mode::ReadWrite).unwrap();
        let readers = [reader(&disk, ALL), reader(&disk, ALL)];
        for payload in ALL {
            append(&log, payload);
        }
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(steps(&mut walk(&*disk)), ALL);
    });
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    const ALL: &[&str] = &["1", "2", "3"];
    explore("a batch, two readers", 2, || {
        let disk = Arc::new(Ram::default());
        let log = Stage::new(disk.clone()).open(Mode::ReadWrite).unwrap();
        append(&log, "1");
        let readers = [reader(&disk, ALL), reader(&disk, ALL)];
        log.append_many(&[event("2"), event("3")], Patience::Wait).unwrap();
        for reader in readers {
            assert_ne!(reader.join().unwrap().len(), 2, "half of a batch");
        }
        assert_eq!(steps(&mut walk(&*disk)), ALL);
    });
}

/// What an append that broke off leaves behind its place is no commit word: the successor's word is made zero first.
#[test]
fn no_reader_takes_what_lies_behind_the_end_for_a_record() {
    const ALL: &[&str] = &["1", "2"];
    explore("remains behind the end", 2, || {
        let disk = Arc::new(Ram::default());
        let log = Stage::new(disk.clone()).open(Mode::ReadWrite).unwrap();
        append(&log, "1");
        let mut end = walk(&*disk);
        let before = steps(&mut end).len();
        assert_eq!(before, 1);
        let (start, next) = (end.record_offset, end.position.offset);
        let file =
            disk.open(&_core::place::Place { vfs: disk.clone(), path: ROOT.into() }.segment_path(1), true);
        let mut remains = WriteMap::new(file.unwrap().map(65536, true).unwrap());
        // Events of one size: the next one ends here.
        remains.commit(next + (next - start), 0x1000_0040);
        let readers = [reader(&disk, ALL), reader(&disk, ALL)];
        append(&log, "2");
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
