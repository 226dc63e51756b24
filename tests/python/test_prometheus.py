"""The page that Prometheus scrapes, read by the client library's own parser: types, labels, cumulative buckets, threads."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest
from aresbus import prometheus
from aresbus.figures import FIGURES, take_reading
from bus_support import Seen, make_bus, run, until
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse


def families(page: str) -> dict:
    found = list(parse(page))
    assert len({one.name for one in found}) == len(found)
    for one in found:
        identities = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in one.samples]
        assert len(set(identities)) == len(identities), one.name
    return {one.name: one for one in found}


def value(found: dict, family: str, name: str | None = None, **labels: str) -> float:
    (sample,) = [
        sample
        for sample in found[family].samples
        if sample.name == (name or sample.name) and sample.labels == labels
    ]
    return sample.value


async def busy_bus(folder, count=50, **settings):
    """A bus that ran: one handler takes everything, one fails on everything."""
    bus = make_bus(folder, max_retry_count=1, **settings)
    bus.subscribe("risk_alert", Seen())
    bus.subscribe("risk_alert", lambda event: 1 / 0)
    for number in range(count):
        await bus.publish("risk_alert", number)
    while not bus.event_queue.empty():
        await bus.process_pending()
    return bus


def test_the_page_says_what_happened_with_the_right_types(tmp_path):
    async def act():
        bus = await busy_bus(tmp_path)
        bus.log.sync()
        page = families(prometheus.text(bus))
        await bus.stop()
        return page

    page = run(act())
    assert value(page, "aresbus_events_published") == 50
    assert value(page, "aresbus_events_delivered") == 50
    assert value(page, "aresbus_deliveries_failed") == 100
    assert value(page, "aresbus_deliveries_retried") == 50
    assert value(page, "aresbus_deliveries_parked") == 50
    assert value(page, "aresbus_appended_events") == 50
    assert value(page, "aresbus_appended_bytes") > 50 * 48
    assert value(page, "aresbus_syncs") >= 1
    assert value(page, "aresbus_log_position", position="last") == 49
    assert value(page, "aresbus_log_position", position="durable") == 49
    assert value(page, "aresbus_undurable_events") == 0
    assert value(page, "aresbus_segment_file_bytes") >= value(page, "aresbus_segment_used_bytes") > 0
    for figure in FIGURES:
        name = f"aresbus_{figure.name}"
        assert page[name].type == figure.kind, name
        assert page[name].documentation == figure.meaning
        suffix = "_total" if figure.kind == "counter" else ""
        assert {sample.name for sample in page[name].samples} == {name + suffix}
    assert page["aresbus_build_info"].samples[0].labels["version"]


def test_buckets_are_cumulative_and_end_at_the_count(tmp_path):
    async def act():
        bus = await busy_bus(tmp_path)
        page = families(prometheus.text(bus))
        await bus.stop()
        return page["aresbus_publish_to_handler_seconds"]

    histogram = run(act())
    assert histogram.type == "histogram"
    buckets = [
        (float(one.labels["le"]), one.value) for one in histogram.samples if one.name.endswith("_bucket")
    ]
    assert buckets == sorted(buckets)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    rest = {one.name.rsplit("_", 1)[1]: one.value for one in histogram.samples if not one.labels}
    assert buckets[-1] == (float("inf"), 100) == (float("inf"), rest["count"])
    assert rest["sum"] > 0


def test_a_bucket_holds_what_is_not_above_its_bound(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        for ns in (0, 1_023, 1_024, 10**6, 10**12):
            bus._counters.latency.record(ns)
        return families(prometheus.text(bus))["aresbus_publish_to_handler_seconds"]

    found = {one.labels["le"]: one.value for one in run(act()).samples if "le" in one.labels}
    assert (found["1.023e-06"], found["2.047e-06"]) == (2, 3)
    assert (found["0.001048575"], found["17.179869183"], found["+Inf"]) == (4, 4, 5)


def test_subscriptions_have_labels_and_no_two_the_same(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            for _ in range(3):
                bus.subscribe("risk_alert", lambda event: None)
            bus.subscribe("system_error", Hostile())
            await bus.publish("risk_alert", 1)
            await until(lambda: bus.metrics["events_delivered"] == 3)
            return families(prometheus.text(bus))["aresbus_subscription_delivered"]

    class Hostile:
        def __call__(self, event):
            pass

        def __repr__(self):
            return 'a"b\\c\nd\ud800{}'

    samples = run(act()).samples
    names = [one.labels["subscription"] for one in samples if one.labels["event_type"] == "risk_alert"]
    assert [name.split("<lambda>")[1] for name in names] == ["", "#2", "#3"]
    (hostile,) = [one for one in samples if one.labels["event_type"] == "system_error"]
    assert hostile.labels["subscription"] == 'a"b\\c\nd\\ud800{}'


def test_open_metrics_take_it_too(tmp_path):
    async def act():
        bus = await busy_bus(tmp_path)
        registry = CollectorRegistry()
        registry.register(prometheus.BusCollector(bus))
        page = open_metrics(registry).decode()
        await bus.stop()
        return {one.name: one for one in parse_open_metrics(page)}

    page = run(act())
    assert page["aresbus_events_published"].samples[0].value == 50


def test_reading_opens_nothing_and_a_stopped_bus_keeps_its_counters(tmp_path):
    async def act():
        bus = make_bus(tmp_path / "log")
        before = families(prometheus.text(bus))
        assert not (tmp_path / "log").exists()
        await bus.publish("risk_alert", 1)
        await bus.stop()
        after = families(prometheus.text(bus))
        assert bus.get_status()["log"] is None
        return before, after

    before, after = run(act())
    assert value(before, "aresbus_events_published") == 0
    assert value(after, "aresbus_events_published") == 1
    assert "aresbus_appended_events" not in {**before, **after}


def test_without_metrics_the_classic_figures_remain(tmp_path):
    async def act():
        bus = await busy_bus(tmp_path, count=3, metrics_enabled=False)
        page = families(prometheus.text(bus))
        await bus.stop()
        return page

    page = run(act())
    assert value(page, "aresbus_events_processed") == 3
    assert "aresbus_events_delivered" not in page
    assert "aresbus_publish_to_handler_seconds" not in page


def test_a_reader_tells_positions_and_nothing_of_the_writers_handle(tmp_path):
    async def act():
        async with make_bus(tmp_path) as writer:
            await writer.publish("risk_alert", 1)
            from aresbus import EnhancedEventBus

            section = {"storage_path": str(tmp_path)}
            async with EnhancedEventBus({"event_bus": section}, mode="r", strict=True) as reader:
                return families(prometheus.text(reader))

    page = run(act())
    assert value(page, "aresbus_log_position", position="last") == 0
    assert "aresbus_syncs" not in page


def test_a_collector_does_not_keep_its_bus(tmp_path):
    bus = make_bus(tmp_path)
    registry = CollectorRegistry()
    registry.register(prometheus.BusCollector(bus))
    gone = weakref.ref(bus)
    del bus
    gc.collect()
    assert gone() is None
    assert list(parse(generate_latest(registry).decode())) == []


def test_scrapes_from_threads_are_whole_while_the_bus_works_and_stops(tmp_path):
    failures, pages = [], []

    def scrape(bus, stop):
        try:
            while not stop.is_set():
                pages.append(prometheus.text(bus))
        except Exception as error:  # noqa: BLE001 - the subject
            failures.append(error)

    async def act():
        bus, stop = make_bus(tmp_path), threading.Event()
        threads = [threading.Thread(target=scrape, args=(bus, stop)) for _ in range(2)]
        async with bus:
            bus.subscribe("risk_alert", Seen())
            for thread in threads:
                thread.start()
            for number in range(2_000):
                await bus.publish("risk_alert", number)
            await until(bus.event_queue.empty)
        for _ in range(5):
            await asyncio.sleep(0.01)
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    run(act())
    assert failures == []
    for page in [*pages[:5], *pages[-5:]]:
        histogram = families(page)["aresbus_publish_to_handler_seconds"]
        counts = [one.value for one in histogram.samples if one.name.endswith("_bucket")]
        assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("module", "missing"), [("prometheus", "prometheus_client"), ("otel", "opentelemetry")]
)
def test_without_the_extra_the_import_says_what_to_install(module, missing):
    code = f"import sys; sys.modules[{missing!r}] = None\ntry: import aresbus.{module}\nexcept ImportError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{missing} is missing: pip install aresbus[{module}]"


def test_every_figure_has_a_meaning_of_its_own(tmp_path):
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    for figure in FIGURES:
        assert len(figure.meaning) >= len("Segments"), figure.name
    assert take_reading(make_bus(tmp_path)).log is None
