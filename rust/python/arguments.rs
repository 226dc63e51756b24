//! The arguments of an append, from Python's hands to the engine's [`NewEvent`].
//!
//! Owns the checks of type and spelling, and the references that keep every text alive while the engine borrows
//! it. Lengths are the engine's to check. Invariant (R11): once [`Arguments`] stand, no Python code runs until
//! the append is over; all texts are immutable `str` objects.

use pyo3::{
    exceptions::{PyAttributeError, PyOverflowError, PyTypeError},
    prelude::*,
    types::{PyDict, PyString},
};

use super::{
    capi,
    encode::Encoded,
    error::{config_error, encode_error},
    expected::ExpectedVersion,
    fastcall::{Slots, required},
};
use crate::{
    config::{Durability, Expected},
    format::{Codec, NewEvent, SchemaCheck},
};

/// An optional text argument.
pub type Text<'py> = Option<Bound<'py, PyString>>;

/// What an append is told besides its data.
#[derive(Clone)]
pub struct Arguments<'py> {
    pub event_type: Bound<'py, PyString>,
    pub source: Source<'py>,
    pub correlation_id: Text<'py>,
    pub causation_id: Text<'py>,
    pub aggregate_id: Text<'py>,
    pub tags: Tags<'py>,
    pub event_id: Text<'py>,
    pub event_time_ns: EventTime,
    pub schema_version: Text<'py>,
    pub expected_version: ExpectedVersion,
    pub schema: SchemaCheck,
}

/// The bytes to be stored, and what is known about them.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    pub bytes: &'a [u8],
    pub codec: Codec,
    pub lossy: bool,
}

impl<'a> Payload<'a> {
    /// Data that we encoded.
    pub fn of(encoded: &'a Encoded<'_>) -> Self {
        Self { bytes: encoded.as_bytes(), codec: Codec::Json, lossy: encoded.is_lossy() }
    }
}

impl<'py> Arguments<'py> {
    /// An event of this type, and nothing else said.
    #[inline]
    pub fn of(event_type: Bound<'py, PyString>) -> Self {
        Self {
            event_type,
            source: Source(None),
            correlation_id: None,
            causation_id: None,
            aggregate_id: None,
            tags: Tags(Vec::new()),
            event_id: None,
            event_time_ns: EventTime(None),
            schema_version: None,
            expected_version: ExpectedVersion(Expected::Any),
            schema: SchemaCheck::Unchecked,
        }
    }

    /// Takes what is given, in the order of the fields; the rest stays as it is, where it is.
    #[inline]
    pub fn fill(&mut self, slots: &Slots<'_, 'py, 9>) -> PyResult<()> {
        macro_rules! fill {
            ($($field:ident)+) => {{
                let [$($field),+] = slots;
                $(if $field.is_some() {
                    self.$field = required(stringify!($field), *$field)?;
                })+
            }};
        }
        fill!(source correlation_id causation_id aggregate_id tags event_id event_time_ns schema_version
            expected_version);
        Ok(())
    }

    /// The event to append, borrowed from these arguments; `tags` is [`Tags::borrow`] of theirs.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: made elsewhere, the event is read across the words it was stored in"
    )]
    pub fn new_event<'a>(
        &'a self,
        payload: Payload<'a>,
        tags: &'a [(&'a str, &'a str)],
    ) -> PyResult<NewEvent<'a>> {
        Ok(NewEvent {
            event_type: text("event_type", &self.event_type)?,
            payload: payload.bytes,
            codec: payload.codec,
            event_id: optional_text("event_id", self.event_id.as_ref())?,
            aggregate_id: optional_text("aggregate_id", self.aggregate_id.as_ref())?,
            correlation_id: optional_text("correlation_id", self.correlation_id.as_ref())?,
            causation_id: optional_text("causation_id", self.causation_id.as_ref())?,
            source: optional_text("source", self.source.0.as_ref())?.unwrap_or_default(),
            schema_version: optional_text("schema_version", self.schema_version.as_ref())?,
            event_time_ns: self.event_time_ns.0,
            tags,
            expected: self.expected_version.0,
            lossy: payload.lossy,
            schema: self.schema,
        })
    }
}

