//! What the C API of CPython needs and PyO3 does not offer: which interpreter is this, what does a context variable
//! hold, and how is a method called without a tuple or a dict?
//!
//! Owns, with the two files under it, the only `unsafe` of the binding.

pub mod exact_json;
pub mod gil_cell;

use std::{
    any::Any,
    ffi::c_char,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice, str,
};

use pyo3::{
    exceptions::PyTypeError,
    ffi,
    panic::PanicException,
    prelude::*,
    types::{PyString, PyType},
};

use super::fastcall::{self, FastMethod};

/// Whether the caller runs in the process' first interpreter. Classes, hooks and cached functions are held in
/// statics of this library: in a second interpreter they would be objects of the first one.
pub fn is_main_interpreter(_attached: Python<'_>) -> bool {
    // SAFETY: both calls only read; the first needs an attached thread, which the argument proves.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}

/// What `variable` holds in this context, its default where it was not set; `None` for Python's None too. `TypeError` for
/// what is no context variable.
pub fn value_in_context<'py>(variable: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = variable.py();
    let mut value = ptr::null_mut();
    // SAFETY: the thread is attached and `variable` alive, as `Bound` proves; the call refuses what is no context variable,
    // and stores a new reference, or null, where it succeeds.
    let found = unsafe {
        let status = ffi::PyContextVar_Get(variable.as_ptr(), ptr::null_mut(), &raw mut value);
        if status < 0 {
            return Err(PyErr::fetch(py));
        }
        Bound::from_owned_ptr_or_opt(py, value)
    };
    Ok(found.filter(|value| !value.is_none()))
}

/// Calls `callback(value)` in a copy of this context in which `variable` is `value`: what the callback sets is gone behind it, as
/// behind a task. A copy costs a quarter of setting the variable back.
pub fn call_in_copied_context<'py>(
    variable: &Bound<'py, PyAny>,
    callback: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = variable.py();
    // SAFETY: the thread is attached. The copy is a new reference, or null and an error.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    // SAFETY: as above; nobody else has the copy, which is what it takes to enter it.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: as above; both objects are alive, and the call refuses what is no context variable. It gives a new reference to a
    // token, or null and an error.
    let set =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_Set(variable.as_ptr(), value.as_ptr())) };
    // A panic of this library in a callback comes back as one: the context has to be left all the same.
    let outcome = caught(|| set.and_then(|_token| callback.call1((value,))));
    // SAFETY: this thread has entered it, and left what it entered since: calls return in order.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    outcome
}

/// The ident of this thread, as `threading.get_ident()` gives it.
pub fn thread_ident() -> u64 {
    // SAFETY: the call only reads; no thread needs to be attached.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// The UTF-8 of `text`, which the object keeps; `None` where a lone surrogate has none.
pub fn text<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    // SAFETY: the thread is attached and the text alive, as `Bound` proves; of a subclass the texts lie in the same place.
    unsafe { text_of(text.as_ptr()) }
}

/// The UTF-8 of a text, which lives as long as the text does; `None` where a lone surrogate has none.
///
/// # Safety
/// The thread is attached; `text` is a living str.
#[inline]
unsafe fn text_of<'a>(text: *mut ffi::PyObject) -> Option<&'a str> {
    // SAFETY: a text of this kind is its own UTF-8: as many bytes as signs, behind the object's header, which never change.
    #[cfg(not(Py_3_14))]
    unsafe {
        if ffi::PyUnicode_IS_COMPACT_ASCII(text) != 0 {
            let bytes = usize::try_from(ffi::PyUnicode_GET_LENGTH(text)).ok()?;
            return Some(str::from_utf8_unchecked(slice::from_raw_parts(
                ffi::PyUnicode_1BYTE_DATA(text),
                bytes,
            )));
        }
    }
    let mut bytes = 0;
    // SAFETY: the call gives `bytes` bytes of UTF-8 that the object keeps, or null and an error, which is taken back.
    unsafe {
        let start = ffi::PyUnicode_AsUTF8AndSize(text, &raw mut bytes);
        if start.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(str::from_utf8_unchecked(slice::from_raw_parts(start.cast(), usize::try_from(bytes).ok()?)))
    }
}

/// The text that `utf8` is; `None` where it is no UTF-8.
#[inline]
pub fn text_of_utf8<'py>(py: Python<'py>, utf8: &[u8]) -> Option<Bound<'py, PyString>> {
    let bytes = isize::try_from(utf8.len()).ok()?;
    // SAFETY: the thread is attached; the call reads `bytes` bytes, and gives a new reference to an exact str, or null and
    // an error, which is taken back.
    unsafe {
        let text = ffi::PyUnicode_DecodeUTF8(utf8.as_ptr().cast(), bytes, ptr::null());
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(Bound::from_owned_ptr(py, text).cast_into_unchecked())
    }
}

/// What a call was given: values by position, then values by keyword, whose names are beside them.
pub struct Given<'a, 'py> {
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    /// A tuple of texts, or null.
    names: *mut ffi::PyObject,
    py: Python<'py>,
}

