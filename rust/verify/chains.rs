//! Each aggregate's chain: the versions and previous events that its events should name.
//!
//! Owns what is known of the aggregates as far as a verification got. Memory: a head for each.

use crate::{
    format::RecordView,
    heads::{Head, Heads},
    segment::Segment,
};

/// What the chains should be, as far as the walk got.
#[derive(Default)]
pub(super) struct Chains {
    heads: Heads,
    next_seq: Option<u64>,
    first_seq: u64,
}

impl Chains {
    /// Behind a gap: what is known of the events from `first_seq` on, which is nothing.
    pub fn from(first_seq: u64) -> Self {
        Self { first_seq, ..Self::default() }
    }

    /// Behind a gap nothing is known of the aggregates any more; the gap itself was noted where it began.
    pub fn enter(&mut self, segment: &Segment) {
        if self.next_seq != Some(segment.entry.first_seq) {
            *self = Self::from(segment.entry.first_seq);
        }
    }

    /// What is wrong with an event's place in its aggregate.
    pub fn check(&mut self, view: &RecordView<'_>) -> Option<String> {
        let id = view.aggregate_id?;
        let fixed = view.fixed;
        let head = id.with_text(|text| self.heads.get(text));
        let expected = (head.map(|head| head.seq), Head::next_version(head));
        let found = (fixed.aggregate_prev, fixed.aggregate_version);
        let is_beyond_reach =
            head.is_none() && fixed.aggregate_prev.is_some_and(|prev| prev < self.first_seq);
        id.with_text(|text| self.heads.set(text, Head { seq: fixed.seq, version: fixed.aggregate_version }));
        (expected != found && !is_beyond_reach).then(|| {
            format!("the aggregate's version and previous event are {found:?}, expected {expected:?}")
        })
    }

    /// The segment ended before the event at `next_seq`.
    pub fn leave(&mut self, next_seq: u64) {
        self.next_seq = Some(next_seq);
    }
}
