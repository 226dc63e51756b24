//! Past the raw segments after a clean close, by the closing index.
//!
//! Owns when that is believed of them. On any doubt the survey walks, as where there is none: whatever is wrong, it is for the
//! walk to judge. Damage below the clean mark is then met by who reads there, and by verify; that the files are there, follow one
//! another and end where the clean mark says is seen here.

use std::sync::Arc;

use super::survey::leads_to;
use crate::{
    format::{RECORD_FIXED_BYTES, closing_index::ClosingIndex, meta::Mark},
    heads::Heads,
    place::Place,
    planted::{Bug, is_planted},
    segment::{Position, Segment, Step, Walk},
    vfs::Vfs,
};

/// The heads that `raw`, the segments behind the sealed ones, add, and where the log ends; `None` where they have to be walked.
pub(super) fn pass_tail(
    place: &Place,
    index: ClosingIndex,
    watermark: Mark,
    raw: &[Arc<Segment>],
) -> Option<(Heads, Position)> {
    let (first, newest) = (raw.first()?, raw.last()?);
    if raw.iter().any(|segment| segment.as_sealed().is_some()) {
        return None;
    }
    let vfs = &*place.vfs;
    // Nothing may vouch for more than the index knows of.
    let is_all = index.end.segment == newest.header.number
        && (watermark.segment, watermark.offset) == (index.end.segment, index.end.offset);
    let are_linked = raw.iter().zip(raw.iter().skip(1)).all(|(one, next)| is_followed(vfs, one, next));
    if !is_all || index.first_seq > first.entry.first_seq || !are_linked {
        return None;
    }
    let mut walk = newest.walk_from(vfs, &index.marks, Arc::new(index.names)).ok()?;
    let is_over = to_the_end(&mut walk) == Step::Pending && walk.refuse_if_broken(newest).is_ok();
    let end = walk.position;
    let is_there = is_over && (end.offset as u64, end.next_seq) == (index.end.offset, index.end.next_seq);
    if !is_there && !is_planted(Bug::TailEndBelieved) {
        return None;
    }
    newest.learn(&end, index.marks);
    Some((index.heads, end))
}

fn to_the_end(walk: &mut Walk) -> Step {
    loop {
        match walk.step() {
            Step::Event(_) => {}
            stop => return stop,
        }
    }
}

/// Whether `segment` ends where `next` says: behind the end record that names it, or at the cut of a new epoch.
fn is_followed(vfs: &dyn Vfs, segment: &Segment, next: &Segment) -> bool {
    let look = || {
        let end = usize::try_from(next.entry.prev_end).ok()?;
        let at = |offset| Position { offset, next_seq: next.entry.first_seq, names: Arc::default() };
        let last_record = at(end.checked_sub(RECORD_FIXED_BYTES)?);
        let stop = Walk::new(segment.source(vfs).ok()?, segment.header.epoch, last_record).step();
        Some(leads_to(segment, next, &stop, &at(end)))
    };
    look().unwrap_or(false)
}
