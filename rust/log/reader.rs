//! A reader's side of a log: what it has learnt so far, and how it learns more.
//!
//! Writes nothing. Invariant: heads and position belong together, both behind one lock.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    heads::Heads,
    place::Place,
    recovery::{Recovery, survey_beside_a_writer},
    scan::{Query, Scan, StoredEvent},
    segment::note_head,
    shelf::{News, Shelf},
    threads::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Events a reader takes in at once to learn of new heads.
const CATCH_UP_EVENTS: usize = 1024;
const CATCH_UP_BYTES: usize = 1024 * 1024;

pub(super) struct Reader {
    pub shelf: Arc<Shelf>,
    is_closed: AtomicBool,
    known: Mutex<Known>,
}

/// What a reader has learnt of the log so far.
pub(super) struct Known {
    pub heads: Heads,
    pub scan: Scan,
}

impl Reader {
    /// Surveys the log beside its writer, if there is one; with the log's id and the report.
    pub fn open(place: &Place) -> Result<(Self, [u8; 16], Recovery)> {
        let found =
            survey_beside_a_writer(place)?.ok_or_else(|| Error::Missing { path: place.path.clone() })?;
        let recovery = Recovery::of(&found);
        let id = found.meta.log_id;
        let shelf = Shelf::new(place.clone(), id, News::LookedFor, found.segments);
        let shelf = Arc::new(shelf.without(found.stranded));
        let query = Query { after: found.end.next_seq.checked_sub(1), ..Query::default() };
        let mut known = Known { heads: found.heads, scan: Scan::new(Arc::clone(&shelf), query, None)? };
        // At once, so that the scan stands behind what the heads know: only from there a cut before it is noticed.
        known.catch_up(&shelf)?;
        let known = Mutex::new(known);
        Ok((Self { shelf, is_closed: AtomicBool::new(false), known }, id, recovery))
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.shelf.link.leave();
    }

    /// What is known, brought up to what is committed now.
    pub fn caught_up(&self) -> Result<MutexGuard<'_, Known>> {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.shelf.look_for_news()?;
        guard.catch_up(&self.shelf)?;
        Ok(guard)
    }
}

impl Known {
    /// Takes in what is committed in the segments that are known.
    fn catch_up(&mut self, segments: &Arc<Shelf>) -> Result<()> {
        let Self { heads, scan } = self;
        let mut batch: Vec<StoredEvent> = Vec::new();
        loop {
            batch.clear();
            // The scan is past what it gave out, also where it then failed: the heads must not stay behind it.
            let outcome = scan.next_batch(&mut batch, CATCH_UP_EVENTS, CATCH_UP_BYTES);
            for event in &batch {
                if let Ok(view) = event.view() {
                    note_head(heads, &view);
                }
            }
            match outcome {
                // Retention was faster than this reader: what it left of those events is all there is to know of them.
                Err(Error::Truncated { first_seq }) => {
                    heads.merge(&segments.place.read_heads(segments.log_id, first_seq)?);
                    let query = Query { after: first_seq.checked_sub(1), ..Query::default() };
                    match Scan::new(Arc::clone(segments), query, None) {
                        // It was so again; the next batch says up to where.
                        Err(Error::Truncated { .. }) => {}
                        next => *scan = next?,
                    }
                }
                outcome => {
                    outcome?;
                    if batch.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
