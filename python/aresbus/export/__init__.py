"""Taking events out of a log: as JSON lines in the older layout, as CSV, as Parquet.

Owns the forms (jsonl, table, parquet) and the folder that an export becomes (folder). Reads a log and changes none.
Invariant: an export is a whole folder with a manifest, or nothing.
"""

from aresbus.export.exporting import ExportReport, Filters, export_log

__all__ = ["ExportReport", "Filters", "export_log"]
