//! std's threads and timed waits inside a shuttle schedule, where they differ from shuttle's own.
//!
//! A thread that panics ends alone, as under std. A timed wait runs out only where a model lets time pass
//! ([`let_time_pass`]), or where it is so short that it is meant to: without, a schedule in which somebody counts on a time-out
//! ends in a deadlock, which shuttle reports.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LockResult, PoisonError, atomic::Ordering::SeqCst},
    time::Duration,
};

use shuttle::{
    sync::{MutexGuard, atomic::AtomicBool},
    thread::JoinHandle,
};

use super::virtual_time::{Instant, sleep};

/// A wait of so long at most is meant to run out. All others are bounds of what is to come sooner.
const MEANT_TO_RUN_OUT: Duration = Duration::from_millis(1);

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

/// The end of one timed wait.
#[derive(Debug, Default)]
struct End {
    is_over: AtomicBool,
    is_awaited_no_more: AtomicBool,
}

impl End {
    /// Its wakes may reach other waiters too: some for nothing, which std allows at any time.
    fn bring(&self, timeout: Duration, condvar: &shuttle::sync::Condvar) {
        sleep(timeout);
        self.is_over.store(true, SeqCst);
        // Once is not enough: whose end it is may not have begun to wait.
        while !self.is_awaited_no_more.load(SeqCst) {
            condvar.notify_all();
            shuttle::thread::yield_now();
        }
    }
}

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
        let does_end = timeout <= MEANT_TO_RUN_OUT || TIME_PASSES.get();
        let end = Arc::new(End::default());
        if does_end && Instant::now().checked_add(timeout).is_some() {
            let (condvar, end) = (Arc::clone(&self.0), Arc::clone(&end));
            shuttle::thread::spawn(move || end.bring(timeout, &condvar));
        }
        let waited = self.0.wait(guard);
        end.is_awaited_no_more.store(true, SeqCst);
        let result = WaitTimeoutResult(end.is_over.load(SeqCst));
        match waited {
            Ok(guard) => Ok((guard, result)),
            Err(broken) => Err(PoisonError::new((broken.into_inner(), result))),
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
