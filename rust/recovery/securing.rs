//! What a crash left, made safe before META speaks of it: set aside, given room, written once more.
//!
//! Owns the order of these steps, each of which may be repeated after another crash. Nothing is deleted but what was
//! prepared and never used.

use std::{io, path::PathBuf};

use super::{Cut, Survey};
use crate::{
    error::{Error, Result},
    place::Place,
    planted::{Bug, is_planted},
    segment::{Segment, Step},
};

/// Everything that must be done before META may say that the log ends behind the survivors; with what was cut, and the
/// spares that were removed.
///
/// # Errors
/// [`Error::DiskFull`], [`Error::Io`], [`Error::Corrupt`].
pub(super) fn secure(place: &Place, survey: &mut Survey) -> Result<(Option<Cut>, Vec<u64>)> {
    keep_written_spares(place, survey)?;
    forget_first(place, survey)?;
    // ORDER: first what takes no room, then what makes some. The segments go before the spares that they may name.
    let files = set_segments_aside(place, survey)?;
    let removed = make_room(place, survey)?;
    let cut = keep_tail(place, survey, files)?;
    write_once_more(place, survey)?;
    Ok((cut, removed))
}

/// A segment whose entry was lost with the power looks like a spare; what was written further on in it is kept all the same.
fn keep_written_spares(place: &Place, survey: &mut Survey) -> Result<()> {
    let mut spares = Vec::with_capacity(survey.spares.len());
    for number in std::mem::take(&mut survey.spares) {
        let is_written = place.is_written(number)?;
        if is_written { survey.cut_off.push(number) } else { spares.push(number) }
    }
    survey.spares = spares;
    survey.cut_off.sort_unstable_by(|a, b| b.cmp(a));
    Ok(())
}

/// A log in which no segment was ever entered has no first one. META may name the one that was about to be, whose file goes
/// now: a reader that comes meanwhile would miss it.
fn forget_first(place: &Place, survey: &mut Survey) -> Result<()> {
    if !survey.segments.is_empty() || survey.meta.first_segment == 0 {
        return Ok(());
    }
    // ORDER: before any file goes.
    survey.meta.first_segment = 0;
    place.write_meta(&mut survey.meta)
}

/// Moves the segments behind the end to quarantine, which takes no room; their names.
fn set_segments_aside(place: &Place, survey: &Survey) -> Result<Vec<String>> {
    let moved: Result<Vec<_>> =
        survey.cut_off.iter().map(|number| place.quarantine_segment(*number)).collect();
    Ok(moved?.concat())
}

/// Removes what was prepared in vain, so that its room serves what follows: a disk may be full of it. A spare that the last
/// record names has to stay for now. Returns the spares that went.
fn make_room(place: &Place, survey: &mut Survey) -> Result<Vec<u64>> {
    let is_named = |number: &u64| survey.named_next == Some(*number);
    let (named, unnamed): (Vec<u64>, Vec<u64>) = survey.spares.iter().copied().partition(is_named);
    if !unnamed.is_empty() {
        // ORDER: no spare goes while META still names it. Also where it does not any more: that may not be durable yet.
        if unnamed.contains(&survey.meta.newest_segment) {
            survey.meta.newest_segment = survey.last_segment();
        }
        place.write_meta(&mut survey.meta)?;
    }
    place.remove_segments(&unnamed, &survey.listing.prepared)?;
    survey.spares = named;
    Ok(unnamed)
}

/// Copies what lies beyond the last good record to quarantine; `files` are there already.
fn keep_tail(place: &Place, survey: &Survey, mut files: Vec<String>) -> Result<Option<Cut>> {
    let mut quarantined_bytes = 0;
    if let Some(last) = survey.segments.last() {
        let beyond = bytes_beyond(place, last, survey.end.offset as u64)?;
        if !beyond.is_empty() && !is_planted(Bug::QuarantineSkipped) {
            quarantined_bytes = beyond.len() as u64;
            let tail = place.quarantine_tail(last.header.number, survey.end.offset as u64, &beyond)?;
            files.insert(0, tail);
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let what = survey.fault.clone().unwrap_or_else(|| "bytes behind the last record".to_owned());
    Ok(Some(Cut {
        segment: survey.last_segment(),
        offset: survey.end.offset as u64,
        next_seq: survey.end.next_seq,
        reason: format!(
            "{what}; events acknowledged after the last stored watermark may be among what was cut"
        ),
        quarantined_bytes,
        quarantine_files: files,
    }))
}

/// What a segment holds from `offset` up to its last byte that is not zero.
fn bytes_beyond(place: &Place, segment: &Segment, offset: u64) -> Result<Vec<u8>> {
    if segment.as_sealed().is_some() {
        return Ok(Vec::new());
    }
    let path = &segment.path();
    let file = place.vfs.open(path, false).map_err(|error| Error::io(path, "open", error))?;
    let size = usize::try_from(segment.header.file_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    file.read_at(offset, &mut bytes).map_err(|error| Error::io(path, "read", error))?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    Ok(bytes)
}

/// Writes segments with surviving bytes above the watermark once more, as new files under the old names. After a failed
/// sync the kernel may call pages clean that never reached the disk, and writing them again in place does not help: ext4
/// then leaves the blocks that fallocate reserved marked as unwritten, and they read as zeros after the next boot (seen on
/// Linux 6.18; `tests/python/test_kernel_real_disk.py`). Readers keep the old file mapped; the bytes are the same.
fn write_once_more(place: &Place, survey: &Survey) -> Result<()> {
    if is_planted(Bug::PagesBelieved) {
        return Ok(());
    }
    let known = survey.watermark.unwrap_or_default();
    let end = (survey.last_segment(), survey.end.offset as u64);
    if end <= (known.segment, known.offset) {
        return Ok(());
    }
    let ends = survey.segments.iter().skip(1).map(|next| (next.entry.prev_end, next.entry.first_seq));
    let ends = ends.chain([(survey.end.offset as u64, survey.end.next_seq)]);
    for (segment, end) in survey.segments.iter().zip(ends) {
        if segment.header.number >= known.segment && segment.as_sealed().is_none() {
            place.renew_segment(&segment.header, |copy| check_copy(place, segment, copy, end))?;
        }
    }
    Ok(())
}

/// What a failed sync has called clean may leave the cache at any moment, also after the survey has seen it. A copy without
/// it must not become the segment: META would speak of a cut behind its end. The next opening surveys what is left.
fn check_copy(place: &Place, segment: &Segment, copy: PathBuf, end: (u64, u64)) -> Result<()> {
    let copied = Segment::new(copy, segment.header, segment.entry);
    let mut walk = copied.walk(&*place.vfs)?;
    while let Step::Event(_) = walk.step() {}
    walk.refuse_if_broken(&copied)?;
    if (walk.position.offset as u64, walk.position.next_seq) == end {
        return Ok(());
    }
    let why = format!("its records end at byte {} now, not at byte {}", walk.position.offset, end.0);
    Err(Error::io(segment.path(), "write once more", io::Error::other(why)))
}
