"""``aresbus verify``: every checksum, position and aggregate chain, of the log, its audit trails, its subscriptions; its schemas;
heads that were kept elsewhere; or a backup.

Owns the report and the exit code: 1 with any finding. Knows nothing of bytes; the engine does the checking. Invariant:
nothing is opened for writing and nothing is changed.
"""

import threading
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from aresbus import _core
from aresbus.backups import is_backup, verify_backup
from aresbus.cli.heads import heads_of
from aresbus.cli.terminal import Progress, count, counted, duration, print_table, size, write_json
from aresbus.errors import AresbusError, CorruptionError, FormatVersionError
from aresbus.evidence import TreeHead
from aresbus.log import open as open_log
from aresbus.reader_trails import trails_of
from aresbus.reports import Finding, VerifyResult
from aresbus.schema.catalogue import Catalogue
from aresbus.subscriptions.checkpoints import folders_in

__all__ = ["Verdict", "run", "verify_log"]

LOOK_INTERVAL_S = 0.05


class Verdict(TypedDict):
    """What one pass found; ``checked`` has an entry for the log, and for each audit trail and subscription in it."""

    ok: bool
    seconds: float
    checked: dict[str, VerifyResult]


def run(arguments: Namespace) -> int:
    """Verify one log; 1 with findings, of which stray files alone are none."""
    if is_backup(arguments.log):
        return _verify_backup(arguments)
    heads = None if arguments.against is None else heads_of(arguments.against)
    with Progress(enabled=not arguments.json) as progress:
        verdict = verify_log(Path(arguments.log), progress, against=heads, since=arguments.since)
    if arguments.json:
        write_json(verdict)
    else:
        _report(verdict)
    return 0 if verdict["ok"] else 1


def _verify_backup(arguments: Namespace) -> int:
    began = time.perf_counter()
    findings = verify_backup(arguments.log)
    seconds = time.perf_counter() - began
    if arguments.json:
        write_json({"ok": not findings, "seconds": seconds, "backup": arguments.log, "findings": findings})
    elif findings:
        _print_findings(findings)
    else:
        print(f"{arguments.log}: the backup is whole, and so is the log in it ({seconds:.2f} s)")
    return 1 if findings else 0


def verify_log(
    path: Path, progress: Progress, *, against: list[TreeHead] | None = None, since: Any = None
) -> Verdict:
    """Check the log at ``path`` and what lies inside it, as :func:`aresbus.verify`. FileNotFoundError where there is none."""
    began = time.perf_counter()
    trails = trails_of(path)
    checked = {str(path): _verify_watched(path, progress, against=against, since=since)}
    for inner in (*trails, *folders_in(path)):
        with suppress(FileNotFoundError):  # it is only being made
            checked[str(inner)] = _verify_watched(inner, progress)
    checked[str(path)]["findings"] += _schema_findings(path)
    for result in checked.values():
        # The trails of readers lie within that of the writers.
        result["findings"] = [one for one in result["findings"] if not _is_trail(one, trails)]
    findings = [finding for result in checked.values() for finding in result["findings"]]
    # A file that is none of ours is worth a line, not an alarm: an older Ares layout may lie beside the log.
    ok = all(finding["kind"] == "stray file" for finding in findings)
    return {"ok": ok, "seconds": time.perf_counter() - began, "checked": checked}


def _schema_findings(path: Path) -> list[Finding]:
    """What is wrong with the recorded schemas. Of a log that does not open nothing is said: its own findings say it."""
    try:
        log = open_log(path, mode="r")
    except (AresbusError, OSError):
        return []
    with log:
        try:
            Catalogue(log).load()
        except (CorruptionError, FormatVersionError) as error:
            place = error.path or str(path)
            return [
                {
                    "severity": "error",
                    "kind": "schema",
                    "path": place,
                    "offset": 0,
                    "first_seq": None,
                    "last_seq": None,
                    "message": error.message,
                }
            ]
    return []


def _is_trail(finding: Finding, trails: list[Path]) -> bool:
    return finding["kind"] == "stray file" and Path(finding["path"]) in trails


def _verify_watched(path: Path, progress: Progress, **wanted: Any) -> VerifyResult:
    """The engine checks in a thread of its own, so that this one can show the time and hear Ctrl-C at once."""
    results: list[VerifyResult] = []
    errors: list[BaseException] = []
    done = 0

    def walked(size: int) -> None:
        nonlocal done
        done = size

    def work() -> None:
        try:
            results.append(_core.verify(path, progress=walked, **wanted))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    worker = threading.Thread(target=work, name="aresbus-verify", daemon=True)
    began = time.perf_counter_ns()
    worker.start()
    total = sum(file.stat().st_size for file in (path / "segments").glob("*") if file.is_file())
    while worker.is_alive():
        worker.join(LOOK_INTERVAL_S)
        progress.tick(
            lambda: f"verifying {size(done)} of {size(total)} … {duration(time.perf_counter_ns() - began)}"
        )
    if errors:
        raise errors[0]
    return results[0]


def _report(verdict: Verdict) -> None:
    findings: list[Finding] = []
    for name, result in verdict["checked"].items():
        findings += result["findings"]
        rate = size(result["bytes"])
        print(
            f"{name}: {counted(result['events'], 'event')} in {counted(result['segments'], 'segment')}, "
            f"{rate}, {counted(len(result['findings']), 'finding')}"
        )
        if result["heads"]:
            print(f"  held against {counted(result['heads'], 'head')}")
        if result["skipped_records"]:
            print(f"  {counted(result['skipped_records'], 'record')} of newer kinds skipped")
    if findings:
        _print_findings(findings)
    else:
        print(f"checksums, positions and aggregate chains are whole ({verdict['seconds']:.2f} s)")


def _print_findings(findings: list[Finding]) -> None:
    heads = ("severity", "kind", "events", "where", "what")
    print_table([_row(finding) for finding in findings], heads=heads)


def _row(finding: Finding) -> tuple[str, str, str, str, str]:
    first, last = finding["first_seq"], finding["last_seq"]
    events = "-" if first is None else count(first) if last in (None, first) else f"{first}-{last}"
    return (
        finding["severity"],
        finding["kind"],
        events,
        f"{finding['path']}:{finding['offset']}",
        finding["message"],
    )
