"""The figures of a bus as OpenTelemetry instruments, and spans for what is published and handled.

Owns the translation and the way from a correlation id to a trace id. Needs the extra: ``pip install aresbus[otel]``,
which is the API alone; the SDK and its exporters are the application's choice. Invariants: instruments read when
they are collected and do not keep the bus alive; everything of one conversation is one trace, in every process and
on every day, because its trace id is a function of its correlation id.
"""

import functools
import hashlib
import threading
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
except ImportError as _missing:
    raise ImportError("opentelemetry is missing: pip install aresbus[otel]") from _missing

from aresbus._core import Event, __version__
from aresbus.bus import EnhancedEventBus
from aresbus.correlation import handled_event, inherit
from aresbus.figures import FIGURES, Figure, Reading, Sample, take_reading
from aresbus.subscriptions import Callback

__all__ = ["Tracing", "instrument", "trace_id_of"]

NAME = "aresbus"
SHARED_SECONDS = 0.1
"""The instruments of one collection, which come one after the other, share one reading."""
REMEMBERED = 10_000
"""Published events whose span is remembered as the parent of their handlers' spans."""
UNITS = {"": "1", "bytes": "By", "seconds": "s"}
QUANTILES = {"0.5": "p50", "0.99": "p99", "0.999": "p99.9", "1": "max"}


def instrument(bus: EnhancedEventBus, meter: Meter | None = None) -> None:
    """Offer every figure of the bus to ``meter`` (default: that of the global provider), under ``aresbus.<name>``.

    They are read on collection, from whatever thread collects. The latency is ``aresbus.publish_to_handler`` with the
    attribute ``quantile``. OpenTelemetry cannot take instruments back: once a bus, with a meter of its own for each.
    """
    glance = _Glance(bus)
    meter = meter or metrics.get_meter(NAME, __version__)
    for figure in FIGURES:
        make = meter.create_observable_counter if figure.kind == "counter" else meter.create_observable_gauge
        make(
            f"{NAME}.{figure.name}",
            callbacks=[_observed(glance, figure.samples)],
            unit=UNITS[figure.unit],
            description=figure.meaning,
        )
    latency = Figure("publish_to_handler", "gauge", "seconds", "Time from publish to handler", _quantiles)
    meter.create_observable_gauge(
        f"{NAME}.{latency.name}",
        callbacks=[_observed(glance, latency.samples)],
        unit=UNITS[latency.unit],
        description=latency.meaning,
    )


def trace_id_of(correlation_id: str) -> int:
    """The trace id of a conversation: the 128 bits of a UUID, of any other text the first 128 of its SHA-256."""
    try:
        number = uuid.UUID(correlation_id).int
    except ValueError:
        number = 0
    return number or int.from_bytes(hashlib.sha256(correlation_id.encode()).digest()[:16], "big")


