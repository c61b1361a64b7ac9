"""The pipe on real servers: answers in order, failures contained, nothing executed twice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashstock.errors import Unavailable
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.pipe import Pipe
from tests import servers


@pytest.fixture
async def pipe(hot_server: str) -> AsyncIterator[Pipe]:
    pipe = Pipe(hot_server, timeout_ms=10_000)
    yield pipe
    await pipe.aclose()


@pytest.fixture
async def other(hot_server: str) -> AsyncIterator[Pipe]:
    pipe = Pipe(hot_server, timeout_ms=10_000)
    yield pipe
    await pipe.aclose()


async def test_concurrent_calls_get_their_own_answers(pipe: Pipe) -> None:
    answers = await asyncio.gather(*(pipe.call("ECHO", f"{n}") for n in range(500)))
    assert answers == [str(n).encode() for n in range(500)]


async def test_a_refusal_reaches_its_caller_only(pipe: Pipe) -> None:
    await pipe.call("SET", "text", "not a number")
    calls = [pipe.call("ECHO", "before"), pipe.call("INCR", "text"), pipe.call("ECHO", "after")]
    before, refused, after = await asyncio.gather(*calls, return_exceptions=True)
    assert (before, after) == (b"before", b"after")
    assert isinstance(refused, ResponseError)


async def test_a_cancelled_call_keeps_its_place_in_the_queue(pipe: Pipe) -> None:
    await pipe.call("PING")
    cancelled = asyncio.create_task(pipe.call("ECHO", "nobody hears this"))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await pipe.call("ECHO", "mine") == b"mine"
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_no_answer_in_time_fails_all_in_flight_and_the_next_call_connects_anew(
    hot_server: str,
) -> None:
    pipe = Pipe(hot_server, timeout_ms=1_000)
    waiting = [pipe.call("BLPOP", "nothing", "0"), pipe.call("ECHO", "behind it")]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(a, RedisTimeoutError | RedisConnectionError) for a in answers)
    assert isinstance(answers[0], RedisTimeoutError)
    assert await pipe.call("ECHO", "again") == b"again"
    await pipe.aclose()


async def test_a_lost_connection_fails_what_was_in_flight_once(pipe: Pipe, other: Pipe) -> None:
    own = await pipe.call("CLIENT", "ID")
    await pipe.call("SET", "count", "0")
    waiting = asyncio.create_task(pipe.call("BLPOP", "nothing", "0"))
    await asyncio.sleep(0.05)
    await other.call("CLIENT", "KILL", "ID", own)
    with pytest.raises(RedisConnectionError):
        await waiting
    assert await pipe.call("INCR", "count") == 1


async def test_calls_after_a_restart_of_the_server_connect_anew() -> None:
    with servers.hot_server(servers.valkey_binary()) as server:
        pipe = Pipe(server.url, timeout_ms=10_000)
        await pipe.call("PING")
        server.kill()
        with pytest.raises((RedisConnectionError, OSError)):
            await pipe.call("PING")
        server.start()
        assert await pipe.call("ECHO", "back") == b"back"
        await pipe.aclose()


async def test_a_command_that_cannot_be_packed_is_not_sent(pipe: Pipe) -> None:
    with pytest.raises(UnicodeEncodeError):
        await pipe.call("ECHO", "\ud800")
    assert await pipe.call("ECHO", "next") == b"next"


async def test_closing_fails_what_is_in_flight(pipe: Pipe) -> None:
    await pipe.call("PING")
    waiting = asyncio.create_task(pipe.call("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await pipe.aclose()
    with pytest.raises(RedisConnectionError):
        await waiting


async def test_a_frozen_server_is_waited_for_once_and_not_once_per_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Callers queue for one connection; the bound covers the queue."""
    attempts = 0
    make_connection = ConnectionPool.make_connection

    def counted(pool: ConnectionPool):
        nonlocal attempts
        attempts += 1
        return make_connection(pool)

    async def ask(pipe: Pipe) -> None:
        with pytest.raises(Unavailable), translated_failures():
            await pipe.call("PING")

    monkeypatch.setattr(ConnectionPool, "make_connection", counted)
    with servers.hot_server(servers.valkey_binary()) as server:
        pipe = Pipe(server.url, timeout_ms=1_000)
        await pipe.call("PING")
        server.freeze()
        await ask(pipe)
        attempts = 0
        await asyncio.gather(*(ask(pipe) for _ in range(10)))
        assert attempts < 10
        server.thaw()
        assert await pipe.call("PING") == b"PONG"
        await pipe.aclose()


async def test_a_call_that_could_not_be_sent_leaves_nothing_to_complain_about(
    hot_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    pipe = Pipe(hot_server, timeout_ms=10_000)
    await pipe.call("PING")

    async def fail(*_: object, **__: object) -> None:
        raise RedisConnectionError("gone while sending")

    monkeypatch.setattr(pipe._connection, "send_packed_command", fail)
    with pytest.raises(RedisConnectionError, match="while sending"):
        await pipe.call("PING")
    await pipe.aclose()
    gc.collect()
    assert complaints == []
