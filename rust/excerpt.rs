//! A log's durable beginning as files of another directory: what backups and restores are made of.
//!
//! Owns where the excerpt ends, its META, and the raw copy of the segment it ends in. The segments before that one are whole and
//! never change again: the caller brings their files, by link or by copy. Works beside a writer, in its process or another, and
//! changes nothing of the log. Invariants: an excerpt holds durable events only, ends where no batch is torn, and its
//! META vouches for all of it; whoever writes to it begins a new epoch.

use std::{path::PathBuf, sync::Arc};

use crate::{
    error::{Error, Result},
    format::meta::{Mark, Meta},
    place::{OpenedSegment, Place, durable_marks, highest_watermark, least_bytes},
    segment::{Segment, Step},
};

/// How often an excerpt is begun at most: files go away under it, by sealing and by retention, which moves the log's beginning too.
const ATTEMPTS: u32 = 16;

/// What an excerpt holds.
#[derive(Debug, Clone)]
pub struct Excerpt {
    /// The log's id.
    pub log_id: [u8; 16],
    /// The newest epoch there was.
    pub epoch: u32,
    /// Oldest event.
    pub first_seq: u64,
    /// Behind the newest event.
    pub next_seq: u64,
    /// Files of the log's that belong to it as they are.
    pub whole: Vec<PathBuf>,
}

/// Makes the excerpt of the log at `from` in `to`, which holds none yet: up to the newest durable event or to `up_to`, where
/// that comes first. `known` is a place that is durable, from who knows more than the files say. Durable on return.
///
/// # Errors
/// [`Error::Missing`], [`Error::Truncated`] if `up_to` lies before the events kept, [`Error::Corrupt`], [`Error::Version`],
/// [`Error::DiskFull`], [`Error::Io`].
pub fn excerpt(from: &Place, to: &Place, known: Option<Mark>, up_to: Option<u64>) -> Result<Excerpt> {
    let mut attempt = 1;
    loop {
        let meta = from.read_meta()?.ok_or_else(|| Error::Missing { path: from.path.clone() })?;
        let outcome = try_excerpt(from, to, meta, known, up_to);
        let Err(error) = &outcome else { return outcome };
        let has_moved = || Ok(from.read_meta()?.is_some_and(|now| now.first_segment != meta.first_segment));
        if attempt == ATTEMPTS || !(error.is_missing_file() || has_moved()?) {
            return outcome;
        }
        attempt += 1;
    }
}

fn try_excerpt(
    from: &Place,
    to: &Place,
    meta: Meta,
    known: Option<Mark>,
    up_to: Option<u64>,
) -> Result<Excerpt> {
    let listing = from.list()?;
    // What lies before META's first segment is no part of the log, though a crash may have left it.
    let numbers = listing.segments.iter().filter(|number| **number >= meta.first_segment);
    let opened: Result<Vec<_>> = numbers.map(|number| from.open_segment(*number, &meta.log_id)).collect();
    let opened = opened?;
    let mut marks = durable_marks(&meta, &opened);
    marks.extend(known);
    let durable = highest_watermark(&marks).map_or(meta.first_seq, |mark| mark.next_seq);
    let next_seq = up_to.map_or(durable, |seq| durable.min(seq.saturating_add(1)));
    if next_seq < meta.first_seq {
        return Err(Error::Truncated { first_seq: meta.first_seq });
    }
    let mut chain: Vec<Arc<Segment>> =
        opened.into_iter().filter_map(OpenedSegment::into_segment).map(Arc::new).collect();
    chain.retain(|segment| segment.entry.first_seq <= next_seq);
    check_links(&meta, &chain)?;
    to.create_dirs()?;
    let mut cut = None;
    if let Some(last) = chain.pop() {
        let end = end_in(from, &last, next_seq)?;
        to.write_front(&last, &*from.vfs, end, least_bytes(end.offset))?;
        cut = Some(end);
    }
    let highest = listing.segments.last().copied().unwrap_or(0);
    let copy = Meta {
        newest_segment: cut.map_or(0, |end| end.segment),
        highest_segment: meta.highest_segment.max(highest),
        clean: None,
        // Everything up to here is durable: damage before it is damage, never a torn tail.
        cut,
        ..meta
    };
    to.create_meta(&copy)?;
    Ok(Excerpt {
        log_id: meta.log_id,
        epoch: meta.epoch,
        first_seq: meta.first_seq,
        next_seq: cut.map_or(meta.first_seq, |end| end.next_seq),
        whole: chain.iter().map(|segment| segment.path()).collect(),
    })
}

/// Each segment begins where the one before it says that it ends: one that is missing, or in another's place, is no backup.
fn check_links(meta: &Meta, chain: &[Arc<Segment>]) -> Result<()> {
    if let Some(first) = chain.first()
        && (first.header.number, first.entry.first_seq) != (meta.first_segment, meta.first_seq)
    {
        return Err(Error::corrupt(first.path(), 0, "META names another segment as the first"));
    }
    for pair in chain.windows(2) {
        let [before, after] = pair else { continue };
        let end = before.as_sealed().map(|sealed| (sealed.header.end.offset, sealed.header.end.next_seq));
        let begin = (after.entry.prev_end, after.entry.first_seq);
        if after.entry.prev_segment != before.header.number || end.is_some_and(|end| end != begin) {
            let why = format!("it does not follow segment {}", before.header.number);
            return Err(Error::corrupt(after.path(), 0, why));
        }
    }
    Ok(())
}

/// The place behind the event before `next_seq`, or before the batch that this would tear.
fn end_in(from: &Place, segment: &Segment, next_seq: u64) -> Result<Mark> {
    let mut walk = segment.walk(&*from.vfs)?;
    while walk.position.next_seq < next_seq {
        if !matches!(walk.step(), Step::Event(_)) {
            walk.refuse_if_broken(segment)?;
            let why = format!(
                "its records end before event {}, not before event {next_seq}",
                walk.position.next_seq
            );
            return Err(Error::corrupt(segment.path(), walk.position.offset as u64, why));
        }
    }
    let end = walk.whole_until();
    Ok(Mark { segment: segment.header.number, offset: end.offset as u64, next_seq: end.next_seq })
}
