//! What an append expects of aggregates, as Python says it: three constants, or an exact version.
//!
//! Owns that translation, both ways. The check itself is the engine's.

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyEllipsis, PyInt, PyMapping, PyString},
};

use super::arguments::text;
use crate::config::Expected;

/// What an append expects of its aggregate; an `int` stands for an exact version.
#[pyclass(name = "Expected", module = "aresbus._core", frozen, eq, hash)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::upper_case_acronyms, reason = "constants of a Python class are written so")]
pub enum PyExpected {
    ANY,
    NONE,
    EXISTS,
}

#[pymethods]
impl PyExpected {
    fn __repr__(slf: &Bound<'_, Self>) -> String {
        format!("Expected.{}", slf.get().name())
    }

    /// Pickled by name, so that each constant stays one object.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let getattr = slf.py().import("builtins")?.getattr("getattr")?;
        let constant = (slf.as_any().get_type(), slf.get().name());
        Ok((getattr, constant).into_pyobject(slf.py())?.into_any())
    }
}

impl PyExpected {
    fn name(self) -> &'static str {
        match self {
            Self::ANY => "ANY",
            Self::NONE => "NONE",
            Self::EXISTS => "EXISTS",
        }
    }

    /// The form in which Python gave it: a constant or an int.
    pub fn show(py: Python<'_>, expected: Expected) -> PyResult<Bound<'_, PyAny>> {
        let name = match expected {
            Expected::Any => "ANY",
            Expected::None => "NONE",
            Expected::Exists => "EXISTS",
            Expected::Exact(version) => return Ok(version.into_pyobject(py)?.into_any()),
        };
        py.get_type::<Self>().getattr(name)
    }
}

/// The argument `expected_version`. `...`, which the signature shows as the default, is `Expected.ANY`.
#[derive(Clone, Copy, Default)]
pub struct ExpectedVersion(pub Expected);

impl FromPyObject<'_, '_> for ExpectedVersion {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(constant) = value.cast::<PyExpected>() {
            return Ok(Self(match constant.get() {
                PyExpected::ANY => Expected::Any,
                PyExpected::NONE => Expected::None,
                PyExpected::EXISTS => Expected::Exists,
            }));
        }
        if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
            let version = value.extract::<u32>().map_err(|_| {
                PyValueError::new_err(format!("an aggregate version is 0 to {}, not {}", u32::MAX, &*value))
            })?;
            return Ok(Self(Expected::Exact(version)));
        }
        if value.is_instance_of::<PyEllipsis>() {
            return Ok(Self::default());
        }
        let kind = value.get_type().name()?;
        Err(PyTypeError::new_err(format!("expected_version is an Expected or an int, not {kind}")))
    }
}

/// The argument `expected` of a batch: a mapping of aggregate ids to what is expected of each, copied.
#[derive(Clone, Default)]
pub struct ExpectedVersions<'py>(Vec<(Bound<'py, PyString>, Expected)>);

impl<'py> FromPyObject<'_, 'py> for ExpectedVersions<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self::default());
        }
        let Ok(mapping) = value.cast::<PyMapping>() else {
            let kind = value.get_type().name()?;
            let what = "expected is a mapping of aggregate ids to an Expected or an int each";
            return Err(PyTypeError::new_err(format!("{what}, not {kind}")));
        };
        let pairs = mapping.items()?.into_iter().map(|pair| {
            let (id, version) = pair.extract::<(Bound<'py, PyString>, Bound<'py, PyAny>)>()?;
            let expected = version.extract::<ExpectedVersion>().inspect_err(|error| {
                // An exception without room for notes is as good without.
                drop(error.add_note(pair.py(), format!("expected of aggregate {id}")));
            })?;
            Ok((id, expected.0))
        });
        pairs.collect::<PyResult<_>>().map(Self)
    }
}

impl ExpectedVersions<'_> {
    /// The texts, borrowed for the time of an append.
    pub fn borrow(&self) -> PyResult<Vec<(&str, Expected)>> {
        self.0.iter().map(|(id, expected)| Ok((text("expected", id)?, *expected))).collect()
    }
}
