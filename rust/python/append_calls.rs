//! The calls of `Log` that append, as Python spells them.
//!
//! Owns their signatures, positions and keywords alike, and nothing else: what comes in goes to [`super::append`]
//! and [`super::batch`] in one piece.

use pyo3::{IntoPyObjectExt, prelude::*, sync::PyOnceLock, types::PyString};

use super::{
    arguments::{Arguments, DurabilityChoice, Payload},
    batch::{self, Terms},
    capi::value_in_context,
    expected::ExpectedVersions,
    fastcall::{self, FastMethod, Signature, Slots, optional, required},
    inherit::inherit,
    log::PyLog,
    origin::schema_check,
    outlet::PyOutlet,
    payload::{Encoding, Given},
};

/// `Log.append`.
pub struct Append;

impl FastMethod<12> for Append {
    type Class = PyLog;

    const SIGNATURE: Signature<12> = Signature {
        name: c"append",
        doc: c"append($self, event_type, data, *, source='', correlation_id=None, causation_id=None, aggregate_id=None, \
tags=None, event_id=None, event_time_ns=None, schema_version=None, expected_version=..., durability=None)\n--\n\n\
Append one event; its data is encoded as orjson would write it. Committed on return, durable under ``group`` and ``always``.",
        parameters: [
            "event_type", "data", "source", "correlation_id", "causation_id", "aggregate_id", "tags", "event_id",
            "event_time_ns", "schema_version", "expected_version", "durability",
        ],
        positional: 2,
        required: 2,
    };

    fn names() -> &'static PyOnceLock<[Py<PyString>; 12]> {
        static NAMES: PyOnceLock<[Py<PyString>; 12]> = PyOnceLock::new();
        &NAMES
    }

    fn call<'py>(log: &Bound<'py, PyLog>, slots: &Slots<'_, 'py, 12>) -> PyResult<Bound<'py, PyAny>> {
        let [event_type, data, rest @ .., durability] = slots;
        let data: Bound<'_, PyAny> = required("data", *data)?;
        let event_type = required("event_type", *event_type)?;
        let mut arguments = Arguments::of(event_type);
        arguments.fill(rest)?;
        let durability: DurabilityChoice = optional("durability", *durability)?;
        log.get().append_data(&data, &arguments, durability.0)
    }
}

/// `Log.append_bytes`.
pub struct AppendBytes;

impl FastMethod<13> for AppendBytes {
    type Class = PyLog;

    const SIGNATURE: Signature<13> = Signature {
        name: c"append_bytes",
        doc: c"append_bytes($self, event_type, payload, *, encoding='bytes', source='', correlation_id=None, \
causation_id=None, aggregate_id=None, tags=None, event_id=None, event_time_ns=None, schema_version=None, \
expected_version=..., durability=None)\n--\n\nAs `append`, the payload stored byte for byte; \"json\" is validated first.",
        parameters: [
            "event_type", "payload", "encoding", "source", "correlation_id", "causation_id", "aggregate_id", "tags",
            "event_id", "event_time_ns", "schema_version", "expected_version", "durability",
        ],
        positional: 2,
        required: 2,
    };

    fn names() -> &'static PyOnceLock<[Py<PyString>; 13]> {
        static NAMES: PyOnceLock<[Py<PyString>; 13]> = PyOnceLock::new();
        &NAMES
    }

    fn call<'py>(log: &Bound<'py, PyLog>, slots: &Slots<'_, 'py, 13>) -> PyResult<Bound<'py, PyAny>> {
        let [event_type, payload, encoding, rest @ .., durability] = slots;
        let payload: Given<'_> = required("payload", *payload)?;
        let encoding: Encoding = optional("encoding", *encoding)?;
        let event_type = required("event_type", *event_type)?;
        let mut arguments = Arguments::of(event_type);
        arguments.fill(rest)?;
        let durability: DurabilityChoice = optional("durability", *durability)?;
        let codec = encoding.checked(&payload)?;
        let payload = Payload { bytes: payload.0.as_bytes(), codec, lossy: false };
        log.get().append_payload(log.py(), payload, &arguments, durability.0)
    }
}

/// `Log._publish`: the bus's append. Commits without waiting for durability; see [`PyLog::publish_data`].
pub struct Publish;

impl FastMethod<15> for Publish {
    type Class = PyLog;

