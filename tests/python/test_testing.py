"""What `aresbus.testing` gives to others: the fixture, `settled`, and no need of pytest at run time."""

import asyncio
import subprocess
import sys

import pytest
from aresbus.testing import InMemoryBus, settled
from bus_support import Seen, make_bus, run, until


def test_the_fixture_gives_a_bus_in_memory(pytester_free_project):
    folder, program = pytester_free_project
    (folder / "conftest.py").write_text('pytest_plugins = ["aresbus.testing.plugin"]\n')
    (folder / "test_mine.py").write_text(
        "import asyncio\n"
        "def test_it(bus):\n"
        "    async def act():\n"
        "        seen = []\n"
        "        bus.subscribe('risk_alert', seen.append)\n"
        "        await bus.publish('risk_alert', 1)\n"
        "        await bus.settled()\n"
        "        assert [event.data for event in seen] == [1]\n"
        "        bus.manual_clock.advance_ns(5)\n"
        "    asyncio.run(act())\n"
        "    assert bus.log.path is None\n"
    )
    done = program("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_store_that_breaks_the_contract_is_told(pytester_free_project):
    folder, program = pytester_free_project
    (folder / "test_store.py").write_text(
        "from aresbus import MemoryEventStore\n"
        "from aresbus.testing import EventStoreContract\n"
        "class Forgetful(MemoryEventStore):\n"
        "    async def save_event(self, event):\n"
        "        return True\n"
        "class TestForgetful(EventStoreContract):\n"
        "    def make_store(self, folder):\n"
        "        return Forgetful()\n"
    )
    done = program("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 1
    assert "test_a_saved_event_returns_as_it_was" in done.stdout


def test_the_package_does_not_need_pytest(pytester_free_project):
    _, program = pytester_free_project
    done = program("-c", "import sys; sys.modules['pytest'] = None; import aresbus, aresbus.testing")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def pytester_free_project(tmp_path):
    def program(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return tmp_path, program


@pytest.mark.parametrize("is_running", [True, False])
def test_settled_waits_for_handlers_retries_and_what_they_publish(tmp_path, is_running):
    async def act():
        bus, seen = make_bus(tmp_path), Seen()
        failures = 2

        async def on_event(event):
            nonlocal failures
            await asyncio.sleep(0.01)
            if failures:
                failures -= 1
                raise ValueError
            await bus.publish("system_error", event.data)

        bus.subscribe("risk_alert", on_event)
        bus.subscribe("system_error", seen)
        if is_running:
            task = asyncio.create_task(bus.run())
            await until(lambda: bus.is_running)
        await bus.publish("risk_alert", 1)
        await settled(bus)
        assert seen == [1]
        await bus.stop()
        if is_running:
            await task

    run(act())


def test_the_test_bus_takes_settings():
    assert InMemoryBus(max_history=5).max_history == 5
