"""Finding the primary before every new connection: redis-py asks, and nothing is remembered long.

A connection never changes its server. One that learns that its server is not the primary of what
was asked (READONLY, MOVED, ASK, CLUSTERDOWN) is closed once it is free; the next one asks again.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from flashstock.hotpath import keys
from flashstock.hotpath.lost_connection import noticing_losses
from flashstock.model.addresses import FoundBy, StoreAddress

logger = logging.getLogger(__name__)

Place = tuple[str, int]
"""Host and port."""
Locate = Callable[[], Awaitable[Place]]
"""Says where the next connection goes. Raises redis-py's ``ConnectionError`` where nobody knows."""

LOOK_INTERVAL_S: Final = 0.1
"""Many connections that break at once, or are refused one after the other, ask only so often."""
ASKED_IN_TIMEOUT: Final = 3
"""So many who do not answer may be asked in the time that a connection may take."""
NOT_THE_PRIMARY: Final = (
    redis_errors.ReadOnlyError,
    redis_errors.AskError,  # MOVED too
    redis_errors.ClusterDownError,
)
"""Refusals after which a connection is no use."""


def located(connection_class: type[Any], locate: Locate) -> type[Any]:
    """The class of connections that ask where to go."""
    return type(
        f"Located{connection_class.__name__}",
        (_Located, connection_class),
        {"locate": staticmethod(locate)},
    )


class _Located:
    """Goes where it is told, each time it connects."""

    locate: Locate
    host: str
    port: int

    async def _connect(self) -> None:
        self.host, self.port = await self.locate()
        parent: Any = super()
        await parent._connect()  # noqa: SLF001 (that of our own class)


class Locator(ABC):
    """Knows where each shard's primary is.

    One look at a time, which all who wait share, and which is not cut off where one gives up.
    """

    def __init__(self) -> None:
        self._looking: asyncio.Task[None] | None = None
        self._looked_at_s = float("-inf")

    async def locate(self, shard: int) -> Place:
        """Where the primary of a shard is now, or was ``LOOK_INTERVAL_S`` ago.

        Raises:
            redis.exceptions.ConnectionError: nobody who was asked knows of one.
        """
        loop = asyncio.get_running_loop()
        if self._looking is None and loop.time() - self._looked_at_s >= LOOK_INTERVAL_S:
            self._looking = loop.create_task(self._look_once())
            self._looking.add_done_callback(_retrieve)
        if self._looking is not None:
            await asyncio.shield(self._looking)
        return self._place(shard)

    async def aclose(self) -> None:
        """Close what was used to ask."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._close()

    async def _look_once(self) -> None:
        try:
            await self._look()
            self._looked_at_s = asyncio.get_running_loop().time()
        except Exception as failure:
            logger.debug("nobody names the primary: %s", failure)
            # What redis-py adds behind the colon is how it is connected, at length.
            reason = str(failure).partition(" : ")[0]
            raise redis_errors.ConnectionError(f"nobody names the primary: {reason}") from failure
        finally:
            self._looking = None

    @abstractmethod
    async def _look(self) -> None: ...

    @abstractmethod
    def _place(self, shard: int) -> Place: ...

    @abstractmethod
    async def _close(self) -> None: ...

    @abstractmethod
    async def servers(self) -> list[Place]:
        """Every server that is, or may become, a primary of ours."""


def _retrieve(looking: asyncio.Task[None]) -> None:
    """Whoever asked may have gone; asyncio complains where nobody hears of a failure."""
    if not looking.cancelled():
        looking.exception()


class SentinelLocator(Locator):
    """One primary for all shards, which sentinels watch."""

    def __init__(self, address: StoreAddress, timeout_s: float) -> None:
        super().__init__()
        self._service = address.service
        own = _options(address.url, timeout_s)
        for name in ("username", "password"):  # those in the URL are for the servers
            own.pop(name, None)
        own |= address.sentinel_credentials
        sentinel: Any = Sentinel  # (it has no types)
        self._sentinel = sentinel(address.hosts, sentinel_kwargs=own)
        for one in self._sentinel.sentinels:
            pool = one.connection_pool
            pool.connection_class = noticing_losses(pool.connection_class)
        self._found: Place = ("", 0)

    async def _look(self) -> None:
        self._found = await self._sentinel.discover_master(self._service)

    def _place(self, shard: int) -> Place:  # noqa: ARG002 (all shards are in one place)
        return self._found

    async def servers(self) -> list[Place]:
        await self.locate(0)
        replicas = await self._sentinel.discover_slaves(self._service)
        return [self._found, *((host, int(port)) for host, port in replicas)]

    async def _close(self) -> None:
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class ClusterLocator(Locator):
    """Each shard is where its hash tag's slot is. redis-py's cluster client is used as a map only:
    its commands go astray in silence, ours must be sent once.
    """

    def __init__(self, address: StoreAddress, timeout_s: float) -> None:
        super().__init__()
        self._hosts = address.hosts
        self._options = _options(address.url, timeout_s)
        self._map = self._new_map()

    def _new_map(self) -> RedisCluster:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._hosts],
            require_full_coverage=False,  # a shard is served by its node, whatever others do
            **self._options,
        )

    async def _look(self) -> None:
        try:
            await self._map.nodes_manager.initialize()
        except Exception:
            # Those that it knows are gone. Perhaps those that were configured are back.
            await self._close()
            self._map = self._new_map()
            raise

    def _place(self, shard: int) -> Place:
        try:
            node = self._map.get_node_from_key(keys.shard_tag(shard))
        except redis_errors.RedisError as failure:
            raise redis_errors.ConnectionError(f"no node has shard {shard}: {failure}") from failure
        assert node is not None
        return node.host, int(node.port)

    async def servers(self) -> list[Place]:
        await self.locate(0)
        return [(node.host, int(node.port)) for node in self._map.get_nodes()]

    async def _close(self) -> None:
        await self._map.nodes_manager.aclose()
        await self._map.nodes_manager.aclose("startup_nodes")


def locator_for(address: StoreAddress, timeout_s: float) -> Locator | None:
    """Whoever finds what is there, or ``None`` where there is nothing to be found."""
    if address.found_by is FoundBy.SENTINEL:
        return SentinelLocator(address, timeout_s)
    if address.found_by is FoundBy.CLUSTER:
        return ClusterLocator(address, timeout_s)
    return None


def _options(url: str, timeout_s: float) -> dict[str, Any]:
    """How to connect to those who are asked: as to the servers, but with less patience."""
    given: dict[str, Any] = dict(parse_url(url))
    kept = {
        name: value
        for name, value in given.items()
        if name in ("username", "password") or name.startswith("ssl_")
    }
    return {
        **kept,
        "ssl": given.get("connection_class") is SSLConnection,
        "socket_timeout": timeout_s / ASKED_IN_TIMEOUT,
        "socket_connect_timeout": timeout_s / ASKED_IN_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
