//! Snapshots of a log's aggregates: stored one at a time, opaque here.
//!
//! Owns which ones there are and when an old one goes. A writer lists the directory once and remembers it (about 60 bytes
//! of an aggregate): with thousands of aggregates a listing takes longer than all the rest of a rebuild. Invariant: a
//! snapshot is removed only after a newer one of its aggregate is durable, or because somebody said so.

use std::collections::BTreeMap;

use super::{Log, Role};
use crate::{
    error::Result,
    format::names::SnapshotName,
    threads::{Mutex, PoisonError},
};

/// What a log knows of its snapshots.
#[derive(Default)]
pub struct Snapshots {
    /// One is stored at a time: two of one aggregate would remove the same old ones.
    turn: Mutex<()>,
    /// Those of a writer, by the hash of the aggregate, ascending; `None` until somebody asks.
    known: Mutex<Option<BTreeMap<u128, Vec<u64>>>>,
}

impl Log {
    /// Stores a snapshot, whole or not at all, then drops all but the `kept` newest of its aggregate; durable on
    /// return.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`], [`Error::DiskFull`], [`Error::Io`].
    pub fn write_snapshot(&self, aggregate_id: &str, seq: u64, payload: &[u8], kept: usize) -> Result<()> {
        self.tail()?.refuse_if_displaced()?;
        self.refuse_if_closed()?;
        let _turn = self.snapshots.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgetting(|| {
            let name = SnapshotName::new(aggregate_id, seq);
            if self.snapshots.known.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                self.place.clear_snapshot_leftovers()?;
            }
            self.snapshot_seqs(Some(name.hash))?;
            self.place.write_snapshot(self.id, aggregate_id, seq, payload)?;
            let old = self.with_known(|known| {
                let seqs = known.entry(name.hash).or_default();
                if let Err(at) = seqs.binary_search(&seq) {
                    seqs.insert(at, seq);
                }
                let old: Vec<_> = seqs.iter().rev().skip(kept).copied().collect();
                seqs.retain(|one| !old.contains(one));
                old
            });
            old.into_iter().try_for_each(|seq| self.place.remove_snapshot(SnapshotName { seq, ..name }))
        })
    }

    /// The snapshots of an aggregate, or of all, the newest of each first. A reader lists the directory each time.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Io`].
    pub fn snapshots(&self, aggregate_id: Option<&str>) -> Result<Vec<SnapshotName>> {
        self.refuse_if_closed()?;
        self.snapshot_seqs(aggregate_id.map(|id| SnapshotName::new(id, 0).hash))
    }

    /// Aggregate and payload of a snapshot; `None` for one that is damaged.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is gone, [`Error::Closed`].
    pub fn read_snapshot(&self, name: SnapshotName) -> Result<Option<(String, Vec<u8>)>> {
        self.refuse_if_closed()?;
        self.place.read_snapshot(self.id, name)
    }

    /// Drops snapshots, whatever there is besides them; durable on return.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`], [`Error::Io`].
    pub fn drop_snapshots(&self, names: &[SnapshotName]) -> Result<()> {
        self.tail()?;
        self.refuse_if_closed()?;
        if names.is_empty() {
            return Ok(());
        }
        let _turn = self.snapshots.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgetting(|| {
            self.snapshot_seqs(None)?;
            for name in names {
                self.place.remove_snapshot(*name)?;
                self.with_known(|known| {
                    if let Some(seqs) = known.get_mut(&name.hash) {
                        seqs.retain(|seq| *seq != name.seq);
                    }
                });
            }
            self.place.sync_snapshots()
        })
    }

    /// Does it; where it fails, whoever asks next looks into the directory again.
    fn forgetting(&self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        change().inspect_err(|_| {
            *self.snapshots.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        })
    }

    /// Those of one hash, or all, newest first.
    fn snapshot_seqs(&self, hash: Option<u128>) -> Result<Vec<SnapshotName>> {
        if matches!(self.role, Role::Reader(_)) {
            let mut found = self.place.list_snapshots()?;
            found.retain(|name| hash.is_none_or(|hash| name.hash == hash));
            found.sort_unstable_by(SnapshotName::newest_first);
            return Ok(found);
        }
        let mut guard = self.snapshots.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &mut *guard {
            Some(known) => known,
            empty => empty.insert(by_hash(self.place.list_snapshots()?)),
        };
        let names = |(&hash, seqs): (&u128, &Vec<u64>)| {
            seqs.iter().rev().map(|&seq| SnapshotName { hash, seq }).collect::<Vec<_>>()
        };
        Ok(match hash {
            Some(hash) => known.get_key_value(&hash).map(names).unwrap_or_default(),
            None => known.iter().flat_map(names).collect(),
        })
    }

    /// What is known already, to be changed.
    fn with_known<R>(&self, change: impl FnOnce(&mut BTreeMap<u128, Vec<u64>>) -> R) -> R {
        let mut guard = self.snapshots.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(guard.get_or_insert_default())
    }
}

fn by_hash(names: Vec<SnapshotName>) -> BTreeMap<u128, Vec<u64>> {
    let mut known = BTreeMap::<u128, Vec<u64>>::new();
    for name in names {
        known.entry(name.hash).or_default().push(name.seq);
    }
    for seqs in known.values_mut() {
        seqs.sort_unstable();
    }
    known
}
