"""Connections to Redis or Valkey: no silent retries, bounded waits, clear failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashstock.errors import Recovering, Unavailable
from flashstock.hotpath.location import NOT_THE_PRIMARY, Locate, located
from flashstock.hotpath.lost_connection import noticing_losses


def connect(
    url: str, *, timeout_ms: int, connections_max: int = 32, locate: Locate | None = None
) -> Redis:
    """A client that executes a command once or raises: redis-py would retry ten times.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_ms: bound on connecting and on every reply.
        connections_max: bound on open connections; callers beyond it wait ``timeout_ms``.
        locate: asked before every new connection where it goes; else to the host in ``url``.
    """
    seconds = timeout_ms / 1000
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return _client(pool, locate)


def connect_for_tailing(
    url: str,
    *,
    timeout_ms: int,
    block_ms: int,
    connections_max: int,
    locate: Locate | None = None,
) -> Redis:
    """A client for blocking reads and subscriptions.

    Args:
        timeout_ms: bound on connecting, and on a reply once it is due.
        block_ms: how long a read may wait for something to come. Subscriptions wait for ever.
        connections_max: bound on open connections. Every blocking read occupies one.
        locate: as in ``connect``.
    """
    seconds = timeout_ms / 1000
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=seconds,
        # A server whose machine is gone closes no connection: without a bound nobody notices.
        socket_timeout=seconds + block_ms / 1000,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return _client(pool, locate)


def _client(pool: BlockingConnectionPool, locate: Locate | None) -> Redis:
    mixed = (_Cancellable, _Leaving, _PackedInC, noticing_losses(pool.connection_class))
    pool.connection_class = type(f"Our{pool.connection_class.__name__}", mixed, {})
    if locate is not None:
        pool.connection_class = located(pool.connection_class, locate)
    return Redis.from_pool(pool)


class _Cancellable:
    """Makes a connection send without ``asyncio.wait_for``.

    redis-py sends in it wherever there is a timeout, and before Python 3.12 it swallows a
    cancellation that comes just when the command is sent: a task that is told to end would not.
    """

    socket_timeout: float | None

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        timeout_s, self.socket_timeout = self.socket_timeout, None
        parent: Any = super()
        try:
            async with asyncio.timeout(timeout_s):
                await parent.send_packed_command(command, check_health)
        except TimeoutError:
            raise redis_errors.TimeoutError("the command could not be sent in time") from None
        finally:
            self.socket_timeout = timeout_s


class _Leaving:
    """Makes a connection go, once it is free, when its server is found to be no primary.

    At one address too: the address may lead elsewhere by now, the connection never does.
    """

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        parent: Any = super()
        try:
            return await parent.read_response(*arguments, **options)
        except NOT_THE_PRIMARY:
            connection: Any = self
            connection.mark_for_reconnect()
            raise


class _PackedInC:
    """Makes a connection pack its commands with hiredis.

    redis-py does it in Python: where thousands of values are sent at once, as in a rebuild or
    a reconciliation, that is most of what they cost.
    """

    def pack_command(self, *arguments: Any) -> list[bytes]:
        name = arguments[0]
        words = name.encode().split() if isinstance(name, str) else name.split()
        try:
            return [hiredis.pack_command((*words, *arguments[1:]))]
        except TypeError:  # a value of a kind that only redis-py knows
            parent: Any = super()
            packed: list[bytes] = parent.pack_command(*arguments)
            return packed

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join(part for command in commands for part in self.pack_command(*command))]


@contextmanager
def translated_failures() -> Iterator[None]:
    """Turn redis-py's failures into ours.

    Raises:
        Recovering: the server is not the one we opened (restarted, demoted, emptied), or what was
            asked for is on another one now.
        Unavailable: it did not answer, is still loading or is out of memory.
    """
    try:
        yield
    except (
        redis_errors.NoScriptError,
        redis_errors.ReadOnlyError,
        redis_errors.AskError,  # MOVED too
    ) as failure:
        raise Recovering from failure
    except (
        redis_errors.ConnectionError,
        redis_errors.TimeoutError,
        redis_errors.OutOfMemoryError,
        redis_errors.WatchError,  # the connection that something had to happen on was lost
        OSError,
    ) as failure:
        raise Unavailable(f"the reservation store did not answer: {failure}") from failure
    except redis_errors.ResponseError as failure:
        # Failures of the server, not of the request: UNKILLABLE, MISCONF (disk full), NOREPLICAS.
        raise Unavailable(f"the reservation store refused: {failure}") from failure
