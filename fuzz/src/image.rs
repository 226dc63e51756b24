//! A log's directory made of the fuzzer's input: a log that the engine once wrote, with changes, checksums made to fit.
//!
//! Input: the log to begin with, switches, then changes up to the input's end. A change names its place by a structure
//! (a page, a record) and a distance from there, so that a small mutation stays in the same structure. Owns all that;
//! knows nothing of what an opening makes of it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use _core::{
    clock::ManualClock,
    config::{Keeper, Options, Patience},
    format::{
        Codec, NewEvent,
        meta::{META_BYTES, META_FILE_BYTES},
        segment::{ENTRY_OFFSET, PAGE_BYTES, RECORDS_OFFSET},
    },
    log::{Location, Log},
};

use super::{
    input::{Input, Switches},
    ram::{Image, Ram, used_bytes},
    seal,
};

pub const ROOT: &str = "/log";

/// Both copies of META.
const SEAL_META: u32 = 0;
/// Header, entry and watermarks of each segment.
const SEAL_HEADS: u32 = 1;
const SEAL_RECORDS: u32 = 2;
/// Positions follow each other from that of the segment's entry.
const RENUMBER: u32 = 3;
/// META has a clean mark where the records of the last segment end.
const MARK_CLEAN: u32 = 4;

/// Enough to bring any two structures at odds, few enough to be quick.
const MAX_CHANGES: usize = 24;
const MAX_FILE_BYTES: usize = 128 * 1024;
const ENTERED: u32 = 0x5EAC_ED17;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/data/v1/", $name))
    };
}

/// Logs to begin with.
static BASES: LazyLock<[Image; 4]> = LazyLock::new(|| {
    let file = |path: &str, bytes: &[u8]| {
        let (path, mut bytes) = (Path::new(ROOT).join(path), bytes.to_vec());
        shrink(&path, &mut bytes);
        (path, bytes.len(), bytes)
    };
    let closed = vec![
        file("META", golden!("closed/META")),
        file("segments/0000000000000001.log", golden!("closed/segments/0000000000000001.log")),
        file("segments/0000000000000002.log", golden!("closed/segments/0000000000000002.log")),
    ];
    let died = vec![
        file("META", golden!("died/META")),
        file("segments/0000000000000001.log", golden!("died/segments/0000000000000001.log")),
        file("segments/0000000000000003.log", golden!("died/segments/0000000000000003.log")),
        file("segments/0000000000000004.log", golden!("died/segments/0000000000000004.log")),
    ];
    [closed, died, long_log(), Vec::new()]
});

/// So many events that an aggregate is read along its chain; the same bytes each time.
fn long_log() -> Image {
    let ram = Ram::of(&Vec::new());
    let options =
        Options { segment_bytes: super::log::SEGMENT_BYTES, keeper: Keeper::Manual, ..Options::default() };
    let clock = Arc::new(ManualClock::new(1_723_161_255_000_000_000));
    let log = Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options, clock).unwrap();
    for number in 0..200 {
        let id = number.to_string();
        let event = NewEvent {
            event_id: Some(&id),
            aggregate_id: Some(if number % 100 == 7 { "rare" } else { "usual" }),
            ..NewEvent::new("tick", b"{}", Codec::Json)
        };
        log.append(&event, Patience::Wait).unwrap();
    }
    log.close().unwrap();
    let mut image = ram.image();
    for (path, size, bytes) in &mut image {
        bytes.resize(*size, 0);
        seal::put(bytes, 16, &[7; 16]); // the log's own id, which is random
        shrink(path, bytes);
        *size = bytes.len();
        seal_file(path, bytes, Switches(0b11));
        if is_meta(path) {
            seal::put(bytes, PAGE_BYTES + 16, &[7; 16]);
            seal::last_four(bytes, PAGE_BYTES, META_BYTES);
        }
    }
    image.retain(|(path, ..)| !path.ends_with("LOCK"));
    image
}

/// Cuts zeros off a segment's end, and has its header say so: each byte of a file costs time, and zeros find nothing.
fn shrink(path: &Path, bytes: &mut Vec<u8>) {
    if is_segment(path) {
        bytes.truncate(used_bytes(bytes).next_multiple_of(PAGE_BYTES) + PAGE_BYTES);
        let size = bytes.len() as u64;
        seal::put(bytes, 56, &size.to_le_bytes());
        seal::segment_head(bytes);
    }
}

fn is_meta(path: &Path) -> bool {
    path.ends_with("META")
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log") && path.starts_with("/log/segments")
}

/// The files that `input` describes.
pub fn image_of(input: &mut Input<'_>) -> Image {
    let mut image = BASES[usize::from(input.u8()) % BASES.len()].clone();
    let switches = Switches(input.u8());
    for _ in 0..MAX_CHANGES {
        if input.is_empty() {
            break;
        }
        change(&mut image, input);
    }
    for (path, size, bytes) in &mut image {
        // A META cut off would grow again where it is written, which files in memory cannot; the target `meta` cuts it off.
        if is_meta(path) && bytes.len() < META_FILE_BYTES {
            bytes.resize(META_FILE_BYTES, 0);
            *size = META_FILE_BYTES;
        }
        seal_file(path, bytes, switches);
    }
    image.retain(|(_, size, _)| *size > 0);
    if switches.has(MARK_CLEAN) {
        mark_clean(&mut image);
    }
    image
}

