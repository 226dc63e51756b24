//! The binding to CPython: `aresbus._core`. The only folder that knows PyO3; `_core.pyi` is its contract.
//!
//! What is where, along the way of one event:
//! * `arguments`, `expected`, `payload`, `batch`: from Python's arguments to the engine's borrowed event;
//! * `encode`, `key_texts`, `walk`: data to JSON, its keys, and what was lost on the way;
//! * `log`, `opening`: the handle and its options; `append_calls`, `append`, `inherit`, `wait`: appending, what an event
//!   has from another, waiting;
//! * `receipt`, `published`: what an append returns, and what awaiting a publish gives;
//! * `outlet`, `recent`, `turn`, `tally`: handing an event out inside its publish;
//! * `read_calls`, `query`, `iterator`: reading; `evidence`: heads, proofs, verification; `files`: whole logs as files;
//! * `origin`, `fields`, `metadata`, `event`, `presented`, `pickle`: what an event knows, makes on demand, is, is shown as by upcasters,
//!   and how it travels;
//! * `hooks`, `report`, `clock`, `histogram`, `fork`, `error`: what Python owns, dicts, time, latencies, forks, exceptions;
//! * `fastcall`: from a call's arguments to slots, for the calls that have to be fast;
//! * `capi`: which interpreter is this, what a context variable holds, such calls, the JSON of a value where it lies, what the
//!   GIL guards.
//!
//! Invariants: never wait for the engine with the GIL held, never take the GIL under one of its locks (R12); all
//! encoding is over before the engine is called (R11); everything given to Python owns its bytes (R21).

mod append;
mod append_calls;
mod arguments;
mod batch;
mod capi;
mod clock;
mod decode;
mod encode;
mod error;
mod event;
mod evidence;
mod expected;
mod fastcall;
mod fields;
mod files;
mod fork;
mod histogram;
mod hooks;
mod inherit;
mod iterator;
mod key_texts;
mod log;
mod metadata;
mod opening;
mod origin;
mod outlet;
mod payload;
mod pickle;
mod presented;
mod published;
mod query;
mod read_calls;
mod receipt;
mod recent;
mod recurring_texts;
mod report;
mod tally;
mod turn;
mod wait;
mod walk;

use pyo3::{exceptions::PyImportError, prelude::*, types::PyTuple};

use crate::{config::Durability, format};

/// The alias `Durability`: annotations name it, also where they are evaluated. A union of literals, as type
/// checkers see a literal of several values.
fn durability_alias(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let typing = py.import("typing")?;
    let literal = typing.getattr("Literal")?;
    let modes = [Durability::None, Durability::Interval, Durability::Group, Durability::Always];
    let names = modes.into_iter().map(|mode| literal.get_item(arguments::durability_name(mode)));
    typing.getattr("Union")?.get_item(PyTuple::new(py, names.collect::<PyResult<Vec<_>>>()?)?)
}

/// The compiled engine: log, events, receipts.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if !capi::is_main_interpreter(module.py()) {
        return Err(PyImportError::new_err(
            "aresbus runs in the main interpreter only, not in sub-interpreters",
        ));
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DEBUG_BUILD", cfg!(debug_assertions))?;
    module.add("FORMAT_VERSION", format::FORMAT_VERSION)?;
    module.add("MAX_TEXT_BYTES", format::MAX_TEXT_BYTES)?;
    module.add("MAX_ID_BYTES", format::MAX_ID_BYTES)?;
    module.add_class::<expected::PyExpected>()?;
    module.add_class::<receipt::PyReceipt>()?;
    module.add_class::<event::PyEvent>()?;
    module.add_class::<published::PyPublished>()?;
    capi::add_steps::<published::PyPublished>(&module.py().get_type::<published::PyPublished>())?;
    module.add_class::<iterator::PyEventIterator>()?;
    module.add_class::<clock::PyManualClock>()?;
    module.add_class::<histogram::PyHistogram>()?;
    module.add_class::<tally::PyTally>()?;
    module.add_class::<turn::PyTurn>()?;
    module.add_class::<outlet::PyOutlet>()?;
    module.add_class::<log::PyLog>()?;
    capi::add_method::<append_calls::Append, _>(module.py())?;
    capi::add_method::<append_calls::AppendBytes, _>(module.py())?;
    capi::add_method::<append_calls::AppendMany, _>(module.py())?;
    capi::add_method::<append_calls::Publish, _>(module.py())?;
    module.add_function(wrap_pyfunction!(evidence::verify, module)?)?;
    module.add_function(wrap_pyfunction!(evidence::_proof_holds, module)?)?;
    module.add_class::<files::PySalvage>()?;
    module.add_function(wrap_pyfunction!(files::assess_loss, module)?)?;
    module.add_function(wrap_pyfunction!(files::excerpt, module)?)?;
    module.add_function(wrap_pyfunction!(files::repair, module)?)?;
    module.add_function(wrap_pyfunction!(files::digest, module)?)?;
    module.add_function(wrap_pyfunction!(files::digest_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(hooks::install, module)?)?;
    module.add_function(wrap_pyfunction!(inherit::inherit, module)?)?;
    module.add_function(wrap_pyfunction!(fork::_forget_after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(pickle::_restore_event, module)?)?;
    module.add("Durability", durability_alias(module.py())?)?;
    // PyO3 lists every name in `__all__`, private ones too; without it an underscore means what it means elsewhere.
    module.delattr("__all__")
}
