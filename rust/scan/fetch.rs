//! One event by its position.
//!
//! Owns the way from a position to its record, by the index of the segment that holds it, and what that costs against a scan.
//! Knows no filter and no order.

use std::{io::ErrorKind, sync::Arc};

use super::StoredEvent;
use crate::{
    error::{Error, Result},
    format::Fixed,
    heads::Head,
    segment::{INDEX_STRIDE, Segment, Step, Walk},
    shelf::Shelf,
};

/// The event at `seq`.
///
/// # Errors
/// [`Error::Truncated`] where it is no longer kept, [`Error::Corrupt`] where it should be and is not.
pub fn fetch(shelf: &Shelf, seq: u64) -> Result<StoredEvent> {
    let segment = holding(shelf, seq)?.ok_or(Error::Truncated { first_seq: 0 })?;
    let vfs = &*shelf.place.vfs;
    match fetch_in(&segment, segment.walk_near(vfs, seq)?, seq) {
        // As in `Cursor::reopen`.
        Err(Error::Corrupt { .. }) if vfs.is_durable() => {
            let _newer = segment.source_again(vfs)?;
            fetch_in(&segment, segment.walk_near(vfs, seq)?, seq)
        }
        found => found,
    }
}

fn fetch_in(segment: &Segment, mut walk: Walk, seq: u64) -> Result<StoredEvent> {
    loop {
        match walk.step() {
            Step::Event(fixed) if fixed.seq == seq => return Ok(stored(segment, &walk, fixed)),
            Step::Event(_) => {}
            _ => {
                let offset = walk.position.offset as u64;
                return Err(Error::corrupt(segment.path(), offset, format!("event {seq} is not there")));
            }
        }
    }
}

/// Whether walking back from `head`, an aggregate's newest event, is shorter than a scan of its events from `start` up to
/// `up_to`: each event on the chain costs about a stride of the index, there and back.
pub(super) fn is_chain_shorter(head: Head, start: u64, up_to: Option<u64>) -> bool {
    let range = head.seq.min(up_to.unwrap_or(u64::MAX)).saturating_sub(start);
    (u64::from(head.version) + 1).saturating_mul(INDEX_STRIDE) <= range
}

/// The segment that holds `seq`, or will; `None` on a shelf without any.
///
/// # Errors
/// [`Error::Truncated`] where it went from the front: the shelf answers with its oldest segment for anything before that.
pub(super) fn holding(shelf: &Shelf, seq: u64) -> Result<Option<Arc<Segment>>> {
    let Some(segment) = shelf.holding(seq) else { return Ok(None) };
    let first_seq = segment.entry.first_seq;
    if seq < first_seq { Err(Error::Truncated { first_seq }) } else { Ok(Some(segment)) }
}

/// What came of looking for `seq`: where it went from the front meanwhile, that is what there is to say, not that a file is gone.
///
/// # Errors
/// [`Error::Truncated`], and those of `outcome`.
pub fn unless_dropped<T>(shelf: &Shelf, seq: u64, outcome: Result<T>) -> Result<T> {
    let Err(error) = outcome else { return outcome };
    if let Error::Io { source, .. } = &error
        && source.kind() == ErrorKind::NotFound
    {
        shelf.look_for_news()?;
    }
    let first_seq = shelf.first_seq();
    if seq < first_seq { Err(Error::Truncated { first_seq }) } else { Err(error) }
}

/// The event that `walk` has just found.
pub(super) fn stored(segment: &Segment, walk: &Walk, fixed: Fixed) -> StoredEvent {
    StoredEvent {
        bytes: walk.record().into(),
        fixed,
        names: Arc::clone(&walk.position.names),
        epoch: segment.header.epoch,
    }
}
