//! A whole log: verified, read by a reader, taken over by a writer, appended to, and opened again.
//!
//! Input: switches of its own, then an image ([`super::image`]). What must hold of any files: each call answers with a
//! value or with what an operator is told (damaged, newer, missing); a reader changes nothing; what opens serves positions
//! without a gap, to a reader and to a writer alike; and what a writer accepted stays readable, with what it appended.
//!
//! Size class, of the bytes in the files up to each one's last that is not zero: see the constants.

use std::{path::Path, sync::Arc};

use _core::{
    clock::ManualClock,
    config::{Keeper, Mode, Options, Patience},
    error::{Error, Result},
    format::{Codec, NewEvent},
    log::{Location, Log},
    place::Place,
    scan::{Direction, Query, StoredEvent},
    verify::verify_place,
};

use super::{
    allocation::allocating_at_most,
    image::{ROOT, image_of},
    input::{Input, Switches},
    ram::{Image, Ram, used_bytes},
    records::touch,
};

pub const SEGMENT_BYTES: u64 = 64 * 1024;

/// The writer dies instead of closing.
const DIE: u32 = 0;
/// The writer appends so much that it has to roll.
const APPEND_MUCH: u32 = 1;

/// An event that is read costs some 120 bytes beside its record, of which the smallest has 56; the vector that holds it
/// doubles; its aggregate is noted with a table's share and a copy of its id.
const READ_CLASS: usize = 16;
/// A finding costs some 400 bytes, its path and message included; at most one for each record.
const VERIFY_CLASS: usize = 24;
/// Paths, handles, texts of errors, and the names in the directory.
const SMALL_BYTES: usize = 32 * 1024;
/// A writer has a buffer to copy with, and holds what it cuts off, up to the segment's end.
const WRITER_BYTES: usize = 256 * 1024;

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let switches = Switches(input.u8());
    let image = image_of(&mut input);
    let used: usize = image.iter().map(|(_, _, bytes)| used_bytes(bytes)).sum();
    let ram = Ram::of(&image);
    let before = ram.image();
    let place = Place { vfs: ram.clone(), path: ROOT.into() };
    let verified = allocating_at_most(VERIFY_CLASS * used + SMALL_BYTES, || verify_place(&place));
    told(verified);
    let read = told(allocating_at_most(READ_CLASS * used + SMALL_BYTES, || serve(&ram, Mode::Read)));
    assert_eq!(ram.image(), before, "reading changed something");
    let limit = READ_CLASS * used + WRITER_BYTES;
    match (told(allocating_at_most(limit, || serve(&ram, Mode::ReadWrite))), read) {
        (Some((writer, mut events)), read) => {
            if let Some((reader, read)) = read {
                assert_eq!(seqs(&events), seqs(&read), "reader and writer do not read the same");
                look_closer(&reader, &read);
            }
            look_closer(&writer, &events);
            append_and_end(&writer, &place, switches, &mut events);
            drop(writer);
            if !is_at_its_limits(&place) {
                assert_opens_again(&ram, &events);
            }
        }
        (None, Some(_)) => assert!(is_at_its_limits(&place), "refused to a writer, served to a reader"),
        (None, None) => assert_eq!(without_lock(ram.image()), before, "a refused opening changed something"),
    }
}

fn without_lock(mut image: Image) -> Image {
    image.retain(|(path, ..)| !path.ends_with("LOCK"));
    image
}