    const SIGNATURE: Signature<15> = Signature {
        name: c"_publish",
        doc: c"_publish($self, event_type, data, source, correlation_id, causation_id, aggregate_id, tags, event_id, \
event_time_ns, schema_version, expected_version, schema_valid, speaks_for=None, outlet=None, wants_event=True)\n--\n\n\
The bus's append; ``speaks_for`` is the context variable that holds what the event inherits its ids from, ``outlet`` what \
hands it out.",
        parameters: [
            "event_type", "data", "source", "correlation_id", "causation_id", "aggregate_id", "tags", "event_id",
            "event_time_ns", "schema_version", "expected_version", "schema_valid", "speaks_for", "outlet",
            "wants_event",
        ],
        positional: 15,
        required: 12,
    };

    fn names() -> &'static PyOnceLock<[Py<PyString>; 15]> {
        static NAMES: PyOnceLock<[Py<PyString>; 15]> = PyOnceLock::new();
        &NAMES
    }

    fn call<'py>(log: &Bound<'py, PyLog>, slots: &Slots<'_, 'py, 15>) -> PyResult<Bound<'py, PyAny>> {
        let [event_type, data, rest @ .., schema_valid, speaks_for, outlet, wants_event] = slots;
        let data: Bound<'_, PyAny> = required("data", *data)?;
        let given: Bound<'_, PyAny> = required("event_type", *event_type)?;
        let text = required("event_type", *event_type)?;
        let is_valid: Option<bool> = optional("schema_valid", *schema_valid)?;
        let mut arguments = Arguments::of(text);
        arguments.fill(rest)?;
        arguments.schema = schema_check(is_valid);
        let speaks_for: Option<Bound<'_, PyAny>> = optional("speaks_for", *speaks_for)?;
        if let Some(handled) = speaks_for.as_ref().map(value_in_context).transpose()?.flatten() {
            let ids = (arguments.correlation_id.take(), arguments.causation_id.take());
            (arguments.correlation_id, arguments.causation_id) = inherit(&handled, ids.0, ids.1)?;
        }
        let outlet: Option<Bound<'_, PyOutlet>> = optional("outlet", *outlet)?;
        let wants_event = wants_event.map_or(Ok(true), |given| given.is_truthy())?;
        let outlet = outlet.as_ref().map(Bound::get);
        log.get().publish_data(&data, &given, arguments, outlet, wants_event)
    }
}

/// `Log.append_many`.
pub struct AppendMany;

impl FastMethod<9> for AppendMany {
    type Class = PyLog;

    const SIGNATURE: Signature<9> = Signature {
        name: c"append_many",
        doc: c"append_many($self, events, *, source='', correlation_id=None, causation_id=None, aggregate_id=None, \
tags=None, schema_version=None, expected=None, durability=None)\n--\n\n\
Append all or nothing: pairs of type and data, or mappings with the keywords of `append`. ``expected`` says which version \
aggregates have before the batch.",
        parameters: [
            "events", "source", "correlation_id", "causation_id", "aggregate_id", "tags", "schema_version",
            "expected", "durability",
        ],
        positional: 1,
        required: 1,
    };

    fn names() -> &'static PyOnceLock<[Py<PyString>; 9]> {
        static NAMES: PyOnceLock<[Py<PyString>; 9]> = PyOnceLock::new();
        &NAMES
    }

    fn call<'py>(log: &Bound<'py, PyLog>, slots: &Slots<'_, 'py, 9>) -> PyResult<Bound<'py, PyAny>> {
        let &[events, source, correlation, causation, aggregate, tags, schema_version, expected, durability] =
            slots;
        let py = log.py();
        let events: Bound<'_, PyAny> = required("events", events)?;
        let mut defaults = Arguments::of(PyString::new(py, ""));
        defaults.fill(&[
            source,
            correlation,
            causation,
            aggregate,
            tags,
            None,
            None,
            schema_version,
            None,
        ])?;
        let expected: ExpectedVersions<'_> = optional("expected", expected)?;
        let durability: DurabilityChoice = optional("durability", durability)?;
        let names = fastcall::interned::<Append, _>(py);
        let terms = Terms { names, defaults, expected, durability: durability.0 };
        let receipts = batch::append(log.get(), &events, &terms)?;
        receipts.into_bound_py_any(py)
    }
}
