//! The front of a log: what goes from it, and what stays of that.
//!
//! Owns `heads/`, an authority (R18): whole or an error. It is written before META's first position rises, so it may know more than
//! META asks for, never less. What lies before META's first segment is no part of the log any more and may go at any time.

use std::io::ErrorKind;

use super::Place;
use crate::{
    error::{Error, Result},
    format::{
        blob::{BLOB_HEADER_BYTES, Blob},
        names,
        sealed::index::{decode_heads, encode_heads},
    },
    heads::Heads,
};

const KEY: &str = "heads";

impl Place {
    /// Stores the heads of all aggregates whose last event lies before `first_seq`; durable on return.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`]; the older file stays.
    pub fn write_heads(&self, log_id: [u8; 16], first_seq: u64, heads: &Heads) -> Result<()> {
        let dir = self.heads_dir();
        self.make_dir(&dir)?;
        let payload = encode_heads(heads);
        let bytes = Blob { log_id, seq: first_seq, key: KEY, payload: &payload }.encode();
        self.replace(&dir, "expired.tmp", names::HEADS, &bytes)
    }

    /// Where there is no file, writes one that knows no head, so that a log opens whose front is lost for good; whether it did.
    ///
    /// # Errors
    /// As [`Place::write_heads`].
    pub fn begin_heads(&self, log_id: [u8; 16], first_seq: u64) -> Result<bool> {
        let path = self.heads_dir().join(names::HEADS);
        match self.vfs.open(&path, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.write_heads(log_id, first_seq, &Heads::default()).map(|()| true)
            }
            opened => opened.map(|_| false).map_err(|error| Error::io(path, "open", error)),
        }
    }

    /// The heads of all aggregates whose last event lies before `first_seq`, and perhaps of some more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the file is missing, damaged, older than `first_seq` or another log's; [`Error::Version`],
    /// [`Error::Io`].
    pub fn read_heads(&self, log_id: [u8; 16], first_seq: u64) -> Result<Heads> {
        if first_seq == 0 {
            return Ok(Heads::default());
        }
        let path = self.heads_dir().join(names::HEADS);
        let file = match self.vfs.open(&path, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let why = format!("the file is missing: events before {first_seq} were dropped");
                return Err(Error::corrupt(path, 0, why));
            }
            opened => opened.map_err(|error| Error::io(&path, "open", error))?,
        };
        let whole = Self::read_whole(&*file, BLOB_HEADER_BYTES, Blob::size_of);
        let bytes = whole.map_err(|error| Error::io(&path, "read", error))?;
        let blob = Blob::check(&bytes).map_err(|fault| fault.at(path.clone(), 0))?;
        if blob.log_id != log_id || blob.key != KEY {
            return Err(Error::corrupt(path, 0, "it is another log's"));
        }
        if blob.seq < first_seq {
            let why = format!("it speaks of events before {}, META of events before {first_seq}", blob.seq);
            return Err(Error::corrupt(path, 0, why));
        }
        decode_heads(blob.payload).ok_or_else(|| Error::corrupt(path, 0, "its heads make no sense"))
    }

    /// Removes the files of all segments before `first_segment`, whatever kind they are of.
    ///
    /// # Errors
    /// [`Error::Io`]; what is left goes the next time.
    pub fn remove_before(&self, first_segment: u64) -> Result<()> {
        let dir = self.segments_dir();
        let names = self.vfs.list(&dir).map_err(|error| Error::io(&dir, "list", error))?;
        let is_before =
            |name: &&String| names::leading_number(name).is_some_and(|number| number < first_segment);
        for name in names.iter().filter(is_before) {
            self.remove_if_there(&dir.join(name))?;
        }
        Ok(())
    }
}
