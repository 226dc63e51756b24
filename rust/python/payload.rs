//! The arguments of `append_bytes`: bytes of any kind, and what they are.
//!
//! Owns that the engine only ever borrows from immutable `bytes`: anything that could change under it is copied.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};

use super::{encode, error::config_error};
use crate::format::Codec;

/// The argument `payload`.
pub struct Given<'py>(pub Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Given<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
            let copy = value.py().get_type::<PyBytes>().call1((value,))?;
            return Ok(Self(copy.cast_into()?));
        }
        let kind = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("a payload is bytes, bytearray or memoryview, not {kind}")))
    }
}

/// The argument `encoding`.
#[derive(Clone, Copy, Default)]
pub enum Encoding {
    #[default]
    Bytes,
    Json,
}

impl FromPyObject<'_, '_> for Encoding {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.cast::<PyString>()?.to_str()? {
            "bytes" => Ok(Self::Bytes),
            "json" => Ok(Self::Json),
            other => {
                let problem = format!("encoding is {other:?}, it takes \"bytes\" or \"json\"");
                Err(config_error(value.py(), vec![problem]))
            }
        }
    }
}

impl Encoding {
    /// The codec to store `payload` under. `EncodeError` where it is said to be JSON and is not.
    pub fn checked(self, payload: &Given<'_>) -> PyResult<Codec> {
        match self {
            Self::Bytes => Ok(Codec::Bytes),
            Self::Json => encode::validate(&payload.0).map(|()| Codec::JsonGiven),
        }
    }
}
