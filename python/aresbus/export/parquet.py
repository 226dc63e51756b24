"""Events as a Parquet file, through pyarrow, which is an extra and imported at first use.

Owns the schema and the row groups. The columns are table's. Invariant: memory is bounded by one row group.
"""

from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from typing import Any

from aresbus._core import Event
from aresbus.export.table import COLUMNS, row_of

__all__ = ["write_parquet"]

ROWS_AT_ONCE = 16_384
"""Of one row group."""
REQUIRED = {"seq", "event_id", "event_type"}


def write_parquet(file: Any, events: Iterable[Event]) -> int:
    """Write the events to the open ``file``; how many there were. Raises ImportError that says what to install; OSError."""
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("Parquet needs the package pyarrow: pip install aresbus[parquet]") from error
    kinds = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_()}
    schema = arrow.schema(
        [arrow.field(name, kinds[kind], nullable=name not in REQUIRED) for name, kind in COLUMNS.items()]
    )
    count, source = 0, iter(events)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := [row_of(event) for event in islice(source, ROWS_AT_ONCE)]:
            columns = zip(*rows, strict=True)
            arrays = [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count
