//! What Python owns and the engine calls: the type registry, metadata, dict forms.
//!
//! Owns the one set of hooks that `install` leaves here. Refuses to know what metadata or a status is.
//! Invariant: the lock is held for a pointer copy only; no Python code runs under it.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyDict};

/// The hooks, by the names `install` gives them.
pub struct Hooks {
    pub event_types: Py<PyDict>,
    pub make_metadata: Py<PyAny>,
    pub to_dict: Py<PyAny>,
    pub from_dict: Py<PyAny>,
    pub default_metadata: Py<PyAny>,
    pub pending: Py<PyAny>,
}

static HOOKS: Mutex<Option<Arc<Hooks>>> = Mutex::new(None);

/// Hand the engine what Python owns. A second call, as a module reload makes it, replaces the first.
#[pyfunction]
#[pyo3(signature = (*, event_types, make_metadata, to_dict, from_dict, default_metadata, pending))]
pub fn install(
    event_types: Py<PyDict>,
    make_metadata: Py<PyAny>,
    to_dict: Py<PyAny>,
    from_dict: Py<PyAny>,
    default_metadata: Py<PyAny>,
    pending: Py<PyAny>,
) {
    let hooks = Hooks { event_types, make_metadata, to_dict, from_dict, default_metadata, pending };
    let mut slot = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    let replaced = slot.replace(Arc::new(hooks));
    // ORDER: the lock goes before the old hooks, whose last references may run Python code.
    drop(slot);
    drop(replaced);
}

/// The hooks. Where nobody has imported `aresbus.events` yet, as in a process that unpickles its first event, it is
/// imported now.
pub fn hooks(py: Python<'_>) -> PyResult<Arc<Hooks>> {
    if let Some(hooks) = installed() {
        return Ok(hooks);
    }
    py.import("aresbus.events")?;
    installed().ok_or_else(|| {
        PyRuntimeError::new_err("aresbus.events is being imported and has installed nothing yet")
    })
}

fn installed() -> Option<Arc<Hooks>> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
