"""OpenTelemetry, through the SDK's in-memory exporters: instruments read on collection, one conversation one trace."""

import asyncio
import gc
import hashlib
import uuid
import weakref
from itertools import pairwise

import pytest
from aresbus import EncodeError, otel
from aresbus.figures import FIGURES
from bus_support import make_bus, run, until
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.provider = provider
    yield exporter
    provider.shutdown()


@pytest.fixture
def reader():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    reader.meter = provider.get_meter("test")
    yield reader
    provider.shutdown()


def collected(reader) -> dict:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {one.name: one for one in scope.metrics}


def points(metric) -> dict:
    return {tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points}


# Instruments


def test_the_figures_are_those_of_the_bus_with_units_and_kinds(tmp_path, reader):
    async def act():
        async with make_bus(tmp_path) as bus:
            otel.instrument(bus, reader.meter)
            bus.subscribe("risk_alert", on_alert)
            for number in range(10):
                await bus.publish("risk_alert", number)
            await until(lambda: bus.metrics["events_delivered"] == 10)
            return collected(reader)

    def on_alert(event):
        pass

    found = run(act())
    assert set(found) == {f"aresbus.{figure.name}" for figure in FIGURES} | {"aresbus.publish_to_handler"}
    assert points(found["aresbus.events_published"]) == {(): 10}
    assert found["aresbus.events_published"].data.is_monotonic
    assert found["aresbus.appended_bytes"].unit == "By"
    assert not hasattr(found["aresbus.waiting_events"].data, "is_monotonic")
    ((labels, delivered),) = points(found["aresbus.subscription_delivered"]).items()
    assert delivered == 10
    assert dict(labels)["event_type"] == "risk_alert"
    assert dict(labels)["subscription"].endswith("on_alert")
    latency = points(found["aresbus.publish_to_handler"])
    assert [dict(labels)["quantile"] for labels in latency] == ["0.5", "0.99", "0.999", "1"]
    assert list(latency.values()) == sorted(latency.values())
    assert found["aresbus.publish_to_handler"].unit == "s"


def test_one_collection_reads_the_bus_once(tmp_path, reader, monkeypatch):
    bus = make_bus(tmp_path)
    otel.instrument(bus, reader.meter)
    count, read = 0, otel.take_reading

    def counted(bus):
        nonlocal count
        count += 1
        return read(bus)

    monkeypatch.setattr(otel, "take_reading", counted)
    monkeypatch.setattr(otel, "SHARED_SECONDS", 60)
    collected(reader)
    assert count == 1


def test_instruments_do_not_keep_the_bus_and_then_tell_nothing(tmp_path, reader):
    bus = make_bus(tmp_path)
    otel.instrument(bus, reader.meter)
    gone = weakref.ref(bus)
    del bus
    gc.collect()
    assert gone() is None
    assert collected(reader) == {}


# Spans


@pytest.mark.parametrize(
    ("correlation_id", "trace_id"),
    [
        ("01890a5d-ac96-774b-bcce-b302099a8057", 0x01890A5DAC96774BBCCEB302099A8057),
        ("order-17", int.from_bytes(hashlib.sha256(b"order-17").digest()[:16], "big")),
        (
            str(uuid.UUID(int=0)),
            int.from_bytes(hashlib.sha256(str(uuid.UUID(int=0)).encode()).digest()[:16], "big"),
        ),
    ],
)
def test_the_trace_id_is_a_function_of_the_correlation_id(correlation_id, trace_id):
    assert otel.trace_id_of(correlation_id) == trace_id


