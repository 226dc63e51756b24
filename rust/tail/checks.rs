//! What appends expect of their aggregates, held against what is there.
//!
//! Owns the list of what fails: a caller who has to decide again learns of everything at once. Knows heads, no records.

use crate::heads::Head;
use crate::{
    config::Expected,
    error::{Conflict, Error, Result},
};

/// The checks of one append or batch that failed so far.
#[derive(Default)]
pub(super) struct Checks(Vec<Conflict>);

impl Checks {
    /// Holds `expected` against the newest event of `aggregate_id`. `is_cited`: that event is in the log, for an error to
    /// cite; else it is of the very batch that is checked.
    pub fn hold(
        &mut self,
        aggregate_id: Option<&str>,
        expected: Expected,
        head: Option<Head>,
        is_cited: bool,
    ) {
        let actual = head.map(|head| head.version);
        if let Some(id) = aggregate_id.filter(|_| !expected.accepts(actual)) {
            self.0.push(Conflict {
                aggregate_id: id.to_owned(),
                expected,
                actual,
                seq: head.filter(|_| is_cited).map(|head| head.seq),
                event_type: None,
            });
        }
    }

    /// # Errors
    /// [`Error::Conflict`] with all that failed.
    pub fn outcome(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Conflict { conflicts: self.0 }) }
    }
}
