"""Snapshots as the engine keeps them, for tests that look behind the scenes or lay hands on the files."""

from aresbus.snapshot_record import StoredSnapshot


def read_snapshots(log, aggregate_id):
    """Position and payload of each, the newest first; None for one that is damaged."""
    found = []
    for seq, name in log._snapshots(aggregate_id):
        read = log._read_snapshot(name)
        assert read is None or read[0] == aggregate_id
        found.append((seq, None if read is None else read[1]))
    return found


def stored_snapshots(log, aggregate_id):
    """Each as it was stored, the newest first."""
    return [StoredSnapshot.decode(payload) for _, payload in read_snapshots(log, aggregate_id)]