def test_a_conversation_is_one_trace_from_publication_to_handler_to_publication(tmp_path, spans):
    async def act():
        async with make_bus(tmp_path) as bus:
            tracing = otel.Tracing(bus, spans.provider)

            async def decide(event):
                await asyncio.sleep(0)
                await tracing.publish("trade_decision_made", {"buy": True})

            def execute(event):
                done.set()

            done = asyncio.Event()
            bus.subscribe("market_data_received", tracing.traced(decide))
            bus.subscribe("trade_decision_made", tracing.traced(execute))
            tick = await tracing.publish("market_data_received", {}, source="feed")
            await done.wait()
            await until(bus.event_queue.empty)
            return tick, bus.event_history

    tick, (_, decision) = run(act())
    found = {one.name: one for one in spans.get_finished_spans()}
    names = [
        "publish market_data_received",
        "handle market_data_received",
        "publish trade_decision_made",
        "handle trade_decision_made",
    ]
    assert sorted(found) == sorted(names)
    assert {one.context.trace_id for one in found.values()} == {uuid.UUID(tick).int}
    for parent, child in pairwise(names):
        assert found[child].parent.span_id == found[parent].context.span_id, child
    assert (found[names[0]].kind, found[names[1]].kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    attributes = found[names[3]].attributes
    assert attributes["messaging.message.id"] == decision.event_id
    assert attributes["messaging.message.conversation_id"] == tick == decision.correlation_id
    assert attributes["aresbus.seq"] == 1
    assert attributes["aresbus.subscription"].endswith("execute")
    assert found[names[0]].start_time <= found[names[0]].end_time


def test_another_process_finds_the_same_trace(tmp_path, spans):
    """Two tracings that know nothing of each other, as two processes: what is shared is in the event."""

    async def act():
        async with make_bus(tmp_path) as bus:
            here, there = otel.Tracing(bus, spans.provider), otel.Tracing(bus, spans.provider)
            handled = []
            bus.subscribe("risk_alert", there.traced(handled.append))
            await here.publish("risk_alert", 1, correlation_id="session-9")
            await until(lambda: handled)

    run(act())
    handle, publish = sorted(spans.get_finished_spans(), key=lambda one: one.name)
    assert handle.context.trace_id == publish.context.trace_id == otel.trace_id_of("session-9")
    assert handle.parent.span_id == publish.parent.span_id
    assert handle.parent.is_remote


def test_a_span_of_another_trace_is_linked(tmp_path, spans):
    async def act():
        async with make_bus(tmp_path) as bus:
            tracing = otel.Tracing(bus, spans.provider)
            with spans.provider.get_tracer("web").start_as_current_span("POST /orders") as request:
                await tracing.publish("risk_alert", 1)
            return request.get_span_context()

    request = run(act())
    publish = next(one for one in spans.get_finished_spans() if one.name.startswith("publish"))
    assert publish.context.trace_id != request.trace_id
    assert [link.context.span_id for link in publish.links] == [request.span_id]


def test_errors_are_on_the_spans_and_go_on(tmp_path, spans):
    async def act():
        async with make_bus(tmp_path, max_retry_count=1) as bus:
            tracing = otel.Tracing(bus, spans.provider)

            async def late(event):
                await asyncio.sleep(0)
                raise KeyError("late")

            def early(event):
                raise ValueError("early")

            several = [bus.subscribe("risk_alert", tracing.traced(one)) for one in (late, early)]
            with pytest.raises(EncodeError):
                await tracing.publish("risk_alert", object())
            await tracing.publish("risk_alert", 1)
            await until(lambda: all(one.parked_count for one in several))
            return [one.name.rsplit(".", 1)[1] for one in several]

    assert run(act()) == ["late", "early"]
    found = spans.get_finished_spans()
    refused, stored, *handled = found
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.events[0].attributes["exception.type"].endswith("EncodeError")
    assert stored.status.status_code is not StatusCode.ERROR
    assert len(handled) == 4  # each try is a span
    assert {one.status.status_code for one in handled} == {StatusCode.ERROR}
    assert {one.events[0].attributes["exception.type"] for one in handled} == {"KeyError", "ValueError"}


def test_a_lenient_bus_that_refuses_leaves_an_error_and_an_empty_id(tmp_path, spans):
    from aresbus import EnhancedEventBus

    async def act():
        async with EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}}) as bus:
            return await otel.Tracing(bus, spans.provider).publish("no_such_type", 1)

    assert run(act()) == ""
    (refused,) = spans.get_finished_spans()
    assert refused.status.status_code is StatusCode.ERROR


def test_without_correlation_tracking_nothing_is_inherited(tmp_path, spans):
    async def act():
        async with make_bus(tmp_path, correlation_tracking=False) as bus:
            tracing, done = otel.Tracing(bus, spans.provider), asyncio.Event()

            async def answer(event):
                await tracing.publish("system_error", 1)
                done.set()

            bus.subscribe("risk_alert", tracing.traced(answer))
            await tracing.publish("risk_alert", 1)
            await done.wait()
            return [event.event_id for event in bus.event_history]

    ids = run(act())
    published = {one.name: one for one in spans.get_finished_spans() if one.name.startswith("publish")}
    assert published["publish system_error"].context.trace_id == uuid.UUID(ids[1]).int
    assert len(published["publish system_error"].links) == 1  # the handling it came from


def test_parents_are_remembered_within_a_limit(tmp_path, spans, monkeypatch):
    monkeypatch.setattr(otel, "REMEMBERED", 10)

    async def act():
        async with make_bus(tmp_path) as bus:
            tracing = otel.Tracing(bus, spans.provider)
            for number in range(50):
                await tracing.publish("risk_alert", number)
            return len(tracing._parents)

    assert run(act()) == 10


def test_a_traced_callback_is_unsubscribed_by_itself(tmp_path, spans):
    async def act():
        async with make_bus(tmp_path) as bus:
            traced = otel.Tracing(bus, spans.provider).traced(print)
            assert bus.subscribe("risk_alert", traced).name == "print"
            bus.unsubscribe("risk_alert", traced)
            return bus.subscriptions

    assert run(act()) == []
