//! Reading forward: from a position, across segments, to the end and beyond it.
//!
//! Owns the step from one segment to the next. Reading stops where nothing is committed; following is the same cursor, asked
//! again. Loading one aggregate walks its chain back first, where that is shorter.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    StoredEvent,
    cursor::{Cursor, Onward},
    fetch::{fetch, holding, is_chain_shorter, stored, unless_dropped},
    query::Filter,
};
use crate::{
    control::{self, Awaited, Control},
    error::{Error, Result},
    format::{RecordFault, RecordView},
    heads::Head,
    planted::{Bug, is_planted},
    recovery::refuse_future,
    segment::Step,
    shelf::Shelf,
    threads::Instant,
};

/// How often a reader that naps looks at the directory for a new segment.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// And at the end of a segment, where the next one is there or is to be there in a moment.
const LOOK_INTERVAL_AT_END: Duration = Duration::from_micros(100);
/// Most bytes of a chain that are kept from the way back: thousands of events, and half of what the cache of unpacked blocks
/// holds. What does not fit is fetched once more.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// A cursor that goes on from event to event.
pub(super) struct Forward {
    shelf: Arc<Shelf>,
    filter: Filter,
    next_seq: u64,
    cursor: Option<Cursor>,
    chain: Option<VecDeque<Link>>,
    skipped_before: u64,
    /// A whole aggregate is asked for, and its oldest event that is kept has not been seen yet.
    is_oldest_awaited: bool,
    looked: Instant,
    /// In the writer's process: events up to here are committed, so not finding one is damage.
    pub expected: Option<u64>,
}

/// An event on the chain of an aggregate: its position, and itself where it was kept.
type Link = (u64, Option<StoredEvent>);

/// Where one step got to.
enum Progress {
    Match(StoredEvent),
    Moved,
    Nothing,
}

impl Forward {
    /// From `start` on; `head` is the newest event of the filter's aggregate.
    pub fn new(shelf: Arc<Shelf>, filter: Filter, start: u64, head: Option<Head>) -> Result<Self> {
        let mut forward = Self {
            is_oldest_awaited: filter.whole_from.is_some(),
            shelf,
            filter,
            next_seq: start,
            cursor: None,
            chain: None,
            skipped_before: 0,
            looked: Instant::now(),
            expected: None,
        };
        if let Some(head) = head {
            forward.plan_chain(head)?;
        }
        Ok(forward)
    }

