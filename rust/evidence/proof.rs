//! Proofs: that an event is in a tree, and that a tree is the beginning of another.
//!
//! Owns which subtrees a proof consists of (RFC 9162 sections 2.1.3.1 and 2.1.4.1) and how a proof is checked (2.1.3.2 and
//! 2.1.4.2). Where the hashes of the subtrees come from is the caller's.

use super::{Hash, node};

/// A range of leaves, from the first to behind the last, that is a subtree.
pub type Range = (u64, u64);

/// The ranges whose hashes prove the leaf `seq` in a tree of `size` leaves, from the leaf to the root. None where there is no
/// such leaf.
#[must_use]
pub fn inclusion_ranges(seq: u64, size: u64) -> Vec<Range> {
    let mut ranges = Vec::new();
    let (mut first, mut end) = (0, size);
    while seq < size && end - first > 1 {
        let middle = first + split(end - first);
        if seq < middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((first, middle));
            first = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The ranges whose hashes prove that the tree of `older` leaves is the beginning of that of `newer` leaves. None where either
/// is empty, both are the same, or the older one is larger.
#[must_use]
pub fn consistency_ranges(older: u64, newer: u64) -> Vec<Range> {
    let mut ranges = Vec::new();
    if older == 0 || older >= newer {
        return ranges;
    }
    let (mut first, mut end, mut is_known) = (0, newer, true);
    while older != end {
        let middle = first + split(end - first);
        if older <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((first, middle));
            first = middle;
            is_known = false;
        }
    }
    if !is_known {
        ranges.push((first, end));
    }
    ranges.reverse();
    ranges
}

/// Largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// Whether `path` leads from the leaf of the event at `seq` to `root`, the root of a tree of `size` leaves.
#[must_use]
pub fn is_included(leaf: Hash, seq: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    let Some(mut last) = size.checked_sub(1).filter(|last| seq <= *last) else { return false };
    let (mut at, mut hash) = (seq, leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = node(step, &hash);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            hash = node(&hash, step);
        }
        at /= 2;
        last /= 2;
    }
    last == 0 && hash == *root
}

/// Whether `path` shows that the tree of `older` leaves is the beginning of that of `newer` leaves.
#[must_use]
pub fn is_consistent(older: (u64, Hash), newer: (u64, Hash), path: &[Hash]) -> bool {
    let ((older_size, older_root), (newer_size, newer_root)) = (older, newer);
    if older_size == newer_size {
        return path.is_empty() && older_root == newer_root;
    }
    if older_size == 0 || older_size > newer_size {
        // Of the empty tree every tree is a continuation.
        return older_size == 0 && path.is_empty();
    }
    let start = if older_size.is_power_of_two() { Some(&older_root) } else { None };
    let mut steps = start.into_iter().chain(path);
    let Some(first) = steps.next() else { return false };
    let (mut at, mut last) = (older_size - 1, newer_size - 1);
    while at % 2 == 1 {
        at /= 2;
        last /= 2;
    }
    let (mut old, mut new) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            (old, new) = (node(step, &old), node(step, &new));
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            new = node(&new, step);
        }
        at /= 2;
        last /= 2;
    }
    last == 0 && old == older_root && new == newer_root
}
