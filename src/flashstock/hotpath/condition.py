"""In what condition a server is: what it is, how it is set up, and how its clock goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from flashstock.errors import Unavailable
from flashstock.hotpath.connection import translated_failures


@dataclass(frozen=True, slots=True)
class ServerCondition:
    """Of one Valkey or Redis. ``None`` where it does not say."""

    product: str
    version: str
    is_primary: bool
    round_trip_ms: float
    clock_ahead_ms: float
    """Of this machine's; uncertain by half a round trip."""
    eviction_policy: str | None
    append_only: bool
    append_fsync: str | None
    last_write_failed: bool
    memory_used_bytes: int
    memory_limit_bytes: int
    """0 is none."""


async def condition_of(client: Redis) -> ServerCondition:
    """Ask; nothing is changed.

    Raises:
        Unavailable: the server did not answer.
    """
    with translated_failures():
        await client.ping()  # the connection is made outside of what is timed
        asked_at = time.time()
        seconds, microseconds = await client.time()
        answered_at = time.time()
        told: Mapping[str, Any] = await client.info("everything")
    product = "Valkey" if "valkey_version" in told else "Redis"
    return ServerCondition(
        product=product,
        version=str(told.get("valkey_version") or told["redis_version"]),
        is_primary=told["role"] == "master",
        round_trip_ms=(answered_at - asked_at) * 1_000,
        clock_ahead_ms=(seconds + microseconds / 1e6 - (asked_at + answered_at) / 2) * 1_000,
        eviction_policy=told.get("maxmemory_policy"),
        append_only=bool(told["aof_enabled"]),
        append_fsync=await _append_fsync(client),
        last_write_failed="err" in (told["aof_last_write_status"], told["rdb_last_bgsave_status"]),
        memory_used_bytes=int(told["used_memory"]),
        memory_limit_bytes=int(told.get("maxmemory", 0)),
    )


async def _append_fsync(client: Redis) -> str | None:
    """Hosted servers often keep CONFIG to themselves."""
    try:
        with translated_failures():
            found = await client.config_get("appendfsync")
    except Unavailable:
        return None
    value: Any = found.get("appendfsync")
    return value.decode() if isinstance(value, bytes) else value
