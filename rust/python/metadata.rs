//! The metadata of a stored event, as `aresbus.EventMetadata`.
//!
//! Owns which fact becomes which field. Refuses to know what Python makes of them: class, epoch and names come from the
//! hooks. Invariant: what is made has every field in the order of the class, as its constructor would set them, which is
//! passed by because keywords for twelve fields cost three times as much as setting them.

use pyo3::{
    intern,
    prelude::*,
    types::{PyDelta, PyDict, PyString},
};

use super::{event::PyEvent, hooks::hooks, origin::Origin};

const NS_PER_US: i64 = 1_000;
const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// What a record says besides type, data and marks; decoded at once.
pub struct Told<'py> {
    pub event_id: Bound<'py, PyString>,
    pub schema_version: Bound<'py, PyString>,
    pub source: Bound<'py, PyString>,
    pub correlation_id: Option<Bound<'py, PyString>>,
    pub causation_id: Option<Bound<'py, PyString>>,
    pub aggregate_id: Option<Bound<'py, PyString>>,
    pub tags: Bound<'py, PyDict>,
    /// The time the event speaks of, else that of its append.
    pub time_ns: i64,
}

/// A new `EventMetadata` of the event, whose origin this is. `OverflowError` for a time that no datetime can hold.
pub fn of_record<'py>(event: &Bound<'py, PyEvent>, origin: &Origin) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (event.py(), event.get());
    let (hooks, told) = (hooks(py)?, origin.told(py)?);
    let version = match told.tags.get_item(&hooks.version_tag)? {
        Some(version) => {
            told.tags.del_item(&hooks.version_tag)?;
            version
        }
        None => hooks.default_version.bind(py).clone(),
    };
    let schema_version =
        this.presented().map_or(told.schema_version, |shown| shown.schema_version.bind(py).clone());
    let status = this.known(py, |fields| &mut fields.status);
    let made = hooks.new_metadata.bind(py).call1((&hooks.metadata_class,))?;
    made.setattr(intern!(py, "event_id"), told.event_id)?;
    made.setattr(intern!(py, "version"), version)?;
    made.setattr(intern!(py, "schema_version"), schema_version)?;
    made.setattr(intern!(py, "timestamp"), hooks.epoch.bind(py).add(since_epoch(py, told.time_ns)?)?)?;
    made.setattr(intern!(py, "source"), told.source)?;
    made.setattr(intern!(py, "correlation_id"), told.correlation_id)?;
    made.setattr(intern!(py, "causation_id"), told.causation_id)?;
    made.setattr(intern!(py, "aggregate_id"), told.aggregate_id)?;
    made.setattr(intern!(py, "sequence_number"), origin.seq())?;
    made.setattr(intern!(py, "retry_count"), 0)?;
    made.setattr(intern!(py, "status"), status.unwrap_or_else(|| hooks.pending.bind(py).clone()))?;
    made.setattr(intern!(py, "tags"), told.tags)?;
    Ok(made)
}

/// To the microsecond below, which is what a datetime can hold.
fn since_epoch(py: Python<'_>, ns: i64) -> PyResult<Bound<'_, PyDelta>> {
    let us = ns.div_euclid(NS_PER_US);
    let (seconds, us) = (us.div_euclid(US_PER_SECOND), us.rem_euclid(US_PER_SECOND));
    let (days, seconds) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let small = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    PyDelta::new(py, small(days), small(seconds), small(us), false)
}
