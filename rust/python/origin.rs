//! Where an event comes from, and what is known of it for good: its place in the log, its ids, its bytes.
//!
//! Owns the two forms of that knowledge, a record's bytes or the same facts one by one, and one set of answers
//! for both. Refuses to know type objects, decoded data and metadata, which may change: those are the event's.
//! Invariants: nothing here changes once made; nothing points into the log; no Python object here can be part
//! of a reference cycle.

use std::sync::Arc;

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{IntoPyDict, PyBytes, PyDict, PyString},
};

use super::{arguments::Arguments, metadata::Told, recurring_texts::recurring_text};
use crate::{
    format::{Codec, EventId, IdView, RecordView, SchemaCheck},
    log::Appended,
    scan::StoredEvent,
};

/// A stored event's facts; clones share them.
#[derive(Clone)]
pub enum Origin {
    /// Read from the log.
    Record(StoredEvent),
    /// Published just now, or unpickled.
    Facts(Arc<Facts>),
}

/// Positions, times and marks of a stored event.
#[derive(Clone, Copy)]
pub struct Place {
    pub seq: u64,
    pub ts_ns: i64,
    pub epoch: u32,
    pub aggregate_prev: Option<u64>,
    pub aggregate_version: Option<u32>,
    pub event_time_ns: Option<i64>,
    pub codec: Codec,
    pub lossy: bool,
    pub schema: SchemaCheck,
}

/// A stored event's facts, one by one.
pub struct Facts {
    place: Place,
    event_id: EventId,
    event_type: Py<PyString>,
    source: Option<Py<PyString>>,
    aggregate_id: Option<Py<PyString>>,
    correlation_id: Option<Py<PyString>>,
    causation_id: Option<Py<PyString>>,
    schema_version: Option<Py<PyString>>,
    tags: Vec<(Py<PyString>, Py<PyString>)>,
    raw: Py<PyBytes>,
}

impl Origin {
    /// Of an event that was just appended with `arguments` and `raw` as its payload.
    pub fn published(
        appended: &Appended,
        arguments: Arguments<'_>,
        raw: Bound<'_, PyBytes>,
        codec: Codec,
        lossy: bool,
    ) -> PyResult<Self> {
        let place = Place {
            seq: appended.seq,
            ts_ns: appended.ts_ns,
            epoch: appended.epoch,
            aggregate_prev: appended.aggregate_prev,
            aggregate_version: appended.aggregate_version,
            event_time_ns: arguments.event_time_ns.0,
            codec,
            lossy,
            schema: arguments.schema,
        };
        let tags = arguments.tags.0.into_iter();
        Ok(Self::Facts(Arc::new(Facts {
            place,
            event_id: appended.event_id.clone(),
            event_type: exact(arguments.event_type)?,
            source: exact_option(arguments.source.0)?,
            aggregate_id: exact_option(arguments.aggregate_id)?,
            correlation_id: exact_option(arguments.correlation_id)?,
            causation_id: exact_option(arguments.causation_id)?,
            schema_version: exact_option(arguments.schema_version)?,
            tags: tags.map(|(key, value)| Ok((exact(key)?, exact(value)?))).collect::<PyResult<_>>()?,
            raw: raw.unbind(),
        })))
    }

    pub fn seq(&self) -> u64 {
        match self {
            Self::Record(stored) => stored.fixed.seq,
            Self::Facts(facts) => facts.place.seq,
        }
    }

    pub fn ts_ns(&self) -> i64 {
        match self {
            Self::Record(stored) => stored.fixed.ts_ns,
            Self::Facts(facts) => facts.place.ts_ns,
        }
    }

    pub fn place(&self) -> PyResult<Place> {
        match self {
            Self::Record(stored) => Ok(place_of(&view(stored)?, stored.epoch)),
            Self::Facts(facts) => Ok(facts.place),
        }
    }