class Tracing:
    """Spans for one bus: ``await tracing.publish(...)`` instead of the bus's, ``subscribe(..., tracing.traced(f))``.

    A publication is a PRODUCER span, a handling a CONSUMER span below it (below the conversation's root where the
    publication was another process's). The conversation is the event's correlation id, or its own id where it
    begins one. A span that was current when something of another trace was published is linked.
    The root is a span that nobody exports; it counts as sampled, so choose samplers that decide by trace id.
    """

    def __init__(self, bus: EnhancedEventBus, provider: trace.TracerProvider | None = None) -> None:
        """With the tracer of ``provider``, by default the global one. Does not keep the bus alive."""
        self._bus = weakref.ref(bus)
        self._tracer = trace.get_tracer(NAME, __version__, tracer_provider=provider)
        self._parents: dict[str, SpanContext] = {}
        self._changing = threading.Lock()

    async def publish(self, event_type: str, data: Any, **keywords: Any) -> str:
        """As ``bus.publish``, awaited, under a span of its own. Raises what that raises, the span keeps the error."""
        bus = self._bus()
        if bus is None:
            raise ReferenceError("the bus of this tracing is gone")
        began = time.time_ns()
        correlation = keywords.get("correlation_id")
        handled = handled_event.get()
        if handled is not None and bus.config.correlation_tracking:
            correlation, _ = inherit(handled, correlation, None)
        failure: BaseException | None = None
        event_id = ""
        try:
            event_id = await bus.publish(event_type, data, **keywords)
        except BaseException as error:
            failure = error
            raise
        finally:
            # Only now is it known which conversation an event belongs to that begins one.
            self._tell_published(event_type, event_id, correlation or event_id, began, failure)
        return event_id

    def traced(self, callback: Callback) -> Callback:
        """The callback with a span around each call of it, sync or async. Unsubscribe with what this returns."""

        @functools.wraps(callback)
        def handle(event: Event) -> Any:
            span = self._begin_handling(event, name)
            with _ending_on_error(span):
                result = callback(event)
            if result is not None and hasattr(type(result), "__await__"):
                return _finish(span, result)
            span.end()
            return None

        name = getattr(callback, "__qualname__", None) or repr(callback)
        handle.__qualname__ = name  # what the bus calls the subscription
        return handle

    def _begin_handling(self, event: Event, name: str) -> Span:
        parent = self._parents.get(event.event_id)
        context = (
            _context_of(event.correlation_id or event.event_id)
            if parent is None
            else trace.set_span_in_context(NonRecordingSpan(parent), Context())
        )
        attributes: dict[str, str | int | bool] = {
            **_attributes(str(event.event_type), event.event_id, event.correlation_id),
            "messaging.operation.type": "process",
            "aresbus.subscription": name,
            "aresbus.replay": event.is_replay,
        }
        if event.seq is not None:
            attributes["aresbus.seq"] = event.seq
        return self._tracer.start_span(
            f"handle {event.event_type}", context, kind=SpanKind.CONSUMER, attributes=attributes
        )

    def _tell_published(
        self, event_type: str, event_id: str, conversation: str, began: int, failure: BaseException | None
    ) -> None:
        current = trace.get_current_span().get_span_context()
        context, links = None, []
        if conversation and current.trace_id != trace_id_of(conversation):
            context = _context_of(conversation)
            links = [Link(current)] if current.is_valid else []
        span = self._tracer.start_span(
            f"publish {event_type}",
            context,
            kind=SpanKind.PRODUCER,
            attributes={
                **_attributes(str(event_type), event_id, conversation),
                "messaging.operation.type": "publish",
            },
            links=links,
            start_time=began,
        )
        if failure is not None:
            span.record_exception(failure)
        if not event_id:
            span.set_status(trace.StatusCode.ERROR, "refused" if failure is None else str(failure))
        else:
            self._remember(event_id, span.get_span_context())
        span.end()

    def _remember(self, event_id: str, context: SpanContext) -> None:
        with self._changing:
            self._parents[event_id] = context
            while len(self._parents) > REMEMBERED:
                del self._parents[next(iter(self._parents))]


def _context_of(conversation: str) -> Context:
    """A context below the root of a conversation."""
    trace_id = trace_id_of(conversation)
    span_id = trace_id & (2**64 - 1) or 1
    root = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(root), Context())


def _attributes(event_type: str, event_id: str, conversation: str | None) -> dict[str, str]:
    return {
        "messaging.system": NAME,
        "messaging.destination.name": event_type,
        "messaging.message.id": event_id,
        "messaging.message.conversation_id": conversation or event_id,
    }


@contextmanager
def _ending_on_error(span: Span) -> Iterator[None]:
    """The span is current inside; an error is recorded and ends it."""
    try:
        with trace.use_span(span, record_exception=True, set_status_on_exception=True):
            yield
    except BaseException:
        span.end()
        raise


async def _finish(span: Span, result: Awaitable[Any]) -> None:
    with trace.use_span(span, end_on_exit=True):
        await result


class _Glance:
    """One reading for all instruments that are collected together."""

    def __init__(self, bus: EnhancedEventBus) -> None:
        self._bus = weakref.ref(bus)
        self._reading: tuple[float, Reading] | None = None

    def __call__(self) -> Reading | None:
        """The reading, a tenth of a second old at most; None once the bus is gone."""
        bus, now = self._bus(), time.monotonic()
        if bus is None:
            return None
        known = self._reading
        if known is None or now - known[0] > SHARED_SECONDS:
            self._reading = known = now, take_reading(bus)
        return known[1]


def _observed(
    glance: _Glance, samples: Callable[[Reading], Iterable[Sample]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        reading = glance()
        return [] if reading is None else [Observation(value, labels) for labels, value in samples(reading)]

    return observe


def _quantiles(reading: Reading) -> Iterable[Sample]:
    latency = reading.metrics.get("latency_ns", {"count": 0})
    if not latency["count"]:
        return []
    return [({"quantile": quantile}, latency[name] / 1e9) for quantile, name in QUANTILES.items()]
