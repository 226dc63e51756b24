"""What storing an event costs.

P1   append of a trade with full metadata (type, source, correlation id, one of 1,000 aggregate ids, event id and time by
     the engine), Python to Python, committed; against orjson.dumps of the same dict. It matters because nobody turns on a
     log that costs more than the JSON which was written anyway.
P2   the same with an order book of 20 levels × 2 sides: what the encoding alone makes of it, since of 913 bytes the
     metadata is the lesser part.
P4   append_many of 1,000 trades a call, per event; against orjson.dumps of each in a loop. The list of events is made
     before the clock runs, because whoever has a thousand events has them in one.

Of the books a tenth as many as of the trades: so many distinct ones do not fit into a cache either.
"""

from collections.abc import Iterator, Sequence

import aresbus
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.timing import Case
from measure import Figure, Run, compared

Inputs = dict[str, Sequence[payloads.Input]]


def figures(run: Run) -> Iterator[Figure]:
    """P1, P2 and P4."""
    trades: Inputs = {
        "warm": payloads.warm_inputs(run.events),
        "cold": payloads.cold_inputs(run.events),
    }
    for name, inputs in trades.items():
        with aresbus.open(run.folder / f"append-{name}") as log:
            case = Case(
                "append, full metadata", "orjson.dumps", hot_path.dumps_each, hot_path.appending(log), inputs
            )
            yield compared("P1", name, case, run.rounds, limit=1.15)
        with aresbus.open(run.folder / f"append-many-{name}") as log:
            many = hot_path.appending_many(log)
            case = Case("append_many of 1,000", "orjson.dumps", hot_path.dumps_each, many, inputs)
            yield compared("P4", name, case, run.rounds, limit=0.9)
    books: Inputs = {
        "warm": payloads.warm_inputs(run.events // 10, payloads.book(50_093_239_212)),
        "cold": payloads.cold_inputs(run.events // 10, payloads.distinct_books),
    }
    for name, inputs in books.items():
        with aresbus.open(run.folder / f"append-books-{name}") as log:
            subject = hot_path.appending(log)
            case = Case(
                "append of a book, full metadata", "orjson.dumps", hot_path.dumps_each, subject, inputs
            )
            yield compared("P2", name, case, run.rounds, limit=1.1)
