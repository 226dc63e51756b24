//! The newest event of each aggregate.
//!
//! Owns versions and the chain back: an event's `aggregate_prev` is the head it replaces. A cache (R18): rebuilt by the
//! scan of an opening. The map's hash is seeded per process and never stored.

use hashbrown::HashMap;

/// Place of an aggregate's newest event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its position in the log.
    pub seq: u64,
    /// Its version within the aggregate.
    pub version: u32,
}

impl Head {
    /// Version of the event after `head`.
    #[must_use]
    pub fn next_version(head: Option<Self>) -> u32 {
        head.map_or(0, |head| head.version.saturating_add(1))
    }
}

/// Heads by aggregate id.
#[derive(Debug, Default, Clone)]
pub struct Heads(HashMap<Box<str>, Head>);

impl Heads {
    /// The head of `aggregate_id`.
    #[must_use]
    pub fn get(&self, aggregate_id: &str) -> Option<Head> {
        self.0.get(aggregate_id).copied()
    }

    /// Puts the head of `aggregate_id` to `head`; allocates only for an aggregate that is new.
    pub fn set(&mut self, aggregate_id: &str, head: Head) {
        if let Some(known) = self.0.get_mut(aggregate_id) {
            *known = head;
        } else {
            self.0.insert(aggregate_id.into(), head);
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Head)> {
        self.0.iter().map(|(id, head)| (&**id, *head))
    }

    /// Those of aggregates that have an event from `first_seq` on.
    #[must_use]
    pub fn since(&self, first_seq: u64) -> Self {
        let newer = self.0.iter().filter(|(_, head)| head.seq >= first_seq);
        Self(newer.map(|(id, head)| (id.clone(), *head)).collect())
    }

    /// Takes over what `newer` knows.
    pub fn update(&mut self, newer: Self) {
        if self.0.is_empty() {
            *self = newer;
        } else {
            self.0.extend(newer.0);
        }
    }

    /// Takes over what is newer in `other`.
    pub fn merge(&mut self, other: Self) {
        for (id, head) in other.0 {
            let known = self.0.entry(id).or_insert(head);
            if known.seq < head.seq {
                *known = head;
            }
        }
    }

    /// Those of aggregates whose newest event lies before `seq`.
    #[must_use]
    pub fn before(&self, seq: u64) -> Self {
        Self(self.0.iter().filter(|(_, head)| head.seq < seq).map(|(id, head)| (id.clone(), *head)).collect())
    }

    /// Number of aggregates.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
