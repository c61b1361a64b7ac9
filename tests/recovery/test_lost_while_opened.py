"""A shard that is lost once more in the moment in which it is opened."""

from __future__ import annotations

from tests.recovery.node import opened, settings_for

POOL = "pool"


async def test_it_is_opened_again_for_those_who_wait_for_commits_too(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        settle = node.applied.settle
        losses = [0]

        async def settle_and_lose(shard: int) -> None:
            await settle(shard)
            while losses:
                node.gate.lost(losses.pop())

        node.applied.settle = settle_and_lose  # type: ignore[method-assign]
        node.gate.lost(0)
        await node.gate.opened(0)
        assert not losses
        assert await node.hold(POOL, "held")