impl<'a, 'py> Given<'a, 'py> {
    /// # Safety
    /// As the interpreter calls a method of `METH_FASTCALL | METH_KEYWORDS`: `values` are `positional` living objects and as many
    /// more as the tuple `names`, which may be null, has texts; all of them live for `'a`.
    unsafe fn new(
        py: Python<'py>,
        values: *const *mut ffi::PyObject,
        positional: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Self {
        let positional = usize::try_from(positional).unwrap_or(0);
        // SAFETY: the caller's promise. Without values the pointer may be null, which no slice is made of.
        let values = unsafe {
            let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            match positional + usize::try_from(keywords).unwrap_or(0) {
                0 => &[],
                count => slice::from_raw_parts(values, count),
            }
        };
        Self { values, positional, names, py }
    }

    /// The values by position.
    pub fn positional(&self) -> impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>> + use<'a, 'py> {
        let py = self.py;
        // SAFETY: each is a living object that stays alive for `'a`.
        let borrowed = move |value: &*mut ffi::PyObject| unsafe { Borrowed::from_ptr(py, *value) };
        self.values.get(..self.positional).unwrap_or_default().iter().map(borrowed)
    }

    /// The others, each behind its name.
    pub fn keywords(&self) -> impl Iterator<Item = (Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
        let (py, names) = (self.py, self.names);
        let values = self.values.get(self.positional..).unwrap_or_default();
        // SAFETY: there are as many names as these values, in a tuple that lives for `'a` and cannot change.
        let pair = move |(at, value): (ffi::Py_ssize_t, &*mut ffi::PyObject)| unsafe {
            (Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(names, at)), Borrowed::from_ptr(py, *value))
        };
        (0..).zip(values).map(pair)
    }
}

/// Adds a method to its class, which is one of this module. Once, while the module is made.
pub fn add_method<M: FastMethod<N>, const N: usize>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<M::Class>();
    let signature = &M::SIGNATURE;
    fastcall::interned::<M, N>(py);
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: signature.name.as_ptr().cast::<c_char>(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: called::<M, N> },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: signature.doc.as_ptr().cast::<c_char>(),
    }));
    // SAFETY: the thread is attached, the class alive; the definition, which the descriptor refers to, is never freed, nor are
    // the texts in it. The call gives a new reference, or null and an error.
    let method =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))? };
    class.setattr(signature.name, method)
}

/// What the interpreter calls.
///
/// # Safety
/// As [`Given::new`]; the thread is attached, and `object` a living instance of the method's class, which its descriptor
/// checks.
unsafe extern "C" fn called<M: FastMethod<N>, const N: usize>(
    object: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promises.
    let call = |py| unsafe {
        let given = Given::new(py, values, positional, names);
        let mut slots = [None; N];
        fastcall::fill(&mut slots, &M::SIGNATURE, fastcall::interned::<M, N>(py), &given)?;
        M::call(&Borrowed::from_ptr(py, object).cast_unchecked::<M::Class>(), &slots)
    };
    // SAFETY: the thread is attached.
    unsafe { guarded(call) }.map_or(ptr::null_mut(), Bound::into_ptr)
}

/// An awaitable that is run without an exception for its end.
pub trait Steps {
    /// Runs to the next pause, `None`, or to the end, which has a value.
    ///
    /// # Errors
    /// Of what it does, and of going on behind the end.
    fn step<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>>;
}

/// Lets the interpreter step through a class of this module, which has the protocol of a coroutine already, by the call that
/// it prefers. Once, while the module is made.
pub fn add_steps<T: Steps>(class: &Bound<'_, PyType>) -> PyResult<()> {
    // SAFETY: the thread is attached; the class is alive, our own, made from a specification a moment ago, and nobody has used
    // it: such a class has room for these slots, which a static one need not have.
    unsafe {
        let Some(slots) = (*class.as_type_ptr()).tp_as_async.as_mut() else {
            return Err(PyTypeError::new_err("a class without slots for awaiting"));
        };
        slots.am_send = Some(sent::<T>);
        ffi::PyType_Modified(class.as_type_ptr());
    }
    Ok(())
}

/// What the interpreter calls.
///
/// # Safety
/// The thread is attached, `object` a living instance of the class that the slot was given to, `result` a place for a
/// reference.
unsafe extern "C" fn sent<T: Steps>(
    object: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the caller's promises.
    unsafe {
        let stepped = guarded(|py| T::step(&Borrowed::from_ptr(py, object)));
        let (value, came) = match stepped {
            Some(Some(value)) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
            Some(None) => (Python::assume_attached().None().into_ptr(), ffi::PySendResult::PYGEN_NEXT),
            None => (ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR),
        };
        *result = value;
        came
    }
}

/// What `call` gives; `None` where it fails, which the interpreter then knows. No panic gets to Python.
///
/// # Safety
/// The thread is attached.
unsafe fn guarded<T>(call: impl FnOnce(Python<'static>) -> PyResult<T>) -> Option<T> {
    // SAFETY: the caller's promise. What PyO3 counts, to know whether a thread is attached, is left as it is: it says less
    // than there is, so that an object dropped in here without a token is kept until PyO3 attaches next.
    let failed = match caught(|| call(unsafe { Python::assume_attached() })) {
        Ok(result) => return Some(result),
        Err(failed) => failed,
    };
    // Errors are what leaves such objects behind: they are let go now.
    Python::attach(|py| failed.restore(py));
    None
}

/// What `call` gives; a panic of it as the exception that PyO3 makes of one.
fn caught<T>(call: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(PanicException::new_err(told(&*panic))))
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic from Rust code".to_owned())
}
