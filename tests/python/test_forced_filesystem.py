"""A bus on a file system that is refused unless forced: what it keeps beside its log opens there too.

The kernel itself is made to say that the folder lies on NFS (faults.py): everything else is the real disk.
"""

import errno

import aresbus
import pytest
from aresbus import EnhancedEventBus, StorageError
from aresbus.subscriptions.checkpoints import SubscriptionLog, names_in
from bus_support import Seen, run
from faults import with_faults

NFS_SUPER_MAGIC = 0x6969


def forced(path, *, mode="rw", forces=True) -> EnhancedEventBus:
    config = {"event_bus": {"storage_path": str(path)}}
    return EnhancedEventBus(config, mode=mode, strict=True, log_options={"force_filesystem": forces})


@with_faults
def test_a_durable_subscription_opens_where_its_log_was_forced_and_nothing_opens_unforced(tmp_path, faults):
    path = tmp_path / "log"
    faults.pretend(path, NFS_SUPER_MAGIC)

    async def unforced(mode):
        with pytest.raises(StorageError, match="NFS") as raised:
            await forced(path, mode=mode, forces=False).initialize()
        assert raised.value.errno == errno.EOPNOTSUPP

    async def live(mode, is_ready, expected):
        def on_event(event):
            if not is_ready and event.data == 1:
                raise ValueError("no")
            seen(event)

        bus, seen = forced(path, mode=mode), Seen()
        await bus.initialize()
        assert "NFS" in bus.log.recovery["warnings"][0]
        desk = bus.subscribe("risk_alert", on_event, name="desk", after="start", max_retries=0)
        if mode == "rw":
            for n in range(3):
                await bus.publish("risk_alert", n, aggregate_id=str(n))
        await bus.process_pending()
        assert [one.event.data for one in desk.parked()] == [1]
        if is_ready:
            assert await desk.redeliver_parked() == (1, 0)
        await bus.stop()
        assert seen == expected

    run(unforced("rw"))
    run(live("rw", is_ready=False, expected=[0, 2]))
    run(unforced("rw"))
    run(unforced("r"))
    with aresbus.open(path, mode="r", force_filesystem=True) as log:
        assert list(names_in(str(path))) == ["desk"]
        memory = SubscriptionLog(log, "desk", mode="r")
        assert memory.passed.seq == 2
        memory.close()
    run(live("r", is_ready=True, expected=[1]))
