"""The shapes of what the engine reports: recovery, statistics, findings, conflicts.

Owns names and types only. The values are plain dicts made by the compiled engine, so that they print,
compare and serialise without ceremony. Offsets and sizes are bytes, times ns since 1970 UTC.
"""

from typing import Any, Literal, TypedDict

__all__ = [
    "Conflict",
    "Cut",
    "Excerpt",
    "Finding",
    "LogStats",
    "Loss",
    "RecoveryReport",
    "RepairReport",
    "RepairedMeta",
    "RetentionReport",
    "SegmentStats",
    "Unread",
    "VerifyResult",
]


class Conflict(TypedDict):
    """A version check that failed: ``expected`` an Expected or an int, the rest as in VersionConflictError."""

    aggregate_id: str
    expected: Any
    actual: int | None
    conflicting_seq: int | None
    conflicting_type: str | None


class Cut(TypedDict):
    """Where an opening ended the log, and what lay beyond."""

    segment: int
    offset: int
    next_seq: int
    reason: str
    quarantined_bytes: int
    quarantine_files: list[str]


class Loss(TypedDict):
    """What accepting a loss gives up: the damage, the events behind it, and where they were set aside.

    The log ends before ``first_seq``. ``last_seq`` is the newest event that anything knew of (None: none was known),
    ``events`` how many that makes, ``readable`` how many of them still read in quarantine, ``bytes`` the size of the files there.
    """

    path: str
    offset: int
    reason: str
    first_seq: int
    last_seq: int | None
    events: int
    readable: int
    bytes: int
    quarantine_files: list[str]


class RecoveryReport(TypedDict):
    """What opening found and did. ``cut`` and ``loss`` are None where nothing was cut or given up."""

    created: bool
    clean: bool
    epoch: int
    events: int
    watermark_seq: int | None
    loss: Loss | None
    cut: Cut | None
    removed_spares: list[int]
    stray_files: list[str]
    warnings: list[str]


class SegmentStats(TypedDict):
    """One segment file. ``used_bytes`` counts header and records as they were appended; a sealed file holds them in less."""

    number: int
    epoch: int
    first_seq: int
    entered_ns: int
    file_bytes: int
    used_bytes: int
    is_sealed: bool


class LogStats(TypedDict):
    """A log at one moment; counters since this handle was opened."""

    path: str | None
    log_id: str
    format_version: int
    mode: str
    durability: str
    epoch: int
    first_seq: int
    last_seq: int | None
    durable_seq: int | None
    event_count: int
    aggregate_count: int
    segments: list[SegmentStats]
    appended: int
    appended_bytes: int
    sync_count: int
    sync_ns_total: int
    sync_ns_max: int
    roll_count: int
    appender_prepared: int
    sealed_count: int
    waits_for_sealer: int
    lossy_count: int
    healthy: bool
    problem: str | None


class RetentionReport(TypedDict):
    """What one pass of retention dropped. ``left_over`` says why files are still there, where some are."""

    first_seq: int
    segments: list[int]
    event_count: int
    file_bytes: int
    kept_heads: int
    left_over: str | None


class Finding(TypedDict):
    """One thing that verify found, with the first and last event it may touch."""

    severity: Literal["error", "warning"]
    kind: str
    path: str
    offset: int
    first_seq: int | None
    last_seq: int | None
    message: str


class VerifyResult(TypedDict):
    """All findings of one pass over a log, and how much was examined. ``heads`` were compared with it."""

    findings: list[Finding]
    segments: int
    records: int
    events: int
    bytes: int
    skipped_records: int
    heads: int


class Unread(TypedDict):
    """Something that salvage could not read: the file, where in it, and the events that are affected, where that is known."""

    path: str
    offset: int
    first_seq: int | None
    last_seq: int | None
    reason: str


class Excerpt(TypedDict):
    """The durable beginning of a log: up to ``next_seq``, exclusive; ``whole``: files that belong to it as they are."""

    log_id: str
    epoch: int
    first_seq: int
    next_seq: int
    whole: list[str]


class RepairedMeta(TypedDict):
    """What META says after a repair."""

    log_id: str
    epoch: int
    first_seq: int
    first_segment: int
    newest_segment: int
    highest_segment: int


class RepairReport(TypedDict):
    """What a repair found and did. ``damage`` is None where META serves: nothing was changed then.

    ``derived``: what the files do not say, and what was taken instead. ``kept``: name in quarantine of the META before.
    """

    damage: str | None
    meta: RepairedMeta
    derived: list[str]
    kept: str | None
