"""How much memory the servers use, and how much they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from flashstock.hotpath.connection import translated_failures


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """Of one server, named by the first shard that lives there. A limit of 0 is none."""

    shard: int
    used_bytes: int
    limit_bytes: int


async def memory_of(clients: Sequence[Redis]) -> list[ServerMemory]:
    """Ask each server once.

    Args:
        clients: by shard; shards of one server share one.

    Raises:
        Unavailable: a server did not answer.
    """
    found = []
    for client in dict.fromkeys(clients):
        with translated_failures():
            told = await client.info("memory")
        used, limit = int(told["used_memory"]), int(told.get("maxmemory", 0))
        found.append(ServerMemory(list(clients).index(client), used, limit))
    return found
