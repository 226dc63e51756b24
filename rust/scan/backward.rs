//! Reading backward: from the newest event of a range to its oldest.
//!
//! Records can only be walked forward, so this goes back window by window: a segment remembers where every 64th event lies,
//! and what matches between two such places is kept and given out in reverse. Invariants: everything in the range was
//! committed when the read began, so what is not found there is damage; a window holds a bounded number of bytes, whatever
//! the size of its events.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc};

use super::{
    StoredEvent,
    fetch::{fetch, holding, is_chain_shorter, stored, unless_dropped},
    query::Filter,
};
use crate::{
    error::{Error, Result},
    heads::Head,
    recovery::refuse_future,
    segment::{INDEX_STRIDE, Segment, Step, Walk},
    shelf::Shelf,
};

/// Most bytes kept of one window, but for one event that is larger; the rest of it is read again.
const WINDOW_BYTES: usize = 256 * 1024;

/// A cursor that goes back from event to event.
pub(super) struct Backward {
    shelf: Arc<Shelf>,
    filter: Filter,
    /// The oldest event of the range.
    first: u64,
    /// Whether somebody asked for the range to begin there; else it begins with what is kept.
    is_bounded: bool,
    /// Everything from here on was examined.
    end: u64,
    /// Goes along the chain of its aggregate.
    is_chain: bool,
    /// A whole aggregate was asked for, and events of it before the oldest one kept have gone.
    is_cut_short: bool,
    /// Matches of the last window, oldest first.
    window: VecDeque<StoredEvent>,
    /// Where the last window was; keeps the segment mapped.
    here: Option<(Arc<Segment>, Walk)>,
    /// Of the sealed segment with this number: which blocks are worth a look.
    plan: Option<(u64, Option<Vec<bool>>)>,
    skipped_records: u64,
    /// Ignorable records were counted down to this event.
    counted_from: u64,
}

impl Backward {
    /// From the filter's `up_to` down to `first`; `head` is the newest event of the filter's aggregate.
    pub fn new(
        shelf: Arc<Shelf>,
        filter: Filter,
        (first, is_bounded): (u64, bool),
        head: Option<Head>,
    ) -> Self {
        let is_chain = head.is_some_and(|head| is_chain_shorter(head, first, filter.up_to));
        let newest = match head {
            Some(head) if is_chain => Some(head.seq),
            Some(head) => filter.up_to.map(|up_to| up_to.min(head.seq)),
            None => filter.up_to,
        };
        Self {
            shelf,
            filter,
            first,
            is_bounded,
            end: newest.map_or(first, |newest| newest.saturating_add(1).max(first)),
            is_chain,
            is_cut_short: false,
            window: VecDeque::new(),
            here: None,
            plan: None,
            skipped_records: 0,
            counted_from: u64::MAX,
        }
    }

    /// Everything from this position on was examined, and given out where it matched.
    pub fn position(&self) -> u64 {
        let end = self.window.back().map_or(self.end, |event| event.fixed.seq + 1);
        self.filter.up_to.map_or(end, |up_to| end.min(up_to.saturating_add(1)))
    }

    pub fn skipped_records(&self) -> u64 {
        self.skipped_records
    }

    /// Whether nothing more can come.
    pub fn is_done(&self) -> bool {
        self.window.is_empty() && self.end <= self.first && !self.is_cut_short
    }

    /// The next older event that matches; `None`: there is none.
    pub fn next_match(&mut self) -> Result<Option<StoredEvent>> {
        loop {
            if let Some(event) = self.window.pop_back() {
                return Ok(Some(event));
            }
            let Some(newest) = self.end.checked_sub(1).filter(|newest| *newest >= self.first) else {
                let cut_at = self.filter.whole_from.filter(|_| self.is_cut_short);
                return cut_at.map_or(Ok(None), |first_seq| Err(Error::Truncated { first_seq }));
            };
            let examined = if self.is_chain { self.follow_chain(newest) } else { self.read_window(newest) };
            let examined = unless_dropped(&self.shelf, newest, examined);
            let first_seq = self.shelf.first_seq();
            match examined {
                // A slow reader is overtaken from the front: that is an error for who asked for these very
                // events, and the end for who asked for what is kept.
                Err(_) if newest < first_seq && self.is_bounded => {
                    return Err(Error::Truncated { first_seq });
                }
                Err(_) if newest < first_seq => self.first = self.end,
                examined => examined?,
            }
        }
    }

    /// Whether the event before the one at hand, of the aggregate that was asked for whole, has gone.
    fn is_cut_short(&self, prev: Option<u64>) -> bool {
        self.filter.whole_from.is_some_and(|first_seq| prev.is_some_and(|prev| prev < first_seq))
    }

    fn follow_chain(&mut self, seq: u64) -> Result<()> {
        let event = fetch(&self.shelf, seq)?;
        // Only now: after an error the next call comes to the same event.
        let prev = event.fixed.aggregate_prev.filter(|prev| *prev < seq);
        self.is_cut_short = self.is_cut_short(prev);
        self.end = prev.map_or(self.first, |prev| prev + 1);
        let is_wanted = self.filter.up_to.is_none_or(|up_to| seq <= up_to);
        if is_wanted && event.view().is_ok_and(|view| self.filter.accepts(&view)) {
            self.window.push_back(event);
        }
        Ok(())
    }