/// Only what an operator can act upon; on this disk there are no other errors.
fn told<T>(outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(Error::Corrupt { .. } | Error::Version { .. } | Error::Missing { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn open(ram: &Arc<Ram>, mode: Mode) -> Result<Log> {
    let options = Options {
        mode,
        segment_bytes: SEGMENT_BYTES,
        keeper: Keeper::Manual,
        index_from: 0,
        ..Options::default()
    };
    let clock = Arc::new(ManualClock::new(1_723_161_255_000_000_000));
    Log::open(Location::Elsewhere(ram.clone(), Path::new(ROOT)), options, clock)
}

/// Opens and reads to the end. What opens can be read, all of it, without a gap.
fn serve(ram: &Arc<Ram>, mode: Mode) -> Result<(Log, Vec<StoredEvent>)> {
    let log = open(ram, mode)?;
    let events = read_all(&log, Query::default());
    assert_eq!(events.len() as u64, log.recovery().events);
    Ok((log, events))
}

fn read_all(log: &Log, query: Query) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    log.read(query).unwrap().next_batch(&mut events, usize::MAX, usize::MAX).unwrap();
    events
}

fn seqs(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.fixed.seq).collect()
}

/// Every event, every way to ask for it.
fn look_closer(log: &Log, events: &[StoredEvent]) {
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.fixed.seq, log.first_seq() + index as u64, "there is a gap");
        touch(&event.view().unwrap());
    }
    let mut from_the_end = read_all(log, Query { direction: Direction::Backward, ..Query::default() });
    from_the_end.reverse();
    assert_eq!(seqs(&from_the_end), seqs(events), "read backward it is another log");
    let last = events.last().map(|event| event.fixed.seq);
    assert_eq!((log.last_seq().unwrap(), log.stats().unwrap().last_seq), (last, last));
    assert!(log.durable_seq() <= last, "more is durable than there is");
    for event in [events.first(), events.get(events.len() / 2), events.last()].into_iter().flatten() {
        let seq = event.fixed.seq;
        let after = Query { after: seq.checked_sub(1), up_to: Some(seq), ..Query::default() };
        let found = if seq == log.first_seq() { vec![event.clone()] } else { read_all(log, after) };
        assert_eq!(seqs(&found), [seq]);
        let Some(id) = event.view().unwrap().aggregate_id.map(|id| id.to_string()) else { continue };
        let of_aggregate = read_all(log, Query { aggregate_id: Some(id.clone()), ..Query::default() });
        assert!(of_aggregate.is_sorted_by(|a, b| a.fixed.seq < b.fixed.seq));
        let is_its = |event: &StoredEvent| event.view().unwrap().aggregate_id.map(|id| id.to_string());
        assert!(of_aggregate.iter().all(|event| is_its(event).as_ref() == Some(&id)));
    }
}

/// What the writer accepts is added to `events`.
fn append_and_end(writer: &Log, place: &Place, switches: Switches, events: &mut Vec<StoredEvent>) {
    let count = if switches.has(APPEND_MUCH) { 200 } else { 1 };
    let member =
        NewEvent { aggregate_id: Some("usual"), ..NewEvent::new("later", &[b'y'; 400], Codec::Bytes) };
    for _ in 0..count {
        match writer.append(&member, Patience::Wait) {
            Ok(_) => {}
            Err(other) => {
                refused(&other, place);
                break;
            }
        }
    }
    writer.keep();
    if let Err(other) = writer.append_many(&[member; 3], Patience::Wait) {
        refused(&other, place);
    }
    *events = read_all(writer, Query::default());
    if switches.has(DIE) {
        writer.abandon();
    } else {
        writer.close().unwrap();
    }
}

/// An append is refused where positions or the numbers of segments end.
fn refused(error: &Error, place: &Place) {
    let is_at_an_end = matches!(error, Error::Limit { got: u64::MAX, .. })
        || (matches!(error, Error::Corrupt { .. }) && is_at_its_limits(place));
    assert!(is_at_an_end, "{error:?}");
}

/// What a writer left is a log like any other.
fn assert_opens_again(ram: &Arc<Ram>, events: &[StoredEvent]) {
    for mode in [Mode::Read, Mode::ReadWrite, Mode::Read] {
        let (log, again) = serve(ram, mode).unwrap();
        assert_eq!(seqs(&again), seqs(events), "{mode:?}");
        assert!(again.iter().zip(events).all(|(again, event)| again.bytes == event.bytes));
        drop(log);
    }
}

/// Numbers that a writer would have to raise and cannot: no log gets there, but a forged one.
fn is_at_its_limits(place: &Place) -> bool {
    let meta = place.read_meta().unwrap().unwrap();
    let highest = place.list().unwrap().segments.last().copied().unwrap_or(0).max(meta.highest_segment);
    meta.epoch == u32::MAX || highest >= 9_999_999_999_999_999 || meta.generation > u64::MAX / 2
}
