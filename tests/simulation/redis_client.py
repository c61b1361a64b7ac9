"""The client of the simulated Redis: the part of redis-py's interface that the product uses.

Every command travels: it can be lost, arrive late, arrive twice as far as its sender can tell, or
be cut off by a server that goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import WatchError

from tests.simulation.loop import Process
from tests.simulation.redis_data import as_bytes
from tests.simulation.redis_network import Bound, Command, RedisNetwork
from tests.simulation.redis_server import Connection


def _raised(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


class RedisClient:
    """What ``redis.asyncio.Redis`` is to one process."""

    def __init__(self, network: RedisNetwork, process: Process) -> None:
        self._network = network
        self._process = process

    async def execute_command(self, *command: Any) -> Any:
        return _raised(await self._network.ask(self._process, [command]))[0]

    async def time(self) -> Any:
        return _typed(b"TIME", await self.execute_command("TIME"))

    async def hget(self, key: str, field: str) -> Any:
        return await self.execute_command("HGET", key, field)

    async def hmget(self, key: str, fields: Sequence[str]) -> Any:
        return await self.execute_command("HMGET", key, *fields)

    async def hscan(self, key: str, position: int = 0, *, count: int | None = None) -> Any:
        at, flat = await self.execute_command("HSCAN", key, position)
        return int(at), dict(zip(flat[0::2], flat[1::2], strict=True))

    async def scan(self, position: int, *, match: str, count: int) -> Any:
        at, found = await self.execute_command("SCAN", position, "MATCH", match)
        return int(at), found

    async def publish(self, channel: str, message: str) -> Any:
        return await self.execute_command("PUBLISH", channel, message)

    async def xtrim(
        self,
        key: str,
        *,
        minid: str | None = None,
        maxlen: int | None = None,
        approximate: bool = True,
    ) -> Any:
        strategy = ("MAXLEN", maxlen) if minid is None else ("MINID", minid)
        return await self.execute_command("XTRIM", key, *strategy)

    async def xread(
        self, streams: dict[str, str], *, count: int, block: int | None = None
    ) -> list[Any]:
        ((key, after),) = streams.items()
        command = ("XREAD", b"COUNT", count, key, after)
        block_s = None if block is None else block / 1000
        replies = await self._network.ask(self._process, [command], block_s=block_s)
        return _as_streams(key, _raised(replies)[0])

    async def xrevrange(self, key: str, *, max: str, count: int) -> list[Any]:  # noqa: A002
        entries = await self.execute_command("XREVRANGE", key, max, count)
        return [_as_pair(entry) for entry in entries]

    async def script_load(self, text: str) -> Any:
        return await self.execute_command("SCRIPT", "LOAD", text)

    async def script_exists(self, *shas: str) -> Any:
        return await self.execute_command("SCRIPT", "EXISTS", *shas)

    async def evalsha(self, sha: str, key_count: int, *rest: Any) -> Any:
        return await self.execute_command("EVALSHA", sha, key_count, *rest)

    def pipeline(self, *, transaction: bool = True) -> Pipeline:
        return Pipeline(self._network, self._process)

    def pubsub(self, *, ignore_subscribe_messages: bool) -> Subscription:
        return Subscription(self._network, self._process)


def _as_pair(entry: Any) -> tuple[bytes, dict[bytes, bytes]]:
    return entry.id, dict(zip(entry.fields[0::2], entry.fields[1::2], strict=True))


def _as_streams(key: str, entries: Sequence[Any]) -> list[Any]:
    return [(key.encode(), [_as_pair(entry) for entry in entries])] if entries else []


class Pipeline:
    """Commands that travel together. After ``watch`` they are bound to one connection."""

    def __init__(self, network: RedisNetwork, process: Process) -> None:
        self._network = network
        self._process = process
        self._queued: list[Command] = []
        self._bound: Bound | None = None
        self._at_once = False

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._queued.clear()

    async def watch(self, key: str) -> None:
        """Bind to the connection that is open now."""
        self._bound = self._network.connection(self._process)
        if not self._bound[1].open:
            raise RedisConnectionError("Connection refused.")
        self._at_once = True

    def multi(self) -> None:
        self._at_once = False

    async def _now(self, *command: Any) -> Any:
        assert self._at_once
        replies = await self._network.ask(self._process, [command], bound=self._bound)
        return _raised(replies)[0]

    async def hmget(self, key: str, fields: Sequence[str]) -> Any:
        return await self._now("HMGET", key, *fields)

    async def script_exists(self, *shas: str) -> Any:
        return await self._now("SCRIPT", "EXISTS", *shas)

    async def xrevrange(self, key: str, *, max: str, count: int) -> list[Any]:  # noqa: A002
        return [_as_pair(entry) for entry in await self._now("XREVRANGE", key, max, count)]

    async def xread(self, streams: dict[str, str], *, count: int, block: None) -> list[Any]:
        ((key, after),) = streams.items()
        return _as_streams(key, await self._now("XREAD", b"COUNT", count, key, after))

    def unlink(self, key: str) -> None:
        self._queued.append(("UNLINK", key))

    def script_load(self, text: str) -> None:
        self._queued.append(("SCRIPT", "LOAD", text))

    def evalsha(self, sha: str, key_count: int, *rest: Any) -> None:
        self._queued.append(("EVALSHA", sha, key_count, *rest))

    def time(self) -> None:
        self._queued.append(("TIME",))

    def zrange(self, key: str, first: int, last: int, *, withscores: bool) -> None:
        self._queued.append(("ZRANGE", key, first, last, "WITHSCORES"))

    async def execute(self) -> list[Any]:
        queued, self._queued = self._queued, []
        if self._bound is not None and not self._bound[1].open:
            raise WatchError("A connection error occurred while watching keys")
        replies = _raised(await self._network.ask(self._process, queued, bound=self._bound))
        return [
            _typed(as_bytes(command[0]), reply)
            for command, reply in zip(queued, replies, strict=True)
        ]


def _typed(name: bytes, reply: Any) -> Any:
    if name == b"TIME":
        return int(reply[0]), int(reply[1])
    if name == b"ZRANGE":
        return [(m, float(score)) for m, score in zip(reply[0::2], reply[1::2], strict=True)]
    return reply


class Subscription:
    """Pub/sub: messages are lost, doubled and overtaken, as on a connection that comes and goes."""

    def __init__(self, network: RedisNetwork, process: Process) -> None:
        self._network = network
        self._process = process
        self._connection: Connection | None = None
        self._messages: list[dict[str, bytes] | None] = []
        self._arrived: asyncio.Event = asyncio.Event()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._connection is not None:
            self._connection.on_close.pop(id(self), None)

    async def subscribe(self, *channels: bytes) -> None:
        server = self._network.server(self._process)
        if not server.up:
            raise RedisConnectionError("Connection refused.")
        self._connection = server.connection
        self._connection.on_close[id(self)] = lambda: self._take(None)
        for channel in channels:
            server.subscribers.setdefault(channel, []).append(self._receive)
        await asyncio.sleep(0)

    def _receive(self, channel: bytes, message: bytes) -> None:
        random, weather = self._network.random, self._network.weather
        if random.random() < weather.news_lost:
            return
        for _ in range(2 if random.random() < weather.news_twice else 1):
            news = {"channel": channel, "data": message}
            self._network.loop.naturally(weather.delay(random), self._take, news)

    def _take(self, news: dict[str, bytes] | None) -> None:
        self._messages.append(news)
        self._arrived.set()

    async def listen(self) -> AsyncIterator[dict[str, bytes]]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            taken, self._messages = self._messages, []
            for news in taken:
                if news is None:
                    raise RedisConnectionError("Connection closed by server.")
                yield news
