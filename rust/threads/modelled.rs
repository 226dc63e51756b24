//! Mapped memory inside a loom model: what each commit word may be seen as, and whether plain bytes are raced for.
//!
//! Behind the real bytes stand loom's own cells, one atomic and one race detector for each eight bytes, so that a copy
//! which is not ordered behind the writing of what it copies fails the model, and a commit word may be seen as late as its
//! orderings allow. They are costly, so a model names the few hundred bytes it is about ([`watch`]); a commit word elsewhere
//! fails it. Files read and written as files go by, but for commit words, so that a copy of a file can be walked: the kernel's
//! reads and writes carry checksums of their own.

use std::{
    cell::{Cell, RefCell},
    fmt,
    iter::successors,
    ops::Range,
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use loom::{
    cell::UnsafeCell,
    sync::{LockResult, MutexGuard, WaitTimeoutResult},
};

use super::Cells;

/// Records begin at multiples of it (docs/format.md).
const GRANULE_BYTES: usize = 8;
/// Of a commit word, those that say how long its record is.
const LENGTH_BITS: u32 = 0x0FFF_FFFF;

std::thread_local! {
    static WATCHED: RefCell<Watched> = const { RefCell::new(Watched { ranges: Vec::new(), ready: Vec::new() }) };
    static STORES_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

struct Watched {
    ranges: Vec<Range<usize>>,
    ready: Vec<Modelled>,
}

/// Every memory made from now on is watched in these ranges of offsets; the cells of the first `count` memories are made
/// now, before the model has threads: a new file's zeros are ordered before everything, whoever has it made.
pub fn watch(ranges: &[Range<usize>], count: usize) {
    let ready = (0..count).map(|_| Modelled::of(ranges)).collect();
    WATCHED.with(|watched| watched.replace(Watched { ranges: ranges.to_vec(), ready }));
}

/// Nothing is watched any more: before a model ends, since its cells end with it.
pub fn unwatch() {
    WATCHED.with(|watched| watched.replace(Watched { ranges: Vec::new(), ready: Vec::new() }));
}

/// What a writer unwinds with where it was to die.
#[derive(Debug)]
pub struct Death;

/// The writer dies instead of its next store or its filling of a record after `stores` of them; `None`: nobody does.
pub fn die_after(stores: Option<usize>) {
    STORES_LEFT.set(stores);
}

fn spend_store() {
    match STORES_LEFT.get() {
        None => {}
        // Not a panic: nothing is wrong, and no hook is to say so.
        Some(0) => resume_unwind(Box::new(Death)),
        Some(left) => STORES_LEFT.set(Some(left - 1)),
    }
}

/// The cells of one memory.
pub struct Modelled(Vec<(usize, Vec<Granule>)>);

struct Granule {
    word: loom::sync::atomic::AtomicU32,
    /// Held for a moment, in which no other thread of the model runs: only the type needs the lock.
    plain: Mutex<UnsafeCell<()>>,
}

impl Granule {
    fn new() -> Self {
        Self { word: loom::sync::atomic::AtomicU32::new(0), plain: Mutex::new(UnsafeCell::new(())) }
    }

    fn read(&self) {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).with(|_| ());
    }

    fn write(&self) {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).with_mut(|_| ());
    }
}

impl Modelled {
    fn of(ranges: &[Range<usize>]) -> Self {
        let granules = |range: &Range<usize>| {
            let count = range.len().div_ceil(GRANULE_BYTES);
            (range.start, (0..count).map(|_| Granule::new()).collect())
        };
        Self(ranges.iter().map(granules).collect())
    }

    /// The granules that `bytes` bytes from `offset` touch, as far as they are watched.
    fn granules(&self, offset: usize, bytes: usize) -> impl Iterator<Item = &Granule> {
        self.0.iter().flat_map(move |(start, granules)| {
            let first = offset.saturating_sub(*start) / GRANULE_BYTES;
            let end = offset.saturating_add(bytes).saturating_sub(*start).div_ceil(GRANULE_BYTES);
            granules.get(first..end.min(granules.len())).unwrap_or_default()
        })
    }

    fn word(&self, offset: usize) -> &Granule {
        let found = self.granules(offset, 4).next().filter(|_| offset.is_multiple_of(GRANULE_BYTES));
        assert!(found.is_some(), "a commit word at {offset}, which this model does not watch");
        found.unwrap_or_else(|| unreachable!("asserted"))
    }
}

impl fmt::Debug for Modelled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Modelled").finish_non_exhaustive()
    }
}

impl Cells for Modelled {
    fn new(bytes: usize) -> Self {
        WATCHED.with(|watched| {
            let Watched { ranges, ready } = &mut *watched.borrow_mut();
            if ranges.iter().any(|range| range.end > bytes) {
                return Self(Vec::new());
            }
            ready.pop().unwrap_or_else(|| Self::of(ranges))
        })
    }

    fn load(&self, offset: usize, _word: &AtomicU32, order: Ordering) -> u32 {
        self.word(offset).word.load(order)
    }

    fn store(&self, offset: usize, word: &AtomicU32, value: u32, order: Ordering) {
        spend_store();
        let granule = self.word(offset);
        // A copy of these bytes is a plain read, and has to be ordered behind this store too.
        granule.write();
        word.store(value, Ordering::Relaxed);
        granule.word.store(value, order);
    }

    fn reads(&self, offset: usize, bytes: usize) {
        self.granules(offset, bytes).for_each(Granule::read);
    }

    fn writes(&self, offset: usize, bytes: usize) {
        spend_store();
        self.granules(offset, bytes).for_each(Granule::write);
    }

    fn written(&self, offset: usize, source: &[u8]) {
        let word_at = |at: usize| {
            let word = source.get(at.checked_sub(offset)?..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*word)).filter(|word| *word != 0)
        };
        for (start, _) in &self.0 {
            // From record to record by their lengths: each store costs the model a branch.
            let next = |&(at, word): &(usize, u32)| {
                let next = at + usize::try_from(word & LENGTH_BITS).ok()?;
                Some((next, word_at(next)?))
            };
            let words: Vec<_> = successors(word_at(*start).map(|word| (*start, word)), next).collect();
            // A file is there whole or not at all: whoever sees a record sees those behind it.
            for (at, word) in words.into_iter().rev() {
                if let Some(granule) = self.granules(at, 4).next() {
                    granule.word.store(word.to_le(), Ordering::Release);
                }
            }
        }
    }
}

/// loom's condition variable, with the one method it lacks. Its waits have no time-out.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

type Waited<'a, T> = LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>;

impl Condvar {
    /// One that nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As std's, without an end.
    ///
    /// # Errors
    /// None: loom poisons no lock.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> Waited<'a, T> {
        self.0.wait_timeout(guard, timeout)
    }

    /// As std's, without an end.
    ///
    /// # Errors
    /// None: loom poisons no lock.
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut is_waiting: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        loop {
            let woken = self.0.wait_timeout(guard, timeout)?;
            guard = woken.0;
            if !is_waiting(&mut guard) {
                return Ok((guard, woken.1));
            }
        }
    }

    /// Wakes one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
