//! The tree over a log's durable events: its head, and proofs out of it.
//!
//! Owns what a handle keeps of the tree, so that nothing is read or hashed twice: blocks, never leaves, and where it reads on. What a proof needs inside a
//! block is read and hashed again. Invariant: only durable events are in it, so that no head ever has to be taken back.

use std::sync::Arc;

use super::{Log, Role};
use crate::{
    error::{Error, Result},
    evidence::{Hash, Proof, Run, TreeHead, inclusion_ranges, leaf, texts},
    scan::{Query, Scan, StoredEvent, fetch, unless_dropped},
    threads::{MutexGuard, PoisonError},
};

/// Events hashed in one go: some 20 ms.
const EVENTS_AT_ONCE: u64 = 16_384;
/// Events and bytes of them read at once.
const READ_EVENTS: usize = 1024;
const READ_BYTES: usize = 1024 * 1024;

/// The tree as far as a handle has come.
pub(super) struct Grown {
    blocks: Run,
    /// Stands at the end of the blocks. Kept, because a new one would first look for its place.
    scan: Option<Scan>,
}

impl Grown {
    pub fn new() -> Self {
        Self { blocks: Run::of_blocks(0), scan: None }
    }
}

impl Log {
    /// The head of the tree over all events that are durable now. Hashes what came since the last call of this handle; the
    /// first call what is not sealed yet, for sealed segments bring the trees over their events.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Corrupt`], [`Error::Io`]; [`Error::Truncated`] where a log in memory let events go before
    /// they were hashed.
    pub fn tree_head(&self) -> Result<TreeHead> {
        while !self.hash_some()? {}
        let blocks = &self.grown()?.blocks;
        self.head_of(blocks, blocks.end())
    }

    /// Hashes a part of what is missing; whether nothing is any more. For callers who want to be asked in between.
    ///
    /// # Errors
    /// As [`Log::tree_head`].
    pub fn hash_some(&self) -> Result<bool> {
        let mut grown = self.grown()?;
        let Grown { blocks, scan } = &mut *grown;
        let size = self.durable_seq().map_or(0, |seq| seq + 1);
        if blocks.end() < size {
            self.grow(blocks, scan, size)?;
        }
        Ok(blocks.end() >= size)
    }

    /// Adds some of what is missing up to `end`: the tree that a sealed segment brings, where one begins here, else leaves. A
    /// `scan` that is given or left stands at the end of `run`.
    fn grow(&self, run: &mut Run, scan: &mut Option<Scan>, end: u64) -> Result<()> {
        let at = run.end();
        let sealed = self.shelf().holding(at).and_then(|segment| segment.as_sealed());
        let segment_end = sealed.as_ref().map_or(end, |sealed| sealed.header.end.next_seq);
        if let Some(sealed) = sealed.filter(|one| one.header.entry.first_seq == at && segment_end <= end) {
            let tree = match unless_dropped(self.shelf(), at, sealed.tree(&*self.place.vfs)) {
                // The records say the same; that it is damaged is for a verification to say.
                Err(Error::Corrupt { .. }) => None,
                read => read?,
            };
            if tree.is_some_and(|tree| run.join(&tree)) {
                *scan = None;
                return Ok(());
            }
        }
        let mut reading = scan.take().map_or_else(|| self.scan_from(at), Ok)?;
        self.push_leaves(&mut reading, run, end.min(segment_end).min(at.saturating_add(EVENTS_AT_ONCE)))?;
        *scan = Some(reading); // not one that failed
        Ok(())
    }

    /// Proof that the event at `seq` is in the tree of the first `size` events; without a size in that of [`Log::tree_head`].
    /// `None` where that tree has no such event, or the log has no such tree.
    ///
    /// # Errors
    /// As [`Log::tree_head`]; [`Error::Truncated`] where the event is no longer kept.
    pub fn prove(&self, seq: u64, size: Option<u64>) -> Result<Option<Proof>> {
        while !self.hash_some()? {}
        let blocks = &self.grown()?.blocks;
        let size = size.unwrap_or(blocks.end());
        if seq >= size || size > blocks.end() {
            return Ok(None);
        }
        let first_seq = self.first_seq();
        if seq < first_seq {
            return Err(Error::Truncated { first_seq });
        }
        let event = fetch(self.shelf(), seq)?;
        let ranges = inclusion_ranges(seq, size);
        let path = ranges.into_iter().map(|(first, end)| self.hash_of(blocks, first, end));
        let path = path.collect::<Result<Vec<_>>>()?;
        let texts = event.view().map(|view| texts(&view).map(str::to_owned).collect()).unwrap_or_default();
        Ok(Some(Proof { seq, record: event.bytes, texts, path, head: self.head_of(blocks, size)? }))
    }

