//! `Event`: what users make, what the bus publishes, what a log gives back.
//!
//! Owns the class and what each of its names answers. What is stored for good is [`Origin`]'s; the three
//! changeable fields are [`super::fields`]'.

use std::sync::OnceLock;

use pyo3::{
    PyTraverseError, PyVisit, intern,
    prelude::*,
    pyclass::CompareOp,
    types::{PyBytes, PyDict, PyString, PyType},
};

use super::{
    capi::gil_cell::GilCell,
    fields::{Fields, data, event_type, fact, metadata},
    hooks::hooks,
    origin::{Origin, codec_name, schema_valid},
    pickle,
    presented::{self, Presented},
};

/// One event: made by a user, published live, or read from a log. Behaves as a dataclass.
#[pyclass(name = "Event", module = "aresbus._core", subclass, weakref, frozen)]
pub struct PyEvent {
    pub(super) fields: GilCell<Fields>,
    /// `None` for an event that was never stored.
    pub(super) origin: Option<Origin>,
    /// The same of one that got it once it was made, when it was unpickled.
    pub(super) restored: OnceLock<Box<Origin>>,
    /// Empty but for an event that an upcaster made of a stored one.
    pub(super) presented: OnceLock<Box<Presented>>,
}

#[pymethods]
impl PyEvent {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("event_type", "data", "metadata")
    }

    #[new]
    #[pyo3(signature = (event_type, data, metadata = None))]
    fn new(
        py: Python<'_>,
        event_type: Py<PyAny>,
        data: Py<PyAny>,
        metadata: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let metadata = match metadata {
            Some(given) => given,
            None => hooks(py)?.metadata_class.call0(py)?,
        };
        let fields = Fields {
            event_type: Some(event_type),
            data: Some(data),
            metadata: Some(metadata),
            ..Fields::default()
        };
        Ok(Self::made(fields, None))
    }

    #[getter(event_type)]
    fn get_event_type<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        event_type(slf)
    }

    #[setter(event_type)]
    fn set_event_type(&self, value: Bound<'_, PyAny>) {
        self.assign(|fields| &mut fields.event_type, value);
    }

    #[getter(data)]
    fn get_data<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        data(slf)
    }

    #[setter(data)]
    fn set_data(&self, value: Bound<'_, PyAny>) {
        self.assign(|fields| &mut fields.data, value);
    }

    #[getter(metadata)]
    fn get_metadata<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        metadata(slf)
    }

    #[setter(metadata)]
    fn set_metadata(&self, value: Bound<'_, PyAny>) {
        self.assign(|fields| &mut fields.metadata, value);
    }

    /// A dict of the three fields, ready for `json.dumps`; status and times as text.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        hooks(slf.py())?.to_dict.bind(slf.py()).call1((slf,))
    }

    /// The inverse of `to_dict`. Raises `ValueError` or `KeyError` that name what is wrong.
    #[classmethod]
    fn from_dict<'py>(cls: &Bound<'py, PyType>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        hooks(cls.py())?.from_dict.bind(cls.py()).call1((cls, value))
    }

    /// The stored payload bytes; `None` for an event that was never stored.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.origin().map(|origin| origin.payload(py)).transpose()
    }

    /// Position in the log; `None` until stored.
    #[getter]
    fn seq(&self) -> Option<u64> {
        self.origin().map(Origin::seq)
    }

    /// Canonical UUID text, or the publisher's own id.
    #[getter]
    fn event_id<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        fact(slf, intern!(slf.py(), "event_id"), |origin| origin.event_id(slf.py()).map(Some))
    }

    /// The entity the event belongs to, if any.
    #[getter]
    fn aggregate_id<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        fact(slf, intern!(slf.py(), "aggregate_id"), |origin| origin.aggregate_id(slf.py()))
    }

    /// Position in the aggregate, from 0; `None` until stored, or without aggregate.
    #[getter]
    fn aggregate_version(&self) -> PyResult<Option<u32>> {
        Ok(self.place()?.and_then(|place| place.aggregate_version))
    }

    /// `seq` of the aggregate's previous event; `None` where there is none.
    #[getter]
    fn aggregate_prev(&self) -> PyResult<Option<u64>> {
        Ok(self.place()?.and_then(|place| place.aggregate_prev))
    }

    /// Who published it; empty where nothing was said.
    #[getter]
    fn source<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        fact(slf, intern!(slf.py(), "source"), |origin| origin.source(slf.py()).map(Some))
    }

    /// The conversation the event belongs to, if any.
    #[getter]
    fn correlation_id<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        fact(slf, intern!(slf.py(), "correlation_id"), |origin| origin.correlation_id(slf.py()))
    }

    /// Id of the event that caused this one, if any.
    #[getter]
    fn causation_id<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        fact(slf, intern!(slf.py(), "causation_id"), |origin| origin.causation_id(slf.py()))
    }

    /// Schema version of the data; "1.0.0" where the publisher stated none.
    #[getter]
    fn schema_version<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(shown) = slf.get().presented() {
            return Ok(shown.schema_version.bind(slf.py()).clone().into_any());
        }
        fact(slf, intern!(slf.py(), "schema_version"), |origin| origin.schema_version(slf.py()).map(Some))
    }

    /// A new dict of the stored tags; for a user-made event those of its metadata.
    #[getter]
    fn tags<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        if let Some(origin) = slf.get().origin() {
            return origin.tags(py);
        }
        let tags = metadata(slf)?.getattr(intern!(py, "tags"))?;
        Ok(py.get_type::<PyDict>().call1((tags,))?.cast_into()?)
    }

    /// Real time of the append, ns since 1970 UTC; `None` until stored.
    #[getter]
    fn ts_ns(&self) -> Option<i64> {
        self.origin().map(Origin::ts_ns)
    }

    /// The time the event speaks of, ns since 1970 UTC, where its publisher gave one.
    #[getter]
    fn event_time_ns(&self) -> PyResult<Option<i64>> {
        Ok(self.place()?.and_then(|place| place.event_time_ns))
    }

    /// Who wrote the payload: aresbus, the caller (validated JSON), or opaque bytes.
    #[getter]
    fn encoding(&self) -> PyResult<Option<&'static str>> {
        Ok(self.place()?.map(|place| codec_name(place.codec)))
    }

    /// The life of the log it was appended in, from 1; `None` until stored.
    #[getter]
    fn epoch(&self) -> PyResult<Option<u32>> {
        Ok(self.place()?.map(|place| place.epoch))
    }

    /// NaN or an infinity in the data was stored as null.
    #[getter]
    fn lossy(&self) -> PyResult<bool> {
        Ok(self.place()?.is_some_and(|place| place.lossy))
    }

    /// Whether the data fitted its schema at publish; `None` where nothing was checked.
    #[getter]
    fn schema_valid(&self) -> PyResult<Option<bool>> {
        Ok(self.place()?.and_then(|place| schema_valid(place.schema)))
    }

    /// Which of several parts of a stored event this is, from 0; `None` where it is the whole.
    #[getter]
    fn part(&self) -> Option<u32> {
        self.presented().and_then(|shown| shown.part)
    }

    /// The event as it was stored; the event itself unless an upcaster made it.
    #[getter(stored)]
    fn get_stored<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        presented::stored(slf)
    }

    /// A new event with every stored fact of this one and other data. `ValueError` for one that was never stored.
    #[pyo3(signature = (data, schema_version, part, event_type = None))]
    fn _presented(
        slf: &Bound<'_, Self>,
        data: Py<PyAny>,
        schema_version: Bound<'_, PyString>,
        part: Option<u32>,
        event_type: Option<Bound<'_, PyString>>,
    ) -> PyResult<Self> {
        presented::present(slf, data, schema_version, part, event_type)
    }

    /// The event reached its handler through a replay.
    #[getter]
    fn is_replay(&self, py: Python<'_>) -> bool {
        self.fields(py).is_replay
    }

    /// Say that the event reaches its handler through a replay.
    fn _set_replay(&self, py: Python<'_>) {
        self.fields(py).is_replay = true;
    }

    /// The bus's view of the delivery; becomes `metadata.status`, also of metadata not made yet.
    #[pyo3(name = "_set_status")]
    pub fn set_status<'py>(slf: &Bound<'py, Self>, status: Bound<'py, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        this.assign(|fields| &mut fields.status, status.clone());
        match this.known(py, |fields| &mut fields.metadata) {
            Some(made) => made.setattr(intern!(py, "status"), status),
            None => Ok(()),
        }
    }

    fn _status<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(made) = this.known(py, |fields| &mut fields.metadata) {
            return made.getattr(intern!(py, "status"));
        }
        match this.known(py, |fields| &mut fields.status) {
            Some(status) => Ok(status),
            None => Ok(hooks(py)?.pending.bind(py).clone()),
        }
    }

    /// As of a dataclass: equal classes, equal fields. There is no order.
    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let is_comparable =
            matches!(op, CompareOp::Eq | CompareOp::Ne) && slf.get_type().is(other.get_type());
        match other.cast::<Self>() {
            Ok(other) if is_comparable => {
                let mine = (event_type(slf)?, data(slf)?, metadata(slf)?).into_pyobject(py)?;
                let its = (event_type(other)?, data(other)?, metadata(other)?).into_pyobject(py)?;
                mine.rich_compare(its, op)
            }
            _ => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    /// Like `<Event trade_executed seq=12 id=0190…>`: short, and nothing is decoded for it.
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let class = slf.get_type().name()?.to_string();
        let kind = event_type(slf)?.str()?.to_string();
        if let Some(origin) = this.origin() {
            let part = this.presented().and_then(|shown| shown.part);
            let part = part.map_or_else(String::new, |part| format!(" part={part}"));
            return Ok(format!("<{class} {kind} seq={}{part} id={}>", origin.seq(), origin.event_id(py)?));
        }
        let id = match this.known(py, |fields| &mut fields.metadata) {
            Some(metadata) => metadata.getattr_opt(intern!(py, "event_id"))?,
            None => None,
        };
        Ok(id.map_or_else(|| format!("<{class} {kind}>"), |id| format!("<{class} {kind} id={id}>")))
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        pickle::shallow_copy(slf)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        pickle::reduce(slf)
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: pickle::State) -> PyResult<()> {
        pickle::set_state(slf, state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(fields) = self.fields.peek(&visit) else { return Ok(()) };
        for field in [&fields.event_type, &fields.data, &fields.metadata, &fields.status] {
            visit.call(field)?;
        }
        visit.call(&fields.stored)
    }

    fn __clear__(&self) {
        Python::attach(|py| {
            let cleared = std::mem::take(&mut *self.fields(py));
            drop(cleared);
        });
    }
}
