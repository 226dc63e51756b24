//! Whole logs as files, as Python asks for them: what accepting a loss gives up, excerpts, salvage, repair.
//!
//! Owns the functions and one iterator. All of them work on a path, also of a log that no opening would take.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{prelude::*, types::PyDict};

use super::{
    clock::default_clock, error::raised, event::PyEvent, log::PyLog, opening::place_of, origin::Origin,
    report,
};
use crate::{error::Result, salvage::Salvage, scan::StoredEvent};

/// What `recover="accept_loss"` would give up; None where nothing is damaged.
#[pyfunction]
pub fn assess_loss(py: Python<'_>, path: PathBuf) -> PyResult<Option<Bound<'_, PyDict>>> {
    let place = place_of(py, Some(path))?;
    let found = raised(py, py.detach(|| crate::recovery::assess_loss(&place)))?;
    found.map(|found| report::loss(py, &found)).transpose()
}

/// Put META and the last segment of the durable beginning of a log into the directory `target`; the rest are whole files.
#[pyfunction]
#[pyo3(signature = (path, target, *, up_to = None, log = None))]
pub fn excerpt<'py>(
    py: Python<'py>,
    path: PathBuf,
    target: PathBuf,
    up_to: Option<u64>,
    log: Option<&Bound<'py, PyLog>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (from, to) = (place_of(py, Some(path))?, place_of(py, Some(target))?);
    let engine = log.map(|log| log.get().open_engine(py)).transpose()?;
    let made = py.detach(|| {
        let known = engine.map(crate::log::Log::durable_mark).transpose()?.flatten();
        crate::excerpt::excerpt(&from, &to, known, up_to)
    });
    report::excerpt(py, &raised(py, made)?)
}

/// Make META anew from the segments, where it does not serve.
#[pyfunction]
pub fn repair(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let place = place_of(py, Some(path))?;
    let clock = default_clock();
    report::repair(py, &raised(py, py.detach(|| crate::repair::repair(&place, &*clock)))?)
}

/// BLAKE3 of a file, as hexadecimal text.
#[pyfunction]
pub fn digest(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let place = place_of(py, Some(path))?;
    raised(py, py.detach(|| crate::digest::digest(&*place.vfs, &place.path)))
}

/// BLAKE3 of bytes, as hexadecimal text.
#[pyfunction]
pub fn digest_bytes(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// Iterator over every event that still reads, file by file.
#[pyclass(name = "Salvage", module = "aresbus._core", frozen)]
pub struct PySalvage(Mutex<Search>);

struct Search {
    salvage: Salvage,
    ready: VecDeque<StoredEvent>,
}

impl Search {
    fn next(&mut self) -> Result<Option<StoredEvent>> {
        while self.ready.is_empty() {
            let Some(events) = self.salvage.next_file()? else { return Ok(None) };
            self.ready.extend(events);
        }
        Ok(self.ready.pop_front())
    }
}

#[pymethods]
impl PySalvage {
    #[new]
    #[pyo3(signature = (path, *, quarantine = false))]
    fn new(py: Python<'_>, path: PathBuf, quarantine: bool) -> PyResult<Self> {
        let place = place_of(py, Some(path))?;
        let salvage = raised(py, py.detach(|| Salvage::new(place, quarantine)))?;
        Ok(Self(Mutex::new(Search { salvage, ready: VecDeque::new() })))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyEvent>> {
        let found = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).next());
        Ok(raised(py, found)?.map(|event| PyEvent::stored(Origin::Record(event))))
    }

    /// What did not read so far; complete at the end.
    #[getter]
    fn unread<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found =
            py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).salvage.unread.clone());
        found.iter().map(|one| report::unread(py, one)).collect()
    }
}