    pub fn event_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match self {
            Self::Record(stored) => Ok(id_text(py, view(stored)?.event_id)),
            Self::Facts(facts) => Ok(id_text(py, facts.event_id.view())),
        }
    }

    /// The id without Python.
    pub fn own_event_id(&self) -> PyResult<EventId> {
        match self {
            Self::Record(stored) => Ok(view(stored)?.event_id.to_owned()),
            Self::Facts(facts) => Ok(facts.event_id.clone()),
        }
    }

    pub fn event_type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match self {
            Self::Record(stored) => Ok(name(py, view(stored)?.event_type)),
            Self::Facts(facts) => Ok(facts.event_type.bind(py).clone()),
        }
    }

    pub fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match self {
            Self::Record(stored) => Ok(name(py, view(stored)?.source)),
            Self::Facts(facts) => {
                Ok(bound(py, facts.source.as_ref()).unwrap_or_else(|| PyString::new(py, "")))
            }
        }
    }

    pub fn schema_version<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        match self {
            Self::Record(stored) => {
                let stated = view(stored)?.schema_version;
                Ok(stated.map_or_else(|| default_version(py), |stated| name(py, stated)))
            }
            Self::Facts(facts) => {
                Ok(bound(py, facts.schema_version.as_ref()).unwrap_or_else(|| default_version(py)))
            }
        }
    }

    pub fn aggregate_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        match self {
            Self::Record(stored) => Ok(view(stored)?.aggregate_id.map(|id| id_text(py, id))),
            Self::Facts(facts) => Ok(bound(py, facts.aggregate_id.as_ref())),
        }
    }

    pub fn correlation_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        match self {
            Self::Record(stored) => Ok(view(stored)?.correlation_id.map(|id| id_text(py, id))),
            Self::Facts(facts) => Ok(bound(py, facts.correlation_id.as_ref())),
        }
    }

    pub fn causation_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        match self {
            Self::Record(stored) => Ok(view(stored)?.causation_id.map(|id| id_text(py, id))),
            Self::Facts(facts) => Ok(bound(py, facts.causation_id.as_ref())),
        }
    }

    /// Everything that metadata wants to know, from one look at the record.
    pub fn told<'py>(&self, py: Python<'py>) -> PyResult<Told<'py>> {
        let told = match self {
            Self::Record(stored) => {
                let record = view(stored)?;
                let text = |id: Option<IdView<'_>>| id.map(|id| id_text(py, id));
                let stated = record.schema_version;
                Told {
                    event_id: id_text(py, record.event_id),
                    schema_version: stated.map_or_else(|| default_version(py), |stated| name(py, stated)),
                    source: name(py, record.source),
                    correlation_id: text(record.correlation_id),
                    causation_id: text(record.causation_id),
                    aggregate_id: text(record.aggregate_id),
                    tags: record.tags().into_py_dict(py)?,
                    time_ns: record.event_time_ns.unwrap_or(record.fixed.ts_ns),
                }
            }
            Self::Facts(facts) => Told {
                event_id: self.event_id(py)?,
                schema_version: self.schema_version(py)?,
                source: self.source(py)?,
                correlation_id: self.correlation_id(py)?,
                causation_id: self.causation_id(py)?,
                aggregate_id: self.aggregate_id(py)?,
                tags: self.tags(py)?,
                time_ns: facts.place.event_time_ns.unwrap_or(facts.place.ts_ns),
            },
        };
        Ok(told)
    }

    /// A new dict each time.
    pub fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self {
            Self::Record(stored) => view(stored)?.tags().into_py_dict(py),
            Self::Facts(facts) => facts.tags.iter().map(|(key, value)| (key, value)).into_py_dict(py),
        }
    }

    /// The stored bytes where they lie, and who wrote them.
    pub fn stored_bytes<'a>(&'a self, py: Python<'a>) -> PyResult<(&'a [u8], Codec)> {
        match self {
            Self::Record(stored) => view(stored).map(|record| (record.payload, record.codec)),
            Self::Facts(facts) => Ok((facts.raw.as_bytes(py), facts.place.codec)),
        }
    }

    /// The same as an object of Python, a copy where they stand in a record.
    pub fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match self {
            Self::Record(stored) => Ok(PyBytes::new(py, view(stored)?.payload)),
            Self::Facts(facts) => Ok(facts.raw.bind(py).clone()),
        }
    }

    /// Everything, in a form that pickles.
    pub fn pickled(&self, py: Python<'_>) -> PyResult<Pickled> {
        let place = self.place()?;
        Ok(Pickled {
            seq: place.seq,
            ts_ns: place.ts_ns,
            epoch: place.epoch,
            aggregate_prev: place.aggregate_prev,
            aggregate_version: place.aggregate_version,
            event_time_ns: place.event_time_ns,
            encoding: codec_name(place.codec).to_owned(),
            lossy: place.lossy,
            schema_valid: schema_valid(place.schema),
            event_id: self.event_id(py)?.extract()?,
            event_type: self.event_type(py)?.unbind(),
            source: Some(self.source(py)?.unbind()),
            aggregate_id: self.aggregate_id(py)?.map(Bound::unbind),
            correlation_id: self.correlation_id(py)?.map(Bound::unbind),
            causation_id: self.causation_id(py)?.map(Bound::unbind),
            schema_version: Some(self.schema_version(py)?.unbind()),
            tags: self.tags(py)?.items().extract()?,
            raw: self.payload(py)?.unbind(),
        })
    }
}

