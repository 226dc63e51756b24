"""The status endpoint against real sockets: what it answers, what it refuses, and what hostile clients cannot do."""

import asyncio
import errno
import json
import socket
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import pytest
from aresbus import endpoint
from aresbus.endpoint import serve_status
from bus_support import make_bus, run, until
from prometheus_client.parser import text_string_to_metric_families as parse


async def ask(port: int, request: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of the answer to raw bytes; status 0 if there was none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        if end:
            writer.write_eof()
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.transport.abort()
    if not answer:
        return 0, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def served(folder, act, **settings):
    """Run ``act(bus, port)`` beside a served bus that runs."""

    async def whole():
        async with make_bus(folder, **settings) as bus, await serve_status(bus) as server:
            return await act(bus, server.port)

    return run(whole())


def test_an_ordinary_client_reads_health_and_metrics(tmp_path):
    async def act(bus, port):
        await bus.publish("risk_alert", 1)
        return [await asyncio.to_thread(fetch, port, path) for path in ("/health", "/metrics?x=1", "/")]

    health, metrics, other = served(tmp_path, act)
    assert health[0] == 200
    assert json.loads(health[1])["status"] == "healthy"
    assert metrics[0] == 200
    published = [one for one in parse(metrics[1].decode()) if one.name == "aresbus_events_published"]
    assert published[0].samples[0].value == 1
    assert other == (404, b"there are /health and /metrics\n")


def test_head_has_the_length_and_no_body(tmp_path):
    async def act(bus, port):
        return await ask(port, get("/health", "HEAD"))

    status, fields, body = served(tmp_path, act)
    assert (status, body) == (200, b"")
    assert int(fields["Content-Length"]) > 0
    assert fields["Connection"] == "close"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/health", "POST"), 405),
        (get("/health", "DELETE"), 405),
        (get("/../../etc/passwd"), 404),
        (get("/health/"), 404),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/2.0\r\n\r\n", 400),
        (b"GET  /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_what_is_no_request_of_ours_is_refused(tmp_path, request_bytes, status):
    async def act(bus, port):
        return await ask(port, request_bytes), await ask(port, get("/health"))

    answer, next_answer = served(tmp_path, act)
    assert answer[0] == status
    assert next_answer[0] == 200
    if status == 405:
        assert answer[1]["Allow"] == "GET, HEAD"


def test_a_head_without_end_is_cut_off(tmp_path):
    async def act(bus, port):
        huge = b"GET /health HTTP/1.1\r\nX: " + b"a" * (1 << 20)
        return await ask(port, huge), await ask(port, get("/health"))

    answer, next_answer = served(tmp_path, act)
    assert answer[0] in {0, 431}  # the rest of what the client sends may reset the connection first
    assert next_answer[0] == 200


def test_a_client_that_says_nothing_is_told_and_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.1)

    async def act(bus, port):
        silent = await ask(port, b"")
        slow = await ask(port, b"GET /hea")
        gone = await ask(port, b"GET /hea", end=True)
        return silent[0], slow[0], gone[0]

    assert served(tmp_path, act) == (408, 408, 0)


def test_a_client_that_does_not_read_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.2)
    monkeypatch.setitem(
        endpoint.PAGES, "/huge", lambda bus: (endpoint.HTTPStatus.OK, "text/plain", b"x" * (32 << 20))
    )

    async def act(bus, port):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, get("/huge"))
            await asyncio.sleep(1)
            count = 0
            try:
                while data := await loop.sock_recv(client, 1 << 20):
                    count += len(data)
            except ConnectionError:
                pass
        return count, await ask(port, get("/health"))

    count, next_answer = served(tmp_path, act)
    assert count < 32 << 20
    assert next_answer[0] == 200


def test_more_connections_than_the_limit_are_closed_and_the_server_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 1.0)

    async def act(bus, port):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(endpoint.MAX_CONNECTIONS)]
        await asyncio.sleep(0.05)
        refused = await ask(port, get("/health"))
        for _, writer in idle:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        return refused[0], {(await ask(port, get("/health")))[0] for _ in range(50)}

    assert served(tmp_path, act) == (0, {200})


