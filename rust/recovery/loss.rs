//! The way past damage, for whoever accepts the loss: the log ends where it last reads, and what lies behind goes to quarantine.
//!
//! Owns where that end is, what is lost by it, and the order of the steps. Positions are contiguous, so no event behind the
//! damage can stay in the log, also not a whole one; nothing is deleted, and salvage reads it where it then lies. Invariants:
//! each step may be repeated after a crash; until the last one an opening that accepts nothing refuses the log, or finds it
//! ending where the loss was accepted. What META says must be whole: rebuilding it is another matter.

use std::{path::Path, sync::Arc};

use super::survey::{leads_to, survey};
use crate::{
    error::{Error, Result},
    format::meta::{Mark, Meta},
    place::{Listing, OpenedSegment, Place, durable_marks, is_zero_from},
    segment::{Find, Position, Segment, Step, sift_segment},
};

/// What accepting a loss gives up, or gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The damaged file.
    pub path: String,
    /// Offset of the damage.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
    /// First event that is lost; the log ends before it.
    pub first_seq: u64,
    /// Last one that is known to have been there; `None`: none is known.
    pub last_seq: Option<u64>,
    /// How many of them still read where they are set aside.
    pub readable: u64,
    /// Bytes set aside.
    pub bytes: u64,
    /// Names in quarantine; none before it is done.
    pub quarantine_files: Vec<String>,
}

/// A log that does not read to its end.
struct Damaged {
    meta: Meta,
    /// The segments that stay; the last one up to `end`.
    survivors: Vec<Arc<Segment>>,
    end: Mark,
    /// Numbers of the segments that go, the last first.
    given_up: Vec<u64>,
    loss: Loss,
}

/// What accepting the loss would give up; `None` where nothing is damaged, or there is no log. Reads the whole log and changes nothing.
///
/// # Errors
/// [`Error::Corrupt`] where META is what is damaged, [`Error::Version`], [`Error::Io`].
pub fn assess_loss(place: &Place) -> Result<Option<Loss>> {
    Ok(examine(place)?.map(|damaged| damaged.loss))
}

/// Gives up what does not read, if there is anything. The log then opens.
///
/// # Errors
/// As [`assess_loss`]; [`Error::DiskFull`].
pub(super) fn accept(place: &Place) -> Result<Option<Loss>> {
    let Some(Damaged { mut meta, survivors, end, given_up, mut loss }) = examine(place)? else {
        return Ok(None);
    };
    let files = &mut loss.quarantine_files;
    // ORDER: the damaged file is kept whole before its front takes its name; what follows it makes the log refuse to open
    // until it is out of the way, from the last to the first; META, which may promise all of it, is told in the end.
    if let Some(last) = survivors.last().filter(|last| reaches_beyond(place, last, &end)) {
        files.push(place.quarantine_copy(end.segment, &last.path())?);
        place.write_front(last, &*place.vfs, end, last.header.file_bytes)?;
        if last.as_sealed().is_some() {
            place.remove_sealed(end.segment)?;
        }
    }
    for number in given_up {
        files.extend(place.quarantine_segment(number)?);
    }
    meta.clean = None;
    meta.cut = (end.segment != 0).then_some(end);
    meta.newest_segment = end.segment;
    if survivors.is_empty() {
        meta.first_segment = 0;
    }
    place.write_meta(&mut meta)?;
    Ok(Some(loss))
}

/// Whether the file of the last survivor holds, or promises, anything behind `end`. One that cannot be looked at does.
fn reaches_beyond(place: &Place, last: &Segment, end: &Mark) -> bool {
    if let Some(sealed) = last.as_sealed() {
        return sealed.header.end.offset > end.offset;
    }
    let look = || {
        let file = place.vfs.open(&last.path(), false).ok()?;
        let mark = place.read_watermark(&*file, &last.header).ok()?;
        let is_promised = mark.is_some_and(|mark| mark.durable_offset > end.offset);
        Some(is_promised || !is_zero_from(&*file, end.offset).ok()?)
    };
    look().unwrap_or(true)
}

fn examine(place: &Place) -> Result<Option<Damaged>> {
    let found = match survey(place) {
        Ok(None) => return Ok(None),
        Ok(Some(found)) => Ok((found.last_segment(), found.end.offset as u64)),
        Err(error @ Error::Corrupt { .. }) => Err(error),
        Err(other) => return Err(other),
    };
    let Some(meta) = place.read_meta()? else { return found.map(|_end| None) };
    let listing = place.list()?;
    let opened = open_in_order(place, &meta, &listing)?;
    let (mut segments, fault) = opened;
    if segments.iter().any(|one| one.header.epoch > meta.epoch || one.header.number > meta.highest_segment) {
        return found.map(|_end| None);
    }
    let marks = durable_marks(&meta, &segments);
    let spares: Vec<u64> = segments.extract_if(.., |one| one.is_spare).map(|one| one.header.number).collect();
    let chain: Vec<Segment> = segments.into_iter().filter_map(OpenedSegment::into_segment).collect();
    let walked = walk(place, &meta, chain)?;
    let mut end = Mark {
        segment: walked.survivors.last().map_or(0, |last| last.header.number),
        offset: walked.end.offset as u64,
        next_seq: walked.end.next_seq,
    };
    if fault.is_none() && found.as_ref().is_ok_and(|found| *found == (end.segment, end.offset)) {
        return Ok(None);
    }
    // An end record promises a segment that follows: it goes with what it promises.
    end.offset = walked.end_record_offset.map_or(end.offset, |offset| offset as u64);
    let mut given_up: Vec<u64> = listing.segments.clone();
    given_up.retain(|number| {
        !spares.contains(number) && !walked.survivors.iter().any(|one| one.header.number == *number)
    });
    given_up.reverse();
    let mut meta = meta;
    meta.highest_segment = meta.highest_segment.max(listing.segments.last().copied().unwrap_or(0));
    let first_fault = walked.fault.or(fault).or(found.err());
    let (path, offset, reason) = match first_fault {
        Some(Error::Corrupt { path, offset, reason }) => (path, offset, reason),
        _ => (place.segment_path(end.segment), end.offset, "the records end here".to_owned()),
    };
    let mut loss = Loss {
        path: path.display().to_string(),
        offset,
        reason,
        first_seq: end.next_seq,
        last_seq: None,
        readable: 0,
        bytes: 0,
        quarantine_files: Vec::new(),
    };
    let promised = marks.iter().map(|mark| mark.next_seq).max().unwrap_or(0);
    count(place, &meta, &walked.survivors, &end, &given_up, promised, &mut loss)?;
    Ok(Some(Damaged { meta, survivors: walked.survivors, end, given_up, loss }))
}