    /// Examines the events between the nearest place that the segment remembers and `newest`.
    fn read_window(&mut self, newest: u64) -> Result<()> {
        let segment = match &self.here {
            Some((segment, _)) if segment.entry.first_seq <= newest => Arc::clone(segment),
            _ => holding(&self.shelf, newest)?.ok_or(Error::Truncated { first_seq: 0 })?,
        };
        let vfs = &*Arc::clone(&self.shelf.place.vfs);
        let mut walk = segment.walk_near(vfs, newest)?;
        let (start, is_worth_it) = self.window_of(&segment, &walk, newest);
        let oldest = start.max(segment.entry.first_seq).max(self.first);
        if !is_worth_it {
            self.end = oldest;
            return Ok(());
        }
        if walk.position.next_seq > oldest {
            walk = segment.walk_near(vfs, oldest)?;
        }
        let mut matches = match self.matches(&segment, &mut walk, oldest..=newest) {
            // As in `Cursor::reopen`.
            Err(Error::Corrupt { .. }) if vfs.is_durable() => {
                let _newer = segment.source_again(vfs)?;
                walk = segment.walk_near(vfs, oldest)?;
                self.matches(&segment, &mut walk, oldest..=newest)?
            }
            matches => matches?,
        };
        if oldest < self.counted_from {
            self.skipped_records += walk.skipped_records;
            self.counted_from = oldest;
        }
        self.end = matches.resume_at.unwrap_or(oldest);
        self.is_cut_short |= matches.is_cut_short;
        self.window.append(&mut matches.events);
        self.here = Some((segment, walk));
        Ok(())
    }

    /// Where the window that ends with `newest` begins, and whether it may hold a match: a block of a sealed segment, or so many
    /// events of a raw one that it remembers a place before them.
    fn window_of(&mut self, segment: &Arc<Segment>, walk: &Walk, newest: u64) -> (u64, bool) {
        let Some(directory) = walk.directory() else { return (newest - newest % INDEX_STRIDE, true) };
        let number = segment.header.number;
        if self.plan.as_ref().is_none_or(|(of, _)| *of != number) {
            let conversations = || self.shelf.place.conversations_of(segment);
            self.plan = Some((number, self.filter.blocks(directory, conversations)));
        }
        let at = directory.at_seq(newest);
        let wanted = self.plan.as_ref().and_then(|(_, wanted)| wanted.as_ref());
        let is_worth_it = wanted.is_none_or(|wanted| wanted.get(at).copied().unwrap_or(true));
        (directory.blocks.get(at).map_or(newest, |block| block.first_seq), is_worth_it)
    }

    /// The matches among the events `wanted`, all of them in `segment`, to which `walk` leads.
    fn matches(&self, segment: &Segment, walk: &mut Walk, wanted: RangeInclusive<u64>) -> Result<Matches> {
        let mut matches = Matches::default();
        let mut bytes = 0;
        loop {
            let mut is_match = false;
            let step = walk.step_with(|view| {
                is_match = wanted.contains(&view.seq()) && self.filter.accepts(view);
                matches.is_cut_short |=
                    self.is_cut_short(view.fixed.aggregate_prev) && self.filter.is_of_aggregate(view);
            });
            match step {
                // Behind the window, whatever is there: only here all that lies between its events was passed.
                _ if walk.position.next_seq > wanted.end().saturating_add(1) => return Ok(matches),
                Step::Event(fixed) if is_match => {
                    bytes += fixed.length;
                    matches.events.push_back(stored(segment, walk, fixed));
                    while bytes > WINDOW_BYTES && matches.events.len() > 1 {
                        bytes -= matches.events.pop_front().map_or(0, |event| event.bytes.len());
                        matches.resume_at = matches.events.front().map(|event| event.fixed.seq);
                    }
                }
                Step::Event(_) => {}
                _ if walk.position.next_seq > *wanted.end() => return Ok(matches),
                stuck => return Err(damage(segment, walk, &stuck)),
            }
        }
    }
}

/// What a window holds.
#[derive(Default)]
struct Matches {
    events: VecDeque<StoredEvent>,
    /// Older ones would have been too much to keep: the next window ends before this event.
    resume_at: Option<u64>,
    /// The oldest event kept of an aggregate that was asked for whole is among them, and was not its first.
    is_cut_short: bool,
}

/// Why `walk` does not get to an event that was committed.
fn damage(segment: &Segment, walk: &Walk, stuck: &Step) -> Error {
    if let Err(broken) = walk.refuse_if_broken(segment) {
        return broken;
    }
    let what = match stuck {
        Step::Fault(fault) => match refuse_future(&segment.path(), fault) {
            Ok(()) => fault.to_string(),
            Err(future) => return future,
        },
        _ => "the records end here".to_owned(),
    };
    Error::corrupt(segment.path(), walk.position.offset as u64, what)
}
