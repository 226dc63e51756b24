//! Bugs that are planted on purpose, so that the tests can show that they would find them.
//!
//! Owns the list. Without the feature `planted`, which no wheel has, every question is answered "no" at compile time and the
//! branch is gone. With it, the environment variable `ARESBUS_PLANTED` names the one that is in; it is read once. A bug
//! stands here with the rule it breaks and the test that has to catch it.

/// See the module's first paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// `gil-lock-order`: an append waits for the log's locks while it holds the GIL, and who holds them asks for the
    /// GIL (against R12; `test_gil_stress.py`).
    GilLockOrder,
}

#[cfg(feature = "planted")]
impl Bug {
    fn name(self) -> &'static str {
        match self {
            Self::GilLockOrder => "gil-lock-order",
        }
    }
}

/// Whether `bug` is in.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}

/// Whether `bug` is in.
#[cfg(feature = "planted")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let planted = NAME.get_or_init(|| std::env::var("ARESBUS_PLANTED").ok());
    planted.as_deref() == Some(bug.name())
}
