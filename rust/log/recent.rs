//! The ids that callers gave to the newest events: what makes a retry harmless.
//!
//! Owns the window and when it is made. A cache: the log is what counts, and the window is read from it by the first
//! append that gives an id, so that nobody else pays for it. Invariant: while it is held, no other event with a given id
//! is appended, so what it does not know is not there.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use super::Log;
use crate::{
    config::Patience,
    error::{Error, Result},
    format::{Codec, EventId, IdView, NewEvent},
    planted::{Bug, is_planted},
    scan::{Query, fetch},
    tail::Appended,
    threads::{Mutex, MutexGuard, PoisonError, TryLockError},
};

/// An id is looked for among so many of the newest events. A caller retries within seconds; at a million events a second
/// this is still longer than any sync. Some 5 MB where each of them has a UUID of its caller.
pub const RECENT_EVENTS: u64 = 65_536;
const BATCH_EVENTS: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;

/// The window of a log that is written; unread until it is needed.
#[derive(Default)]
pub struct Recent(Mutex<Option<Window>>);

/// Which of the newest events has which id.
#[derive(Default)]
pub struct Window {
    seqs: HashMap<EventId, u64>,
    ids: VecDeque<(u64, EventId)>,
}

impl Window {
    /// The position of the event with this id.
    pub fn seq_of(&self, id: &str) -> Option<u64> {
        self.seqs.get(&IdView::of(id).to_owned()).copied()
    }

    /// Takes in an event that was appended.
    pub fn add(&mut self, id: EventId, seq: u64) {
        self.seqs.insert(id.clone(), seq);
        self.ids.push_back((seq, id));
    }

    /// Forgets what is not among the newest events, `next_seq` being the next one's position.
    fn forget_before(&mut self, next_seq: u64) {
        while self.ids.front().is_some_and(|(seq, _)| *seq + RECENT_EVENTS < next_seq)
            && let Some((seq, id)) = self.ids.pop_front()
        {
            if self.seqs.get(&id) == Some(&seq) {
                self.seqs.remove(&id);
            }
        }
    }
}

/// The window while it is held.
pub struct Held<'a>(MutexGuard<'a, Option<Window>>);

impl Held<'_> {
    pub fn window(&mut self) -> &mut Window {
        self.0.get_or_insert_default()
    }
}

impl Log {
    /// Holds the window, which it reads from the log where that was not done yet.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] where it would have to wait or to read; [`Error::Poisoned`] and [`Error::Closed`], before anything
    /// is read: after a failed sync the log is no longer what was appended; those of reading.
    pub(super) fn recent(&self, patience: Patience) -> Result<Held<'_>> {
        self.tail()?.refuse_if_unwell()?;
        let mut held = match patience {
            Patience::Wait => self.recent.0.lock().unwrap_or_else(PoisonError::into_inner),
            Patience::Try => match self.recent.0.try_lock() {
                Ok(held) => held,
                Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(Error::WouldBlock),
            },
        };
        if held.is_none() {
            if patience == Patience::Try {
                return Err(Error::WouldBlock);
            }
            *held = Some(self.read_window()?);
        }
        let next_seq = self.tail()?.committed().next_seq;
        let mut held = Held(held);
        held.window().forget_before(next_seq);
        Ok(held)
    }

    fn read_window(&self) -> Result<Window> {
        let mut window = Window::default();
        let Some(newest) = self.last_seq()? else { return Ok(window) };
        if is_planted(Bug::IdsForgotten) {
            return Ok(window);
        }
        let oldest = newest.saturating_sub(RECENT_EVENTS - 1).max(self.first_seq());
        let mut scan = self.read(Query { after: oldest.checked_sub(1), ..Query::default() })?;
        let mut batch = Vec::new();
        loop {
            batch.clear();
            scan.next_batch(&mut batch, BATCH_EVENTS, BATCH_BYTES)?;
            if batch.is_empty() {
                return Ok(window);
            }
            for stored in &batch {
                let given = stored.view().ok().filter(|event| event.is_caller_id);
                if let Some(event) = given {
                    window.add(event.event_id.to_owned(), stored.fixed.seq);
                }
            }
        }
    }

    /// The receipt of the event at `seq`, which has the id of `event`; `None` where it is no longer kept.
    ///
    /// # Errors
    /// [`Error::Duplicate`] where it is another event: other bytes, type or aggregate; [`Error::WouldBlock`]; those of
    /// reading.
    pub(super) fn receipt_again(
        &self,
        event: &NewEvent<'_>,
        seq: u64,
        patience: Patience,
    ) -> Result<Option<Appended>> {
        if patience == Patience::Try {
            return Err(Error::WouldBlock);
        }
        let stored = match fetch(self.shelf(), seq) {
            Err(Error::Truncated { .. }) => return Ok(None),
            found => found?,
        };
        let Ok(known) = stored.view() else { return Ok(None) };
        let is_same = known.payload == event.payload
            && (known.codec == Codec::Bytes) == (event.codec == Codec::Bytes)
            && known.event_type == event.event_type
            && known.aggregate_id == event.aggregate_id.map(IdView::of);
        if !is_same {
            return Err(self.duplicate(known.event_id.to_string(), seq));
        }
        Ok(Some(Appended {
            seq,
            event_id: known.event_id.to_owned(),
            aggregate_version: known.aggregate_id.map(|_| stored.fixed.aggregate_version),
            aggregate_prev: stored.fixed.aggregate_prev,
            epoch: stored.epoch,
            ts_ns: stored.fixed.ts_ns,
            is_duplicate: true,
        }))
    }

    /// The receipts of a batch that was appended before, as a whole and in this order; `None` where nothing of it is known.
    ///
    /// # Errors
    /// As [`Log::receipt_again`], for a part that is known as well, and for an id that stands in the batch twice.
    pub(super) fn receipts_again(
        &self,
        events: &[NewEvent<'_>],
        window: &Window,
        patience: Patience,
    ) -> Result<Option<Vec<Appended>>> {
        let mut given = HashSet::new();
        if let Some(twice) = events.iter().filter_map(|event| event.event_id).find(|id| !given.insert(*id)) {
            return Err(Error::Duplicate { event_id: twice.to_owned(), seq: None });
        }
        let seqs: Vec<_> =
            events.iter().map(|event| event.event_id.and_then(|id| window.seq_of(id))).collect();
        let mut first = None;
        let mut receipts = Vec::with_capacity(events.len());
        for (event, seq) in events.iter().zip(&seqs) {
            let Some(seq) = *seq else { continue };
            let Some(receipt) = self.receipt_again(event, seq, patience)? else { continue };
            first.get_or_insert((receipt.event_id.to_string(), seq));
            receipts.push(receipt);
        }
        let Some((event_id, seq)) = first else { return Ok(None) };
        let is_whole = receipts.len() == events.len();
        let is_in_order = receipts.iter().zip(seq..).all(|(receipt, seq)| receipt.seq == seq);
        if is_whole && is_in_order { Ok(Some(receipts)) } else { Err(self.duplicate(event_id, seq)) }
    }

    /// An error is as good as a receipt: the event that it cites is as durable as the caller asked for (R15).
    fn duplicate(&self, event_id: String, seq: u64) -> Error {
        let settled = self.tail().and_then(|tail| tail.settle_cited(seq));
        settled.err().unwrap_or(Error::Duplicate { event_id, seq: Some(seq) })
    }
}