/// The UTF-8 of `value`, which Python caches in the object. `EncodeError` for a lone surrogate.
pub fn text<'a>(name: &str, value: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    capi::text(value).ok_or_else(|| no_text(name, value))
}

#[cold]
fn no_text(name: &str, value: &Bound<'_, PyString>) -> PyErr {
    let py = value.py();
    let why =
        value.to_str().err().map_or_else(|| "it is no UTF-8".to_owned(), |error| error.value(py).to_string());
    encode_error(py, name, &why)
}

fn optional_text<'a>(name: &str, value: Option<&'a Bound<'_, PyString>>) -> PyResult<Option<&'a str>> {
    value.map(|value| text(name, value)).transpose()
}

/// The argument `source`: text, never None; absent where not given.
#[derive(Clone, Default)]
pub struct Source<'py>(pub Option<Bound<'py, PyString>>);

impl<'py> FromPyObject<'_, 'py> for Source<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(value.cast::<PyString>()?.to_owned())))
    }
}

/// The argument `event_time_ns`: ns since 1970 UTC, or None.
#[derive(Clone, Copy, Default)]
pub struct EventTime(pub Option<i64>);

impl FromPyObject<'_, '_> for EventTime {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        value.extract::<Option<i64>>().map(Self).map_err(|error| {
            let py = value.py();
            let is_too_large = error.is_instance_of::<PyOverflowError>(py);
            if is_too_large { encode_error(py, "event_time_ns", "it has more than 64 bits") } else { error }
        })
    }
}

/// The argument `tags`: any mapping of text to text, copied.
#[derive(Clone, Default)]
pub struct Tags<'py>(pub Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>);

impl<'py> FromPyObject<'_, 'py> for Tags<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self::default());
        }
        let pairs = match value.cast_exact::<PyDict>() {
            Ok(dict) => dict.items().into_any(),
            Err(_) => value
                .call_method0(pyo3::intern!(value.py(), "items"))
                .map_err(|error| not_tags(value, error))?,
        };
        let tags = pairs.try_iter()?.map(|pair| pair.and_then(|pair| tag(&pair)));
        tags.collect::<PyResult<_>>().map(Self)
    }
}

fn not_tags(value: Borrowed<'_, '_, PyAny>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyAttributeError>(value.py()) {
        return error;
    }
    match value.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("tags is a mapping of text to text, not {kind}")),
        Err(_) => error,
    }
}

fn tag<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyString>, Bound<'py, PyString>)> {
    let (key, value) = pair.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
    match (key.cast_into::<PyString>(), value.cast_into::<PyString>()) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        (Err(error), _) | (_, Err(error)) => {
            let kind = error.into_inner().get_type().name()?.to_string();
            Err(PyTypeError::new_err(format!("tags map text to text; one of them is {kind}")))
        }
    }
}

impl Tags<'_> {
    /// The texts, borrowed for the time of an append.
    pub fn borrow(&self) -> PyResult<Vec<(&str, &str)>> {
        self.0.iter().map(|(key, value)| Ok((text("tags", key)?, text("tags", value)?))).collect()
    }
}

/// The argument `durability` of an append.
#[derive(Clone, Copy, Default)]
pub struct DurabilityChoice(pub Option<Durability>);

impl FromPyObject<'_, '_> for DurabilityChoice {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        let name = value.cast::<PyString>()?;
        durability(name.to_str()?)
            .map(|mode| Self(Some(mode)))
            .map_err(|problem| config_error(value.py(), vec![problem]))
    }
}

/// The mode called `name`, or what is wrong with the name.
pub fn durability(name: &str) -> Result<Durability, String> {
    match name {
        "none" => Ok(Durability::None),
        "interval" => Ok(Durability::Interval),
        "group" => Ok(Durability::Group),
        "always" => Ok(Durability::Always),
        _ => Err(format!("durability is {name:?}, it takes \"none\", \"interval\", \"group\" or \"always\"")),
    }
}

/// The name of a mode.
pub fn durability_name(mode: Durability) -> &'static str {
    match mode {
        Durability::None => "none",
        Durability::Interval => "interval",
        Durability::Group => "group",
        Durability::Always => "always",
    }
}
