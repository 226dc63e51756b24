"""``aresbus schema``: what a log records of the schemas of its events.

Owns how schemas are listed, shown and compared; checking a file is schema_check's. Opens the log as a reader, so it may
run beside a live writer, and changes nothing.
"""

from argparse import Namespace
from collections.abc import Sequence
from errno import ENOENT
from pathlib import Path
from typing import Any

import orjson

from aresbus.cli.read import time_text
from aresbus.cli.terminal import print_table, write_json
from aresbus.log import open as open_log
from aresbus.schema import Catalogue, RecordedSchema, Schema, breaks

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Do one action; 1 where `diff` found what breaks or `check` what does not fit."""
    with open_log(arguments.log, mode="r") as log:
        recorded = Catalogue(log).load()
    if arguments.action == "check":
        # Its own file, and its own imports: the others do not wait for it.
        from aresbus.cli import schema_check  # noqa: PLC0415

        return schema_check.run(recorded, arguments)
    return {"list": _list, "show": _show, "diff": _diff}[arguments.action](recorded, arguments)


def _list(recorded: Sequence[RecordedSchema], arguments: Namespace) -> int:
    if arguments.json:
        write_json([one.to_dict() for one in recorded])
        return 0
    if not recorded:
        print("no schema is recorded")
        return 0
    rows = [
        (one.event_type, one.version, _fields(one.schema), one.schema.origin, time_text(one.recorded_at_ns))
        for one in recorded
    ]
    print_table(rows, heads=("type", "version", "fields, [optional]", "from", "recorded"))
    return 0


def _fields(schema: Schema) -> str:
    rules = schema.rules
    names = [*rules["required_fields"], *(f"[{name}]" for name in rules["optional_fields"])]
    return ", ".join(names) or "anything"


def _show(recorded: Sequence[RecordedSchema], arguments: Namespace) -> int:
    one = found(recorded, arguments.log, arguments.type, arguments.version)
    if arguments.json:
        write_json(one.to_dict())
        return 0
    print_table(
        [
            ("type", one.event_type),
            ("version", one.version),
            ("from", one.schema.origin),
            ("recorded", f"{time_text(one.recorded_at_ns)} by aresbus {one.package_version}"),
        ]
    )
    write_json(one.schema.document)
    return 0


def _diff(recorded: Sequence[RecordedSchema], arguments: Namespace) -> int:
    first, second = (
        _version_or_file(recorded, arguments, one) for one in (arguments.first, arguments.second)
    )
    before, after = _names(first), _names(second)
    result: dict[str, Any] = {
        "event_type": arguments.type,
        "first": arguments.first,
        "second": arguments.second,
        "added": [name for name in after if name not in before],
        "removed": [name for name in before if name not in after],
        "second_cannot_read_first": breaks(first, second),
        "first_cannot_read_second": breaks(second, first),
    }
    if arguments.json:
        write_json(result)
    else:
        _report(result)
    return 1 if result["second_cannot_read_first"] else 0


def _names(schema: Schema) -> list[str]:
    rules = schema.rules
    return [*rules["required_fields"], *rules["optional_fields"]]


def _report(result: dict[str, Any]) -> None:
    first, second = result["first"], result["second"]
    print(f"{result['event_type']}: {first} → {second}")
    for sign, names in (("+", result["added"]), ("-", result["removed"])):
        for name in names:
            print(f"  {sign} {name}")
    for reader, writer, reasons in (
        (second, first, result["second_cannot_read_first"]),
        (first, second, result["first_cannot_read_second"]),
    ):
        print(f"{reader} reads data of {writer}: {'no' if reasons else 'yes'}")
        for reason in reasons:
            print(f"  {reason}")


def _version_or_file(recorded: Sequence[RecordedSchema], arguments: Namespace, text: str) -> Schema:
    is_recorded = any(one.event_type == arguments.type and one.version == text for one in recorded)
    path = Path(text)
    if is_recorded or not path.is_file():
        return found(recorded, arguments.log, arguments.type, text).schema
    try:
        return Schema.of(orjson.loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise OSError(f"{text} holds no JSON Schema: {error}") from error


def found(
    recorded: Sequence[RecordedSchema], log: str, event_type: str, version: str | None
) -> RecordedSchema:
    """The recorded schema of a type, the newest where no version is asked for. Raises FileNotFoundError."""
    of_type = [one for one in recorded if one.event_type == event_type]
    fitting = [one for one in of_type if version in (None, one.version)]
    if fitting:
        return fitting[-1]
    if of_type:
        known = ", ".join(one.version for one in of_type)
        text = f"{log} records no schema of {event_type} {version}; it records {known}"
    else:
        text = f"{log} records no schema of {event_type}; `aresbus schema list {log}` shows what it records"
    raise FileNotFoundError(ENOENT, text)
