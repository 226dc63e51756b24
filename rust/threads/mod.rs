//! The one door to locks, atomics, threads, and the time that waits are measured in.
//!
//! By default each name is the very type of std: nothing is wrapped, nothing costs. Under the feature `loom` or
//! `shuttle` the same names are the model checker's, so that the engine's own code, not a copy of it, runs under every
//! order of steps that the checker comes up with (tests/rust/loom.rs, tests/rust/shuttle.rs). Neither feature is ever
//! part of a wheel. `Arc`, `Weak` and `OnceLock` stay std's: the engine gives none of them an order to keep.
//!
//! Knows no module of the engine. File systems (`vfs`) do not come in by this door: their locks stand for the kernel's,
//! which order less than a mutex does, and a model that believed in them would miss what production cannot rely on.

mod cells;
#[cfg(feature = "loom")]
pub mod modelled;
mod naps;
#[cfg(all(feature = "shuttle", not(feature = "loom")))]
pub mod scheduled;
#[cfg(any(feature = "loom", feature = "shuttle"))]
mod virtual_time;
#[cfg(feature = "simulation")]
pub mod watched;
mod words;

pub use std::sync::{PoisonError, TryLockError};

pub use cells::{Bare, Cells};
pub use naps::Naps;
pub use words::Words;

/// What a mapping's memory goes through unless it is told otherwise.
#[cfg(not(any(feature = "loom", feature = "simulation")))]
pub type DefaultCells = Bare;
/// What a mapping's memory goes through unless it is told otherwise.
#[cfg(all(feature = "simulation", not(feature = "loom")))]
pub type DefaultCells = watched::Watched;
/// What a mapping's memory goes through unless it is told otherwise.
#[cfg(feature = "loom")]
pub type DefaultCells = modelled::Modelled;

#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod chosen {
    pub use std::{
        hint::spin_loop,
        sync::{Condvar, Mutex, MutexGuard, RwLock},
        thread::{Builder, JoinHandle, current, panicking, sleep},
        time::Instant,
    };

    /// Atomic numbers.
    pub mod atomic {
        pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
    }
}

#[cfg(feature = "loom")]
mod chosen {
    pub use std::thread::panicking;

    pub use loom::{
        hint::spin_loop,
        sync::{Mutex, MutexGuard, RwLock},
        thread::{Builder, JoinHandle, current},
    };

    /// Atomic numbers.
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
    }
}

#[cfg(all(feature = "shuttle", not(feature = "loom")))]
mod chosen {
    pub use std::thread::panicking;

    pub use shuttle::{
        hint::spin_loop,
        sync::{Mutex, MutexGuard, RwLock},
        thread::{JoinHandle, current},
    };

    /// Atomic numbers.
    pub mod atomic {
        pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
    }
}

pub use chosen::*;
#[cfg(feature = "loom")]
pub use modelled::Condvar;
#[cfg(all(feature = "shuttle", not(feature = "loom")))]
pub use scheduled::{Builder, Condvar};
#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use virtual_time::{Instant, sleep};
