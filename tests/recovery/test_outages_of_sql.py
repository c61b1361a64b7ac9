"""What a recovery waits for, and what befalls it, takes no more time from buyers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import update

from flashstock.hotpath import keys
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import cursors
from tests.recovery.node import Node, opened, raw, settings_for
from tests.recovery.story import lose_the_scripts
from tests.recovery.test_outages import (
    HOUR_MS,
    POOL,
    agree,
    come_back,
    deadline_of,
    go_away,
    postponed,
)


@asynccontextmanager
async def lost(valkey_url: str, database_url: str) -> AsyncIterator[tuple[Node, str, int]]:
    """A node that is to recover its shard; a hold in it, and the deadline that this was told."""
    async with opened(await settings_for(valkey_url, database_url)) as node:
        await node.create(POOL, 10, hold_ms=60_000)
        held = await node.hold(POOL, "held")
        await node.is_applied()
        await node.stop_writing()
        with raw(str(node.settings.redis_url)) as client:
            lose_the_scripts(client)
        yield node, held, await deadline_of(node, held)


async def test_what_the_recovery_waited_for_sql_is_given_back_too(valkey_url, database_url):
    """A shard may have been taken over long before SQL answers again."""
    async with lost(valkey_url, database_url) as (node, held, told_ms):
        waiting = meanwhile(
            node, lambda meta: {**meta, "clock_ms": int(meta["clock_ms"]) + HOUR_MS}
        )
        await come_back(node)
        assert not waiting, "it was recovered"
        (given_back,) = await postponed(node)
        assert given_back.by_ms >= HOUR_MS
        assert await deadline_of(node, held) == told_ms + given_back.by_ms
        await agree(node)


async def test_the_clock_of_another_data_set_gives_nothing_back(valkey_url, database_url):
    """It took the place of the one that was taken over, and is not recovered yet."""
    async with lost(valkey_url, database_url) as (node, held, told_ms):
        waiting = meanwhile(node, lambda meta: {"clock_ms": int(meta["clock_ms"]) + HOUR_MS})
        await come_back(node)
        assert not waiting, "it was recovered"
        assert await postponed(node) == []
        assert await deadline_of(node, held) == told_ms
        await agree(node)


async def test_an_outage_in_the_midst_of_a_recovery_is_given_back_too(
    valkey_url, database_url, monkeypatch
):
    """A machine that sleeps for an hour wakes with a lease that has run out."""
    async with lost(valkey_url, database_url) as (node, held, told_ms):
        generation = await node.stores.ledger.opened_generation(0)
        open_shard, naps = node.recoverer._rebuilder.open, [HOUR_MS]

        async def open_after_a_nap(shard: int, *arguments: Any) -> None:
            if naps:
                await go_away(node, naps.pop(), lose_the_scripts)
                async with writing(node.stores.engine) as connection:
                    await connection.execute(update(cursors).values(recovery_until_ms=0))
            await open_shard(shard, *arguments)

        monkeypatch.setattr(node.recoverer._rebuilder, "open", open_after_a_nap)
        await come_back(node)
        assert await node.stores.ledger.opened_generation(0) == generation + 2
        (given_back,) = await postponed(node)
        assert given_back.by_ms >= HOUR_MS
        assert await deadline_of(node, held) == told_ms - HOUR_MS + given_back.by_ms
        await agree(node)


def meanwhile(node: Node, change: Callable[[dict[str, str]], dict[str, Any]]) -> list[Any]:
    """Let the shard's own record become another one, once, after it was taken over.

    Returns:
        What has not been done yet.
    """
    is_followed, changes = node.recoverer._is_followed, [change]

    async def changed(shard: int, *arguments: Any) -> bool:
        with raw(str(node.settings.redis_url)) as client:
            key = keys.shard_meta(shard)
            while changes:
                meta = changes.pop()(client.hgetall(key))
                client.delete(key)
                client.hset(key, mapping=meta)
        return await is_followed(shard, *arguments)

    node.recoverer._is_followed = changed  # type: ignore[method-assign, assignment]
    return changes
