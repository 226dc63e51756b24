"""The arguments of the verbs that carry events in and out: import-legacy and export.

Owns their names, defaults, help texts, and which options exclude each other. Imports no verb: ``--help`` waits for this file.
"""

import argparse

from aresbus.cli.arguments.kinds import Verbs, position, verb
from aresbus.cli.arguments.look import add_filters

__all__ = ["check_export", "declare"]


def declare(verbs: Verbs) -> None:
    """Add import-legacy and export."""
    _import_legacy(verbs)
    _export(verbs)


def _import_legacy(verbs: Verbs) -> None:
    parser = verb(verbs, "import-legacy", "bring an older Ares event store into a log")
    parser.description = (
        "Bring an older Ares event store into a log: DIR/events/events_YYYY-MM-DD.jsonl by date, line by line, and "
        "the newest snapshot of each aggregate. Ids, times (without a zone: UTC), correlation, versions, tags and "
        "order are kept. A bad line is named and counted, the rest goes on (exit code 1). Run it again to go on where "
        "it ended, or when the store has grown."
    )
    parser.add_argument("source", metavar="DIR", help="the older store: the folder that holds events/")
    parser.add_argument("--log", metavar="LOG", required=True, help="the log; made if it is not there")
    parser.add_argument(
        "--dry-run", action="store_true", help="read everything, name what is bad, write nothing"
    )
    parser.add_argument(
        "--reread",
        action="store_true",
        help="read also what an earlier import dealt with, say to mend bad lines",
    )


def _export(verbs: Verbs) -> None:
    parser = verb(verbs, "export", "write events into a folder of files, with their sums in a manifest")
    parser.add_argument("log", metavar="LOG", help="the log")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to make; never overwritten")
    forms = parser.add_mutually_exclusive_group(required=True)
    for form, text in (
        ("jsonl", "one event a line, a file a day: the older Ares layout"),
        ("csv", "one table"),
        ("parquet", "one table (needs aresbus[parquet])"),
    ):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=text)
    parser.add_argument("--zstd", action="store_true", help="pack JSON lines or CSV (needs aresbus[zstd])")
    add_filters(parser)
    parser.add_argument("--limit", type=position, metavar="N", help="at most this many events")


def check_export(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options of `export` that exclude each other."""
    if arguments.zstd and arguments.form == "parquet":
        parser.error("--zstd packs --jsonl and --csv; a Parquet file is packed inside")
