"""The connection that carries script calls: in order, once, and never somebody else's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.exceptions
from redis.asyncio import ConnectionPool

from flashstock.errors import FlashstockError, Unavailable
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.pipe import Pipe
from tests import servers


@pytest.fixture
async def pipe(hot_server: str) -> AsyncIterator[Pipe]:
    pipe = Pipe(hot_server, timeout_ms=5000)
    yield pipe
    await pipe.aclose()


@pytest.fixture
def own_server():
    with servers.hot_server(servers.valkey_binary()) as server:
        yield server


async def test_many_calls_in_flight_get_their_own_answers(pipe):
    answers = await asyncio.gather(*(pipe.call("ECHO", str(number)) for number in range(500)))
    assert answers == [str(number).encode() for number in range(500)]


async def test_a_call_that_is_refused_disturbs_no_other(pipe):
    calls = [pipe.call("ECHO", "1"), pipe.call("EVALSHA", "f" * 40, 0), pipe.call("ECHO", "2")]
    first, refused, second = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, second) == (b"1", b"2")
    assert isinstance(refused, redis.exceptions.NoScriptError)


async def test_a_caller_that_leaves_takes_no_answer_along(pipe):
    await pipe.call("PING")
    leaving = asyncio.create_task(pipe.call("ECHO", "leaving"))
    staying = asyncio.create_task(pipe.call("ECHO", "staying"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == b"staying"
    assert await pipe.call("ECHO", "next") == b"next"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_command_that_cannot_be_packed_is_not_sent(pipe):
    with pytest.raises(UnicodeEncodeError):
        await pipe.call("ECHO", "\ud800")
    assert await pipe.call("ECHO", "next") == b"next"


async def test_a_lost_connection_fails_what_was_in_flight_and_comes_back(own_server):
    pipe = Pipe(own_server.url, timeout_ms=5000)
    await pipe.call("PING")
    waiting = [asyncio.create_task(pipe.call("BLPOP", "nothing", 0)) for _ in range(3)]
    await asyncio.sleep(0)
    own_server.kill()
    for failure in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failure, redis.exceptions.ConnectionError)
    with pytest.raises(FlashstockError), translated_failures():
        await pipe.call("PING")
    own_server.start()
    assert await pipe.call("PING") == b"PONG"
    await pipe.aclose()


async def test_a_frozen_server_is_waited_for_once_and_not_once_per_caller(own_server, monkeypatch):
    """Callers queue for one connection; the bound covers the queue."""
    attempts = []
    make_connection = ConnectionPool.make_connection

    def counted(pool):
        attempts.append(pool)
        return make_connection(pool)

    monkeypatch.setattr(ConnectionPool, "make_connection", counted)
    pipe = Pipe(own_server.url, timeout_ms=200)
    await pipe.call("PING")
    own_server.freeze()

    async def ask():
        with pytest.raises(Unavailable), translated_failures():
            await pipe.call("PING")

    await asyncio.gather(*(ask() for _ in range(10)))
    attempts.clear()
    await asyncio.gather(*(ask() for _ in range(10)))
    assert len(attempts) < 10
    own_server.thaw()
    assert await pipe.call("PING") == b"PONG"
    await pipe.aclose()


async def test_closing_fails_what_is_in_flight(pipe):
    await pipe.call("PING")
    waiting = asyncio.create_task(pipe.call("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await pipe.aclose()
    with pytest.raises(redis.exceptions.ConnectionError):
        await waiting
