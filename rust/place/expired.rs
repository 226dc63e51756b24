//! `footers/`: what stays of events that expired, the subtrees over them. Without it no head could be made or checked any more.
//!
//! An authority (R18): whole or an error. Retention writes the file of the new first event before META names it, and drops
//! older ones once META does.

use std::io::ErrorKind;

use super::Place;
use crate::{
    error::{Error, Result},
    evidence::Run,
    format::{blob::Blob, names},
};

const KEY: &str = "expired";

impl Place {
    /// Stores the subtrees over all events before the end of `run`, which begins at 0; durable on return.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`].
    ///
    /// # Panics
    /// Where `run` does not begin at 0.
    pub fn write_expired(&self, log_id: [u8; 16], run: &Run) -> Result<()> {
        let mut frontier = Run::new(0);
        assert!(frontier.join(run), "what expires begins with the first event");
        let dir = self.footers_dir();
        self.make_dir(&dir)?;
        let payload = frontier.hashes();
        let seq = frontier.end();
        let name = names::expired(seq);
        let bytes = Blob { log_id, seq, key: KEY, payload: &payload }.encode();
        self.replace(&dir, &format!("{name}.tmp"), &name, &bytes)
    }

    /// The subtrees over the events before `first_seq`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the file is missing, damaged or another log's; [`Error::Version`], [`Error::Io`].
    pub fn read_expired(&self, log_id: [u8; 16], first_seq: u64) -> Result<Run> {
        if first_seq == 0 {
            return Ok(Run::new(0));
        }
        let path = self.footers_dir().join(names::expired(first_seq));
        let file = match self.vfs.open(&path, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::corrupt(path, 0, "what stays of the events that expired is missing"));
            }
            opened => opened.map_err(|error| Error::io(&path, "open", error))?,
        };
        let bytes = file.bytes().map_err(|error| Error::io(&path, "measure", error))?;
        if bytes > MAX_BYTES {
            return Err(Error::corrupt(path, 0, "it is longer than it can be"));
        }
        let mut content = vec![0; usize::try_from(bytes).unwrap_or_default()];
        file.read_at(0, &mut content).map_err(|error| Error::io(&path, "read", error))?;
        let blob = Blob::check(&content).map_err(|fault| fault.at(path.clone(), 0))?;
        let is_this = blob.log_id == log_id && blob.key == KEY && blob.seq == first_seq;
        let run = is_this.then(|| Run::of_hashes(0, first_seq, false, blob.payload)).flatten();
        run.ok_or_else(|| {
            Error::corrupt(path, 0, "it is another log's, or speaks of other events than its name says")
        })
    }

    /// Removes what stayed of events before `first_seq` at earlier times.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn drop_expired_before(&self, first_seq: u64) -> Result<()> {
        let dir = self.footers_dir();
        let names = match self.vfs.list(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(|error| Error::io(&dir, "list", error))?,
        };
        for name in names.iter().filter(|name| names::expired_seq(name).is_some_and(|seq| seq < first_seq)) {
            let path = dir.join(name);
            self.vfs.unlink(&path).map_err(|error| Error::io(path, "remove", error))?;
        }
        Ok(())
    }
}

/// A header, the key, a hash for each bit of a position; rounded up.
const MAX_BYTES: u64 = 4096;
