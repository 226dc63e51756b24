//! `Log`: the handle that Python holds, and its calls.
//!
//! Owns the class, its options and properties, and that a handle dropped without `close()` releases lock and
//! threads. What a call does is the engine's; how an append goes is [`super::append`]'s. Invariant (R12): nothing
//! here waits for the engine while holding the GIL.

use std::{path::PathBuf, sync::Arc};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyValueError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{
    arguments::durability_name,
    capi::gil_cell::GilCell,
    clock::{PyManualClock, default_clock},
    encode::NonFinite,
    error::{closed_error, raised},
    fork::Life,
    opening::{Numbers, options, place_of},
    payload::Given,
    report,
};
use crate::{
    clock::Clock,
    config::{Durability, Mode},
    format::names::SnapshotName,
    log::{Location, Log, Resident},
    place::Place,
};

/// A durable log of events: one directory, one order. Context manager; closing is idempotent.
#[pyclass(name = "Log", module = "aresbus._core", subclass, weakref, frozen)]
pub struct PyLog {
    pub(super) engine: Arc<Log>,
    pub(super) durability: Durability,
    pub(super) non_finite: NonFinite,
    mode: Mode,
    /// Where it is, for what works on files alone.
    pub(super) place: Place,
    pub(super) life: Arc<Life>,
    listener: GilCell<Option<Py<PyAny>>>,
}

impl PyLog {
    pub(super) fn listener<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.listener.hold(py).as_ref().map(|listener| listener.bind(py).clone())
    }

    fn set_listener(&self, py: Python<'_>, listener: Option<Py<PyAny>>) {
        let replaced = std::mem::replace(&mut *self.listener.hold(py), listener);
        // ORDER: nothing is held any more when the old listener goes, which may run Python code.
        drop(replaced);
    }

    /// The engine, unless the handle is closed.
    pub(super) fn open_engine(&self, py: Python<'_>) -> PyResult<&Log> {
        if self.engine.is_closed() { Err(closed_error(py, self.engine.path())) } else { Ok(&self.engine) }
    }
}

impl Drop for PyLog {
    fn drop(&mut self) {
        // A log dropped without close() still syncs and releases its lock, without holding up other threads.
        // Nobody is left to hear of a failure; a poisoned log has told its appenders already.
        let engine = &self.engine;
        let closed = Python::try_attach(|py| py.detach(|| engine.close()));
        if closed.is_none() {
            drop(engine.close());
        }
    }
}

