"""One connection, many calls in flight.

redis-py gives each call a connection of its own and packs commands in Python: fair for a cache,
but on the hot path that is most of what a script call costs the caller.
Connecting, authenticating, TLS and parsing stay redis-py's; only the queue of answers is ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashstock.hotpath.location import NOT_THE_PRIMARY, Locate, located
from flashstock.hotpath.lost_connection import noticing_losses


class Pipe:
    """Sends calls as they come and hands out answers in that order.

    The first failure of the connection fails everything in flight, and the next call connects
    anew: a call is executed at most once, and nobody is told what somebody else asked.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_ms: bound on connecting, and on every answer.
        locate: asked before every connection where it goes; else to the host in ``url``.
    """

    def __init__(self, url: str, *, timeout_ms: int, locate: Locate | None = None) -> None:
        self._timeout_s = timeout_ms / 1000
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            protocol=2,
        )
        self._pool.connection_class = noticing_losses(self._pool.connection_class)
        if locate is not None:
            self._pool.connection_class = located(self._pool.connection_class, locate)
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def call(self, *command: Any) -> Any:
        """Execute one command once.

        Raises:
            redis.exceptions.ResponseError: the server refused it.
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: no answer; the
                command may have been executed.
        """
        packed = hiredis.pack_command(command)
        connection = self._connection
        if connection is None or not connection.is_connected:
            connection = await self._connect()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(packed, check_health=False)
                return await future
        except TimeoutError:
            await self._drop(connection, RedisTimeoutError("no answer in time"))
            raise RedisTimeoutError("no answer in time") from None
        except asyncio.CancelledError:
            # The answer will come and belongs to this call: its place in the queue stays.
            future.cancel()
            raise
        except Exception:
            future.cancel()  # where sending failed, nobody will ask it how it ended
            raise

    async def aclose(self) -> None:
        """Close the connection; calls in flight fail."""
        if self._connection is not None:
            await self._drop(self._connection, RedisConnectionError("the pipe was closed"))
        await self._pool.aclose()

    async def _connect(self) -> AbstractConnection:
        # The bound covers the queue too: else each of many callers would wait for all before it.
        async with asyncio.timeout(self._timeout_s), self._connecting:
            if self._connection is not None and self._connection.is_connected:
                return self._connection
            fresh: Any = self._pool
            fresh = fresh.make_connection()
            await fresh.connect()
            connection: AbstractConnection = fresh
            self._connection = connection
            self._waiting = deque()
            loop = asyncio.get_running_loop()
            self._reading = loop.create_task(self._read(connection, self._waiting))
            return connection

    async def _read(
        self, connection: AbstractConnection, waiting: deque[asyncio.Future[Any]]
    ) -> None:
        failure: Exception = RedisConnectionError("the connection was lost")
        try:
            while True:
                try:
                    answer = await connection.read_response(disconnect_on_error=False)
                except ResponseError as refusal:
                    future = waiting.popleft()
                    if not future.done():
                        future.set_exception(refusal)
                    if isinstance(refusal, NOT_THE_PRIMARY):
                        raise RedisConnectionError("its server is not the primary") from refusal
                    continue
                future = waiting.popleft()
                if not future.done():
                    future.set_result(answer)
        except (RedisConnectionError, OSError, IndexError) as lost:
            failure = RedisConnectionError(f"the connection was lost: {lost}")
        finally:
            _fail(waiting, failure)
            await connection.disconnect(nowait=True)

    async def _drop(self, connection: AbstractConnection, failure: Exception) -> None:
        if self._connection is connection:
            self._connection = None
            if self._reading is not None:
                self._reading.cancel()
            _fail(self._waiting, failure)
            await connection.disconnect(nowait=True)


def _fail(waiting: deque[asyncio.Future[Any]], failure: Exception) -> None:
    while waiting:
        future = waiting.popleft()
        if not future.done():
            future.set_exception(failure)
