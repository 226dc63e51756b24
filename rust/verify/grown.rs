//! The tree that a sealed segment brings, held against its events as they are.
//!
//! Owns the comparison of one segment. Whoever changes an event and makes its checksums fit leaves this tree behind, or
//! changes it too: then it is for heads that were kept elsewhere to tell ([`super::against`]).

use crate::{
    error::Result,
    evidence::{Hash, Run},
    segment::Segment,
    vfs::Vfs,
};

/// See the module's first paragraph.
#[derive(Default)]
pub(super) struct Grown {
    /// As it was when the segment was sealed; `None` where there is none, or nothing can be said.
    sealed: Option<Run>,
    made: Option<Run>,
}

impl Grown {
    /// What `segment` brings; nothing of a raw one.
    ///
    /// # Errors
    /// As [`crate::segment::Sealed::tree`].
    pub fn of(segment: &Segment, vfs: &dyn Vfs) -> Result<Self> {
        let sealed = segment.as_sealed().map_or(Ok(None), |sealed| sealed.tree(vfs))?;
        let made = sealed.as_ref().map(|run| Run::of_blocks(run.first()));
        Ok(Self { sealed, made })
    }

    /// Whether it has to be told of the leaves.
    pub fn wants_leaves(&self) -> bool {
        self.made.is_some()
    }

    pub fn push(&mut self, leaf: Hash) {
        if let Some(made) = &mut self.made {
            made.push_leaf(leaf);
        }
    }

    /// The first events, `[first, end)`, that are not those of the tree. To be asked at the end of a segment that was read to its
    /// end.
    pub fn difference(&self) -> Option<(u64, u64)> {
        let (sealed, made) = (self.sealed.as_ref()?, self.made.as_ref()?);
        let pairs = sealed.nodes().iter().zip(made.nodes());
        let differing = pairs.filter(|(was, is)| was != is).map(|(was, _)| (was.first, was.end()));
        let longer = (made.end() != sealed.end()).then_some((made.end().min(sealed.end()), sealed.end()));
        differing.chain(longer).next()
    }
}
