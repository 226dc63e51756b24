"""The older process: it follows a log live under each policy, knows `tick` up to 1.1.0, and says what came to it.

Owns no check. Usage: newer_children.py LOG POLICY; a line of JSON on stdout for each thing that happens, until a tick
says "end".
"""

import asyncio
import json
import sys

from aresbus import EnhancedEventBus, register_event_type
from aresbus.subscriptions import Halted


def declare(versions) -> None:
    """What this build knows."""
    versions.register("tick", {"required_fields": ["px"]}, version="1.0.0")
    versions.upcaster("tick", "1.0.0", "1.1.0")(lambda data: {"price": data["px"]})
    versions.register("tick", {"required_fields": ["price"]}, version="1.1.0")


def say(**what) -> None:
    print(json.dumps(what), flush=True)


async def follow(folder: str, policy: str) -> None:
    """Subscribe, say what comes, go on after a halt, and try parked deliveries again at the end."""
    done = asyncio.Event()

    def on_event(event) -> None:
        say(
            event=str(event.event_type), seq=event.seq, data=event.data, version=event.metadata.schema_version
        )
        if isinstance(event.data, dict) and event.data.get("price") == "end":
            done.set()

    def on_message(message) -> None:
        if isinstance(message, Halted):
            say(halted=message.seq, reason=message.reason)
            done.set()

    async with EnhancedEventBus({"event_bus": {"storage_path": folder}}, mode="r", strict=True) as bus:
        declare(bus.version_manager)
        register_event_type("tick")
        mine = bus.subscribe(
            "*",
            on_event,
            name=f"older {policy}",
            after="start",
            unknown_versions=policy,
            on_message=on_message,
        )
        say(ready=True)
        await done.wait()
        say(
            parked=[
                (one.error.seq, str(one.event.event_type), one.event.raw.decode()) for one in mine.parked()
            ],
            skipped=mine.presenter.skipped_count,
        )


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], sys.argv[2]))
