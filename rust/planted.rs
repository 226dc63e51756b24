//! Bugs that are planted on purpose, so that the tests can show that they would find them.
//!
//! Owns the list. Without the feature `planted`, which no wheel has, every question is answered "no" at compile time and the
//! branch is gone. With it, the environment variable `ARESBUS_PLANTED` names the one that is in; it is read once. A bug
//! stands here with the rule it breaks; none has a test of its own: the general suites have to catch it (`make mutants`).

/// See the module's first paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// `checksum-not-seeded`: a record's checksum leaves out its epoch (R6).
    ChecksumNotSeeded,
    /// `successor-not-zeroed`: the word behind a record stays what it was (R5).
    SuccessorNotZeroed,
    /// `directory-not-synced`: a rename is believed without a sync of its directory (R18).
    DirectoryNotSynced,
    /// `ack-before-sync`: what is about to be synced counts as durable (R13).
    AckBeforeSync,
    /// `roll-without-sync`: a segment that was left is not synced before the next one (R13).
    RollWithoutSync,
    /// `watermark-before-sync`: a watermark speaks of the sync that has yet to run (R16).
    WatermarkBeforeSync,
    /// `damage-cut-as-tail`: damage below the watermark is cut like a torn tail (R16).
    DamageCutAsTail,
    /// `batch-not-atomic`: a batch is committed member by member (R7).
    BatchNotAtomic,
    /// `batch-not-checked`: a batch is given out before its last member was checked (R7).
    BatchNotChecked,
    /// `event-skipped`: a scan steps over an event now and then.
    EventSkipped,
    /// `events-repeated`: a scan that begins in the middle gives events before its beginning.
    EventsRepeated,
    /// `stale-heads`: a recovery forgets the heads of the aggregates.
    StaleHeads,
    /// `heads-not-kept`: what expires takes the versions of its aggregates along (R20).
    HeadsNotKept,
    /// `dropped-before-meta`: segments go before META says so (R20).
    DroppedBeforeMeta,
    /// `poison-forgotten`: a failed sync does not poison (R14).
    PoisonForgotten,
    /// `waiter-not-woken`: nobody wakes those who wait for a sync (R14).
    WaiterNotWoken,
    /// `pages-believed`: what survived a crash is believed in place, not written once more (R17).
    PagesBelieved,
    /// `cut-segment-continued`: after a crash the writer goes on in the same segment (R17).
    CutSegmentContinued,
    /// `epoch-used-twice`: a recovery begins a segment of the same epoch (R17).
    EpochUsedTwice,
    /// `quarantine-skipped`: what is cut off is not kept (R17).
    QuarantineSkipped,
    /// `copy-not-synced`: a copy of a damaged file has its name in quarantine before its content is durable (R17).
    CopyNotSynced,
    /// `old-meta-not-kept`: a repair replaces a damaged META before its bytes are in quarantine.
    OldMetaNotKept,
    /// `heads-after-meta`: a repair writes META before the heads that its first position rests on (R20).
    HeadsAfterMeta,
    /// `spare-not-named`: META does not learn of a new segment (R16).
    SpareNotNamed,
    /// `unread-meta-passed-over`: a copy of META that cannot be read is taken for a damaged one.
    UnreadMetaPassedOver,
    /// `snapshot-not-synced`: a file that replaces another is renamed before its content is durable (R18).
    SnapshotNotSynced,
    /// `sealed-not-synced`: a sealed file gets its name before its content is durable.
    SealedNotSynced,
    /// `sealed-name-believed`: an opening removes a raw file whose sealed one may have its name in the cache alone.
    SealedNameBelieved,
    /// `raw-removed-first`: the raw file goes before the sealed one has its name.
    RawRemovedFirst,
    /// `closing-index-of-any-time`: a closing index is believed without the clean mark that it was written for.
    ClosingIndexOfAnyTime,
    /// `tail-end-believed`: an opening with a closing index takes any end of the newest segment for the one it names.
    TailEndBelieved,
    /// `blocks-passed-over`: a query passes the block that it begins in.
    BlocksPassedOver,
    /// `ids-forgotten`: an opening forgets which ids callers gave.
    IdsForgotten,
    /// `gil-lock-order`: an append waits for the log's locks while it holds the GIL, and who holds them asks for the
    /// GIL (R12; `test_gil_stress.py`).
    GilLockOrder,
    /// `roll-calls-system`: a roll wakes the keeper (R10; `test_hot_thread.py`).
    RollCallsSystem,
    /// `pages-not-populated`: nobody faults pages in ahead of the appender (R10; `test_hot_thread.py`).
    PagesNotPopulated,
    /// `window-not-restored`: nobody faults pages in while a sync runs, which protects them (R10; `test_hot_thread.py`).
    WindowNotRestored,
    /// `relaxed-commit`: the commit word is stored without release order (R5).
    RelaxedCommit,
    /// `relaxed-read`: the commit word is loaded without acquire order (R5).
    RelaxedRead,
    /// `torn-position`: the committed position is published without the fence behind its odd version.
    TornPosition,
    /// `resampled-position`: a sync publishes what is committed at its end, not at its start (R13).
    ResampledPosition,
    /// `lost-wake`: who publishes durability does not take the waiters' lock first.
    LostWake,
    /// `wake-kept`: who is woken does not wake the next.
    WakeKept,
    /// `poison-unheard`: a failed sync wakes nobody (R14).
    PoisonUnheard,
    /// `quiet-death`: a keeper that panics poisons nothing (R14).
    QuietDeath,
    /// `wish-unheard`: a wish for a sync does not wake the keeper.
    WishUnheard,
    /// `turn-unheard`: who waits for the turn to sync is woken before it is free.
    TurnUnheard,
    /// `relaxed-ring`: the bell is rung without release order.
    RelaxedRing,
    /// `bell-heard-late`: a reader hears the bell after it looked at the log.
    BellHeardLate,
    /// `sleeper-unheard`: a reader that goes to sleep does not wake the ringer.
    SleeperUnheard,
}

