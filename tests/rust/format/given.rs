//! Random events, and what must come back of them.
//!
//! Owns the strategies. Texts stand in a dictionary or inline as a mask says, so that both ways are met in all mixtures.

use _core::format::{Codec, INLINE, IdView, Identity, Names, NewEvent, RecordPlan, RecordView, SchemaCheck};
use proptest::{collection::vec, option, prelude::*};

/// An event, owned, with all that the tail would add.
#[derive(Debug, Clone)]
pub struct Given {
    pub event_type: String,
    pub event_id: String,
    pub is_caller_id: bool,
    /// Aggregate, correlation, causation.
    pub ids: [Option<String>; 3],
    pub source: String,
    pub schema_version: Option<String>,
    pub event_time_ns: Option<i64>,
    pub tags: Vec<(String, String)>,
    pub payload: Vec<u8>,
    pub codec: Codec,
    pub lossy: bool,
    pub schema: SchemaCheck,
    pub identity: Identity,
    /// Bit n: the nth text that could stand in the dictionary does.
    pub numbered: u64,
}

impl Given {
    fn with_event<T>(&self, work: impl FnOnce(&NewEvent<'_>) -> T) -> T {
        let tags: Vec<_> = self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let [aggregate_id, correlation_id, causation_id] = &self.ids;
        work(&NewEvent {
            event_id: self.is_caller_id.then_some(&self.event_id),
            aggregate_id: aggregate_id.as_deref(),
            correlation_id: correlation_id.as_deref(),
            causation_id: causation_id.as_deref(),
            source: &self.source,
            schema_version: self.schema_version.as_deref(),
            event_time_ns: self.event_time_ns,
            tags: &tags,
            lossy: self.lossy,
            schema: self.schema,
            ..NewEvent::new(&self.event_type, &self.payload, self.codec)
        })
    }

    /// Its record, commit word included, and the dictionary that the record counts on.
    pub fn encode(&self) -> (Vec<u8>, Names) {
        self.with_event(|event| {
            event.check().unwrap();
            let mut names = Names::default();
            for (at, text) in event.texts().enumerate() {
                let is_new = names.iter().all(|known| known != text);
                if is_new && self.numbered & (1 << (at % 64)) != 0 {
                    assert!(names.push(text));
                }
            }
            let number_of = |text: &str| {
                let at = names.iter().position(|known| known == text);
                at.map_or(INLINE, |at| u32::try_from(at).unwrap())
            };
            let plan = RecordPlan::new(event, IdView::of(&self.event_id), &number_of);
            // What stood in the place before must not shine through.
            let mut record = vec![0xAA; plan.record_bytes()];
            let word = plan.encode(&mut record, &self.identity, &number_of);
            record[..4].copy_from_slice(&word.to_le_bytes());
            (record, names)
        })
    }

    /// Holds a decoded event against this one, field by field.
    pub fn assert_is(&self, view: &RecordView<'_>) {
        let text = |id: &Option<IdView<'_>>| id.as_ref().map(ToString::to_string);
        assert_eq!(view.event_type, self.event_type);
        assert_eq!(
            (view.event_id.to_string(), view.is_caller_id),
            (self.event_id.clone(), self.is_caller_id)
        );
        let ids = [text(&view.aggregate_id), text(&view.correlation_id), text(&view.causation_id)];
        assert_eq!(ids, self.ids);
        assert_eq!(view.source, self.source);
        assert_eq!(view.schema_version, self.schema_version.as_deref());
        assert_eq!(view.event_time_ns, self.event_time_ns);
        let tags: Vec<_> = view.tags().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(tags, self.tags);
        assert_eq!(view.payload, self.payload);
        assert_eq!((view.codec, view.lossy, view.schema), (self.codec, self.lossy, self.schema));
        let Identity { seq, ts_ns, aggregate_prev, aggregate_version, epoch: _ } = self.identity;
        assert_eq!((view.seq(), view.fixed.ts_ns), (seq, ts_ns));
        assert_eq!(view.fixed.aggregate_prev, aggregate_prev);
        assert_eq!(view.aggregate_version(), self.ids[0].as_ref().map(|_| aggregate_version));
    }
}

/// Texts of at most `limit` bytes: usual ones, any character, and one of exactly the limit.
fn text(limit: usize) -> impl Strategy<Value = String> {
    let cut = move |mut text: String| {
        while text.len() > limit {
            text.pop();
        }
        text
    };
    prop_oneof![
        6 => "[a-z_.]{0,20}",
        3 => vec(any::<char>(), 0..40).prop_map(move |signs| cut(signs.into_iter().collect())),
        1 => Just(cut("é".repeat(limit) + "x")),
    ]
}

fn filled(limit: usize) -> impl Strategy<Value = String> {
    text(limit).prop_map(|text| if text.is_empty() { "t".to_owned() } else { text })
}

/// Canonical UUIDs, what only looks like one, and other texts.
fn id() -> impl Strategy<Value = String> {
    let uuid = any::<u128>().prop_map(uuid::Uuid::from_u128);
    prop_oneof![
        4 => uuid.clone().prop_map(|uuid| uuid.to_string()),
        1 => uuid.clone().prop_map(|uuid| uuid.to_string().to_uppercase()),
        1 => uuid.clone().prop_map(|uuid| uuid.simple().to_string()),
        1 => uuid.prop_map(|uuid| uuid.braced().to_string()),
        3 => filled(1024),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    let parts = (0..u64::MAX, any::<i64>(), option::of(0..u64::MAX), any::<u32>(), any::<u32>());
    parts.prop_map(|(seq, ts_ns, aggregate_prev, aggregate_version, epoch)| Identity {
        seq,
        ts_ns,
        aggregate_prev,
        aggregate_version,
        epoch,
    })
}

/// Any event that the format can hold, most of them small.
pub fn given() -> impl Strategy<Value = Given> {
    let names = (filled(255), text(255), option::of(text(255)));
    let ids = (id(), any::<bool>(), [option::of(id()), option::of(id()), option::of(id())]);
    let tags = vec((text(255), text(65_535)), 0..6);
    let codec = prop_oneof![Just(Codec::Json), Just(Codec::JsonGiven), Just(Codec::Bytes)];
    let schema =
        prop_oneof![Just(SchemaCheck::Unchecked), Just(SchemaCheck::Valid), Just(SchemaCheck::Breach)];
    let content = (vec(any::<u8>(), 0..300), codec, any::<bool>(), schema, option::of(any::<i64>()));
    let all = (names, ids, tags, content, identity(), any::<u64>());
    all.prop_map(|(names, ids, tags, content, identity, numbered)| {
        let (event_type, source, schema_version) = names;
        let (event_id, is_caller_id, ids) = ids;
        let (payload, codec, lossy, schema, event_time_ns) = content;
        Given {
            event_type,
            event_id,
            is_caller_id,
            ids,
            source,
            schema_version,
            event_time_ns,
            tags,
            payload,
            codec,
            lossy,
            schema,
            identity,
            numbered,
        }
    })
}

/// Events whose records are a few hundred bytes long at most.
pub fn small() -> impl Strategy<Value = Given> {
    given().prop_filter_map("too large", |mut given| {
        given.tags.truncate(2);
        given.payload.truncate(40);
        (given.encode().0.len() <= 500).then_some(given)
    })
}
