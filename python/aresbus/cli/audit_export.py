"""``aresbus audit export``: the acts on a log as files, with a manifest of their digests.

Owns the summary. Opens as a reader, so it may run beside a live writer; the export is recorded in this process's own
trail.
"""

from argparse import Namespace
from pathlib import Path

from aresbus.audit_export import export_acts
from aresbus.cli.terminal import counted, print_table, size, write_json
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Write one export and print what it holds."""
    with open_log(arguments.log, mode="r") as log:
        manifest = export_acts(
            log, arguments.out, since=arguments.since, until=arguments.until, as_csv=arguments.csv
        )
    if arguments.json:
        write_json(manifest)
        return 0
    print(f"{counted(manifest['act_count'], 'act')} of {arguments.log} → {arguments.out}")
    rows = [(one["name"], size(one["bytes"]), f"sha256 {one['sha256']}") for one in manifest["files"]]
    written = Path(arguments.out) / "manifest.json"
    print_table([*rows, ("manifest.json", size(written.stat().st_size), "names the others")], right=(1,))
    return 0
