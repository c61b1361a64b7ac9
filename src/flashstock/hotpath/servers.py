"""One process's connections to the reservation store, by shard.

At one address and behind sentinels all shards share their connections. In a cluster each shard has
its own, because it may move without the others; whatever is asked of a shard goes to its node.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial

from redis.asyncio import Redis

from flashstock.hotpath.connection import connect, connect_for_tailing
from flashstock.hotpath.location import Locate, Locator, locator_for
from flashstock.hotpath.pipe import Pipe
from flashstock.model.addresses import NOWHERE, FoundBy, StoreAddress, parse_store_address


@dataclass(frozen=True, slots=True)
class Servers:
    """Connections by shard. None is opened before it is used."""

    address: StoreAddress
    timeout_ms: int
    clients: Sequence[Redis]
    tailing: Sequence[Redis]
    """For blocking reads and subscriptions."""
    pipes: Sequence[Pipe]
    locator: Locator | None

    async def every_server(self) -> AsyncGenerator[tuple[str, Redis]]:
        """Each server that is a primary of ours or may become one, with a name for it.

        Raises:
            redis.exceptions.ConnectionError: nobody says which there are.
        """
        if self.locator is None:
            yield "the store", self.clients[0]
            return
        for host, port in await self.locator.servers():
            name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            url = self.address.url.replace(NOWHERE, name, 1)
            async with connect(url, timeout_ms=self.timeout_ms) as client:
                yield name, client

    async def close(self) -> None:
        """Close every connection; calls in flight fail."""
        for pipe in dict.fromkeys(self.pipes):
            await pipe.aclose()
        for client in dict.fromkeys((*self.clients, *self.tailing)):
            await client.aclose()
        if self.locator is not None:
            await self.locator.aclose()


def connect_servers(url: str, shard_count: int, *, timeout_ms: int, block_ms: int) -> Servers:
    """Connect one process to wherever its shards are. The caller closes what it gets.

    Args:
        url: as ``FLASHSTOCK_REDIS_URL``.
        timeout_ms: bound on connecting and on every reply.
        block_ms: how long a read of the log may wait for something to come.
    """
    address = parse_store_address(url)
    locator = locator_for(address, timeout_ms / 1000)
    in_a_cluster = address.found_by is FoundBy.CLUSTER
    places = shard_count if in_a_cluster else 1
    tails = 1 if in_a_cluster else shard_count
    clients, tailing, pipes = [], [], []
    for shard in range(places):
        locate: Locate | None = partial(locator.locate, shard) if locator is not None else None
        clients.append(connect(address.url, timeout_ms=timeout_ms, locate=locate))
        pipes.append(Pipe(address.url, timeout_ms=timeout_ms, locate=locate))
        tailing.append(
            connect_for_tailing(
                address.url,
                timeout_ms=timeout_ms,
                block_ms=block_ms,
                connections_max=tails + 1,  # a writer for each log, and one subscription
                locate=locate,
            )
        )
    shared = shard_count // places
    return Servers(address, timeout_ms, clients * shared, tailing * shared, pipes * shared, locator)
