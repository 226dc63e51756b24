//! The metadata of a stored event, as `aresbus.EventMetadata`.
//!
//! Owns which fact becomes which field, and the date of a time. The object is made by a function of Python: the interpreter
//! sets the fields of a class it knows a third faster than the C API can.

use pyo3::{
    prelude::*,
    types::{PyDateTime, PyDict, PyString, PyTzInfo},
};

use super::{event::PyEvent, hooks::hooks, origin::Origin};

const NS_PER_US: i64 = 1_000;
const US_PER_SECOND: i64 = 1_000_000;
const NS_PER_DAY: i64 = 86_400 * US_PER_SECOND * NS_PER_US;
/// From the first of March of the year 0.
const DAYS_BEFORE_1970: i64 = 719_468;
/// Of 400 years, behind which the calendar comes round.
const DAYS_PER_ERA: i64 = 146_097;

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

/// A new `EventMetadata` of the event, whose origin this is.
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
    let status = status.unwrap_or_else(|| hooks.pending.bind(py).clone());
    hooks.stored_metadata.bind(py).call1((
        told.event_id,
        version,
        schema_version,
        datetime(py, told.time_ns)?,
        told.source,
        told.correlation_id,
        told.causation_id,
        told.aggregate_id,
        origin.seq(),
        status,
        told.tags,
    ))
}

/// In UTC, to the microsecond below, which is what a datetime can hold; any i64 lies between its years.
fn datetime(py: Python<'_>, ns: i64) -> PyResult<Bound<'_, PyDateTime>> {
    let (days, ns) = (ns.div_euclid(NS_PER_DAY), ns.rem_euclid(NS_PER_DAY));
    let (year, month, day) = date(days);
    let us = ns / NS_PER_US;
    let (seconds, us) = (us / US_PER_SECOND, us % US_PER_SECOND);
    let (hour, minute, second) = (small(seconds / 3_600), small(seconds / 60 % 60), small(seconds % 60));
    let us = u32::try_from(us).unwrap_or_default();
    let utc = PyTzInfo::utc(py)?;
    PyDateTime::new(py, year, month, day, hour, minute, second, us, Some(&utc))
}

/// Year, month and day of the day that is so many behind the first of 1970, in the Gregorian calendar.
///
/// Counted in years that begin with March, so that the day which may be missing is the last: H. Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(days: i64) -> (i32, u8, u8) {
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Of five months from March on, and from August on, each second one has 30 days instead of 31: 153 together.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (i32::try_from(400 * era + year + next).unwrap_or_default(), small(month), small(day))
}

/// Of what is small.
fn small(number: i64) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_come_one_after_the_other() {
        let last = |year, month| match month {
            2 => 28 + u8::from((year % 4 == 0 && year % 100 != 0) || year % 400 == 0),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        assert_eq!(date(0), (1970, 1, 1));
        let first = -150_000;
        let mut before = date(first - 1);
        for days in first..=150_000 {
            let (year, month, day) = before;
            let expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == last(year, month) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            assert_eq!(date(days), expected);
            before = expected;
        }
    }
}
