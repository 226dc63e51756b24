//! std's threads and timed waits inside a shuttle schedule, where they differ from shuttle's own.
//!
//! A thread that panics ends alone, as under std. A timed wait runs out only where a model lets time pass
//! ([`let_time_pass`]): without, a schedule in which somebody counts on a time-out ends in a deadlock, which shuttle reports.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LockResult, PoisonError},
    time::Duration,
};

use shuttle::{
    sync::{MutexGuard, atomic::AtomicBool},
    thread::JoinHandle,
};

use super::virtual_time::{Instant, sleep};

std::thread_local! {
    static TIME_PASSES: Cell<bool> = const { Cell::new(false) };
}

/// Whether timed waits run out from now on.
pub fn let_time_pass(does_pass: bool) {
    TIME_PASSES.set(does_pass);
}

/// As std's.
#[derive(Debug)]
pub struct Builder(shuttle::thread::Builder);

impl Builder {
    /// As std's.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none")]
    pub fn new() -> Self {
        Self(shuttle::thread::Builder::new())
    }

    /// As std's.
    #[must_use]
    pub fn name(self, name: String) -> Self {
        Self(self.0.name(name))
    }

    /// As std's; how `run` ended is not told.
    ///
    /// # Errors
    /// None.
    pub fn spawn(self, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        self.0.spawn(|| drop(catch_unwind(AssertUnwindSafe(run))))
    }
}

/// As std's.
#[derive(Debug, Clone, Copy)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// As std's.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// As std's.
#[derive(Debug, Default)]
pub struct Condvar(Arc<shuttle::sync::Condvar>);

type Waited<'a, T> = LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>;

impl Condvar {
    /// As std's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As std's, where time passes; else without an end.
    ///
    /// # Errors
    /// Where a holder of the lock panicked.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> Waited<'a, T> {
        let end = TIME_PASSES.get().then(|| Instant::now().checked_add(timeout)).flatten();
        let is_over = Arc::new(AtomicBool::new(false));
        if end.is_some() {
            let (condvar, is_over) = (Arc::clone(&self.0), Arc::clone(&is_over));
            // Its wake may reach another waiter too: one for nothing, which std allows at any time.
            shuttle::thread::spawn(move || {
                sleep(timeout);
                is_over.store(true, std::sync::atomic::Ordering::SeqCst);
                condvar.notify_all();
            });
        }
        let result =
            |is_over: &AtomicBool| WaitTimeoutResult(is_over.load(std::sync::atomic::Ordering::SeqCst));
        match self.0.wait(guard) {
            Ok(guard) => Ok((guard, result(&is_over))),
            Err(broken) => Err(PoisonError::new((broken.into_inner(), result(&is_over)))),
        }
    }

    /// As std's, where time passes; else without an end.
    ///
    /// # Errors
    /// Where a holder of the lock panicked.
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut is_waiting: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        let mut result = WaitTimeoutResult(false);
        while is_waiting(&mut guard) && !result.timed_out() {
            (guard, result) = self.wait_timeout(guard, timeout)?;
        }
        Ok((guard, result))
    }

    /// As std's.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// As std's.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
