//! A run of leaves `[first, end)` as the subtrees it consists of.
//!
//! Owns merging. Invariant: the nodes stand side by side without gaps, each begins at a multiple of its own size, and no two
//! are there whose parent could be. A run from 0 is the frontier of a growing tree; runs side by side join, whoever made
//! them: this handle while reading, a segment when it was sealed, retention before it let events go.

use super::{Hash, empty_root, node};

/// Runs that keep more than a frontier merge up to subtrees of 2 to this power leaves: what a proof then hashes again.
pub const BLOCK_LEVEL: u8 = 12;

/// A perfect subtree: 2 to the power of `level` leaves from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its first leaf, a multiple of its size.
    pub first: u64,
    /// 0 is a leaf.
    pub level: u8,
    /// Its hash.
    pub hash: Hash,
}

impl Node {
    /// Behind its last leaf.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(1 << self.level)
    }

    fn is_aligned(&self) -> bool {
        self.level < 63 && self.first.trailing_zeros() >= u32::from(self.level)
    }

    /// The parent of both, if there is one.
    fn merged(&self, right: &Self) -> Option<Self> {
        let is_left = self.first.trailing_zeros() > u32::from(self.level);
        (self.level == right.level && is_left).then(|| Self {
            first: self.first,
            level: self.level + 1,
            hash: node(&self.hash, &right.hash),
        })
    }
}

/// See the module's first paragraph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    first: u64,
    nodes: Vec<Node>,
    highest: u8,
}

impl Run {
    /// Without leaves yet; keeps at most two nodes of each size.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self { first, nodes: Vec::new(), highest: 63 }
    }

    /// As [`Run::new`], but merges no further than [`BLOCK_LEVEL`]: 48 bytes for 4,096 leaves, from which every larger
    /// subtree can be told.
    #[must_use]
    pub fn of_blocks(first: u64) -> Self {
        Self { highest: BLOCK_LEVEL, ..Self::new(first) }
    }

    /// The run `[first, end)` from the hashes of its subtrees alone, see [`Run::hashes`]: merged up to [`BLOCK_LEVEL`] where
    /// it `is_of_blocks`. `None` where the hashes are not as many as there are subtrees.
    #[must_use]
    pub fn of_hashes(first: u64, end: u64, is_of_blocks: bool, hashes: &[u8]) -> Option<Self> {
        let mut run = if is_of_blocks { Self::of_blocks(first) } else { Self::new(first) };
        let (hashes, rest) = hashes.as_chunks::<32>();
        for hash in hashes {
            let at = run.end();
            let largest = end.checked_sub(at)?.checked_ilog2()?.min(at.trailing_zeros());
            let level = u8::try_from(largest).ok()?.min(run.highest);
            if !run.push(Node { first: at, level, hash: *hash }) {
                return None;
            }
        }
        (run.end() == end && rest.is_empty()).then_some(run)
    }

    /// The hashes of its subtrees, one behind the other: how large each is follows from where the run begins and ends.
    #[must_use]
    pub fn hashes(&self) -> Vec<u8> {
        self.nodes.iter().flat_map(|node| node.hash).collect()
    }

    /// Its first leaf.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Behind its last leaf.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.nodes.last().map_or(self.first, Node::end)
    }

    /// Its subtrees, from left to right.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Adds the leaf at [`Run::end`].
    pub fn push_leaf(&mut self, hash: Hash) {
        self.add(Node { first: self.end(), level: 0, hash });
    }

    /// Adds a subtree; false, and nothing added, where it does not begin at [`Run::end`].
    #[must_use]
    pub fn push(&mut self, node: Node) -> bool {
        let fits = node.first == self.end() && node.is_aligned();
        if fits {
            self.add(node);
        }
        fits
    }

    /// Adds another run; false, and nothing added, where it does not begin at [`Run::end`].
    #[must_use]
    pub fn join(&mut self, other: &Self) -> bool {
        let fits = other.first == self.end();
        if fits {
            other.nodes.iter().for_each(|node| self.add(*node));
        }
        fits
    }

    fn add(&mut self, mut node: Node) {
        while node.level < self.highest
            && let Some(parent) = self.nodes.last().and_then(|left| left.merged(&node))
        {
            self.nodes.pop();
            node = parent;
        }
        self.nodes.push(node);
    }

    /// The largest subtree of it that begins at `first` and does not go beyond `end`.
    #[must_use]
    pub fn node_at(&self, first: u64, end: u64) -> Option<&Node> {
        let at = self.nodes.binary_search_by_key(&first, |node| node.first).ok()?;
        self.nodes.get(at).filter(|node| node.end() <= end)
    }

    /// Where the first subtree behind `first` begins, or the run ends.
    #[must_use]
    pub fn next_node(&self, first: u64) -> u64 {
        let behind = self.nodes.partition_point(|node| node.first <= first);
        self.nodes.get(behind).map_or(self.end(), |node| node.first)
    }

    /// Hash of the tree over these leaves. Of a run that does not begin at 0 it is a subtree of the log's tree only where its
    /// range is one, as those of proofs are.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut frontier = Self::new(self.first);
        self.nodes.iter().for_each(|node| frontier.add(*node));
        let hashes = frontier.nodes.iter().rev().map(|node| node.hash);
        hashes.reduce(|right, left| node(&left, &right)).unwrap_or_else(empty_root)
    }
}
