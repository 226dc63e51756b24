//! Retention: whole sealed segments go from the front of the log.
//!
//! Owns the order in which they go, which a crash may break off anywhere: what outlives them is written and synced first, then
//! META, then they are no part of the log for whoever begins to read, then their files go. Why they go, and what keeps
//! others, is for the caller to say.

use super::Tail;
use crate::{
    config::Patience,
    error::Result,
    format::meta::Meta,
    heads::Heads,
    planted::{Bug, is_planted},
    threads::PoisonError,
};

/// At most this part of the segments goes in one pass, but at least one.
const PART_OF_A_PASS: usize = 10;

/// What went in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// Oldest event kept.
    pub first_seq: u64,
    /// Numbers of the segments that went.
    pub segments: Vec<u64>,
    /// Events in them.
    pub event_count: u64,
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Aggregates of which only the version is left.
    pub kept_heads: usize,
    /// Why files are left over, if some are; the next pass or opening removes them.
    pub left_over: Option<String>,
}

impl Tail {
    /// Drops the sealed segments at the front all of whose events lie before `seq`, at most a tenth of all segments, but at
    /// least one. META says so durably on return. `keep` writes down what else outlives the events before the one it is told.
    ///
    /// # Errors
    /// [`crate::error::Error::Closed`], [`crate::error::Error::Poisoned`], [`crate::error::Error::Io`],
    /// [`crate::error::Error::DiskFull`], those of `keep`: nothing went.
    pub fn retain(&self, seq: u64, keep: impl FnOnce(u64) -> Result<()>) -> Result<Retained> {
        // ORDER: who closes waits for this lock once the log counts as closed, and only then lets go of LOCK.
        let _one_at_a_time = self.retaining.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_if_unwell()?;
        self.refuse_if_displaced()?;
        let segments = self.shelf.list();
        let most = (segments.len() / PART_OF_A_PASS).max(1);
        let may_go = segments
            .iter()
            .zip(segments.iter().skip(1))
            .take(most)
            .take_while(|(segment, next)| segment.as_sealed().is_some() && next.entry.first_seq <= seq);
        let going: Vec<_> = may_go.map(|(segment, _)| segment).collect();
        let mut retained = Retained { first_seq: self.shelf.first_seq(), ..Retained::default() };
        let (Some(first), false) = (segments.get(going.len()), going.is_empty()) else { return Ok(retained) };
        let first_seq = first.entry.first_seq;
        // ORDER: the entry of what becomes the first segment is durable before META names it. With what goes its watermarks go:
        // what stays has one that says so, or a reader's backup would have nothing of it.
        self.sync_now()?;
        self.store_watermark()?;
        keep(first_seq)?;
        retained.kept_heads = self.keep_heads(first_seq)?;
        if is_planted(Bug::DroppedBeforeMeta) {
            self.place().remove_before(first.header.number)?;
        }
        self.raise_first(first_seq, first.header.number)?;
        self.shelf.update(|segments| segments.retain(|kept| kept.header.number >= first.header.number));
        retained.segments = going.iter().map(|segment| segment.header.number).collect();
        retained.event_count = first_seq - retained.first_seq;
        retained.file_bytes =
            going.iter().filter_map(|segment| Some(segment.as_sealed()?.file_bytes())).sum();
        retained.first_seq = first_seq;
        let removed = self.place().remove_before(first.header.number);
        retained.left_over = removed.err().map(|error| error.to_string());
        Ok(retained)
    }

    /// Writes down what outlives the events before `first_seq` (R20).
    fn keep_heads(&self, first_seq: u64) -> Result<usize> {
        if is_planted(Bug::HeadsNotKept) {
            return self.place().write_heads(self.shelf.log_id, first_seq, &Heads::default()).map(|()| 0);
        }
        let heads = self.lock_writer(Patience::Wait)?.heads().before(first_seq);
        self.place().write_heads(self.shelf.log_id, first_seq, &heads)?;
        Ok(heads.count())
    }

    fn raise_first(&self, first_seq: u64, first_segment: u64) -> Result<()> {
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Meta { first_seq, first_segment, ..*meta };
        self.place().write_meta(&mut next)?;
        *meta = next;
        Ok(())
    }
}
