//! Runs and proofs against the definition of RFC 9162, written down as it stands there; and hashes written by hand.

use std::ops::Range;

use _core::evidence::{
    Hash, Node, Run, consistency_ranges, empty_root, inclusion_ranges, is_consistent, is_included, leaf_of,
    node,
};
use proptest::prelude::*;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|seq| leaf_of(&seq.to_le_bytes(), std::iter::empty())).collect()
}

fn split(count: usize) -> usize {
    (1..count).rev().find(|at| at.is_power_of_two()).unwrap()
}

/// Merkle tree hash, section 2.1.1.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => *blake3::hash(b"").as_bytes(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            *blake3::hash(&[&[1][..], &mth(left), &mth(right)].concat()).as_bytes()
        }
    }
}

/// Inclusion proof, section 2.1.3.1.
fn path(at: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if at < left.len() {
        [path(at, left), vec![mth(right)]].concat()
    } else {
        [path(at - left.len(), right), vec![mth(left)]].concat()
    }
}

/// Consistency proof, section 2.1.4.1.
fn subproof(older: usize, leaves: &[Hash], is_known: bool) -> Vec<Hash> {
    if older == leaves.len() {
        return if is_known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if older <= left.len() {
        [subproof(older, left, is_known), vec![mth(right)]].concat()
    } else {
        [subproof(older - left.len(), right, false), vec![mth(left)]].concat()
    }
}

fn run(leaves: &[Hash], range: Range<u64>, mut run: Run) -> Run {
    let at = |seq: u64| usize::try_from(seq).unwrap();
    leaves[at(range.start)..at(range.end)].iter().for_each(|leaf| run.push_leaf(*leaf));
    run
}

fn hashes(leaves: &[Hash], ranges: &[(u64, u64)]) -> Vec<Hash> {
    ranges.iter().map(|(first, end)| run(leaves, *first..*end, Run::new(*first)).root()).collect()
}

#[test]
fn every_small_tree_and_proof_is_as_defined() {
    let all = leaves(70);
    for size in 0..=70 {
        let tree = &all[..size];
        let count = size as u64;
        let root = mth(tree);
        assert_eq!(run(&all, 0..count, Run::new(0)).root(), root);
        for seq in 0..count {
            let proof = hashes(&all, &inclusion_ranges(seq, count));
            assert_eq!(proof, path(usize::try_from(seq).unwrap(), tree));
            let leaf = all[usize::try_from(seq).unwrap()];
            assert!(is_included(leaf, seq, count, &proof, &root));
            assert!(!is_included(leaf, seq + 1, count, &proof, &root));
        }
        for older in 1..=size {
            let proof = hashes(&all, &consistency_ranges(older as u64, count));
            assert_eq!(proof, subproof(older, tree, true));
            assert!(is_consistent((older as u64, mth(&all[..older])), (count, root), &proof));
        }
    }
}

#[test]
fn the_empty_tree_begins_every_tree_and_includes_nothing() {
    let all = leaves(3);
    assert_eq!(Run::new(0).root(), empty_root());
    assert!(is_consistent((0, empty_root()), (3, mth(&all)), &[]));
    assert!(inclusion_ranges(0, 0).is_empty() && consistency_ranges(0, 3).is_empty());
    assert!(!is_included(all[0], 0, 0, &[], &all[0]));
    assert!(!is_consistent((3, mth(&all)), (2, mth(&all[..2])), &[]));
}

/// The hashes of docs/format.md, which another implementation gave.
#[test]
fn the_vectors_of_the_format_hold() {
    let hex = |hash: Hash| blake3::Hash::from(hash).to_hex().to_string();
    let [a, b, c] = [
        leaf_of(b"record", std::iter::empty()),
        leaf_of(b"record", ["trade", "venue"].into_iter()),
        leaf_of(b"", std::iter::empty()),
    ];
    let page = include_str!("../../../docs/format.md");
    let mut run = Run::new(0);
    for leaf in [a, b, c] {
        run.push_leaf(leaf);
    }
    for (what, hash) in [
        ("no leaves", empty_root()),
        ("leaf a", a),
        ("leaf b", b),
        ("leaf c", c),
        ("node of a and b", node(&a, &b)),
        ("root of a, b and c", run.root()),
    ] {
        let row = format!("| {what} | `{}` |", hex(hash));
        assert!(page.contains(&row), "the page does not have {row}");
    }
}

#[test]
fn a_run_takes_only_what_stands_next() {
    let mut run = Run::new(2);
    let node = |first, level| Node { first, level, hash: [7; 32] };
    assert!(!run.push(node(0, 1)), "it lies before");
    assert!(!run.push(node(2, 2)), "it does not begin at a multiple of its size");
    assert!(!run.push(node(2, 63)), "no log is that long");
    assert!(run.push(node(2, 1)));
    assert!(!run.join(&Run::new(5)));
    assert_eq!((run.first(), run.end(), run.nodes().len()), (2, 4, 1));
}

proptest! {
    /// Wherever a log is cut into runs, and whoever keeps blocks or a frontier, the root is that of the whole.
    #[test]
    fn runs_join_to_the_same_root(size in 1..9000_u64, cuts in prop::collection::vec(0..9000_u64, 0..6)) {
        let all = leaves(size);
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut % (size + 1)).chain([0, size]).collect();
        cuts.sort_unstable();
        let whole = run(&all, 0..size, Run::new(0));
        let (mut frontier, mut blocks) = (Run::new(0), Run::of_blocks(0));
        for pair in cuts.windows(2) {
            let part = run(&all, pair[0]..pair[1], if pair[0] % 2 == 0 { Run::new(pair[0]) } else { Run::of_blocks(pair[0]) });
            prop_assert!(frontier.join(&part));
            prop_assert!(blocks.join(&part));
        }
        prop_assert_eq!(&frontier, &whole);
        prop_assert_eq!(blocks.root(), whole.root());
        prop_assert_eq!(whole.root(), mth(&all));
        prop_assert!(frontier.nodes().len() <= 14, "a frontier is small");
    }

    /// One wrong bit anywhere, or a step too many or too few, and a proof is none.
    #[test]
    fn a_proof_bears_no_change(size in 2..300_u64, seq in 0..300_u64, older in 1..300_u64, bit in 0..8_u32, at in 0..64_usize) {
        let (seq, older) = (seq % size, older % size);
        let all = leaves(size);
        let root = mth(&all);
        let leaf = all[usize::try_from(seq).unwrap()];
        let proof = hashes(&all, &inclusion_ranges(seq, size));
        let mut wrong = proof.clone();
        wrong[at % proof.len()][at % 32] ^= 1 << bit;
        prop_assert!(!is_included(leaf, seq, size, &wrong, &root));
        prop_assert!(!is_included(leaf, seq, size, &proof[1..], &root));
        prop_assert!(!is_included(leaf, seq, size, &[proof.clone(), vec![root]].concat(), &root));
        prop_assert!(!is_included(leaf, seq ^ 1, size, &proof, &root));
        if older > 0 {
            let old_root = mth(&all[..usize::try_from(older).unwrap()]);
            let proof = hashes(&all, &consistency_ranges(older, size));
            let mut wrong = proof.clone();
            wrong[at % proof.len()][at % 32] ^= 1 << bit;
            prop_assert!(!is_consistent((older, old_root), (size, root), &wrong));
            prop_assert!(!is_consistent((older, old_root), (size, root), &proof[1..]));
            prop_assert!(!is_consistent((older, root), (size, root), &proof));
        }
    }
}
