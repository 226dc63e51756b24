//! Reading in the order of the log: from a position, through filters, across segments, to the end and beyond it.
//!
//! A scan is a cursor. Reading stops where nothing is committed; following is the same scan, asked again. Owns filters and
//! the step from one segment to the next; loading one aggregate walks its chain back where that is shorter.

mod cursor;
mod query;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use cursor::{Cursor, Onward};
use query::Filter;
pub use query::{Query, TimeOf};

use crate::{
    error::{Error, Result},
    format::{Fixed, Names, RecordFault, RecordView},
    planted::{Bug, is_planted},
    recovery::refuse_future,
    segment::{Segment, Step, Walk},
    shelf::Shelf,
    tail::Head,
    threads::{Instant, Naps},
};

/// How often a waiting reader looks at the directory for a new segment.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Walking back costs about this many record headers for each event (the index' stride, there and back).
const CHAIN_COST: u64 = 64;

/// An event as it is stored; owns a copy of its record.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The whole record.
    pub bytes: Box<[u8]>,
    /// Its fixed part.
    pub fixed: Fixed,
    /// The dictionary that resolves its numbers; shared.
    pub names: Arc<Names>,
    /// Epoch of its segment.
    pub epoch: u32,
}

impl StoredEvent {
    /// The event, decoded.
    ///
    /// # Errors
    /// None for events that a scan gave out: it decoded each once.
    pub fn view(&self) -> std::result::Result<RecordView<'_>, RecordFault> {
        RecordView::parse(&self.bytes, self.fixed, &self.names)
    }
}

/// A cursor; independent of the handle it came from.
pub struct Scan {
    shelf: Arc<Shelf>,
    filter: Filter,
    next_seq: u64,
    left: u64,
    cursor: Option<Cursor>,
    chain: Option<VecDeque<u64>>,
    skipped_before: u64,
    looked: Instant,
    /// In the writer's process: events up to here are committed, so not finding one is damage.
    expected: Option<u64>,
}

/// Where one step of a scan got to.
enum Progress {
    Match(StoredEvent),
    Moved,
    Nothing,
}

impl Scan {
    /// A scan of `query`; `head` is its aggregate's newest event, which allows a walk along the chain.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `after` lies before the oldest event kept.
    pub fn new(shelf: Arc<Shelf>, query: Query, head: Option<Head>) -> Result<Self> {
        shelf.look_for_news()?;
        let first_seq = shelf.first_seq();
        let start = query.after.map_or(first_seq, |after| after.saturating_add(1));
        if start < first_seq {
            return Err(Error::Truncated { first_seq });
        }
        let mut scan = Self {
            shelf,
            next_seq: start,
            left: query.limit.unwrap_or(u64::MAX),
            filter: Filter::of(query),
            cursor: None,
            chain: None,
            skipped_before: 0,
            looked: Instant::now(),
            expected: None,
        };
        if let Some(head) = head {
            scan.plan_chain(head)?;
        }
        Ok(scan)
    }

    /// Of a log whose writer is in this process: everything up to `seq` is known to be committed.
    #[must_use]
    pub fn expecting(mut self, seq: Option<u64>) -> Self {
        self.expected = seq;
        self
    }

