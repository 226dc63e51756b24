//! Reading in the order of the log, or against it: which events match, from where, how many.
//!
//! A scan is a cursor. Owns what both directions share: the query, the limit, the batch that a call fills. How a cursor gets
//! from event to event is [`forward`]'s and [`backward`]'s.

mod backward;
mod cursor;
mod fetch;
mod forward;
mod query;

use std::{sync::Arc, time::Duration};

use backward::Backward;
pub use fetch::{fetch, unless_dropped};
use forward::Forward;
use query::Filter;
pub use query::{Direction, Query, TimeOf};

use crate::{
    error::{Error, Result},
    format::{Fixed, MAX_DICTIONARY_TEXT_BYTES, Names, RecordFault, RecordView},
    heads::Head,
    shelf::Shelf,
};

/// An event as it is stored; owns a copy of its record, which its clones share.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The whole record.
    pub bytes: Arc<[u8]>,
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

    /// At most so much memory it holds, beside what `other` does: a dictionary they share counts once.
    fn bytes_held(&self, other: Option<&Self>) -> usize {
        let is_shared = other.is_some_and(|other| Arc::ptr_eq(&self.names, &other.names));
        let names = if is_shared { 0 } else { self.names.count() * MAX_DICTIONARY_TEXT_BYTES };
        size_of::<Self>() + self.bytes.len() + names
    }
}

/// A cursor; independent of the handle it came from.
pub struct Scan {
    left: u64,
    way: Way,
}

enum Way {
    Forward(Box<Forward>),
    Backward(Box<Backward>),
}

impl Scan {
    /// A scan of `query`; `head` is its aggregate's newest event, which allows a walk along the chain. Backward the query
    /// says where to begin: everything up to its `up_to` is known to be committed.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `after` lies before the oldest event kept, or all of a whole aggregate does.
    pub fn new(shelf: Arc<Shelf>, query: Query, head: Option<Head>) -> Result<Self> {
        shelf.look_for_news()?;
        let first_seq = shelf.first_seq();
        let start = query.after.map_or(first_seq, |after| after.saturating_add(1));
        if start < first_seq {
            return Err(Error::Truncated { first_seq });
        }
        let (left, direction, is_bounded) =
            (query.limit.unwrap_or(u64::MAX), query.direction, query.after.is_some());
        let whole_from = (first_seq > 0 && head.is_some() && query.is_whole_aggregate()).then_some(first_seq);
        if whole_from.is_some() && head.is_some_and(|head| head.seq < first_seq) {
            return Err(Error::Truncated { first_seq });
        }
        let filter = Filter::of(query, whole_from);
        let way = match direction {
            Direction::Forward => Way::Forward(Box::new(Forward::new(shelf, filter, start, head)?)),
            Direction::Backward => {
                Way::Backward(Box::new(Backward::new(shelf, filter, (start, is_bounded), head)))
            }
        };
        Ok(Self { left, way })
    }

    /// Of a log whose writer is in this process: everything up to `seq` is known to be committed.
    #[must_use]
    pub fn expecting(mut self, seq: Option<u64>) -> Self {
        if let Way::Forward(forward) = &mut self.way {
            forward.expected = seq;
        }
        self
    }

    /// For who was told [`Error::Truncated`] and takes what is kept: goes on from `first_seq`; backward that was the end.
    /// Returns where it stood, if that is what was lost.
    pub fn go_on_from(&mut self, first_seq: u64) -> Option<u64> {
        match &mut self.way {
            Way::Forward(forward) => forward.go_on_from(first_seq),
            Way::Backward(_) => {
                self.left = 0;
                None
            }
        }
    }

    /// Offset behind the last record examined, in its segment; 0 backward.
    #[must_use]
    pub fn offset(&self) -> usize {
        match &self.way {
            Way::Forward(forward) => forward.offset(),
            Way::Backward(_) => 0,
        }
    }

    /// Whether the oldest event comes first.
    #[must_use]
    pub fn is_forward(&self) -> bool {
        matches!(self.way, Way::Forward(_))
    }

    /// Position up to which everything was examined; backward, down to which.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        match &self.way {
            Way::Forward(forward) => forward.next_seq().checked_sub(1),
            Way::Backward(backward) => Some(backward.position()),
        }
    }

    /// As [`Scan::position`], for whom the event at `seq` is the next to come.
    #[must_use]
    pub fn position_before(&self, seq: u64) -> Option<u64> {
        match &self.way {
            Way::Forward(_) => seq.checked_sub(1),
            Way::Backward(_) => seq.checked_add(1),
        }
    }

    /// Ignorable records passed.
    #[must_use]
    pub fn skipped_records(&self) -> u64 {
        match &self.way {
            Way::Forward(forward) => forward.skipped_records(),
            Way::Backward(backward) => backward.skipped_records(),
        }
    }

    /// Whether nothing more can come: the limit or the end of the range is reached.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let is_way_done = match &self.way {
            Way::Forward(forward) => forward.is_done(),
            Way::Backward(backward) => backward.is_done(),
        };
        self.left == 0 || is_way_done
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
            let found = match &mut self.way {
                Way::Forward(forward) => forward.next_match()?,
                Way::Backward(backward) => backward.next_match()?,
            };
            let Some(event) = found else { break };
            bytes += event.bytes.len();
            self.left -= 1;
            batch.push(event);
        }
        Ok(())
    }

    /// Whether nothing is committed where it stands, as far as one load says: no answer to whether the log goes on elsewhere.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(&self.way, Way::Forward(forward) if forward.is_at_end())
    }

    /// Waits, at most `timeout`, until there may be more. True when the next batch is worth a try; backward at once, for
    /// nothing comes there.
    ///
    /// # Errors
    /// As [`Shelf::look_for_news`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        match &mut self.way {
            Way::Forward(forward) => forward.wait(timeout),
            Way::Backward(_) => Ok(true),
        }
    }
}
