"""An independent writer of the older event store: plain json and datetime, nothing of aresbus.

Owns the layout as the older bus left it on disk: a file per day of event time, opened for each event; enums and times
through ``default=str``; snapshots named by their aggregate. Asserts nothing.
"""

import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

START = datetime(2024, 1, 15, 23, 59, 50, 123456, tzinfo=UTC)


class OldStatus(Enum):
    """As the older bus had it: json's default=str writes "OldStatus.PROCESSED"."""

    PROCESSED = "processed"


@dataclass
class OldMetadata:
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: str = "1.0.0"
    schema_version: str = "1.0.0"
    timestamp: Any = START
    source: str = ""
    correlation_id: str | None = None
    causation_id: str | None = None
    aggregate_id: str | None = None
    sequence_number: int = 0
    retry_count: int = 0
    status: Any = OldStatus.PROCESSED
    tags: dict[str, Any] = field(default_factory=dict)


class OldStore:
    """Writes the older layout below ``path``; ``written`` holds event dicts in the order of dates, then lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "events").mkdir(parents=True)
        (path / "snapshots").mkdir()

    def file(self, day: str) -> Path:
        return self.path / "events" / f"events_{day}.jsonl"

    def save(self, event_type: str, data: Any, **metadata: Any) -> OldMetadata:
        described = OldMetadata(**metadata)
        time = described.timestamp
        line = json.dumps(
            {"event_type": event_type, "data": data, "metadata": asdict(described)}, default=str
        )
        with self.file(f"{time:%Y-%m-%d}").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return described

    def raw(self, content: bytes, day: str = "2024-01-15") -> None:
        with self.file(day).open("ab") as file:
            file.write(content)

    def snapshot(self, aggregate_id: str, number: int, state: dict[str, Any], time: datetime) -> str:
        snapshot_id = str(uuid.uuid4())
        described = {
            "snapshot_id": snapshot_id,
            "timestamp": time.isoformat(),
            "aggregate_id": aggregate_id,
            "sequence_number": number,
            "state_data": state,
            "version": "1.0.0",
        }
        path = self.path / "snapshots" / f"snapshot_{aggregate_id}_{number}.json"
        path.write_text(json.dumps(described, indent=2, default=str), encoding="utf-8")
        return snapshot_id

    def trades(
        self, count: int, *, first: int = 0, step: timedelta = timedelta(seconds=1)
    ) -> list[OldMetadata]:
        """Trades of two traders, every one later by ``step``, numbered on."""
        return [
            self.save(
                "trade_executed",
                {"symbol": "BTCUSDT", "side": "buy", "quantity": 0.5, "price": 61250.5 + number},
                timestamp=START + number * step,
                aggregate_id=f"trader_{number % 2}",
                correlation_id=f"c-{number}",
                source="bot",
                sequence_number=number + 1,
            )
            for number in range(first, first + count)
        ]


def lines(path: Path) -> list[bytes]:
    """Every line of every event file, in the order of dates."""
    return [
        line for file in sorted((path / "events").glob("*.jsonl")) for line in file.read_bytes().splitlines()
    ]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below the folder: its relative name, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
