"""A small HTTP server beside a bus: /health for supervisors, /metrics for Prometheus.

Owns the protocol and its limits: what it does not understand it refuses, what takes too long it cuts off. What it
answers with is the bus's. Invariants: it listens on loopback unless told otherwise; no client, however slow, large or
numerous, costs more than the limits below; it ends with its bus and does not keep it alive.
"""

import asyncio
import ipaddress
import json
import logging
import weakref
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from aresbus.bus import EnhancedEventBus

__all__ = ["StatusEndpoint", "serve_status"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8_192
MAX_CONNECTIONS = 32
REQUEST_SECONDS = 5.0
"""From the connection to the end of its request, and again to the end of the answer."""
LOOK_SECONDS = 0.25
"""Between two looks whether the bus is still there."""
JSON, PLAIN = "application/json", "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class RefusedError(Exception):
    """A request that is not served, with the status that says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class StatusEndpoint:
    """A server that runs; made by :func:`serve_status`. An async context manager that closes it."""

    def __init__(self, bus: EnhancedEventBus, server: asyncio.Server, connections: "_Connections") -> None:
        self._server, self._connections = server, connections
        host, port = server.sockets[0].getsockname()[:2]
        self.host: str = host
        """The address it listens on."""
        self.port: int = port
        """The port it listens on, also where it was asked for any."""
        # The task keeps the endpoint, so that it may be started and forgotten.
        self._watch = asyncio.create_task(self._end_with(weakref.ref(bus)), name="aresbus endpoint")

    @property
    def is_serving(self) -> bool:
        """Whether it still takes connections."""
        return self._server.is_serving()

    async def close(self) -> None:
        """Take no more connections and cut off those there are. Idempotent. On the loop it was made on."""
        if asyncio.current_task() is not self._watch:
            self._watch.cancel()
        self._server.close()
        self._connections.cut_off()
        await self._server.wait_closed()

    async def _end_with(self, bus: "weakref.ref[EnhancedEventBus]") -> None:
        """Close once the bus, which was open, is stopped or gone."""
        was_open = False
        while (there := bus()) is not None:
            is_open = there.get_status()["log"] is not None
            if was_open and not is_open:
                break
            was_open = is_open
            del there
            await asyncio.sleep(LOOK_SECONDS)
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def serve_status(
    bus: EnhancedEventBus, port: int = 0, host: str = "127.0.0.1", *, allow_remote: bool = False
) -> StatusEndpoint:
    """Serve ``/health`` and ``/metrics`` of the bus on this loop until it stops.

    ``/health``: 200 while the bus is healthy or degraded, 503 once it is unhealthy or stopped; the body is
    ``get_status()["health"]`` as JSON. ``/metrics``: the page of :func:`aresbus.prometheus.text`; 501 without the
    extra. ``port`` 0 takes a free one. There is no authentication: an address that is not loopback is a ValueError
    unless ``allow_remote``. Raises OSError where the port is taken. A held loop does not answer, so a probe needs a
    time-out, and that time-out is the finding.
    """
    if not allow_remote and not _is_loopback(host):
        raise ValueError(
            f"host {host!r} can be reached from other machines, and nothing asks who they are; "
            "take 127.0.0.1 or ::1, or say allow_remote=True"
        )
    connections = _Connections(weakref.ref(bus))
    server = await asyncio.start_server(connections.serve, host, port, limit=MAX_HEAD_BYTES)
    return StatusEndpoint(bus, server, connections)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Connections:
    """The connections of one server, each for one request."""

    def __init__(self, bus: "weakref.ref[EnhancedEventBus]") -> None:
        self._bus = bus
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, answer it, close. Never raises."""
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            answer, has_body = await self._answer(reader)
            writer.write(_response(answer, has_body=has_body))
            async with asyncio.timeout(REQUEST_SECONDS):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away, or was too slow to be waited for
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def cut_off(self) -> None:
        """End every connection at once."""
        for writer in self._open:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        """The answer to the request, and whether its body is wanted."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            method, path = _parse(head)
        except asyncio.LimitOverrunError:
            return _said(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
        except TimeoutError:
            return _said(HTTPStatus.REQUEST_TIMEOUT), True
        except RefusedError as error:
            return _said(error.status), True
        try:
            return self._page(path), method == "GET"
        except Exception as error:
            # The supervisor must hear of it: a bus that cannot even be asked is not well.
            logger.exception("%s failed", path)
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)), True

    def _page(self, path: str) -> Answer:
        make = PAGES.get(path)
        if make is None:
            return _said(HTTPStatus.NOT_FOUND, "there are /health and /metrics")
        bus = self._bus()
        return _said(HTTPStatus.SERVICE_UNAVAILABLE, "the bus is gone") if bus is None else make(bus)


def _parse(head: bytes) -> tuple[str, str]:
    """Method and path, without its query. Raises RefusedError."""
    line = head.split(b"\r\n", 1)[0]
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1.") or not line.isascii():  # noqa: PLR2004
        raise RefusedError(HTTPStatus.BAD_REQUEST)
    method, path = parts[0].decode(), parts[1].decode().partition("?")[0]
    if method not in ("GET", "HEAD"):
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED)
    return method, path


def _health(bus: EnhancedEventBus) -> Answer:
    status = bus.get_status()
    health: dict[str, Any] = status["health"]
    if status["log"] is None:
        health = {**health, "status": "unhealthy", "reasons": [*health["reasons"], "the log is not open"]}
    is_bad = health["status"] == "unhealthy"
    code = HTTPStatus.SERVICE_UNAVAILABLE if is_bad else HTTPStatus.OK
    return code, JSON, json.dumps(health, default=str).encode()


def _metrics(bus: EnhancedEventBus) -> Answer:
    try:
        from aresbus import prometheus  # noqa: PLC0415 - an extra, needed here alone
    except ImportError as error:
        return _said(HTTPStatus.NOT_IMPLEMENTED, str(error))
    return HTTPStatus.OK, prometheus.CONTENT_TYPE, prometheus.text(bus).encode()


PAGES: dict[str, Callable[[EnhancedEventBus], Answer]] = {"/health": _health, "/metrics": _metrics}


def _said(status: HTTPStatus, text: str = "") -> Answer:
    return status, PLAIN, f"{text or status.phrase}\n".encode()


def _response(answer: Answer, *, has_body: bool) -> bytes:
    status, content_type, body = answer
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        + ("Allow: GET, HEAD\r\n" if status is HTTPStatus.METHOD_NOT_ALLOWED else "")
        + "Connection: close\r\n\r\n"
    )
    return head.encode() + (body if has_body else b"")