def test_hundreds_of_clients_at_once_cost_the_bus_nothing_it_cannot_bear(tmp_path):
    async def act(bus, port):
        async def one(number):
            try:
                return (await ask(port, get("/metrics" if number % 2 else "/health")))[0]
            except OSError:
                return 0

        asked = asyncio.gather(*(one(number) for number in range(200)))
        ids = [await bus.publish("risk_alert", number) for number in range(100)]
        return set(await asked), len(set(ids)), (await ask(port, get("/health")))[0]

    answers, published, last = served(tmp_path, act)
    assert answers <= {0, 200}
    assert (published, last) == (100, 200)


def test_an_unhealthy_bus_is_503_and_a_degraded_one_200(tmp_path, monkeypatch):
    async def act(bus, port):
        found, status = [], bus.get_status
        for health in ("degraded", "unhealthy"):
            monkeypatch.setattr(
                bus,
                "get_status",
                lambda health=health: status() | {"health": {"status": health, "reasons": ["x"]}},
            )
            found.append((await ask(port, get("/health")))[0])
        return found

    assert served(tmp_path, act) == [200, 503]


def test_a_bus_that_is_not_open_yet_is_503(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        async with await serve_status(bus) as server:
            before = await ask(server.port, get("/health"))
            await bus.initialize()
            after = await ask(server.port, get("/health"))
        await bus.stop()
        return before, after

    before, after = run(act())
    assert before[0] == 503
    assert json.loads(before[2])["reasons"] == ["the log is not open"]
    assert after[0] == 200


def test_it_ends_with_the_bus_even_if_nobody_kept_it(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            port = (await serve_status(bus)).port
            await asyncio.sleep(2 * endpoint.LOOK_SECONDS)
            assert (await ask(port, get("/health")))[0] == 200

        with pytest.raises(ConnectionRefusedError):
            while True:
                with suppress(ConnectionResetError):  # it came between the listening and its end
                    await ask(port, get("/health"))

    run(act())


def test_a_bus_that_is_dropped_is_not_kept_alive(tmp_path):
    import aresbus

    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        server = await serve_status(bus)
        del bus
        await until(lambda: not server.is_serving)

    run(act())
    aresbus.open(tmp_path, audit=False).close()  # the lock is free


def test_closing_cuts_off_clients_and_may_be_repeated(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            server = await serve_status(bus)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.sleep(0.05)
            await server.close()
            await server.close()
            try:
                rest = await reader.read()
            except ConnectionError:
                rest = b""
            writer.close()
            assert not server.is_serving
            return rest

    assert run(act()) == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com", ""])
def test_an_address_that_others_can_reach_is_refused_unless_told(tmp_path, host):
    async def act():
        await serve_status(make_bus(tmp_path), host=host)

    with pytest.raises(ValueError, match="allow_remote"):
        run(act())


def test_told_so_it_listens_for_others(tmp_path):
    async def act():
        async with (
            make_bus(tmp_path) as bus,
            await serve_status(bus, host="0.0.0.0", allow_remote=True) as server,
        ):
            return server.host, (await ask(server.port, get("/health")))[0]

    assert run(act()) == ("0.0.0.0", 200)


def test_a_port_that_is_taken_is_an_error_of_the_system(tmp_path):
    async def act(bus, port):
        with pytest.raises(OSError, match="address already in use") as failed:
            await serve_status(bus, port)
        return failed.value.errno

    assert served(tmp_path, act) == errno.EADDRINUSE


def test_without_the_extra_metrics_say_so_and_health_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aresbus.prometheus", None)
    monkeypatch.delattr("aresbus.prometheus", raising=False)

    async def act(bus, port):
        return await ask(port, get("/metrics")), await ask(port, get("/health"))

    metrics, health = served(tmp_path, act)
    assert metrics[0] == 501
    assert health[0] == 200


def test_a_bus_that_cannot_be_asked_is_500_and_logged(tmp_path, monkeypatch, caplog):
    async def act(bus, port):
        status = bus.get_status

        def fail():
            if asyncio.current_task().get_name() != "aresbus endpoint":
                raise RuntimeError("broken")
            return status()

        monkeypatch.setattr(bus, "get_status", fail)
        answer = await ask(port, get("/health"))
        monkeypatch.undo()
        return answer

    status, _, body = served(tmp_path, act)
    assert (status, body) == (500, b"broken\n")
    assert "/health failed" in caplog.text
