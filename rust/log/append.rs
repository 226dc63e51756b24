//! Appending: one event or many, each id that its caller gave at most once.
//!
//! Owns what is asked before the tail is: is this a retry? and what an error is told once the tail has refused. What an append
//! writes is the tail's. Lock order: the window of recent ids before the writer's.

use super::Log;
use crate::{
    config::{Expected, Patience},
    error::{Committed, Error, Result},
    format::NewEvent,
    scan::fetch,
    tail::Appended,
};

impl Log {
    /// Appends one event. Committed on return: it survives the death of this process, not yet a power loss; see
    /// [`Log::settle`]. An event with a given id that is one of the newest [`RECENT_EVENTS`](super::RECENT_EVENTS) is not appended again:
    /// same bytes, type and aggregate give the receipt of the first, whatever version is expected.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Conflict`], [`Error::Duplicate`], [`Error::DiskFull`], [`Error::Poisoned`], [`Error::Closed`],
    /// [`Error::ReadOnly`], where an id is given those of reading; [`Error::WouldBlock`] only where `patience` says so. None of
    /// them leaves anything behind.
    pub fn append(&self, event: &NewEvent<'_>, patience: Patience) -> Result<Appended> {
        let Some(id) = event.event_id else { return self.append_new(event, patience) };
        let mut held = self.recent(patience)?;
        if let Some(seq) = held.window().seq_of(id)
            && let Some(first) = self.receipt_again(event, seq, patience)?
        {
            return Ok(first);
        }
        let appended = self.append_new(event, patience)?;
        held.window().add(appended.event_id.clone(), appended.seq);
        Ok(appended)
    }

    fn append_new(&self, event: &NewEvent<'_>, patience: Patience) -> Result<Appended> {
        let mut outcome = self.tail()?.append(event, patience);
        // As it is, where it is: see `UuidBytes` for what moving it costs.
        if matches!(outcome, Err(Error::Conflict { .. })) {
            outcome = outcome.map_err(|error| self.name_conflicts(error, patience));
        }
        outcome
    }

    /// Appends all events or none, in one record group that readers see as a whole. Durability as [`Log::append`].
    ///
    /// # Errors
    /// As [`Log::append`]; [`Error::Limit`] also where the batch does not fit one segment.
    pub fn append_many(&self, events: &[NewEvent<'_>], patience: Patience) -> Result<Vec<Appended>> {
        self.append_checked(events, &[], patience)
    }

    /// As [`Log::append_many`], if the aggregates of `expected`, whether or not the batch writes them, are where it says
    /// before the first event. An event's own expectation is held against what the events before it leave.
    ///
    /// # Errors
    /// As [`Log::append_many`]; [`Error::Conflict`] names every check that fails. [`Error::Duplicate`] also where part of the
    /// batch is known, or an id stands in it twice; a batch that is known as a whole gives its receipts again.
    pub fn append_checked(
        &self,
        events: &[NewEvent<'_>],
        expected: &[(&str, Expected)],
        patience: Patience,
    ) -> Result<Vec<Appended>> {
        if events.iter().all(|event| event.event_id.is_none()) {
            return self.append_all_new(events, expected, patience);
        }
        let mut held = self.recent(patience)?;
        if let Some(first) = self.receipts_again(events, held.window(), patience)? {
            return Ok(first);
        }
        let appended = self.append_all_new(events, expected, patience)?;
        let given = events.iter().zip(&appended).filter(|(event, _)| event.event_id.is_some());
        for (_, appended) in given {
            held.window().add(appended.event_id.clone(), appended.seq);
        }
        Ok(appended)
    }

    fn append_all_new(
        &self,
        events: &[NewEvent<'_>],
        expected: &[(&str, Expected)],
        patience: Patience,
    ) -> Result<Vec<Appended>> {
        let appended = self.tail()?.append_many(events, expected, patience);
        appended.map_err(|error| self.name_conflicts(error, patience))
    }

    /// Adds the types of the conflicting events, so that a retry needs no second read; under group and always those events
    /// are durable by then (R15). Outside every lock.
    fn name_conflicts(&self, error: Error, patience: Patience) -> Error {
        let Error::Conflict { mut conflicts } = error else { return error };
        if patience == Patience::Try {
            return Error::WouldBlock;
        }
        if let Some(newest) = conflicts.iter().filter_map(|conflict| conflict.seq).max()
            && let Err(error) = self.tail().and_then(|tail| tail.settle_cited(newest))
        {
            return error;
        }
        for conflict in &mut conflicts {
            let found = conflict.seq.and_then(|seq| fetch(self.shelf(), seq).ok());
            conflict.event_type = found.and_then(|event| Some(event.view().ok()?.event_type.to_owned()));
        }
        Error::Conflict { conflicts }
    }
}

impl Error {
    /// The same, of a call that had committed `appended` before it failed.
    #[must_use]
    pub fn after_commit(self, appended: &Appended) -> Self {
        match self {
            Self::Poisoned { reason, .. } => Self::Poisoned {
                reason,
                committed: Some(Committed { seq: appended.seq, event_id: appended.event_id.to_string() }),
            },
            other => other,
        }
    }
}