    pub fn offset(&self) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.walk.position.offset)
    }

    /// Collects the events of one aggregate from its newest one back, where that is shorter than a scan. They are what the read
    /// gives out: fetched twice, each would be unpacked with its block twice.
    fn plan_chain(&mut self, head: Head) -> Result<()> {
        if !is_chain_shorter(head, self.next_seq, self.filter.up_to) {
            return Ok(());
        }
        let mut chain: VecDeque<Link> = VecDeque::new();
        let mut room = KEPT_BYTES;
        let mut at = Some(head.seq);
        while let Some(seq) = at.filter(|seq| *seq >= self.next_seq) {
            let event = unless_dropped(&self.shelf, seq, fetch(&self.shelf, seq))?;
            at = event.fixed.aggregate_prev.filter(|prev| *prev < seq);
            if self.filter.up_to.is_none_or(|last| seq <= last) {
                let newer = chain.front().and_then(|(_, newer)| newer.as_ref());
                room = room.saturating_sub(event.bytes_held(newer));
                chain.push_front((seq, Some(event).filter(|_| room > 0)));
            }
        }
        self.is_oldest_awaited = false;
        if let (Some(_expired), Some(first_seq)) = (at, self.filter.whole_from) {
            return Err(Error::Truncated { first_seq });
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// Everything before this position was examined.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Stands at `first_seq`, the oldest event kept, and asks for no whole aggregate any more; where it stood, if before that.
    pub fn go_on_from(&mut self, first_seq: u64) -> Option<u64> {
        let stood = self.next_seq;
        self.skipped_before = self.skipped_records();
        self.cursor = None;
        self.next_seq = stood.max(first_seq);
        if let Some(chain) = &mut self.chain {
            chain.retain(|(seq, _)| *seq >= first_seq);
        }
        self.filter.whole_from = None;
        self.is_oldest_awaited = false;
        (stood < first_seq).then_some(stood)
    }

    pub fn skipped_records(&self) -> u64 {
        self.skipped_before + self.cursor.as_ref().map_or(0, |cursor| cursor.walk.skipped_records)
    }

    /// Whether nothing more can come.
    pub fn is_done(&self) -> bool {
        let is_chain_done = self.chain.as_ref().is_some_and(VecDeque::is_empty);
        // The oldest one may lie behind the range: before it was seen nobody knows whether events of the range expired.
        let is_range_done = self.filter.up_to.is_some_and(|last| self.next_seq > last);
        is_chain_done || is_range_done && !self.is_oldest_awaited
    }

    /// Whether nothing is committed where it stands, as far as one load says.
    pub fn is_at_end(&self) -> bool {
        let at_end = |cursor: &Cursor| !cursor.is_ended && cursor.walk.is_at_end();
        self.chain.is_none() && self.cursor.as_ref().is_some_and(at_end)
    }

    /// The next event that matches; `None`: nothing more is committed.
    pub fn next_match(&mut self) -> Result<Option<StoredEvent>> {
        while let Some(chain) = &mut self.chain {
            let Some((seq, kept)) = chain.front_mut() else { return Ok(None) };
            let seq = *seq;
            let fetched = || unless_dropped(&self.shelf, seq, fetch(&self.shelf, seq));
            let event = kept.take().map_or_else(fetched, Ok)?;
            // Only now: after an error the next call comes to the same event.
            chain.pop_front();
            self.next_seq = seq + 1;
            if event.view().is_ok_and(|view| self.filter.accepts(&view)) {
                return Ok(Some(event));
            }
        }
        loop {
            let progress = self.progress();
            match unless_dropped(&self.shelf, self.next_seq, progress)? {
                Progress::Nothing => return Ok(None),
                Progress::Match(event) => return Ok(Some(event)),
                Progress::Moved if self.is_done() => return Ok(None),
                Progress::Moved => {}
            }
        }
    }

    fn progress(&mut self) -> Result<Progress> {
        let vfs = &*self.shelf.place.vfs;
        let Some(cursor) = &mut self.cursor else {
            let Some(segment) = holding(&self.shelf, self.next_seq)? else { return Ok(Progress::Nothing) };
            let walk = segment.walk_near(vfs, self.next_seq)?;
            self.cursor = Some(Cursor::new(&self.shelf, &self.filter, segment, walk));
            return Ok(Progress::Moved);
        };
        let mut fault = None;
        if cursor.passes_blocks() {
            self.next_seq = self.next_seq.max(cursor.walk.position.next_seq);
            return Ok(Progress::Moved);
        }
        if !cursor.is_ended {
            let first = if is_planted(Bug::EventsRepeated) { 0 } else { self.next_seq };
            let (wanted, filter) = (first..=self.filter.up_to.unwrap_or(u64::MAX), &self.filter);
            let (mut is_match, mut oldest_kept) = (false, None);
            let is_oldest_awaited = self.is_oldest_awaited;
            let look = |view: &RecordView<'_>| {
                is_match = wanted.contains(&view.seq()) && filter.accepts(view);
                if is_oldest_awaited && filter.is_of_aggregate(view) {
                    oldest_kept = Some(view.fixed.aggregate_prev);
                }
            };
            // The oldest event of an aggregate counts whatever else is asked for.
            let step = if is_oldest_awaited {
                cursor.walk.step_with(look)
            } else {
                cursor.step(filter, &wanted, look)
            };
            match step {
                Step::Event(fixed) if is_planted(Bug::EventSkipped) && fixed.seq % 64 == 63 => {
                    self.next_seq = fixed.seq + 1;
                    return Ok(Progress::Moved);
                }
                Step::Event(fixed) => {
                    if let (Some(prev), Some(first_seq)) = (oldest_kept, filter.whole_from) {
                        if prev.is_some_and(|prev| prev < first_seq) {
                            return Err(Error::Truncated { first_seq });
                        }
                        self.is_oldest_awaited = false;
                    }
                    if wanted.contains(&fixed.seq) {
                        self.next_seq = fixed.seq + 1;
                    }
                    let event = is_match.then(|| stored(&cursor.segment, &cursor.walk, fixed));
                    return Ok(event.map_or(Progress::Moved, Progress::Match));
                }
                Step::End { .. } => cursor.is_ended = true,
                Step::Pending => cursor.stuck_at = Some(0),
                Step::Fault(found) => {
                    cursor.stuck_at = cursor.walk.pending_word();
                    fault = Some(found);
                }
            }
        }
        if !self.is_oldest_awaited {
            // Behind what was passed over.
            self.next_seq = self.next_seq.max(cursor.walk.position.next_seq);
        }
        self.go_beyond(fault)
    }

    /// Into the next segment, or not: the cursor does not get on in its own, for `fault` if there is one.
    fn go_beyond(&mut self, fault: Option<RecordFault>) -> Result<Progress> {
        let vfs = &*self.shelf.place.vfs;
        let Some(cursor) = &mut self.cursor else { return Ok(Progress::Nothing) };
        cursor.walk.refuse_if_broken(&cursor.segment)?;
        let (offset, next_seq) = (cursor.walk.position.offset, cursor.walk.position.next_seq);
        // Where a recovery cut the segment, what lies behind the cut is no business of ours.
        let Some(next) = self.shelf.follower(&cursor.segment, offset) else {
            // A slow scan outlives its segment; what followed that one may be gone as well.
            if self.shelf.has_dropped(&cursor.segment) {
                self.skipped_before += cursor.walk.skipped_records;
                self.cursor = None;
                return Ok(Progress::Moved);
            }
            fault.as_ref().map_or(Ok(()), |fault| refuse_future(&cursor.segment.path(), fault))?;
            let onward = cursor.onward(&self.shelf)?;
            if onward == Onward::Here && cursor.reopen(vfs)? {
                return Ok(Progress::Moved);
            }
            let is_committed = self.expected.is_some_and(|seq| next_seq <= seq);
            let is_doubtful = fault.is_some() || onward == Onward::Here && cursor.finds_zeros(vfs)?;
            let is_damage =
                is_committed || is_doubtful && self.shelf.is_below_watermark(&cursor.segment, offset)?;
            if !is_damage {
                return Ok(Progress::Nothing);
            }
            let what = fault.map_or_else(|| "the records end here".to_owned(), |fault| fault.to_string());
            return Err(Error::corrupt(cursor.segment.path(), offset as u64, what));
        };
        self.skipped_before += cursor.walk.skipped_records;
        let walk = next.walk(vfs)?;
        *cursor = Cursor::new(&self.shelf, &self.filter, next, walk);
        Ok(Progress::Moved)
    }

    /// Waits, at most `timeout`, until there may be more.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let segments = Arc::clone(&self.shelf);
        control::wait(&segments.link, self, timeout)
    }
}

