//! What to read: a query, and the filter that each event is held against.
//!
//! Knows events only as they are decoded, and no segment.

use std::collections::HashSet;

use crate::format::RecordView;

/// Which time a time filter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeOf {
    /// Of the append.
    #[default]
    Append,
    /// The event's own, or of the append where it has none.
    Event,
}

/// What to read. The default is everything.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Exclusive; `None`: from the oldest event kept.
    pub after: Option<u64>,
    /// Inclusive.
    pub up_to: Option<u64>,
    /// Inclusive, ns since 1970 UTC.
    pub since: Option<i64>,
    /// Exclusive, ns since 1970 UTC.
    pub until: Option<i64>,
    /// Which time the two mean. Times may step back: each event is tested (no bisection).
    pub time: TimeOf,
    /// At most so many events.
    pub limit: Option<u64>,
    /// Only these types.
    pub types: Option<Vec<String>>,
    /// Only this aggregate.
    pub aggregate_id: Option<String>,
    /// Only what is durable at the start of the read.
    pub durable: bool,
}

/// What is left of a query once its beginning and its limit are taken care of.
pub(super) struct Filter {
    /// Inclusive.
    pub up_to: Option<u64>,
    since: Option<i64>,
    until: Option<i64>,
    time: TimeOf,
    types: Option<HashSet<String>>,
    aggregate_id: Option<String>,
}

impl Filter {
    pub fn of(query: Query) -> Self {
        Self {
            up_to: query.up_to,
            since: query.since,
            until: query.until,
            time: query.time,
            types: query.types.map(|types| types.into_iter().collect()),
            aggregate_id: query.aggregate_id,
        }
    }

    pub fn accepts(&self, view: &RecordView<'_>) -> bool {
        let time = match self.time {
            TimeOf::Append => view.fixed.ts_ns,
            TimeOf::Event => view.event_time_ns.unwrap_or(view.fixed.ts_ns),
        };
        let is_wanted_aggregate =
            |wanted: &String| view.aggregate_id.is_some_and(|id| id.with_text(|text| text == wanted));
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && self.types.as_ref().is_none_or(|types| types.contains(view.event_type))
            && self.aggregate_id.as_ref().is_none_or(is_wanted_aggregate)
    }
}