#[pymethods]
impl PyLog {
    #[new]
    #[pyo3(signature = (
        path, *, mode = "rw", recover = "strict", durability = "interval", sync_interval_ms = 10,
        segment_bytes = 67_108_864, memory_bytes = 268_435_456, non_finite = "null", sealing = "zstd", clock = None,
        force_filesystem = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        mode: &str,
        recover: &str,
        durability: &str,
        sync_interval_ms: i128,
        segment_bytes: i128,
        memory_bytes: i128,
        non_finite: &str,
        sealing: &str,
        clock: Option<&Bound<'_, PyManualClock>>,
        force_filesystem: bool,
    ) -> PyResult<Self> {
        let numbers = Numbers { sync_interval_ms, segment_bytes, memory_bytes };
        let (options, non_finite) =
            options(py, (mode, recover, durability, non_finite, sealing), &numbers, force_filesystem)?;
        let clock: Arc<dyn Clock> = clock.map_or_else(default_clock, |clock| clock.get().shared());
        let (mode, durability) = (options.mode, options.durability);
        let place = place_of(py, path)?;
        let vfs = Arc::clone(&place.vfs);
        let opened = py.detach(|| Log::open(Location::Elsewhere(vfs, &place.path), options, clock));
        let engine = Arc::new(raised(py, opened)?);
        let life = Life::of(&engine);
        Ok(Self { engine, durability, non_finite, mode, place, life, listener: GilCell::new(None) })
    }

    /// Make everything committed so far durable; returns `durable_seq`. Raises `LogPoisonedError`.
    fn sync(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let engine = self.open_engine(py)?;
        raised(py, py.detach(|| engine.sync()))
    }

    /// Version of the aggregate's newest event, or None where it has none.
    fn aggregate_version(&self, py: Python<'_>, aggregate_id: &str) -> PyResult<Option<u32>> {
        let engine = self.open_engine(py)?;
        raised(py, py.detach(|| engine.aggregate_version(aggregate_id)))
    }

    /// The log at one moment; counters since this handle was opened.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.open_engine(py)?;
        let stats = raised(py, py.detach(|| engine.stats()))?;
        let handle =
            report::Handle { engine, mode: self.mode(), durability: durability_name(self.durability) };
        report::stats(py, &handle, &stats)
    }

    /// Sync, leave the clean mark, release lock and threads. Idempotent. Raises `LogPoisonedError`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.life.end();
        raised(py, py.detach(|| self.engine.close()))
    }

    /// Call `callback()` after each append through this handle, in the appending thread.
    fn _on_commit(&self, py: Python<'_>, callback: Option<Py<PyAny>>) {
        self.set_listener(py, callback);
    }

    /// Store a snapshot atomically (checksummed, replace-and-rename); durable on return. Then all but the `kept` newest
    /// of the aggregate go.
    fn _write_snapshot(
        &self,
        py: Python<'_>,
        aggregate_id: &str,
        seq: u64,
        payload: Given<'_>,
        kept: usize,
    ) -> PyResult<()> {
        let engine = self.open_engine(py)?;
        let Given(payload) = payload;
        let bytes = payload.as_bytes();
        raised(py, py.detach(|| engine.write_snapshot(aggregate_id, seq, bytes, kept)))
    }

    /// Position and file name of the snapshots of one aggregate, or of all; the newest of each first.
    fn _snapshots(&self, py: Python<'_>, aggregate_id: Option<&str>) -> PyResult<Vec<(u64, String)>> {
        let engine = self.open_engine(py)?;
        let found = raised(py, py.detach(|| engine.snapshots(aggregate_id)))?;
        Ok(found.iter().map(|name| (name.seq, name.to_string())).collect())
    }

    /// Aggregate and payload of the snapshot in a file; None where it is damaged. Raises `FileNotFoundError`.
    fn _read_snapshot<'py>(
        &self,
        py: Python<'py>,
        file_name: &str,
    ) -> PyResult<Option<(String, Bound<'py, PyBytes>)>> {
        let (engine, name) = (self.open_engine(py)?, snapshot_name(file_name)?);
        let found = raised(py, py.detach(|| engine.read_snapshot(name)))?;
        Ok(found.map(|(key, payload)| (key, PyBytes::new(py, &payload))))
    }

    /// Drop the snapshots in these files; durable on return.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over what it made of a list")]
    fn _drop_snapshots(&self, py: Python<'_>, file_names: Vec<String>) -> PyResult<()> {
        let engine = self.open_engine(py)?;
        let names = file_names.iter().map(|name| snapshot_name(name)).collect::<PyResult<Vec<_>>>()?;
        raised(py, py.detach(|| engine.drop_snapshots(&names)))
    }

    /// Drop whole sealed segments before `seq` from the front: a tenth of all, but at least one. Durable on return.
    fn _retain<'py>(&self, py: Python<'py>, seq: u64) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.open_engine(py)?;
        report::retained(py, &raised(py, py.detach(|| engine.retain(seq)))?)
    }

    /// The aggregates with events from `first` up to `last`: id, types of those events, position of the newest.
    fn _aggregates_in(
        &self,
        py: Python<'_>,
        first: u64,
        last: u64,
    ) -> PyResult<Vec<(String, Vec<String>, u64)>> {
        let engine = self.open_engine(py)?;
        let found = raised(py, py.detach(|| engine.aggregates_in(first, last)))?;
        let plain = |(id, resident): (String, Resident)| {
            (id, resident.types.into_iter().collect(), resident.last_seq)
        };
        Ok(found.into_iter().map(plain).collect())
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().open_engine(slf.py())?;
        Ok(slf.clone())
    }

    /// Closes through the method, so that a subclass's `close` is the one that runs.
    fn __exit__(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        trace: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (kind, error, trace);
        slf.call_method0(intern!(slf.py(), "close")).map(drop)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (class, log) = (slf.get_type().name()?, slf.get());
        let place =
            log.engine.path().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
        let state = if log.engine.is_closed() { "closed" } else { log.mode() };
        Ok(format!("<{class} {place} {state}>"))
    }

    #[getter]
    fn path(&self) -> Option<&std::ffi::OsStr> {
        self.engine.path().map(std::path::Path::as_os_str)
    }

    #[getter]
    fn mode(&self) -> &'static str {
        match self.mode {
            Mode::ReadWrite => "rw",
            Mode::Read => "r",
        }
    }

    /// UUID of the log, made when it was created.
    #[getter]
    fn log_id(&self) -> String {
        report::uuid_text(self.engine.log_id())
    }

    #[getter]
    fn first_seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.open_engine(py)?.first_seq())
    }

    /// Newest committed event, or None on an empty log.
    #[getter]
    fn last_seq(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let engine = self.open_engine(py)?;
        raised(py, py.detach(|| engine.last_seq()))
    }

    /// Newest event that survives power loss (inclusive), or None.
    #[getter]
    fn durable_seq(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.open_engine(py)?.durable_seq())
    }

    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.open_engine(py)?.epoch())
    }

    #[getter]
    fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// Why appends are refused after a failed sync; None in health.
    #[getter]
    fn poisoned(&self) -> Option<String> {
        self.engine.poisoned()
    }

    /// What opening found and did; also after close.
    #[getter]
    fn recovery<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::recovery(py, self.engine.recovery())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(listener) = self.listener.peek(&visit) else { return Ok(()) };
        visit.call(&*listener)
    }

    fn __clear__(&self) {
        Python::attach(|py| self.set_listener(py, None));
    }
}

/// No text of a caller's reaches the file system.
fn snapshot_name(text: &str) -> PyResult<SnapshotName> {
    SnapshotName::parse(text)
        .ok_or_else(|| PyValueError::new_err(format!("{text:?} is no file of a snapshot")))
}
