"""The short cut: what takes it, that its answers are those of ASGI, and what it must not break.

A real uvicorn on a real socket; only the application is made up.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from flashstock.api.lean import LeanAnswer, Respond, as_asgi
from flashstock.api.turnstile import Turnstile
from flashstock.supervisor.short_cut import ShortCutProtocol
from flashstock.supervisor.sockets import bind

PATH = "/v1/lean"
PATIENCE_S = 60
HEADERS = ((b"content-type", b"application/json"), (b"x-one", b"two"))


@dataclass
class App:
    """Echoes the body, at once or when told; remembers which way each request came."""

    held_back: list[Callable[[], None]] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    hold_back: bool = False
    waiting_max: int = 1_000

    def __post_init__(self) -> None:
        self.turnstile = Turnstile({PATH: self._lean}, self._refuse, self.waiting_max)
        self._as_asgi = as_asgi(self._answer, lambda answer: None)  # noqa: ARG005 (nobody counts)

    def _lean(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        self.ways.append("short")
        self._answer(headers, body, respond)

    def _refuse(self, path: str, respond: Respond) -> None:
        assert path == PATH
        respond(LeanAnswer(503, HEADERS, b"too many"))

    def _answer(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        answer = LeanAnswer(201, HEADERS, body + b"|" + headers.get(b"x-sent", b""))
        if self.hold_back:
            self.held_back.append(lambda: respond(answer))
        else:
            respond(answer)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ways.append("asgi")
        await self._as_asgi(scope, receive, send)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what is looked at is plain data)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def served(app: App, **options: Any) -> AsyncIterator[tuple[str, int, uvicorn.Server]]:
    listener = bind("127.0.0.1", 0)
    settings = {"http": ShortCutProtocol, "ws": "none", "lifespan": "off", "log_config": None}
    config = uvicorn.Config(app, access_log=False, **{**settings, **options})
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    host, port = listener.getsockname()
    try:
        yield host, port, server
    finally:
        for tell in app.held_back:
            tell()
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE_S)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def request(body: bytes, *lines: bytes, target: str = PATH, version: str = "1.1") -> bytes:
    head = [f"POST {target} HTTP/{version}".encode(), b"Host: here", *lines]
    if not any(line.lower().startswith(b"transfer-encoding") for line in lines):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (
        (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode().split("\r\n")
    )
    headers = {name.lower(): value for name, value in (line.split(": ") for line in head[1:-2])}
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), PATIENCE_S)
    return int(head[0].split()[1]), headers, body


ORDINARY = request(b"hello", b"X-Sent: yes")
UNUSUAL = {
    "a query": request(b"hello", b"X-Sent: yes", target=PATH + "?a=b"),
    "a deciding header twice": request(
        b"hello", b"X-Sent: yes", b"Content-Type: a", b"Content-Type: b"
    ),
    "chunks": request(b"5\r\nhello\r\n0\r\n\r\n", b"X-Sent: yes", b"Transfer-Encoding: chunked"),
    "the last of its connection": request(b"hello", b"X-Sent: yes", b"Connection: close"),
    "an old version": request(b"hello", b"X-Sent: yes", version="1.0"),
    "expects to be told to go on": request(b"hello", b"X-Sent: yes", b"Expect: 100-continue"),
    "an upgrade": request(b"hello", b"X-Sent: yes", b"Upgrade: h2c", b"Connection: Upgrade"),
}


async def test_the_ordinary_request_takes_it_and_is_answered_as_through_asgi():
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        for _ in range(2):
            writer.write(ORDINARY)
            await answer_of(reader)
        writer.write(ORDINARY)
        status, headers, body = await answer_of(reader)
        writer.write(UNUSUAL["a query"])
        assert await answer_of(reader) == (status, headers, body)
        assert (status, body) == (201, b"hello|yes")
        assert headers.keys() == {"date", "server", "content-type", "x-one", "content-length"}
        assert app.ways == ["short", "short", "short", "asgi"]


@pytest.mark.parametrize("what", UNUSUAL)
async def test_everything_else_goes_through_asgi(what):
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        writer.write(UNUSUAL[what])
        if what == "expects to be told to go on":
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        status, headers, body = await answer_of(reader)
        assert app.ways == ["asgi"]
        if what == "a deciding header twice":
            assert (status, headers["content-type"]) == (422, "application/problem+json")
        elif what == "an upgrade":
            assert (status, body) == (201, b"|yes"), "uvicorn takes no body from such a request"
        else:
            assert (status, body) == (201, b"hello|yes")


async def test_a_large_body_is_for_asgi_to_refuse():
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        writer.write(request(b"x" * 70_000))
        status, _, body = await answer_of(reader)
        assert (status, app.ways) == (413, ["asgi"]), body


async def test_a_request_may_come_byte_by_byte():
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        for byte in ORDINARY:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answer_of(reader))[2] == b"hello|yes"
        assert app.ways == ["short"]


async def test_pipelined_requests_are_answered_in_order():
    app = App(hold_back=True)
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        first, second, third = (request(b"%d" % number) for number in range(3))
        writer.write(first + second + third)
        await until(lambda: len(app.held_back) == 1)
        await asyncio.sleep(0.02)
        assert app.ways == ["short"], "the second waits for the first"
        for number in range(3):
            await until(lambda: bool(app.held_back))
            app.held_back.pop()()
            assert (await answer_of(reader))[2] == b"%d|" % number
        writer.write(first)
        await until(lambda: bool(app.held_back))
        assert app.ways == ["short", "asgi", "asgi", "short"]


async def test_two_in_one_packet_are_answered_at_once_in_order():
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        writer.write(request(b"a") + request(b"b"))
        assert [(await answer_of(reader))[2] for _ in range(2)] == [b"a|", b"b|"]


async def test_a_client_that_hung_up_harms_nobody(caplog):
    app = App(hold_back=True)
    async with served(app) as (host, port, server), connected(host, port) as (reader, writer):
        async with connected(host, port) as (_, leaving):
            leaving.write(ORDINARY)
            await until(lambda: len(app.held_back) == 1)
        await until(lambda: len(server.server_state.connections) == 1)
        app.held_back.pop()()
        writer.write(ORDINARY)
        await until(lambda: bool(app.held_back))
        app.held_back.pop()()
        assert (await answer_of(reader))[0] == 201
    assert not caplog.records


async def test_a_shutdown_waits_for_the_answer_and_says_it_is_the_last():
    app = App(hold_back=True)
    async with served(app) as (host, port, server), connected(host, port) as (reader, writer):
        async with connected(host, port) as (idle, _):
            writer.write(ORDINARY)
            await until(lambda: len(app.held_back) == 1)
            server.should_exit = True
            assert await asyncio.wait_for(idle.read(), PATIENCE_S) == b"", (
                "an idle connection is closed"
            )
        app.held_back.pop()()
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (201, "close")
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_an_idle_connection_is_closed_after_its_time():
    app = App()
    async with (
        served(app, timeout_keep_alive=1) as (host, port, _),
        connected(host, port) as (reader, writer),
    ):
        writer.write(ORDINARY)
        await answer_of(reader)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_the_time_of_an_idle_connection_begins_anew_and_not_while_it_is_busy():
    """Timers that fire when the test says so: what passes between two requests is no matter."""
    app = App()
    async with (
        served(app, timeout_keep_alive=1_000) as (host, port, server),
        connected(host, port) as (reader, writer),
    ):
        writer.write(ORDINARY)
        await answer_of(reader)
        (protocol,) = server.server_state.connections
        assert isinstance(protocol, ShortCutProtocol)

        def fires(idle_s: float) -> bool:
            """Whether its timer closes a connection that was heard of so long ago."""
            timer = protocol.timeout_keep_alive_task
            assert timer is not None
            timer.cancel()
            protocol._heard_at = protocol.loop.time() - idle_s
            protocol.timeout_keep_alive_handler()
            return bool(protocol.transport.is_closing())

        assert not fires(900)
        app.hold_back = True
        writer.write(ORDINARY)
        await until(lambda: bool(app.held_back))
        assert protocol.loop.time() - protocol._heard_at < 900, "the clock was set back"
        assert not fires(2_000)
        app.held_back.pop()()
        assert (await answer_of(reader))[0] == 201
        assert fires(2_000)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_what_is_no_http_is_refused():
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        writer.write(b"GARBAGE\r\n\r\n")
        assert (await answer_of(reader))[0] == 400
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_a_reader_that_never_reads_is_not_read_from_for_ever():
    """Pipelined requests of somebody who takes no answers must not pile up in our memory."""
    app = App()
    async with served(app) as (host, port, server), connected(host, port) as (_, writer):
        body = b"x" * 9_000
        for _ in range(2_000):
            writer.write(request(body))
        await asyncio.sleep(0.3)
        (connection,) = server.server_state.connections
        held = connection.transport.get_write_buffer_size()
        assert held < 4_000_000, held


async def test_the_date_is_that_of_the_answer():
    app = App()
    async with served(app) as (host, port, server), connected(host, port) as (reader, writer):
        server.server_state.default_headers = [(b"date", b"then")]
        writer.write(ORDINARY)
        assert (await answer_of(reader))[1]["date"] == "then"
        server.server_state.default_headers = [(b"date", b"now")]
        writer.write(ORDINARY)
        headers = (await answer_of(reader))[1]
        assert headers["date"] == "now" or re.match(r"\w{3}, ", headers["date"])
