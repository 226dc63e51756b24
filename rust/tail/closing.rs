//! A clean close: everything durable, the closing index, the clean mark, in this order.
//!
//! Owns what the next opening finds. Without the mark it recovers; without the index it reads what that would have told.

use super::Tail;
use crate::{
    config::Patience,
    error::{Error, Result},
    format::{Names, closing_index::ClosingIndex, meta::Mark, segment::RECORDS_OFFSET},
    threads::{PoisonError, atomic::Ordering},
};

/// To fetch a header takes as long as to read so many bytes in a row.
const FETCH_BYTES: u64 = 64 * 1024;

impl Tail {
    /// Syncs everything, leaves the clean mark and releases lock and thread. Idempotent.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Io`]: the lock is released all the same, without a clean mark.
    pub fn close(&self) -> Result<()> {
        // In a forked child the lock may be held by a thread that is not there.
        if self.is_abandoned() {
            return Ok(());
        }
        let _one_at_a_time = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.keeper.stop();
        self.sealing.stop();
        self.stop_ringer();
        self.restoring.stop();
        // ORDER: no append is under way any more once the writer's lock was had after `is_closed` stood. One that broke
        // off in the middle poisons, and leaves no clean mark.
        drop(self.lock_writer(Patience::Wait));
        drop(self.retaining.lock());
        let outcome = self.leave_clean_mark();
        self.close_control();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        outcome
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    fn leave_clean_mark(&self) -> Result<()> {
        if let Some(reason) = self.poisoned() {
            return Err(Error::Poisoned { reason: reason.to_owned(), committed: None });
        }
        // Wakes who waits for what never comes, as each end of a turn does.
        let place = self.sync_now()?;
        self.store_watermark()?;
        self.refuse_if_displaced()?;
        let end = Mark { segment: place.segment, offset: place.offset, next_seq: place.next_seq };
        let index = self.closing_index(end);
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut index) = index {
            // ORDER: durable before the META that it names. A cache: where it cannot be written the next opening does without.
            index.generation = self.place().next_generation(&meta)?;
            let _done_without = self.place().write_closing_index(&index);
        }
        meta.clean = Some(end);
        self.place().write_meta(&mut meta)
    }

    /// What the next opening would have to find out, the log ending at `end`; `None` where that is little, or where the newest segment
    /// does not read. Walks what was appended to that one since it was opened or entered.
    fn closing_index(&self, end: Mark) -> Option<ClosingIndex> {
        let segments = self.shelf.list();
        let sealed: Vec<_> = segments.iter().map_while(|segment| Some(segment.as_sealed()?.header)).collect();
        let raw = segments.get(sealed.len()..)?;
        let (first, newest) = (raw.first()?, raw.last()?);
        let ends = raw.iter().skip(1).map(|next| next.entry.prev_end).chain([end.offset]);
        let record_bytes: u64 = ends.map(|end| end.saturating_sub(RECORDS_OFFSET as u64)).sum();
        let to_read = record_bytes + FETCH_BYTES * sealed.len() as u64;
        if to_read < self.options.index_from || !self.place().vfs.is_durable() {
            return None;
        }
        let (learnt, marks) = newest.learnt(&*self.place().vfs, end.next_seq).ok()?;
        let heads = self.lock_writer(Patience::Wait).ok()?.heads().since(first.entry.first_seq);
        (learnt.next_seq == end.next_seq).then(|| ClosingIndex {
            log_id: newest.header.log_id,
            generation: 0,
            end,
            sealed,
            first_seq: first.entry.first_seq,
            names: Names::clone(&learnt.names),
            marks,
            heads,
        })
    }
}
