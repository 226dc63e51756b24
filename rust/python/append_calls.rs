//! The calls of `Log` that append, as Python spells them.
//!
//! Owns their signatures, positions and keywords alike, and nothing else: what comes in goes to [`super::append`]
//! and [`super::batch`] in one piece.

use pyo3::{prelude::*, types::PyString};

use super::{
    arguments::{Arguments, DurabilityChoice, EventTime, Payload, Source, Tags, Text},
    batch::{self, Terms},
    capi::value_in_context,
    expected::{ExpectedVersion, ExpectedVersions},
    inherit::inherit,
    log::PyLog,
    origin::schema_check,
    payload::{Encoding, Given},
    receipt::PyReceipt,
};
use crate::format::SchemaCheck;

/// The arguments of an append, from variables of these names.
macro_rules! arguments {
    ($($given:ident),+; $schema:expr) => { Arguments { $($given,)+ schema: $schema } };
}

#[pymethods]
impl PyLog {
    /// Append one event; its data is encoded as orjson would write it. Committed on return, durable under
    /// `group` and `always`.
    #[pyo3(
        signature = (
            event_type, data, *, source = Source::default(), correlation_id = None, causation_id = None,
            aggregate_id = None, tags = Tags::default(), event_id = None, event_time_ns = EventTime(None),
            schema_version = None, expected_version = ExpectedVersion::default(), durability = DurabilityChoice(None)
        ),
        text_signature = "($self, event_type, data, *, source='', correlation_id=None, causation_id=None, \
            aggregate_id=None, tags=None, event_id=None, event_time_ns=None, schema_version=None, \
            expected_version=..., durability=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn append<'py>(
        &self,
        event_type: Bound<'py, PyString>,
        data: &Bound<'py, PyAny>,
        source: Source<'py>,
        correlation_id: Text<'py>,
        causation_id: Text<'py>,
        aggregate_id: Text<'py>,
        tags: Tags<'py>,
        event_id: Text<'py>,
        event_time_ns: EventTime,
        schema_version: Text<'py>,
        expected_version: ExpectedVersion,
        durability: DurabilityChoice,
    ) -> PyResult<PyReceipt> {
        let arguments = arguments!(event_type, source, correlation_id, causation_id, aggregate_id, tags, event_id,
            event_time_ns, schema_version, expected_version; SchemaCheck::Unchecked);
        self.append_data(data, &arguments, durability.0)
    }

    /// As `append`, the payload stored byte for byte; "json" is validated first.
    #[pyo3(
        signature = (
            event_type, payload, *, encoding = Encoding::Bytes, source = Source::default(), correlation_id = None,
            causation_id = None, aggregate_id = None, tags = Tags::default(), event_id = None, event_time_ns = EventTime(None),
            schema_version = None, expected_version = ExpectedVersion::default(), durability = DurabilityChoice(None)
        ),
        text_signature = "($self, event_type, payload, *, encoding='bytes', source='', correlation_id=None, \
            causation_id=None, aggregate_id=None, tags=None, event_id=None, event_time_ns=None, \
            schema_version=None, expected_version=..., durability=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn append_bytes<'py>(
        &self,
        py: Python<'py>,
        event_type: Bound<'py, PyString>,
        payload: Given<'py>,
        encoding: Encoding,
        source: Source<'py>,
        correlation_id: Text<'py>,
        causation_id: Text<'py>,
        aggregate_id: Text<'py>,
        tags: Tags<'py>,
        event_id: Text<'py>,
        event_time_ns: EventTime,
        schema_version: Text<'py>,
        expected_version: ExpectedVersion,
        durability: DurabilityChoice,
    ) -> PyResult<PyReceipt> {
        let arguments = arguments!(event_type, source, correlation_id, causation_id, aggregate_id, tags, event_id,
            event_time_ns, schema_version, expected_version; SchemaCheck::Unchecked);
        let codec = encoding.checked(&payload)?;
        let Given(bytes) = payload;
        let payload = Payload { bytes: bytes.as_bytes(), codec, lossy: false };
        self.append_payload(py, payload, &arguments, durability.0)
    }

    /// Append all or nothing: pairs of type and data, or mappings with the keywords of `append`. `expected` says which
    /// version aggregates have before the batch.
    #[pyo3(
        signature = (
            events, *, source = Source::default(), correlation_id = None, causation_id = None, aggregate_id = None,
            tags = Tags::default(), schema_version = None, expected = ExpectedVersions::default(),
            durability = DurabilityChoice(None)
        ),
        text_signature = "($self, events, *, source='', correlation_id=None, causation_id=None, \
            aggregate_id=None, tags=None, schema_version=None, expected=None, durability=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn append_many<'py>(
        &self,
        events: &Bound<'py, PyAny>,
        source: Source<'py>,
        correlation_id: Text<'py>,
        causation_id: Text<'py>,
        aggregate_id: Text<'py>,
        tags: Tags<'py>,
        schema_version: Text<'py>,
        expected: ExpectedVersions<'py>,
        durability: DurabilityChoice,
    ) -> PyResult<Vec<PyReceipt>> {
        let defaults = Arguments {
            event_type: batch::no_event_type(events.py()),
            source,
            correlation_id,
            causation_id,
            aggregate_id,
            tags,
            event_id: None,
            event_time_ns: EventTime::default(),
            schema_version,
            expected_version: ExpectedVersion::default(),
            schema: SchemaCheck::Unchecked,
        };
        batch::append(self, events, &Terms { defaults, expected, durability: durability.0 })
    }

    /// The bus's append: commits without waiting for durability and returns the live event, or the receipt of the first where
    /// this is a retry. `speaks_for` is the context variable that holds what the event inherits its ids from.
    #[pyo3(signature = (
        event_type, data, source, correlation_id, causation_id, aggregate_id, tags, event_id, event_time_ns,
        schema_version, expected_version, schema_valid, speaks_for = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python's arguments, positional for speed")]
    fn _publish<'py>(
        &self,
        event_type: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        source: Source<'py>,
        correlation_id: Text<'py>,
        causation_id: Text<'py>,
        aggregate_id: Text<'py>,
        tags: Tags<'py>,
        event_id: Text<'py>,
        event_time_ns: EventTime,
        schema_version: Text<'py>,
        expected_version: ExpectedVersion,
        schema_valid: Option<bool>,
        speaks_for: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (correlation_id, causation_id) = match speaks_for.map(value_in_context).transpose()?.flatten() {
            Some(handled) => inherit(&handled, correlation_id, causation_id)?,
            None => (correlation_id, causation_id),
        };
        let text = event_type;
        let event_type = text.cast::<PyString>()?.clone();
        let arguments = arguments!(event_type, source, correlation_id, causation_id, aggregate_id, tags, event_id,
            event_time_ns, schema_version, expected_version; schema_check(schema_valid));
        self.publish_data(data, text, arguments)
    }
}
