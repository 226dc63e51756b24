//! What to read: a query, and the filter that each event is held against.
//!
//! Knows events only as they are decoded, and no segment.

use crate::format::{
    Fixed, IdView, Names, RecordView,
    sealed::{
        BlockEntry, Directory,
        index::{blocks_of, fingerprint},
    },
};

/// Which time a time filter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeOf {
    /// Of the append.
    #[default]
    Append,
    /// The event's own, or of the append where it has none.
    Event,
}

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// The oldest event.
    #[default]
    Forward,
    /// The newest.
    Backward,
}

/// What to read. The default is everything, in the order of the log.
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
    /// At most so many events, counted from where the read begins.
    pub limit: Option<u64>,
    /// Only these types; a text that ends in `*` stands for every type that begins with what is before it.
    pub types: Option<Vec<String>>,
    /// Only this aggregate.
    pub aggregate_id: Option<String>,
    /// Only this conversation.
    pub correlation_id: Option<String>,
    /// Only this source; an empty text: only where none was given.
    pub source: Option<String>,
    /// Only events that have each of these tags with this value.
    pub tags: Vec<(String, String)>,
    /// Newest or oldest event first.
    pub direction: Direction,
    /// Only what is durable at the start of the read.
    pub durable: bool,
}

impl Query {
    /// Whether it asks for an aggregate from its very first event on: less than that would be a partial state (R20).
    pub(super) fn is_whole_aggregate(&self) -> bool {
        self.aggregate_id.is_some() && self.after.is_none() && self.since.is_none()
    }
}

/// What is left of a query once its beginning, its direction and its limit are taken care of.
pub(super) struct Filter {
    /// Inclusive.
    pub up_to: Option<u64>,
    since: Option<i64>,
    until: Option<i64>,
    time: TimeOf,
    types: Option<Types>,
    aggregate_id: Option<String>,
    correlation_id: Option<String>,
    source: Option<String>,
    tags: Vec<(String, String)>,
    /// The oldest event kept, where a whole aggregate is asked for that may have had older ones.
    pub whole_from: Option<u64>,
}

/// Which numbers of a segment's dictionary stand for a type that is accepted, as far as they were met.
#[derive(Default)]
pub(super) struct Numbers(Vec<bool>);

impl Numbers {
    /// Whether `number` may be of an accepted type; of a text that stands inline nothing is known.
    fn may_accept(&mut self, types: &Types, number: u32, names: &Names) -> bool {
        let Ok(number) = usize::try_from(number) else { return true };
        while self.0.len() <= number {
            let Some(text) = names.get(self.0.len()) else { return true };
            self.0.push(types.accept(text));
        }
        self.0.get(number).copied().unwrap_or(true)
    }
}

/// Types by their whole text or by their beginning.
struct Types {
    /// Sorted: a handful of texts is found by comparing sooner than by a hash of the event's.
    whole: Vec<String>,
    beginnings: Vec<String>,
}

impl Types {
    /// A type whose own text ends in `*` begins with what is before it, so each text accepts itself too.
    fn of(texts: Vec<String>) -> Self {
        let mut types = Self { whole: Vec::new(), beginnings: Vec::new() };
        for text in texts {
            match text.strip_suffix('*') {
                Some(beginning) => types.beginnings.push(beginning.to_owned()),
                None => types.whole.push(text),
            }
        }
        types.whole.sort_unstable();
        types
    }

    fn accept(&self, event_type: &str) -> bool {
        self.whole.binary_search_by(|known| known.as_str().cmp(event_type)).is_ok()
            || self.beginnings.iter().any(|beginning| event_type.starts_with(beginning.as_str()))
    }
}

impl Filter {
    pub fn of(query: Query, whole_from: Option<u64>) -> Self {
        Self {
            up_to: query.up_to,
            since: query.since,
            until: query.until,
            time: query.time,
            types: query.types.map(Types::of),
            aggregate_id: query.aggregate_id,
            correlation_id: query.correlation_id,
            source: query.source,
            tags: query.tags,
            whole_from,
        }
    }

    /// Which blocks of a sealed segment may hold an event that it accepts; `None` where the directory rules out none.
    /// `conversations` are those of the segment's index, if there is one to be believed.
    pub fn blocks(
        &self,
        directory: &Directory,
        conversations: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<Vec<bool>> {
        let types = self.types.as_ref().map(|types| directory.type_bits(|text| types.accept(text)));
        let conversation =
            self.correlation_id.as_deref().zip(self.correlation_id.as_ref().and_then(|_| conversations()));
        let named = conversation.map(|(id, stored)| blocks_of(&stored, fingerprint(id)));
        if types.is_none() && named.is_none() && self.since.is_none() && self.until.is_none() {
            return None;
        }
        // What a whole aggregate lacks shows in its oldest event that is kept, whatever else is asked for.
        if self.whole_from.is_some() {
            return None;
        }
        let may_hold = |(at, block): (usize, &BlockEntry)| {
            let (first, last) = match self.time {
                TimeOf::Append => block.appended_ns,
                TimeOf::Event => block.event_time_ns,
            };
            self.since.is_none_or(|since| last >= since)
                && self.until.is_none_or(|until| first < until)
                && types.is_none_or(|types| block.types & types != 0)
                && named.as_ref().is_none_or(|named| named.iter().any(|block| usize::from(*block) == at))
        };
        Some(directory.blocks.iter().enumerate().map(may_hold).collect())
    }

    /// Whether the event is of the aggregate that was asked for.
    pub fn is_of_aggregate(&self, view: &RecordView<'_>) -> bool {
        self.aggregate_id.is_some() && is_wanted(self.aggregate_id.as_deref(), view.aggregate_id)
    }

    /// Whether it may accept an event, as far as the fixed part tells; `numbers` are those of its segment.
    pub fn may_accept(&self, fixed: &Fixed, names: &Names, numbers: &mut Numbers) -> bool {
        let is_in_time = self.time == TimeOf::Event
            || (self.since.is_none_or(|since| fixed.ts_ns >= since)
                && self.until.is_none_or(|until| fixed.ts_ns < until));
        is_in_time && self.types.as_ref().is_none_or(|types| numbers.may_accept(types, fixed.number, names))
    }

    pub fn accepts(&self, view: &RecordView<'_>) -> bool {
        let time = match self.time {
            TimeOf::Append => view.fixed.ts_ns,
            TimeOf::Event => view.event_time_ns.unwrap_or(view.fixed.ts_ns),
        };
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && self.types.as_ref().is_none_or(|types| types.accept(view.event_type))
            && self.source.as_ref().is_none_or(|source| source == view.source)
            && is_wanted(self.aggregate_id.as_deref(), view.aggregate_id)
            && is_wanted(self.correlation_id.as_deref(), view.correlation_id)
            && self.tags.iter().all(|(key, value)| has_tag(view, key, value))
    }
}

fn is_wanted(wanted: Option<&str>, id: Option<IdView<'_>>) -> bool {
    wanted.is_none_or(|wanted| id.is_some_and(|id| id.with_text(|text| text == wanted)))
}

/// Of a key that was given twice the last value counts, as in the dict that Python makes of tags.
fn has_tag(view: &RecordView<'_>, key: &str, value: &str) -> bool {
    view.tags().filter(|(given, _)| *given == key).last().is_some_and(|(_, given)| given == value)
}
