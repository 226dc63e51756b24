//! From one segment to the next: preparing it ahead, entering it.
//!
//! The keeper prepares a spare before it is needed; entering it costs the appending thread a few stores. Without a
//! spare in time, or for a record larger than it, the appending thread prepares one itself, and that is counted.
//! Owns numbers and sizes of segments.

use std::{sync::Arc, time::Duration};

use super::{
    Tail,
    sync::Target,
    window,
    write::{END_BYTES, Writer},
};
use crate::{
    config::{Options, Patience},
    error::{Error, Result},
    format::{
        RECORD_FIXED_BYTES, end_record,
        meta::Meta,
        segment::{ENTRY_OFFSET, Entry, PAGE_BYTES, RECORDS_OFFSET, SegmentHeader},
    },
    map::{Memory, WriteMap},
    planted::{Bug, is_planted},
    segment::Segment,
    threads::{
        Instant, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    vfs::File,
};

/// How soon the keeper tries again to prepare a segment.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A prepared segment.
struct Spare {
    header: SegmentHeader,
    file: Arc<dyn File>,
    map: WriteMap,
}

/// What is ready, and what the next one is to be like.
pub(super) struct Spares {
    ready: Mutex<Option<Spare>>,
    /// Held while one is being prepared, so that keeper and appender never prepare two.
    preparing: Mutex<()>,
    next_bytes: AtomicU64,
    /// When the keeper last tried in vain, and what went wrong.
    problem: Mutex<Option<(Instant, String)>>,
    mappings: Mutex<Mappings>,
}

/// Mappings that the keeper looks after.
struct Mappings {
    /// The segment being written, for populating.
    active: (u64, Arc<Memory>),
    /// Those the writer has left; unmapping them is not the appender's work.
    retired: Vec<WriteMap>,
}

impl Spares {
    pub fn new(active: &Segment, options: &Options, memory: Arc<Memory>) -> Self {
        Self {
            ready: Mutex::default(),
            preparing: Mutex::default(),
            next_bytes: AtomicU64::new(next_size(active.header.file_bytes, options)),
            problem: Mutex::default(),
            mappings: Mutex::new(Mappings { active: (active.header.number, memory), retired: Vec::new() }),
        }
    }

    /// The mapping of segment `number`, if that is the one being written.
    pub fn active_memory(&self, number: u64) -> Option<Arc<Memory>> {
        let mappings = lock(&self.mappings);
        (mappings.active.0 == number).then(|| Arc::clone(&mappings.active.1))
    }

    /// Number and mapping of the spare, if one is ready.
    pub fn ready_memory(&self) -> Option<(u64, Arc<Memory>)> {
        let ready = lock(&self.ready);
        ready.as_ref().map(|spare| (spare.header.number, Arc::clone(spare.map.memory())))
    }
}

/// None of these locks guards anything that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_size(bytes: u64, options: &Options) -> u64 {
    bytes.saturating_mul(2).min(options.segment_bytes)
}

/// Bytes that records can have in a file of `file_bytes`.
fn capacity(file_bytes: u64) -> u64 {
    file_bytes.saturating_sub((RECORDS_OFFSET + END_BYTES) as u64)
}

impl Writer {
    /// Ends the active segment and enters the next, with room for `needed` bytes of records. `is_full` says why.
    ///
    /// # Errors
    /// [`Error::Limit`] if no segment could take them; [`Error::WouldBlock`], [`Error::DiskFull`], [`Error::Io`] while
    /// there is no next segment: the active one stays as it is and takes what fits.
    pub fn roll(
        &mut self,
        tail: &Tail,
        needed: usize,
        is_full: bool,
        now_ns: i64,
        patience: Patience,
    ) -> Result<()> {
        let limit = capacity(tail.options.segment_bytes);
        let needed_bytes = needed as u64;
        if needed_bytes > limit {
            return Err(Error::Limit {
                what: "the size of the record or batch in bytes",
                got: needed_bytes,
                limit,
            });
        }
        let pages = (RECORDS_OFFSET + needed + END_BYTES).next_multiple_of(PAGE_BYTES) as u64;
        let least = pages.min(tail.options.segment_bytes);
        let spare = tail.take_spare(least, patience)?;
        let number = spare.header.number;
        let identity = self.identity(now_ns, None);
        let write = |target: &mut [u8]| end_record(target, &identity, number);
        let end = self.active.map.fill(self.active.offset, RECORD_FIXED_BYTES, write);
        self.active.commit(RECORD_FIXED_BYTES, end);
        self.refuse_if_broken(tail)?;
        let entry = Entry {
            first_seq: self.next_seq,
            entered_ns: now_ns,
            prev_segment: self.active.number,
            prev_end: self.active.offset as u64,
        };
        let Spare { header, file, mut map } = spare;
        store_entry(&mut map, &entry, header.epoch);
        let segment = Arc::new(Segment::new(tail.place().segment_path(number), header, entry));
        // ORDER: whoever samples the new committed position must find the segment among those to sync.
        tail.durable.enter(Target::new(&segment, file, 0));
        tail.shelf.update(|segments| segments.push(Arc::clone(&segment)));
        let memory = Arc::clone(map.memory());
        let left = self.enter(&segment, map);
        tail.committed.store(self.committed());
        tail.counters.rolls.fetch_add(1, Ordering::Relaxed);
        tail.retire(left, (number, memory), is_full);
        Ok(())
    }
}

