"""``aresbus info``: what a log holds and in which state it is, without changing anything.

Owns the summary's shape. Opens as a reader, so it may run beside a live writer; what it says is true of the moment it
looked.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

from aresbus._core import Log
from aresbus.cli.read import time_text
from aresbus.cli.terminal import count, counted, print_table, size, write_json
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the summary of one log."""
    with open_log(arguments.log, mode="r") as log:
        summary = _summary(log)
    if arguments.json:
        write_json(summary)
    else:
        print_table(_rows(summary))
    return 0


def _summary(log: Log) -> dict[str, Any]:
    stats = log.stats()
    last = stats["last_seq"]
    quarantine = _files(Path(log.path or ".") / "quarantine")
    return {
        **stats,
        "first_append_ns": _append_time(log, stats["first_seq"]) if last is not None else None,
        "last_append_ns": _append_time(log, last) if last is not None else None,
        "quarantined": [{"path": str(path), "bytes": path.stat().st_size} for path in quarantine],
        "opening": dict(log.recovery),
    }


def _append_time(log: Log, seq: int) -> int | None:
    found = next(log.read(seq - 1 if seq else None, seq), None)
    return None if found is None else found.ts_ns


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    segments = summary["segments"]
    used = sum(segment["used_bytes"] for segment in segments)
    taken = sum(segment["file_bytes"] for segment in segments)
    sealed = sum(segment["is_sealed"] for segment in segments)
    rows = [
        ("log", str(summary["path"])),
        ("id", f"{summary['log_id']} (format {summary['format_version']})"),
        ("events", _events_text(summary)),
        ("appended", f"{time_text(summary['first_append_ns'])} to {time_text(summary['last_append_ns'])}"),
        (
            "durable",
            "nothing yet" if summary["durable_seq"] is None else f"up to seq {count(summary['durable_seq'])}",
        ),
        ("aggregates", count(summary["aggregate_count"])),
        (
            "segments",
            f"{counted(len(segments), 'file')}, {sealed} sealed; {size(used)} appended, {size(taken)} on disk",
        ),
        ("epoch", f"{summary['epoch']} ({counted(summary['epoch'] - 1, 'unclean end')} before)"),
        ("state", _state_text(summary)),
    ]
    if summary["quarantined"]:
        total = sum(one["bytes"] for one in summary["quarantined"])
        rows.append(("quarantine", f"{counted(len(summary['quarantined']), 'file')}, {size(total)}"))
    opening = summary["opening"]
    rows += [("stray file", path) for path in opening["stray_files"]]
    rows += [("warning", text) for text in opening["warnings"]]
    return rows


def _events_text(summary: dict[str, Any]) -> str:
    if summary["last_seq"] is None:
        return "none yet"
    first, last = summary["first_seq"], summary["last_seq"]
    return f"{count(summary['event_count'])} (seq {count(first)} to {count(last)})"


def _state_text(summary: dict[str, Any]) -> str:
    if summary["problem"]:
        return f"in trouble: {summary['problem']}"
    opening = summary["opening"]
    if opening["clean"]:
        return "closed cleanly"
    cut = opening["cut"]
    if cut is None:
        return "a writer has it open, or was killed"
    return f"not closed cleanly: ends before seq {count(cut['next_seq'])} ({cut['reason']}); the next writer repairs it"