fn change(image: &mut Image, input: &mut Input<'_>) {
    let kind = input.u8();
    let file = usize::from(input.u8());
    let count = image.len();
    let Some((path, size, bytes)) = (count > 0).then(|| &mut image[file % count]) else {
        image.push((new_path(file), MAX_FILE_BYTES / 8, vec![0; MAX_FILE_BYTES / 8]));
        return;
    };
    match kind % 8 {
        // One field, by far the most usual damage.
        0..=2 => {
            let (offset, width) = (place(path, bytes, input), input.choice(&[8, 4, 2, 1]));
            seal::put(bytes, offset, &input.u64().to_le_bytes()[..width]);
        }
        3 => {
            let offset = place(path, bytes, input);
            let length = usize::from(input.u8());
            seal::put(bytes, offset, input.take(length));
        }
        4 => add_record(bytes, input),
        5 => {
            *size = usize::from(input.u16()) * 2 % MAX_FILE_BYTES;
            bytes.resize(*size, 0);
        }
        6 => drop(image.remove(file % count)),
        _ => {
            let (size, bytes) = (*size, bytes.clone());
            let copy = new_path(usize::from(input.u8()));
            image.retain(|(path, ..)| *path != copy);
            image.push((copy, size, bytes));
        }
    }
}

fn new_path(choice: usize) -> PathBuf {
    let name = match choice % 12 {
        0 => "META".to_owned(),
        number @ 1..=6 => format!("segments/{number:016}.log"),
        7 => "segments/9999999999999999.log".to_owned(),
        8 => "segments/0000000000000005.tmp".to_owned(),
        9 => "quarantine/0000000000000004.log".to_owned(),
        10 => "snapshots/22d2ae0d6844b8f46bd0ac5dd4b18c10-0000000000000005.snap".to_owned(),
        _ => "segments/stray".to_owned(),
    };
    Path::new(ROOT).join(name)
}

/// An offset: a structure of the file and a distance from its beginning.
fn place(path: &Path, bytes: &[u8], input: &mut Input<'_>) -> usize {
    let (structure, distance) = (usize::from(input.u8()), usize::from(input.u8()));
    let mut structures = vec![0, ENTRY_OFFSET, PAGE_BYTES, 2 * PAGE_BYTES];
    if is_meta(path) {
        structures = vec![0, PAGE_BYTES];
    } else {
        structures.extend(seal::record_offsets(bytes));
    }
    structures[structure % structures.len()] + distance
}

/// A record of any kind behind the last: its length is right, all else is the fuzzer's.
fn add_record(bytes: &mut [u8], input: &mut Input<'_>) {
    let kind = u32::from(input.u8() % 16);
    let body_bytes = usize::from(input.u8());
    let body = input.take(body_bytes);
    let end = seal::record_offsets(bytes).pop().unwrap_or(RECORDS_OFFSET);
    let record_bytes = (16 + body.len()).max(48).next_multiple_of(8);
    seal::put(bytes, end, &vec![0; record_bytes]);
    seal::put(bytes, end, &((kind << 28) | record_bytes as u32).to_le_bytes());
    seal::put(bytes, end + 16, body);
}

fn seal_file(path: &Path, bytes: &mut [u8], switches: Switches) {
    if is_meta(path) && switches.has(SEAL_META) {
        seal::last_four(bytes, 0, META_BYTES);
        seal::last_four(bytes, PAGE_BYTES, META_BYTES);
    }
    if is_segment(path) && switches.has(SEAL_HEADS) {
        seal::segment_head(bytes);
    }
    if is_segment(path) && switches.has(SEAL_RECORDS) {
        let first_seq = seal::long(bytes, ENTRY_OFFSET + 8);
        seal::records(bytes, switches.has(RENUMBER).then_some(first_seq));
    }
}

/// What a close would have left in META, were all that is there the writer's own.
fn mark_clean(image: &mut Image) {
    let is_entered = |(path, _, bytes): &&mut (PathBuf, usize, Vec<u8>)| {
        is_segment(path) && seal::word(bytes, ENTRY_OFFSET) == ENTERED
    };
    let Some((_, _, last)) = image.iter_mut().filter(is_entered).max_by(|a, b| a.0.cmp(&b.0)) else { return };
    let end = seal::record_offsets(last).pop().unwrap_or(RECORDS_OFFSET) as u64;
    let first_seq = seal::long(last, ENTRY_OFFSET + 8);
    let next_seq = seal::records(last, Some(first_seq));
    let mark = [seal::long(last, 48), end, next_seq].map(u64::to_le_bytes).concat();
    for (_, _, meta) in image.iter_mut().filter(|(path, ..)| is_meta(path)) {
        for copy in [0, PAGE_BYTES] {
            seal::put(meta, copy + 92, &1_u32.to_le_bytes());
            seal::put(meta, copy + 96, &mark);
            seal::last_four(meta, copy, META_BYTES);
        }
    }
}