    /// What is kept of the tree, begun if need be.
    fn grown(&self) -> Result<MutexGuard<'_, Grown>> {
        self.refuse_if_closed()?;
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        // What expired before it was hashed here stands in the file of what expired.
        if grown.blocks.end() == 0 || grown.blocks.end() < self.first_seq() {
            grown.scan = None;
            grown.blocks = self.expired(Run::of_blocks(0))?;
        }
        Ok(grown)
    }

    /// `run`, which is empty, with the subtrees over the events that expired.
    fn expired(&self, mut run: Run) -> Result<Run> {
        let first_seq = self.first_seq();
        if first_seq > 0 {
            if !self.place.vfs.is_durable() {
                return Err(Error::Truncated { first_seq });
            }
            let _fits = run.join(&self.place.read_expired(self.id, first_seq)?);
        }
        Ok(run)
    }

    /// Writes down what the tree needs of the events before `first_seq`, which are about to go.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where one of them cannot be read: nobody could vouch for it any more. [`Error::Io`],
    /// [`Error::DiskFull`], [`Error::Closed`].
    pub(super) fn keep_evidence(&self, first_seq: u64) -> Result<()> {
        let mut run = self.expired(Run::new(0))?;
        let mut scan = None;
        while run.end() < first_seq {
            self.grow(&mut run, &mut scan, first_seq)?;
        }
        self.place.write_expired(self.id, &run)
    }

    /// A scan from the event at `first` on, over whatever is committed.
    fn scan_from(&self, first: u64) -> Result<Scan> {
        let query = Query { after: first.checked_sub(1), ..Query::default() };
        let scan = Scan::new(Arc::clone(self.shelf()), query, None)?;
        Ok(match &self.role {
            Role::Writer(tail) => scan.expecting(tail.committed().next_seq.checked_sub(1)),
            Role::Reader(_) => scan,
        })
    }

    /// Adds the leaves up to `end`; `scan` stands at the end of `run`.
    fn push_leaves(&self, scan: &mut Scan, run: &mut Run, end: u64) -> Result<()> {
        let mut batch: Vec<StoredEvent> = Vec::new();
        while run.end() < end {
            self.refuse_if_closed()?;
            let missing = usize::try_from(end - run.end()).unwrap_or(READ_EVENTS);
            scan.next_batch(&mut batch, READ_EVENTS.min(missing), READ_BYTES)?;
            if batch.is_empty() {
                let why = format!("the event at {} is durable and not there", run.end());
                return Err(Error::corrupt(&self.place.path, 0, why));
            }
            for event in batch.drain(..) {
                if event.fixed.seq != run.end() {
                    // In memory: what comes next went while nobody looked.
                    return Err(Error::Truncated { first_seq: self.first_seq() });
                }
                let view = event.view().map_err(|fault| {
                    Error::corrupt(&self.place.path, 0, format!("event {}: {fault}", event.fixed.seq))
                })?;
                run.push_leaf(leaf(&event.bytes, &view));
            }
        }
        Ok(())
    }

    /// Hash of the subtree over `[first, end)`: from blocks where they fit, from events where not.
    fn hash_of(&self, blocks: &Run, first: u64, end: u64) -> Result<Hash> {
        let first_seq = self.first_seq();
        let mut expired = None;
        let mut run = Run::new(first);
        while run.end() < end {
            let at = run.end();
            let mut known = blocks.node_at(at, end).copied();
            if known.is_none() && at < first_seq {
                // Blocks made before events expired may be larger than what is asked for.
                let nodes = expired.get_or_insert(self.expired(Run::new(0))?);
                known = nodes.node_at(at, end).copied();
            }
            match known {
                Some(node) if run.push(node) => {}
                _ => self.push_leaves(&mut self.scan_from(at)?, &mut run, blocks.next_node(at).min(end))?,
            }
        }
        Ok(run.root())
    }

    fn head_of(&self, blocks: &Run, size: u64) -> Result<TreeHead> {
        let seq = size.checked_sub(1);
        let root = if size == blocks.end() { blocks.root() } else { self.hash_of(blocks, 0, size)? };
        let epoch = seq.and_then(|seq| self.shelf().holding(seq)).map(|segment| segment.header.epoch);
        let epoch = epoch.unwrap_or_else(|| self.epoch());
        Ok(TreeHead { log_id: self.id, epoch, seq, tree_size: size, root })
    }
}
