"""The wire does what faults ask of it, and what went over it before and after is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.network import Cut, Way, Wire, wire

ASKED, ANSWERED = b"question", b"an answer"


class Upstream:
    """Answers every question, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(1_000):
            self.asked.append(received)
            writer.write(ANSWERED)
        writer.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Upstream, Wire]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.handle, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    async with wire(lambda: asyncio.open_connection("127.0.0.1", upstream.port)) as made:
        yield upstream, made
    server.close()


async def ask(made: Wire) -> bytes:
    """One question on a connection of its own; all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
    try:
        writer.write(ASKED)
        return await reader.read(1_000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("cut", "asked", "answered"),
    [
        (Cut(Way.REQUEST), [], b""),
        (Cut(Way.REQUEST, 0.5), [ASKED[:4]], b""),
        (Cut(Way.REPLY), [ASKED], b""),
        (Cut(Way.REPLY, 0.01), [ASKED], ANSWERED[:1]),
        (Cut(Way.REPLY, 0.99), [ASKED], ANSWERED[:-1]),
    ],
)
async def test_a_cut_meets_the_next_bytes_that_go_its_way(cut, asked, answered):
    async with connected() as (upstream, made):
        assert await ask(made) == ANSWERED
        made.due.append(cut)
        assert await ask(made) == answered
        while len(upstream.asked) < 1 + len(asked):  # noqa: ASYNC110 (the other end hears later)
            await asyncio.sleep(0.001)
        assert upstream.asked[1:] == asked
        assert await ask(made) == ANSWERED
        assert made.cuts == 1


async def test_what_was_withheld_comes_later():
    async with connected() as (_, made):
        made.withhold()
        asking = asyncio.create_task(ask(made))
        while not made.delayed:  # noqa: ASYNC110 (it is on its way)
            await asyncio.sleep(0.001)
        assert not asking.done()
        made.release()
        assert await asking == ANSWERED


async def test_nobody_gets_through_while_it_refuses():
    async with connected() as (upstream, made):
        made.refuses = True
        assert await ask(made) == b""
        assert upstream.asked == []
        made.refuses = False
        assert await ask(made) == ANSWERED


async def test_severed_connections_end():
    async with connected() as (_, made):
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(ASKED)
        assert await reader.read(1_000) == ANSWERED
        assert made.sever() == 2
        try:
            received = await reader.read(1_000)
        except ConnectionError:
            received = b""
        assert received == b""
        writer.close()
