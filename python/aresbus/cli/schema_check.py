"""``aresbus schema check``: does what stands in a file fit the schemas that a log records?

Owns how the file is read (one JSON value, or one a line) and the report. Knows no log: it gets what is recorded.
Invariant: a line that is no JSON, or no event, is a finding with its number, and the rest goes on.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from aresbus.cli.schema import found
from aresbus.cli.terminal import counted, write_json
from aresbus.events import DEFAULT_VERSION
from aresbus.schema import RecordedSchema

__all__ = ["run"]


class UnreadableError(ValueError):
    """What stands in a line is nothing that could be checked."""


def run(recorded: Sequence[RecordedSchema], arguments: Namespace) -> int:
    """Check each value; 1 with findings, 2 by FileNotFoundError for a type or version asked for and not recorded."""
    if arguments.type is not None:
        found(recorded, arguments.log, arguments.type, arguments.version)
    if arguments.file == "-":
        return _checked(recorded, arguments, sys.stdin.buffer)
    with Path(arguments.file).open("rb") as file:
        return _checked(recorded, arguments, file)


def _checked(recorded: Sequence[RecordedSchema], arguments: Namespace, file: BinaryIO) -> int:
    checked = unrecorded = 0
    findings: list[dict[str, Any]] = []
    schemas = {(one.event_type, one.version): one for one in recorded}
    for line, value in _values(file):
        event_type = version = None
        try:
            event_type, version, data = _parts(value, arguments)
            known = (
                found(recorded, arguments.log, event_type, version)
                if arguments.type is not None
                else schemas.get((event_type, version or DEFAULT_VERSION))
            )
            if known is None:
                unrecorded += 1
                continue
            checked += 1
            version, problems = known.version, known.schema.problems(data)
        except UnreadableError as error:
            problems = [str(error)]
        if problems:
            findings.append(
                {"line": line, "event_type": event_type, "version": version, "problems": problems}
            )
    if arguments.json:
        write_json({"checked": checked, "unrecorded": unrecorded, "findings": findings})
    else:
        _report(checked, unrecorded, findings)
    return 1 if findings else 0


def _values(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Each value with its line; a file whose first line is no JSON by itself is one value as a whole."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield number, orjson.loads(line)
        except ValueError as error:
            rest = file.read() if number == 1 else b""
            try:
                yield number, orjson.loads(line + rest)
            except ValueError:
                yield number, error


def _parts(value: Any, arguments: Namespace) -> tuple[str, str | None, Any]:
    """Type, version and data of a value. Raises UnreadableError."""
    if isinstance(value, ValueError):
        raise UnreadableError(f"no JSON: {value}")
    if arguments.type is not None:
        return arguments.type, arguments.version, value
    if not isinstance(value, dict) or not isinstance(value.get("event_type"), str) or "data" not in value:
        raise UnreadableError("no event: it has no event_type and data; --type checks bare data")
    metadata = value.get("metadata")
    version = value if not isinstance(metadata, dict) else metadata
    return value["event_type"], arguments.version or str(version.get("schema_version", "")), value["data"]


def _report(checked: int, unrecorded: int, findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        named = " ".join(filter(None, (finding["event_type"], finding["version"])))
        print(f"line {finding['line']}: {named + ': ' if named else ''}{'; '.join(finding['problems'])}")
    tail = f", {counted(unrecorded, 'event')} of no recorded schema" if unrecorded else ""
    print(f"{counted(checked, 'event')} checked, {counted(len(findings), 'finding')}{tail}")
