//! Snapshot files: caches, each whole or absent, the newest few of each aggregate.

use std::io::ErrorKind;

use super::Place;
use crate::{
    error::{Error, Result},
    format::{blob::Blob, names},
};

/// Snapshots kept of one aggregate: the newest may be ahead of a lost tail, the one before it then serves.
const KEPT_SNAPSHOTS: usize = 2;

impl Place {
    /// Stores a snapshot and drops all but the newest few of its aggregate; durable on return.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    pub fn write_snapshot(
        &self,
        log_id: [u8; 16],
        aggregate_id: &str,
        seq: u64,
        payload: &[u8],
    ) -> Result<()> {
        let dir = self.snapshots_dir();
        self.make_dir(&dir)?;
        let bytes = Blob { log_id, seq, key: aggregate_id, payload }.encode();
        let name = names::snapshot(aggregate_id, seq);
        self.replace(&dir, &format!("{name}.tmp"), &name, &bytes)?;
        for old in self.snapshot_seqs(aggregate_id)?.into_iter().skip(KEPT_SNAPSHOTS) {
            let path = dir.join(names::snapshot(aggregate_id, old));
            self.vfs.unlink(&path).map_err(|error| Error::io(path, "remove", error))?;
        }
        Ok(())
    }

    /// The stored snapshots of an aggregate, newest first; `None` for one that cannot be believed (a cache, R18).
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn read_snapshots(
        &self,
        log_id: [u8; 16],
        aggregate_id: &str,
    ) -> Result<Vec<(u64, Option<Vec<u8>>)>> {
        let read = |seq: u64| {
            let file =
                self.vfs.open(&self.snapshots_dir().join(names::snapshot(aggregate_id, seq)), false).ok()?;
            let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
            file.read_at(0, &mut bytes).ok()?;
            let blob = Blob::decode(&bytes)?;
            let is_this = blob.log_id == log_id && blob.key == aggregate_id && blob.seq == seq;
            is_this.then(|| blob.payload.to_vec())
        };
        Ok(self.snapshot_seqs(aggregate_id)?.into_iter().map(|seq| (seq, read(seq))).collect())
    }

    fn snapshot_seqs(&self, aggregate_id: &str) -> Result<Vec<u64>> {
        let dir = self.snapshots_dir();
        let names = match self.vfs.list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(dir, "list", error)),
        };
        let prefix = names::snapshot_prefix(aggregate_id);
        let mut seqs: Vec<u64> = names.iter().filter_map(|name| names::snapshot_seq(name, &prefix)).collect();
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(seqs)
    }
}