impl Awaited for Forward {
    fn is_here(&mut self) -> bool {
        self.cursor.as_ref().is_some_and(Cursor::has_more)
    }

    fn is_there(&mut self, is_thorough: bool) -> Result<bool> {
        let is_at_end = self.cursor.as_ref().is_some_and(|cursor| cursor.is_ended);
        let interval = if is_at_end { LOOK_INTERVAL_AT_END } else { LOOK_INTERVAL };
        if is_thorough || self.looked.elapsed() >= interval {
            self.looked = Instant::now();
            self.shelf.look_for_news()?;
        }
        let Some(cursor) = &self.cursor else { return Ok(self.shelf.holding(self.next_seq).is_some()) };
        let is_broken = cursor.walk.refuse_if_broken(&cursor.segment).is_err();
        let is_elsewhere = cursor.onward(&self.shelf).map_or(true, |onward| {
            onward == Onward::Here && cursor.reopened_at != Some(cursor.walk.position.offset)
        });
        Ok(is_broken
            || cursor.has_more()
            || is_elsewhere
            || self.shelf.follower(&cursor.segment, cursor.walk.position.offset).is_some()
            || self.shelf.has_dropped(&cursor.segment))
    }

    fn join(&self) -> Option<Control> {
        self.shelf.join_control()
    }
}
