//! What a log should hold: a plain list, and what its user was told about it.
//!
//! Owns the comparison of what is served with what was offered. Knows no disk and no crash.

use std::collections::{BTreeMap, HashMap};

use _core::{
    config::Expected,
    format::{Codec, NewEvent},
    scan::StoredEvent,
};

/// An event as it was offered.
#[derive(Debug, Clone)]
pub struct Offer {
    pub event_type: String,
    pub aggregate_id: Option<String>,
    pub source: String,
    pub correlation_id: Option<String>,
    pub event_id: Option<String>,
    pub schema_version: Option<String>,
    pub event_time_ns: Option<i64>,
    pub tags: Vec<(String, String)>,
    pub payload: Vec<u8>,
    pub expected: Expected,
    /// Time of the append.
    pub ts_ns: i64,
    /// Which of how many it is in its batch.
    pub member: usize,
    pub members: usize,
}

impl Offer {
    /// Calls `act` with all of `offers` as the engine takes them.
    pub fn lend<T>(offers: &[Self], act: impl FnOnce(&[NewEvent<'_>]) -> T) -> T {
        let tags: Vec<Vec<(&str, &str)>> = offers
            .iter()
            .map(|offer| offer.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
            .collect();
        let lent: Vec<NewEvent<'_>> = offers
            .iter()
            .zip(&tags)
            .map(|(offer, tags)| NewEvent {
                event_id: offer.event_id.as_deref(),
                aggregate_id: offer.aggregate_id.as_deref(),
                correlation_id: offer.correlation_id.as_deref(),
                source: &offer.source,
                schema_version: offer.schema_version.as_deref(),
                event_time_ns: offer.event_time_ns,
                tags,
                expected: offer.expected,
                ..NewEvent::new(&offer.event_type, &offer.payload, Codec::Json)
            })
            .collect();
        act(&lent)
    }

    /// As in a dict of its tags: of a key that was given twice the last value counts.
    pub fn has_tag(&self, (key, value): &(String, String)) -> bool {
        self.tags.iter().rfind(|(given, _)| given == key).is_some_and(|(_, given)| given == value)
    }

    fn is(&self, event: &StoredEvent) -> bool {
        let Ok(view) = event.view() else { return false };
        let id = |stored: Option<_>| stored.map(|id: _core::format::IdView<'_>| id.to_string());
        view.event_type == self.event_type
            && id(view.aggregate_id) == self.aggregate_id
            && view.source == self.source
            && id(view.correlation_id) == self.correlation_id
            && self.event_id.as_ref().is_none_or(|given| *given == view.event_id.to_string())
            && view.is_caller_id == self.event_id.is_some()
            && view.schema_version == self.schema_version.as_deref()
            && view.event_time_ns == self.event_time_ns
            && view.tags().eq(self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            && view.payload == self.payload
            && view.codec == Codec::Json
            && event.fixed.ts_ns == self.ts_ns
    }
}

/// What a log should hold.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Acknowledged events, in order.
    pub history: Vec<Offer>,
    /// Offered by a call that has not returned.
    pub in_doubt: Vec<Offer>,
    /// So many of `history` were said to be durable.
    pub durable: usize,
    /// So many of `history` were dropped from its front.
    pub dropped: usize,
    /// Up to where passes of retention that failed, or have not returned, may have dropped.
    pub dropping: Vec<usize>,
    /// Snapshots that were acknowledged: by aggregate, newest last.
    pub snapshots: BTreeMap<String, Vec<(u64, Vec<u8>)>>,
    /// What any call offered as a snapshot and nobody dropped: by aggregate and position.
    pub offered: BTreeMap<(String, u64), Vec<u8>>,
}

/// Position of an aggregate's newest event, and its version.
pub type Heads = HashMap<String, (u64, u32)>;

impl Model {
    /// Newest event and version of each aggregate among the first `count` events.
    pub fn heads(&self, count: usize) -> Heads {
        let mut heads = Heads::new();
        for (offer, seq) in self.history.iter().chain(&self.in_doubt).take(count).zip(0..) {
            if let Some(id) = &offer.aggregate_id {
                let version = heads.get(id).map_or(0, |(_, version)| version + 1);
                heads.insert(id.clone(), (seq, version));
            }
        }
        heads
    }

    /// What is wrong with `served` as the events of the log from the first one kept on.
    pub fn fault_of(&self, served: &[StoredEvent]) -> Option<String> {
        let mut heads = self.heads(self.dropped);
        let mut offered = self.history.iter().chain(&self.in_doubt).skip(self.dropped);
        for (event, seq) in served.iter().zip(self.dropped as u64..) {
            let Some(offer) = offered.next() else {
                return Some(format!("event {seq} was invented: {:?}", event.fixed));
            };
            if event.fixed.seq != seq || !offer.is(event) {
                return Some(format!(
                    "event {seq} is not what was offered: {:?}, {} bytes offered",
                    event.fixed,
                    offer.payload.len()
                ));
            }
            let head = offer.aggregate_id.as_ref().and_then(|id| heads.get(id).copied());
            let version = head.map_or(0, |(_, version)| version + 1);
            let chain = (event.fixed.aggregate_prev, event.fixed.aggregate_version);
            if chain != (head.map(|(seq, _)| seq), version) {
                return Some(format!("event {seq} breaks its chain: {chain:?}"));
            }
            if let Some(id) = &offer.aggregate_id {
                heads.insert(id.clone(), (seq, version));
            }
        }
        let last = self.history.iter().chain(&self.in_doubt).take(self.dropped + served.len()).last();
        last.filter(|offer| offer.member + 1 != offer.members)
            .map(|offer| format!("half a batch: {} of {}", offer.member + 1, offer.members))
    }

    /// The call in doubt has returned: its events are acknowledged.
    pub fn acknowledge(&mut self) {
        self.history.append(&mut self.in_doubt);
    }

    /// What was served after a crash is the log's from now on.
    pub fn accept(&mut self, served: usize) {
        self.acknowledge();
        self.history.truncate(served);
        self.durable = self.durable.min(served);
    }
}
