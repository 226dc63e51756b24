"""Coming from the older event store of Ares: its files of JSON lines and its snapshots, brought into a log.

Owns the older layout: what its files are called (layout), how a line reads (line), and bringing it in (importing). The
export writes the same layout. Invariant: nothing of the source is ever changed.
"""

from aresbus.legacy.importing import import_legacy
from aresbus.legacy.report import Finding, ImportReport

__all__ = ["Finding", "ImportReport", "import_legacy"]
