//! What Python owns and the engine calls: the type registry, metadata, dict forms.
//!
//! Owns the one set of hooks that `install` leaves here. Refuses to know what metadata or a status is.

use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyDict, PyString, PyType},
};

use super::capi::gil_cell::GilCell;

/// The hooks, by the names `install` gives them.
pub struct Hooks {
    pub event_types: Py<PyDict>,
    pub metadata_class: Py<PyType>,
    /// Makes one of a stored event, of its fields in their order but the retries.
    pub stored_metadata: Py<PyAny>,
    /// The tag that keeps a metadata version other than the default.
    pub version_tag: Py<PyString>,
    pub default_version: Py<PyAny>,
    pub to_dict: Py<PyAny>,
    pub from_dict: Py<PyAny>,
    pub pending: Py<PyAny>,
}

static HOOKS: GilCell<Option<&'static Hooks>> = GilCell::new(None);

/// Hand the engine what Python owns. A second call, as a module reload makes it, replaces the first, which stays in memory.
#[pyfunction]
#[pyo3(signature = (*, event_types, metadata_class, stored_metadata, version_tag, default_version, to_dict, from_dict, pending))]
#[expect(clippy::too_many_arguments, reason = "one name each, all by keyword")]
pub fn install(
    py: Python<'_>,
    event_types: Py<PyDict>,
    metadata_class: Py<PyType>,
    stored_metadata: Py<PyAny>,
    version_tag: Py<PyString>,
    default_version: Py<PyAny>,
    to_dict: Py<PyAny>,
    from_dict: Py<PyAny>,
    pending: Py<PyAny>,
) {
    let hooks = Hooks {
        event_types,
        metadata_class,
        stored_metadata,
        version_tag,
        default_version,
        to_dict,
        from_dict,
        pending,
    };
    *HOOKS.hold(py) = Some(Box::leak(Box::new(hooks)));
}

/// The hooks. Where nobody has imported `aresbus.events` yet, as in a process that unpickles its first event, it is
/// imported now.
pub fn hooks(py: Python<'_>) -> PyResult<&'static Hooks> {
    if let Some(hooks) = *HOOKS.hold(py) {
        return Ok(hooks);
    }
    py.import("aresbus.events")?;
    HOOKS.hold(py).ok_or_else(|| {
        PyRuntimeError::new_err("aresbus.events is being imported and has installed nothing yet")
    })
}
