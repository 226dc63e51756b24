//! What the GIL guards: state that no other thread gets at, since each of its uses shows that this one holds the GIL.
//!
//! Owns the argument why that takes no lock of its own: a mutex nobody contends is two locked instructions each time, which wait
//! for every store before them. Invariants: held for copies only, no Python code runs meanwhile and the GIL is not let go; who breaks
//! that gets a panic, which becomes a Python exception, where a mutex would wait for ever.

use std::cell::{Ref, RefCell, RefMut};

use pyo3::{PyVisit, Python};

#[cfg(Py_GIL_DISABLED)]
compile_error!("a build of CPython without the GIL: `GilCell` relies on it");

/// A value that is reached with the GIL alone.
#[derive(Default)]
pub struct GilCell<T>(RefCell<T>);

// SAFETY: the value and the count of its borrows are touched by `hold` and `peek` alone, whose arguments exist only in a thread
// that holds the GIL, and by what these give, which is neither sent nor shared: a closure that runs without the GIL cannot have
// it. So no two threads touch either at once, and the hand-over of the GIL orders what one does before what the next does. The
// value itself is dropped by one thread, which may be another than its maker: hence `Send`.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value, for copies.
    pub fn hold<'a>(&'a self, _attached: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }

    /// The value for the garbage collector, unless it is held: then whoever holds it made the collector run.
    pub fn peek(&self, _collector: &PyVisit<'_>) -> Option<Ref<'_, T>> {
        self.0.try_borrow().ok()
    }
}
