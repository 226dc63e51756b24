"""Acts on a log as files for someone who has no log: JSON lines, CSV, and a manifest that proves them unaltered.

Owns the files of an export and that it appears whole or not at all; the export is itself an act on the log. What an act
is, `acts` knows. Invariants: nothing that is there is overwritten; the manifest names every other file with its digests,
and the digest of the manifest stands in the audit trail.
"""

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aresbus import _core, durable_files
from aresbus.acts import Act, moment_ns, read_acts
from aresbus.audit import plain_text
from aresbus.log import Log

__all__ = ["export_acts"]

COLUMNS = (
    "begun", "ended", "name", "outcome", "actor_name", "actor_user", "actor_host", "actor_pid", "actor_package_version",
    "actor_reason", "details", "result", "act_id", "trail", "seq",
)  # fmt: skip
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""


def export_acts(
    log: Log,
    folder: str | os.PathLike[str],
    *,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    as_csv: bool = False,
) -> dict[str, Any]:
    """Write the acts begun in the range, of all trails, into the new folder ``folder``; returns its manifest.

    ``acts.jsonl`` has one act a line; ``acts.csv`` (``as_csv``) the same for spreadsheets, where a text that a
    spreadsheet would take for a formula has an apostrophe before it. ``manifest.json`` has counts, range, log id,
    package version, and SHA-256 and BLAKE2b of each file; its own SHA-256 is recorded as the result of the act
    "audit.export". The export does not list itself. ``folder`` appears whole and durable, or not at all.

    ``since`` inclusive, ``until`` exclusive. Raises FileExistsError if ``folder`` is there, OSError inside the log's
    own directory, ValueError for a log in memory, and what :func:`read_acts` and recording the act raise. Blocks for the disk.
    """
    if log.path is None:
        raise ValueError("a log in memory keeps no record of acts")
    target, inside = Path(os.path.realpath(folder)), Path(os.path.realpath(log.path))
    if inside == target or inside in target.parents:
        raise OSError(errno.EINVAL, "an export goes beside the log, not into it", os.fspath(folder))
    if os.path.lexists(folder):
        raise FileExistsError(
            errno.EEXIST, "an export takes a new folder, and this is there", os.fspath(folder)
        )
    found = read_acts(log, since=since, until=until)
    details = {"folder": plain_text(str(target)), "since_ns": moment_ns(since), "until_ns": moment_ns(until)}
    with log.act("audit.export", details) as result:
        texts = {"acts.jsonl": _json_lines(found)}
        if as_csv:
            texts["acts.csv"] = _csv_text(found)
        files = {name: text.encode() for name, text in texts.items()}
        manifest = {**_facts(log, found), **details, "files": [_digests(*one) for one in files.items()]}
        files["manifest.json"] = (json.dumps(manifest, ensure_ascii=False, indent=2) + "\n").encode()
        _write_folder(target, files)
        result["acts"] = len(found)
        result["manifest_sha256"] = hashlib.sha256(files["manifest.json"]).hexdigest()
    return manifest


def _facts(log: Log, acts: Sequence[Act]) -> dict[str, Any]:
    return {
        "content": "acts on a log of aresbus",
        "log_id": log.log_id,
        "log_path": plain_text(str(log.path)),
        "package_version": _core.__version__,
        "exported_ns": time.time_ns(),
        "act_count": len(acts),
        "first_begun_ns": acts[0].begun_ns if acts else None,
        "last_begun_ns": acts[-1].begun_ns if acts else None,
        "outcomes": dict(Counter(act.outcome for act in acts)),
        "names": dict(Counter(act.name for act in acts)),
        "trails": dict(Counter(act.trail for act in acts)),
    }


def _digests(name: str, content: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "blake2b": hashlib.blake2b(content).hexdigest(),
    }


def _json_lines(acts: Sequence[Act]) -> str:
    return "".join(json.dumps(act.to_dict(), ensure_ascii=False) + "\n" for act in acts)


def _csv_text(acts: Sequence[Act]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for act in acts:
        plain = act.to_dict()
        plain |= {f"actor_{name}": value for name, value in act.actor.items()}
        table.writerow([_cell(plain.get(column)) for column in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value


def _write_folder(target: Path, files: dict[str, bytes]) -> None:
    """Write aside, sync, rename: whole and durable, or not at all."""
    aside = target.with_name(f".{uuid.uuid4()}.part")
    aside.mkdir(mode=0o700)
    try:
        for name, content in files.items():
            durable_files.write(aside / name, content)
        durable_files.sync_folder(aside)
        # A folder that came there meanwhile, and is not empty, is an error here.
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    durable_files.sync_folder(target.parent)
