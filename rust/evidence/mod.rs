//! The tree over a log's events, whose root is the evidence that none of them changed.
//!
//! One tree for the whole log, in the shape of RFC 9162 section 2.1 with BLAKE3: the event at position i is leaf i, and a
//! tree of n leaves splits at the largest power of two below n. Owns hashes, [`Run`]s of subtrees and proofs. Knows events as
//! the bytes of their records and the texts those bytes number, and no file: how segments are cut or compressed cannot show
//! in a root.

mod proof;
mod run;

pub use proof::{consistency_ranges, inclusion_ranges, is_consistent, is_included};
pub use run::{BLOCK_LEVEL, Node, Run};

use std::sync::Arc;

use crate::format::{RecordView, split_commit_word};

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// What is to be kept where nobody who can write the log can write: it speaks of every event before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// The log's own id.
    pub log_id: [u8; 16],
    /// Epoch of the newest event in it; of the log where there is none.
    pub epoch: u32,
    /// The newest event in it.
    pub seq: Option<u64>,
    /// Number of events in it.
    pub tree_size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// That an event is in the tree of a head, see [`is_included`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Position of the event.
    pub seq: u64,
    /// Its record.
    pub record: Arc<[u8]>,
    /// Its texts, see [`texts`].
    pub texts: Vec<String>,
    /// Hashes from its leaf to the root.
    pub path: Vec<Hash>,
    /// The head.
    pub head: TreeHead,
}

impl Proof {
    /// Whether it proves what it says. The record has to be of the length and position that it names: else bytes of it
    /// could be passed off as texts, and texts as bytes of it.
    #[must_use]
    pub fn holds(&self) -> bool {
        let starts =
            self.record.first_chunk::<4>().zip(self.record.get(8..).and_then(<[u8]>::first_chunk::<8>));
        let is_this = starts.is_some_and(|(word, seq)| {
            let (_, length) = split_commit_word(u32::from_le_bytes(*word));
            length == self.record.len() && u64::from_le_bytes(*seq) == self.seq
        });
        let leaf = leaf_of(&self.record, self.texts.iter().map(String::as_str));
        is_this && is_included(leaf, self.seq, self.head.tree_size, &self.path, &self.head.root)
    }
}

/// What is hashed before a leaf and before a node, so that neither passes for the other.
const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// Root of the tree without leaves: the hash of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    *blake3::hash(&[]).as_bytes()
}

/// The leaf of an event: its whole record, then the texts that its dictionary numbers stand for, see [`texts`].
#[must_use]
pub fn leaf(record: &[u8], view: &RecordView<'_>) -> Hash {
    leaf_of(record, texts(view))
}

/// As [`leaf`], of texts that were taken from a record before.
pub fn leaf_of<'a>(record: &[u8], texts: impl Iterator<Item = &'a str>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(LEAF).update(record);
    for text in texts {
        // No text of a record is longer than 255 bytes.
        let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
        hasher.update(&bytes.to_le_bytes()).update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Event type, source, schema version and tag keys, as far as the event has them: a record holds numbers for them, and what a
/// number means stands in another record. Without these texts a forged dictionary would make a sale of a purchase.
pub fn texts<'a>(view: &RecordView<'a>) -> impl Iterator<Item = &'a str> {
    let source = Some(view.source).filter(|source| !source.is_empty());
    let named = [Some(view.event_type), source, view.schema_version];
    named.into_iter().flatten().chain(view.tags().map(|(key, _)| key))
}

/// The node above two subtrees.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    *blake3::Hasher::new().update(NODE).update(left).update(right).finalize().as_bytes()
}
