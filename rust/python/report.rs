//! What the engine reports, as the plain dicts of `aresbus.reports`.
//!
//! Owns the key names; the tests hold them against the `TypedDicts`. The values are the engine's.

use pyo3::{prelude::*, types::PyDict};

use crate::{
    excerpt::Excerpt,
    format::{FORMAT_VERSION, IdView, UuidBytes},
    log::{Log, Retained, SegmentStats, Stats},
    recovery::{Cut, Loss, Recovery},
    repair::Repair,
    salvage::Unread,
    verify::{Finding, Severity, Verification},
};

/// A dict of the fields named, each under its own name.
macro_rules! dict_of {
    ($py:expr, $from:expr, { $($field:ident),+ $(,)? }) => {{
        let dict = PyDict::new($py);
        $(dict.set_item(pyo3::intern!($py, stringify!($field)), &$from.$field)?;)+
        dict
    }};
}

pub fn recovery<'py>(py: Python<'py>, found: &Recovery) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, {
        created, clean, epoch, events, watermark_seq, removed_spares, stray_files, warnings,
    });
    dict.set_item("loss", found.loss.as_ref().map(|found| loss(py, found)).transpose()?)?;
    dict.set_item("cut", found.cut.as_ref().map(|found| cut(py, found)).transpose()?)?;
    Ok(dict)
}

pub fn loss<'py>(py: Python<'py>, found: &Loss) -> PyResult<Bound<'py, PyDict>> {
    let dict =
        dict_of!(py, found, { path, offset, reason, first_seq, last_seq, readable, bytes, quarantine_files });
    dict.set_item("events", found.last_seq.map_or(0, |last| last + 1 - found.first_seq))?;
    Ok(dict)
}

pub fn excerpt<'py>(py: Python<'py>, found: &Excerpt) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, { epoch, first_seq, next_seq });
    dict.set_item("log_id", uuid_text(found.log_id))?;
    dict.set_item("whole", found.whole.iter().map(|path| path.as_os_str()).collect::<Vec<_>>())?;
    Ok(dict)
}

pub fn unread<'py>(py: Python<'py>, found: &Unread) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict_of!(py, found, { path, offset, first_seq, last_seq, reason }))
}

pub fn repair<'py>(py: Python<'py>, found: &Repair) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, { damage, derived, kept });
    let meta = dict_of!(py, found.meta, { epoch, first_seq, first_segment, newest_segment, highest_segment });
    meta.set_item("log_id", uuid_text(found.meta.log_id))?;
    dict.set_item("meta", meta)?;
    Ok(dict)
}

fn cut<'py>(py: Python<'py>, found: &Cut) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict_of!(py, found, { segment, offset, next_seq, reason, quarantined_bytes, quarantine_files }))
}

/// The parts of [`Stats`] that only the handle knows.
pub struct Handle<'a> {
    pub engine: &'a Log,
    pub mode: &'static str,
    pub durability: &'static str,
}

pub fn stats<'py>(py: Python<'py>, handle: &Handle<'_>, found: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, {
        first_seq, last_seq, durable_seq, epoch, aggregate_count, roll_count, appender_prepared,
        sealed_count, waits_for_sealer, lossy_count, problem,
    });
    dict.set_item("path", handle.engine.path().map(std::path::Path::as_os_str))?;
    dict.set_item("log_id", uuid_text(handle.engine.log_id()))?;
    dict.set_item("format_version", FORMAT_VERSION)?;
    dict.set_item("mode", handle.mode)?;
    dict.set_item("durability", handle.durability)?;
    dict.set_item("event_count", found.last_seq.map_or(0, |last| last + 1 - found.first_seq))?;
    let (appended, appended_bytes) = found.appended;
    dict.set_item("appended", appended)?;
    dict.set_item("appended_bytes", appended_bytes)?;
    let (sync_count, sync_ns_total, sync_ns_max) = found.syncs;
    dict.set_item("sync_count", sync_count)?;
    dict.set_item("sync_ns_total", sync_ns_total)?;
    dict.set_item("sync_ns_max", sync_ns_max)?;
    let segments = found.segments.iter().map(|found| segment(py, found)).collect::<PyResult<Vec<_>>>()?;
    dict.set_item("segments", segments)?;
    dict.set_item("healthy", found.problem.is_none())?;
    Ok(dict)
}

/// What a pass of retention dropped.
pub fn retained<'py>(py: Python<'py>, found: &Retained) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict_of!(py, found, { first_seq, segments, event_count, file_bytes, kept_heads, left_over }))
}

/// The text of a log's id.
pub fn uuid_text(id: [u8; 16]) -> String {
    IdView::Uuid(UuidBytes(id)).to_string()
}

fn segment<'py>(py: Python<'py>, found: &SegmentStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict_of!(py, found, { number, epoch, first_seq, entered_ns, file_bytes, used_bytes, is_sealed }))
}

pub fn verification<'py>(py: Python<'py>, found: &Verification) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, { segments, records, events, bytes, skipped_records, heads });
    let findings = found.findings.iter().map(|found| finding(py, found)).collect::<PyResult<Vec<_>>>()?;
    dict.set_item("findings", findings)?;
    Ok(dict)
}

fn finding<'py>(py: Python<'py>, found: &Finding) -> PyResult<Bound<'py, PyDict>> {
    let dict = dict_of!(py, found, { kind, path, offset, first_seq, last_seq, message });
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    dict.set_item("severity", severity)?;
    Ok(dict)
}
