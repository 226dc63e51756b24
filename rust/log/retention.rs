//! What of a log is no longer kept: dropping it, and who asks for it all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Log, Retained, Role};
use crate::{
    error::{Error, Result},
    scan::Query,
};

/// Events read at once.
const BATCH_EVENTS: usize = 1024;
const BATCH_BYTES: usize = 1024 * 1024;

/// An aggregate in a range of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resident {
    /// Types of its events there.
    pub types: BTreeSet<String>,
    /// Position of its newest event there.
    pub last_seq: u64,
}

impl Log {
    /// The aggregates that have events from `first` up to `last`, by id.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn aggregates_in(&self, first: u64, last: u64) -> Result<BTreeMap<String, Resident>> {
        let query = Query { after: first.checked_sub(1), up_to: Some(last), ..Query::default() };
        let mut scan = self.read(query)?;
        let mut found: BTreeMap<String, Resident> = BTreeMap::new();
        let mut batch = Vec::new();
        loop {
            batch.clear();
            scan.next_batch(&mut batch, BATCH_EVENTS, BATCH_BYTES)?;
            if batch.is_empty() {
                return Ok(found);
            }
            for view in batch.iter().filter_map(|event| event.view().ok()) {
                let Some(id) = view.aggregate_id else { continue };
                let resident = found.entry(id.to_string()).or_default();
                resident.last_seq = view.seq();
                if !resident.types.contains(view.event_type) {
                    resident.types.insert(view.event_type.to_owned());
                }
            }
        }
    }

    /// Drops whole sealed segments from the front, all of whose events lie before `seq`: at most a tenth of all segments, but
    /// at least one, if there is one. Durable on return. Readers inside one finish undisturbed; who comes later gets
    /// [`Error::Truncated`]. Versions of aggregates go on as if nothing had been dropped.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`], [`Error::Poisoned`], [`Error::Io`], [`Error::DiskFull`]: nothing went.
    pub fn retain(&self, seq: u64) -> Result<Retained> {
        let before = self.first_seq();
        let mut retained = self.tail()?.retain(seq, |first_seq| self.keep_evidence(first_seq))?;
        // The file of the pass before stays for readers who have not yet heard of this one.
        if let Err(error) = self.place.drop_expired_before(before) {
            retained.left_over.get_or_insert(error.to_string());
        }
        Ok(retained)
    }

    /// A range that ends before the oldest event kept is no empty one.
    pub(super) fn refuse_expired(&self, query: &Query) -> Result<()> {
        self.refuse_if_closed()?;
        if let Role::Reader(reader) = &self.role {
            reader.shelf.look_for_news()?;
        }
        let first_seq = self.first_seq();
        match query.up_to {
            Some(up_to) if up_to < first_seq => Err(Error::Truncated { first_seq }),
            _ => Ok(()),
        }
    }
}
