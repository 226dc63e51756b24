"""What an import did and what it had to leave out.

Owns the counts and the findings. Knows neither files nor logs. Invariant: every line is counted once: as an event, as one
that was there before, or as a finding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Finding", "ImportReport"]

KEPT_FINDINGS = 1_000
"""As many are kept in the report; all are counted, and told as they come."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of the source that is not in the log: ``file``, ``line`` from 1 (None: the whole file), and why."""

    file: str
    line: int | None
    reason: str

    def text(self) -> str:
        """Like ``events_2024-01-15.jsonl:17: no JSON``."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}"


@dataclass(slots=True)
class ImportReport:
    """How far an import came; true at any moment, also when an error ends it."""

    events: int = 0
    """Events appended."""
    already: int = 0
    """Lines whose event id was in the log before, of those that were read again."""
    skipped_lines: int = 0
    """Lines that an earlier import had dealt with and that were not read again."""
    non_finite: int = 0
    """Events with NaN or an infinity, stored as null and flagged."""
    snapshots: int = 0
    """Snapshots stored."""
    older_snapshots: int = 0
    """Snapshots passed over: there is a newer one of the same aggregate, or the log no longer keeps their event."""
    findings_count: int = 0
    findings: list[Finding] = field(default_factory=list)
    """The first thousand."""
    first_seq: int | None = None
    last_seq: int | None = None
    """Positions of the first and the last event appended."""
    on_finding: Callable[[Finding], object] | None = None

    def find(self, file: str, line: int | None, reason: str) -> None:
        """Count, keep and tell a finding."""
        finding = Finding(file, line, reason)
        self.findings_count += 1
        if len(self.findings) < KEPT_FINDINGS:
            self.findings.append(finding)
        if self.on_finding is not None:
            self.on_finding(finding)

    def summary(self) -> dict[str, int | None]:
        """The counts, ready for JSON."""
        return {
            "events": self.events,
            "already": self.already,
            "skipped_lines": self.skipped_lines,
            "non_finite": self.non_finite,
            "snapshots": self.snapshots,
            "older_snapshots": self.older_snapshots,
            "findings": self.findings_count,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
        }