/// The segments up to the first that does not open, and why that one does not.
fn open_in_order(
    place: &Place,
    meta: &Meta,
    listing: &Listing,
) -> Result<(Vec<OpenedSegment>, Option<Error>)> {
    let mut opened = Vec::new();
    for number in &listing.segments {
        match place.open_segment(*number, &meta.log_id) {
            Ok(one) => opened.push(one),
            Err(error @ Error::Corrupt { .. }) => return Ok((opened, Some(error))),
            Err(other) => return Err(other),
        }
    }
    Ok((opened, None))
}

/// How far the log reads.
struct Walked {
    survivors: Vec<Arc<Segment>>,
    end: Position,
    /// Where an end record begins that is the last record read: what it names does not follow.
    end_record_offset: Option<usize>,
    /// What ended it, where that is damage by its own look.
    fault: Option<Error>,
}

/// Reads every record, also of sealed segments, which an opening passes by.
fn walk(place: &Place, meta: &Meta, chain: Vec<Segment>) -> Result<Walked> {
    let start = Position { offset: 0, next_seq: meta.first_seq, names: Arc::default() };
    let mut walked = Walked { survivors: Vec::new(), end: start, end_record_offset: None, fault: None };
    let mut stop = None;
    for segment in chain.into_iter().map(Arc::new) {
        let follows = match (walked.survivors.last(), &stop) {
            (Some(last), Some(stop)) => leads_to(last, &segment, stop, &walked.end),
            _ => segment.header.number == meta.first_segment && segment.entry.first_seq == meta.first_seq,
        };
        if !follows {
            break;
        }
        let mut steps = match segment.walk(&*place.vfs) {
            Ok(steps) => steps,
            Err(error @ Error::Corrupt { .. }) => {
                walked.fault = Some(error);
                break;
            }
            Err(other) => return Err(other),
        };
        let last_step = loop {
            match steps.step() {
                Step::Event(_) => {}
                other => break other,
            }
        };
        walked.fault = match steps.refuse_if_broken(&segment) {
            Ok(()) => fault_of(&segment, steps.position.offset, &last_step)?,
            Err(error @ Error::Corrupt { .. }) => Some(error),
            Err(other) => return Err(other),
        };
        walked.end = steps.position.clone();
        walked.end_record_offset = matches!(last_step, Step::End { .. }).then_some(steps.record_offset);
        walked.survivors.push(segment);
        stop = Some(last_step);
    }
    Ok(walked)
}

fn fault_of(segment: &Segment, offset: usize, stop: &Step) -> Result<Option<Error>> {
    let Step::Fault(fault) = stop else { return Ok(None) };
    super::refuse_future(&segment.path(), fault)?;
    Ok(Some(Error::corrupt(segment.path(), offset as u64, fault.to_string())))
}

/// What lay behind `end`: the last event that anything knows of, and how many of them read.
fn count(
    place: &Place,
    meta: &Meta,
    survivors: &[Arc<Segment>],
    end: &Mark,
    given_up: &[u64],
    promised: u64,
    loss: &mut Loss,
) -> Result<()> {
    let mut next_seq = promised;
    if let Some(last) = survivors.last().filter(|last| reaches_beyond(place, last, end)) {
        loss.bytes += size(place, &last.path());
        next_seq = next_seq.max(sift(place, last, end.next_seq, &mut loss.readable)?);
    }
    for number in given_up {
        loss.bytes += size(place, &place.segment_path(*number)) + size(place, &place.sealed_path(*number));
        let opened = place.open_segment(*number, &meta.log_id).ok().and_then(OpenedSegment::into_segment);
        let Some(segment) = opened else { continue };
        next_seq = next_seq.max(sift(place, &segment, end.next_seq, &mut loss.readable)?);
    }
    loss.last_seq = next_seq.checked_sub(1).filter(|last| *last >= loss.first_seq);
    Ok(())
}

fn size(place: &Place, path: &Path) -> u64 {
    place.vfs.open(path, false).and_then(|file| file.bytes()).unwrap_or(0)
}

/// Counts the events of `segment` from `first_seq` on that read; the position behind the last one that is known.
fn sift(place: &Place, segment: &Segment, first_seq: u64, readable: &mut u64) -> Result<u64> {
    let sifted = sift_segment(segment, &*place.vfs, &mut |find| {
        if let Find::Event { fixed, .. } = find {
            *readable += u64::from(fixed.seq >= first_seq);
        }
    });
    Ok(sifted?.next_seq)
}
