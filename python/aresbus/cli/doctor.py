"""``aresbus doctor``: configuration, log, machine and versions, each with a verdict and what to do about it.

Owns the layout and the exit code: 1 with any finding. What is good and what is not stands in diagnosis. Invariant:
nothing is changed, no lock is taken, a writer that runs is not disturbed.
"""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from aresbus.cli import diagnosis
from aresbus.cli.read import fitted
from aresbus.cli.terminal import counted, print_table, write_json

__all__ = ["run"]

DEFAULT_PATH = "event_store"
SIGNS = {"ok": "ok", "note": "note", "finding": "LOOK"}
LONGEST_TEXT = 300


def run(arguments: Namespace) -> int:
    """Examine, print, and say with the exit code whether anything wants attention."""
    items, configured = diagnosis.configuration()
    path = Path(arguments.log or configured or DEFAULT_PATH)
    items += diagnosis.log(path)
    items += diagnosis.machine()
    items += diagnosis.packages()
    findings = [one for one in items if one.status == "finding"]
    if arguments.json:
        write_json({"ok": not findings, "log": str(path), "items": [asdict(one) for one in items]})
    else:
        _print(items, findings)
    return 1 if findings else 0


def _print(items: list[diagnosis.Item], findings: list[diagnosis.Item]) -> None:
    for section in dict.fromkeys(one.section for one in items):
        print(section)
        print_table(_rows([one for one in items if one.section == section]))
    if not findings:
        print("\nnothing to do")
        return
    print(f"\n{counted(len(findings), 'finding')}:")
    for one in findings:
        print(f"  {one.name}: {_safe(one.value)}: {_safe(one.advice)}")


def _rows(items: list[diagnosis.Item]) -> list[tuple[str, ...]]:
    has_advice = any(one.advice for one in items)
    return [
        (SIGNS[one.status], one.name, _safe(one.value), *([_safe(one.advice)] if has_advice else []))
        for one in items
    ]


def _safe(text: str) -> str:
    return fitted(text, LONGEST_TEXT)