/// A stored event's facts as a dict of plain values, the form in which they are pickled.
#[derive(FromPyObject, IntoPyObject)]
#[pyo3(from_item_all)]
pub struct Pickled {
    seq: u64,
    ts_ns: i64,
    epoch: u32,
    aggregate_prev: Option<u64>,
    aggregate_version: Option<u32>,
    event_time_ns: Option<i64>,
    encoding: String,
    lossy: bool,
    schema_valid: Option<bool>,
    event_id: String,
    event_type: Py<PyString>,
    source: Option<Py<PyString>>,
    aggregate_id: Option<Py<PyString>>,
    correlation_id: Option<Py<PyString>>,
    causation_id: Option<Py<PyString>>,
    schema_version: Option<Py<PyString>>,
    tags: Vec<(Py<PyString>, Py<PyString>)>,
    raw: Py<PyBytes>,
}

impl Pickled {
    pub fn into_origin(self) -> Origin {
        Origin::Facts(Arc::new(Facts {
            place: Place {
                seq: self.seq,
                ts_ns: self.ts_ns,
                epoch: self.epoch,
                aggregate_prev: self.aggregate_prev,
                aggregate_version: self.aggregate_version,
                event_time_ns: self.event_time_ns,
                codec: codec_called(&self.encoding),
                lossy: self.lossy,
                schema: schema_check(self.schema_valid),
            },
            event_id: IdView::of(&self.event_id).to_owned(),
            event_type: self.event_type,
            source: self.source,
            aggregate_id: self.aggregate_id,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            schema_version: self.schema_version,
            tags: self.tags,
            raw: self.raw,
        }))
    }
}

/// The record, decoded. A scan has decoded it once before it gave it out, so a fault here is a defect.
fn view(stored: &StoredEvent) -> PyResult<RecordView<'_>> {
    stored.view().map_err(|fault| PyRuntimeError::new_err(format!("event {}: {fault}", stored.fixed.seq)))
}

fn place_of(view: &RecordView<'_>, epoch: u32) -> Place {
    Place {
        seq: view.seq(),
        ts_ns: view.fixed.ts_ns,
        epoch,
        aggregate_prev: view.fixed.aggregate_prev,
        aggregate_version: view.aggregate_version(),
        event_time_ns: view.event_time_ns,
        codec: view.codec,
        lossy: view.lossy,
        schema: view.schema,
    }
}

/// The name of a codec in Python.
pub fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "json",
        Codec::JsonGiven => "json-given",
        Codec::Bytes => "bytes",
    }
}

fn codec_called(name: &str) -> Codec {
    match name {
        "json" => Codec::Json,
        "json-given" => Codec::JsonGiven,
        _ => Codec::Bytes,
    }
}

/// Python's answer to whether the data fitted its schema.
pub fn schema_valid(schema: SchemaCheck) -> Option<bool> {
    match schema {
        SchemaCheck::Unchecked => None,
        SchemaCheck::Valid => Some(true),
        SchemaCheck::Breach => Some(false),
    }
}

/// The inverse of [`schema_valid`].
pub fn schema_check(valid: Option<bool>) -> SchemaCheck {
    match valid {
        None => SchemaCheck::Unchecked,
        Some(true) => SchemaCheck::Valid,
        Some(false) => SchemaCheck::Breach,
    }
}

/// A `str` itself, or the text of an instance of a subclass, which might refer to anything.
pub fn exact(text: Bound<'_, PyString>) -> PyResult<Py<PyString>> {
    if text.is_exact_instance_of::<PyString>() {
        return Ok(text.unbind());
    }
    Ok(PyString::new(text.py(), text.to_str()?).unbind())
}

fn exact_option(text: Option<Bound<'_, PyString>>) -> PyResult<Option<Py<PyString>>> {
    text.map(exact).transpose()
}

fn bound<'py>(py: Python<'py>, text: Option<&Py<PyString>>) -> Option<Bound<'py, PyString>> {
    text.map(|text| text.bind(py).clone())
}

/// The schema version of an event whose publisher stated none (docs/format.md): one object, which delivery compares.
fn default_version(py: Python<'_>) -> Bound<'_, PyString> {
    intern!(py, "1.0.0").clone()
}

/// A text of which a log has few: a type, a source, a version.
fn name<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    recurring_text(py, text.as_bytes()).unwrap_or_else(|| PyString::new(py, text))
}

fn id_text<'py>(py: Python<'py>, id: IdView<'_>) -> Bound<'py, PyString> {
    id.with_text(|text| PyString::new(py, text))
}