    /// Offset behind the last record examined, in its segment.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.walk.position.offset)
    }

    /// Collects the positions of one aggregate from its newest event back, where that is shorter than a scan.
    fn plan_chain(&mut self, head: Head) -> Result<()> {
        let range = head.seq.min(self.filter.up_to.unwrap_or(u64::MAX)).saturating_sub(self.next_seq);
        if (u64::from(head.version) + 1).saturating_mul(CHAIN_COST) > range {
            return Ok(());
        }
        let mut chain = VecDeque::new();
        let mut at = Some(head.seq);
        while let Some(seq) = at.filter(|seq| *seq >= self.next_seq) {
            if self.filter.up_to.is_none_or(|last| seq <= last) {
                chain.push_front(seq);
            }
            at = self.fetch(seq)?.fixed.aggregate_prev.filter(|prev| *prev < seq);
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// The event at `seq`.
    ///
    /// # Errors
    /// [`Error::Truncated`] where it is no longer kept, [`Error::Corrupt`] where it should be and is not.
    pub fn fetch(&self, seq: u64) -> Result<StoredEvent> {
        let segment = self.shelf.holding(seq).ok_or(Error::Truncated { first_seq: 0 })?;
        refuse_if_dropped(&segment, seq)?;
        let vfs = &*self.shelf.place.vfs;
        match fetch_in(&segment, segment.walk_near(vfs, seq)?, seq) {
            // As in `Cursor::reopen`.
            Err(Error::Corrupt { .. }) if vfs.is_durable() => {
                let _newer = segment.map_again(vfs)?;
                fetch_in(&segment, segment.walk_near(vfs, seq)?, seq)
            }
            found => found,
        }
    }

    /// Position up to which everything was examined.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.next_seq.checked_sub(1)
    }

    /// Ignorable records passed.
    #[must_use]
    pub fn skipped_records(&self) -> u64 {
        self.skipped_before + self.cursor.as_ref().map_or(0, |cursor| cursor.walk.skipped_records)
    }

    /// Whether nothing more can come: the limit or `up_to` is reached.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let is_chain_done = self.chain.as_ref().is_some_and(VecDeque::is_empty);
        self.left == 0 || is_chain_done || self.filter.up_to.is_some_and(|last| self.next_seq > last)
    }

    /// Adds matching events to `batch`, until it has `max_events` or `max_bytes` more, or until nothing more is
    /// committed. Nothing added means the end for now; another call goes on from there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at damage below the watermark, [`Error::Version`], [`Error::Io`], [`Error::Truncated`].
    pub fn next_batch(
        &mut self,
        batch: &mut Vec<StoredEvent>,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<()> {
        let full = batch.len().saturating_add(max_events);
        let mut bytes = 0;
        while batch.len() < full && bytes < max_bytes && !self.is_done() {
            let Some(event) = self.next_match()? else { break };
            bytes += event.bytes.len();
            self.left -= 1;
            batch.push(event);
        }
        Ok(())
    }

    fn next_match(&mut self) -> Result<Option<StoredEvent>> {
        while let Some(chain) = &mut self.chain {
            let Some(seq) = chain.front().copied() else { return Ok(None) };
            let event = self.fetch(seq)?;
            // Only now: after an error the next call comes to the same event.
            self.chain.as_mut().and_then(VecDeque::pop_front);
            self.next_seq = seq + 1;
            if event.view().is_ok_and(|view| self.filter.accepts(&view)) {
                return Ok(Some(event));
            }
        }
        loop {
            match self.progress()? {
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
            let Some(segment) = self.shelf.holding(self.next_seq) else { return Ok(Progress::Nothing) };
            refuse_if_dropped(&segment, self.next_seq)?;
            let walk = segment.walk_near(vfs, self.next_seq)?;
            self.cursor = Some(Cursor::new(segment, walk));
            return Ok(Progress::Moved);
        };
        let mut fault = None;
        if !cursor.is_ended {
            let first = if is_planted(Bug::EventsRepeated) { 0 } else { self.next_seq };
            let (wanted, filter) = (first..=self.filter.up_to.unwrap_or(u64::MAX), &self.filter);
            let mut is_match = false;
            match cursor
                .walk
                .step_with(|view| is_match = wanted.contains(&view.seq()) && filter.accepts(view))
            {
                Step::Event(fixed) if is_planted(Bug::EventSkipped) && fixed.seq % 64 == 63 => {
                    self.next_seq = fixed.seq + 1;
                    return Ok(Progress::Moved);
                }
                Step::Event(fixed) => {
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
        cursor.walk.refuse_if_broken(&cursor.segment.path)?;
        let (offset, next_seq) = (cursor.walk.position.offset, cursor.walk.position.next_seq);
        // Where a recovery cut the segment, what lies behind the cut is no business of ours.
        let Some(next) = self.shelf.follower(&cursor.segment, offset) else {
            // Without a disk a slow scan outlives its segment; what followed that one may be gone as well.
            if self.shelf.has_dropped(&cursor.segment) {
                self.skipped_before += cursor.walk.skipped_records;
                self.cursor = None;
                return Ok(Progress::Moved);
            }
            fault.as_ref().map_or(Ok(()), |fault| refuse_future(&cursor.segment.path, fault))?;
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
            return Err(Error::corrupt(&cursor.segment.path, offset as u64, what));
        };
        self.skipped_before += cursor.walk.skipped_records;
        let walk = next.walk(vfs)?;
        *cursor = Cursor::new(next, walk);
        Ok(Progress::Moved)
    }

    /// Waits, at most `timeout`, until there may be more: looks, then naps, ever longer up to a millisecond. True when
    /// the next batch is worth a try.
    ///
    /// # Errors
    /// As [`Shelf::look_for_news`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let mut naps = Naps::new(timeout);
        while !self.has_news()? {
            if !naps.take() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_news(&mut self) -> Result<bool> {
        if self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            self.shelf.look_for_news()?;
        }
        let Some(cursor) = &self.cursor else { return Ok(self.shelf.holding(self.next_seq).is_some()) };
        let is_broken = cursor.walk.refuse_if_broken(&cursor.segment.path).is_err();
        let is_committed =
            !cursor.is_ended && cursor.walk.pending_word() != Some(cursor.stuck_at.unwrap_or(0));
        let is_elsewhere = cursor.onward(&self.shelf).map_or(true, |onward| {
            onward == Onward::Here && cursor.reopened_at != Some(cursor.walk.position.offset)
        });
        Ok(is_broken
            || is_committed
            || is_elsewhere
            || self.shelf.follower(&cursor.segment, cursor.walk.position.offset).is_some()
            || self.shelf.has_dropped(&cursor.segment))
    }
}

fn fetch_in(segment: &Segment, mut walk: Walk, seq: u64) -> Result<StoredEvent> {
    loop {
        match walk.step() {
            Step::Event(fixed) if fixed.seq == seq => return Ok(stored(segment, &walk, fixed)),
            Step::Event(_) => {}
            _ => {
                let offset = walk.position.offset as u64;
                return Err(Error::corrupt(&segment.path, offset, format!("event {seq} is not there")));
            }
        }
    }
}

/// The shelf answers with its oldest segment for anything before that.
fn refuse_if_dropped(segment: &Segment, seq: u64) -> Result<()> {
    let first_seq = segment.entry.first_seq;
    if seq < first_seq { Err(Error::Truncated { first_seq }) } else { Ok(()) }
}

fn stored(segment: &Segment, walk: &Walk, fixed: Fixed) -> StoredEvent {
    StoredEvent {
        bytes: walk.record().into(),
        fixed,
        names: Arc::clone(&walk.position.names),
        epoch: segment.header.epoch,
    }
}
