//! Calls that are made a million times an hour: from the interpreter's own array of arguments to one slot for each parameter.
//!
//! Owns the matching of positions and keywords, and what is said of a call that does not fit. PyO3's own way takes 340
//! instructions for an append with four keywords, this 120: keywords are looked for by identity. The calls themselves are in
//! [`super::append_calls`], the C API in [`super::capi`]. Knows no method.

use std::ffi::CStr;

use pyo3::{PyClass, exceptions::PyTypeError, prelude::*, sync::PyOnceLock, types::PyString};

use super::capi::{self, Given};

/// What a call is given for each parameter, in the order of the signature; `None` where it is not given.
pub type Slots<'a, 'py, const N: usize> = [Option<Borrowed<'a, 'py, PyAny>>; N];

/// How a method is called.
pub struct Signature<const N: usize> {
    /// Its name.
    pub name: &'static CStr,
    /// Name, text signature and docstring, in the form that `inspect.signature` reads.
    pub doc: &'static CStr,
    /// The names of its parameters.
    pub parameters: [&'static str; N],
    /// How many of them may be given by position.
    pub positional: usize,
    /// How many have to be given.
    pub required: usize,
}

/// A method of a class, added to it by [`super::capi::add_method`].
pub trait FastMethod<const N: usize> {
    /// The class that it is a method of.
    type Class: PyClass;

    const SIGNATURE: Signature<N>;

    /// Where the names of its parameters are kept as Python has them.
    fn names() -> &'static PyOnceLock<[Py<PyString>; N]>;

    /// The call. No panic of it reaches Python.
    fn call<'py>(object: &Bound<'py, Self::Class>, slots: &Slots<'_, 'py, N>) -> PyResult<Bound<'py, PyAny>>;
}

/// The names of a method's parameters, interned as those of a call site are.
pub fn interned<M: FastMethod<N>, const N: usize>(py: Python<'_>) -> &'static [Py<PyString>; N] {
    M::names().get_or_init(py, || M::SIGNATURE.parameters.map(|name| PyString::intern(py, name).unbind()))
}

/// Fills the slots of a call, which are empty, where they lie: a result of this size is read across the words that it was just
/// stored in.
///
/// # Errors
/// `TypeError` as Python words it.
#[inline]
pub fn fill<'a, 'py, const N: usize>(
    slots: &mut Slots<'a, 'py, N>,
    signature: &Signature<N>,
    names: &[Py<PyString>; N],
    given: &Given<'a, 'py>,
) -> PyResult<()> {
    if given.positional().len() > signature.positional {
        return Err(too_many(signature, given.positional().len()));
    }
    for (slot, value) in slots.iter_mut().zip(given.positional()) {
        *slot = Some(value);
    }
    let mut next = given.positional().len();
    for (name, value) in given.keywords() {
        let Some((at, slot)) = place_of(names, next, &name).and_then(|at| Some((at, slots.get_mut(at)?)))
        else {
            return Err(wrong(signature, &format!("got an unexpected keyword argument '{}'", *name)));
        };
        if slot.replace(value).is_some() {
            return Err(wrong(signature, &format!("got multiple values for argument '{}'", *name)));
        }
        next = at + 1;
    }
    if slots.iter().take(signature.required).all(Option::is_some) {
        Ok(())
    } else {
        Err(missing(signature, slots))
    }
}

/// The parameter that `name` names: by identity, from `next` on, since a call site has its names interned and mostly in this order;
/// any other by its text.
#[inline]
pub fn place_of(names: &[Py<PyString>], next: usize, name: &Bound<'_, PyAny>) -> Option<usize> {
    let is_it = |known: &Py<PyString>| known.as_ptr() == name.as_ptr();
    let (before, behind) = names.split_at_checked(next)?;
    let at = behind.iter().position(is_it).map(|at| next + at).or_else(|| before.iter().position(is_it));
    at.or_else(|| place_of_text(names, name))
}

#[cold]
fn place_of_text(names: &[Py<PyString>], name: &Bound<'_, PyAny>) -> Option<usize> {
    let text = capi::text(name.cast::<PyString>().ok()?)?;
    names.iter().position(|known| capi::text(known.bind(name.py())) == Some(text))
}

/// The value of a parameter that has to be given.
///
/// # Errors
/// `TypeError` that names it.
pub fn required<'a, 'py, T: FromPyObject<'a, 'py>>(
    name: &str,
    slot: Option<Borrowed<'a, 'py, PyAny>>,
) -> PyResult<T> {
    let missing = || PyTypeError::new_err(format!("missing argument '{name}'"));
    let value = slot.ok_or_else(missing)?;
    T::extract(value).map_err(|error| named(value.py(), name, error.into()))
}

/// The value of a parameter, its default where it is not given.
///
/// # Errors
/// As [`required`].
pub fn optional<'a, 'py, T: FromPyObject<'a, 'py> + Default>(
    name: &str,
    slot: Option<Borrowed<'a, 'py, PyAny>>,
) -> PyResult<T> {
    slot.map_or_else(|| Ok(T::default()), |value| required(name, Some(value)))
}

#[cold]
fn named(py: Python<'_>, name: &str, error: PyErr) -> PyErr {
    if !error.get_type(py).is(py.get_type::<PyTypeError>()) {
        return error;
    }
    let said = PyTypeError::new_err(format!("argument '{name}': {}", error.value(py)));
    said.set_cause(py, error.cause(py));
    said
}

#[cold]
fn wrong<const N: usize>(signature: &Signature<N>, what: &str) -> PyErr {
    PyTypeError::new_err(format!("{}() {what}", signature.name.to_string_lossy()))
}

#[cold]
fn too_many<const N: usize>(signature: &Signature<N>, given: usize) -> PyErr {
    let what = format!("takes {} positional arguments but {given} were given", signature.positional);
    wrong(signature, &what)
}

#[cold]
fn missing<const N: usize>(signature: &Signature<N>, slots: &Slots<'_, '_, N>) -> PyErr {
    let required = signature.parameters.iter().zip(slots).take(signature.required);
    let names: Vec<String> =
        required.filter(|(_, slot)| slot.is_none()).map(|(name, _)| format!("'{name}'")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    wrong(
        signature,
        &format!("missing {} required positional argument{plural}: {}", names.len(), names.join(" and ")),
    )
}