#[cfg(feature = "planted")]
impl Bug {
    fn name(self) -> &'static str {
        match self {
            Self::ChecksumNotSeeded => "checksum-not-seeded",
            Self::SuccessorNotZeroed => "successor-not-zeroed",
            Self::DirectoryNotSynced => "directory-not-synced",
            Self::AckBeforeSync => "ack-before-sync",
            Self::RollWithoutSync => "roll-without-sync",
            Self::WatermarkBeforeSync => "watermark-before-sync",
            Self::DamageCutAsTail => "damage-cut-as-tail",
            Self::BatchNotAtomic => "batch-not-atomic",
            Self::BatchNotChecked => "batch-not-checked",
            Self::EventSkipped => "event-skipped",
            Self::EventsRepeated => "events-repeated",
            Self::StaleHeads => "stale-heads",
            Self::HeadsNotKept => "heads-not-kept",
            Self::DroppedBeforeMeta => "dropped-before-meta",
            Self::PoisonForgotten => "poison-forgotten",
            Self::WaiterNotWoken => "waiter-not-woken",
            Self::PagesBelieved => "pages-believed",
            Self::CutSegmentContinued => "cut-segment-continued",
            Self::EpochUsedTwice => "epoch-used-twice",
            Self::QuarantineSkipped => "quarantine-skipped",
            Self::CopyNotSynced => "copy-not-synced",
            Self::OldMetaNotKept => "old-meta-not-kept",
            Self::HeadsAfterMeta => "heads-after-meta",
            Self::SpareNotNamed => "spare-not-named",
            Self::UnreadMetaPassedOver => "unread-meta-passed-over",
            Self::SnapshotNotSynced => "snapshot-not-synced",
            Self::SealedNotSynced => "sealed-not-synced",
            Self::SealedNameBelieved => "sealed-name-believed",
            Self::RawRemovedFirst => "raw-removed-first",
            Self::ClosingIndexOfAnyTime => "closing-index-of-any-time",
            Self::TailEndBelieved => "tail-end-believed",
            Self::BlocksPassedOver => "blocks-passed-over",
            Self::IdsForgotten => "ids-forgotten",
            Self::GilLockOrder => "gil-lock-order",
            Self::RollCallsSystem => "roll-calls-system",
            Self::PagesNotPopulated => "pages-not-populated",
            Self::WindowNotRestored => "window-not-restored",
            Self::RelaxedCommit => "relaxed-commit",
            Self::RelaxedRead => "relaxed-read",
            Self::TornPosition => "torn-position",
            Self::ResampledPosition => "resampled-position",
            Self::LostWake => "lost-wake",
            Self::WakeKept => "wake-kept",
            Self::PoisonUnheard => "poison-unheard",
            Self::QuietDeath => "quiet-death",
            Self::WishUnheard => "wish-unheard",
            Self::TurnUnheard => "turn-unheard",
            Self::RelaxedRing => "relaxed-ring",
            Self::BellHeardLate => "bell-heard-late",
            Self::SleeperUnheard => "sleeper-unheard",
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
