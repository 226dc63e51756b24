"""Memory is bounded by max_history, never by lag: a subscriber a million events behind costs less than 20 MB."""

import subprocess
import sys
import textwrap

LAG = 1_000_000
LIMIT_BYTES = 20_000_000

PROGRAM = """
import asyncio, gc, sys
import aresbus
from aresbus import EnhancedEventBus

TRADE = {"symbol": "BTCUSDT", "side": "buy", "quantity": 0.5, "price": 61250.5}

def rss_anon():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

async def main(folder, lag):
    quick = 0

    def count(event):
        nonlocal quick
        quick += 1

    async def hang(event):
        await asyncio.Event().wait()

    config = {"event_bus": {"storage_path": folder, "enable_snapshots": False}}
    async with EnhancedEventBus(config) as bus:
        bus.subscribe("trade_executed", hang)
        bus.subscribe("trade_executed", count)
        for n in range(20_000):
            await bus.publish("trade_executed", TRADE)
        before = rss_anon()
        for n in range(20_000, lag, 1_000):
            if n % 100_000:
                bus.log.append_many([("trade_executed", TRADE)] * 1_000)
            else:
                for _ in range(1_000):
                    await bus.publish("trade_executed", TRADE)
            await asyncio.sleep(0)
        while quick < lag:
            await asyncio.sleep(0.01)
        assert bus.event_queue.qsize() == lag
        print(rss_anon() - before)
        await bus.stop(timeout=0)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_a_subscriber_a_million_events_behind_costs_no_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path), str(LAG)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < LIMIT_BYTES