/// Enters a segment: the entry's body, then its commit word.
fn store_entry(map: &mut WriteMap, entry: &Entry, epoch: u32) {
    let bytes = entry.encode(epoch);
    if let Some((word, body)) = bytes.split_first_chunk::<4>() {
        map.fill(ENTRY_OFFSET + 4, body.len(), |target| target.copy_from_slice(body));
        map.commit(ENTRY_OFFSET, u32::from_le_bytes(*word));
    }
}

impl Tail {
    fn take_spare(&self, least: u64, patience: Patience) -> Result<Spare> {
        if !self.sealing.has_caught_up(false) {
            if patience == Patience::Try {
                return Err(Error::WouldBlock);
            }
            self.counters.waits_for_sealer.fetch_add(1, Ordering::Relaxed);
            self.sealing.has_caught_up(true);
        }
        let fits = |spare: &mut Spare| spare.header.file_bytes >= least;
        if let Some(spare) = lock(&self.spares.ready).take_if(fits) {
            return Ok(spare);
        }
        if patience == Patience::Try {
            return Err(Error::WouldBlock);
        }
        let _only_one = lock(&self.spares.preparing);
        if let Some(spare) = lock(&self.spares.ready).take_if(fits) {
            return Ok(spare);
        }
        self.counters.appender_prepared.fetch_add(1, Ordering::Relaxed);
        let bytes = self.spares.next_bytes.load(Ordering::Relaxed).max(least);
        let spare = self.prepare(bytes).inspect_err(|error| {
            *lock(&self.spares.problem) = Some((Instant::now(), error.to_string()));
        })?;
        // One that was too small stays a file that nobody uses, and goes at the next opening.
        drop(lock(&self.spares.ready).take());
        *lock(&self.spares.problem) = None;
        Ok(spare)
    }

    /// The keeper's part: has a spare ready, and unmaps what the writer has left.
    pub(super) fn prepare_ahead(&self) {
        let retired = std::mem::take(&mut lock(&self.spares.mappings).retired);
        drop(retired);
        let _only_one = lock(&self.spares.preparing);
        if lock(&self.spares.ready).is_some() || self.is_closed() || self.has_just_failed() {
            return;
        }
        let prepared = self.prepare(self.spares.next_bytes.load(Ordering::Relaxed));
        // The appender will try again when it needs one, and then says so itself.
        let problem = prepared.as_ref().err().map(|error| (Instant::now(), error.to_string()));
        *lock(&self.spares.problem) = problem;
        *lock(&self.spares.ready) = prepared.ok();
    }

    /// Why there is no spare, if one could not be prepared.
    pub fn spare_problem(&self) -> Option<String> {
        lock(&self.spares.problem).as_ref().map(|(_, what)| what.clone())
    }

    /// A full disk is not asked for room a hundred times a second.
    fn has_just_failed(&self) -> bool {
        lock(&self.spares.problem).as_ref().is_some_and(|(when, _)| when.elapsed() < RETRY_INTERVAL)
    }

    fn prepare(&self, file_bytes: u64) -> Result<Spare> {
        self.refuse_if_displaced()?;
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let header = SegmentHeader {
            log_id: meta.log_id,
            number: self.place().next_number(&meta)?,
            epoch: meta.epoch,
            file_bytes,
            created_ns: self.clock.now_ns(),
        };
        // Asked again once its file is made: then none that is put in the log's place from here on has one to rename.
        let file = self.place().prepare_segment(&header, || self.refuse_if_displaced())?;
        let bytes = usize::try_from(file_bytes).unwrap_or(usize::MAX);
        let memory = file
            .map(bytes, true)
            .map_err(|error| Error::io(self.place().segment_path(header.number), "map", error))?;
        // Its first pages will be written by the appending thread (R10); it works without, too.
        let _populated = memory.populate(0, window::STEP_BYTES.min(bytes));
        // ORDER: META names the segment before its first append (R16), so that its loss is noticed.
        let mut next = Meta { highest_segment: header.number, newest_segment: header.number, ..*meta };
        if !is_planted(Bug::SpareNotNamed) {
            self.refuse_if_displaced()?;
            self.place().write_meta(&mut next)?;
        }
        *meta = next;
        Ok(Spare { header, file, map: WriteMap::new(memory) })
    }

    /// After a roll: the old mapping goes to the keeper, the next spare is one size up if this one filled, and without
    /// a disk the oldest segments go.
    fn retire(&self, left: WriteMap, active: (u64, Arc<Memory>), is_full: bool) {
        if is_full {
            let filled = left.bytes().max(active.1.bytes()) as u64;
            self.spares.next_bytes.store(next_size(filled, &self.options), Ordering::Relaxed);
        }
        {
            let mut mappings = lock(&self.spares.mappings);
            mappings.retired.push(left);
            mappings.active = active;
        }
        if !self.place().vfs.is_durable() {
            self.drop_oldest();
        }
        self.keeper.want_spare(self.options.sync_interval);
    }

    /// In memory only: whole segments go from the front beyond the cap; one being read stays until its reader is done.
    fn drop_oldest(&self) {
        self.shelf.update(|segments| {
            let mut total: u64 = segments.iter().map(|segment| segment.header.file_bytes).sum();
            while total > self.options.memory_bytes && segments.len() > 1 {
                let oldest = segments.remove(0);
                total -= oldest.header.file_bytes;
                let _gone = self.place().remove_segments(&[oldest.header.number], &[]);
            }
        });
    }
}
