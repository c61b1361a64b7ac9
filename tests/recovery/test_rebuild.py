"""What a rebuild restores is what was there, and it answers as it answered before."""

from __future__ import annotations

from tests.recovery.dump import ShardDump, dump
from tests.recovery.node import Node, opened, raw, settings_for
from tests.recovery.trading import POOLS, trade

SHARDS = 3


def dumps(url: str) -> list[ShardDump]:
    with raw(url) as client:
        return [dump(client, shard) for shard in range(SHARDS)]


async def reopened(node: Node) -> None:
    """Wait for the recovery that the next call sets off."""
    for shard in range(SHARDS):
        node.gate.lost(shard)
        await node.gate.opened(shard)


async def test_a_day_of_trade_is_the_same_after_losing_everything(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as node:
        day = await trade(node)
        assert len({node.stores.store.shard_of(pool) for pool in POOLS}) == SHARDS
        answers = await day.asked_again(node)
        before = dumps(valkey_url)
        assert all(shard.records and shard.deadlines and shard.payments for shard in before)
        assert any(shard.commands for shard in before)
        with raw(valkey_url) as client:
            client.flushall()
        await reopened(node)
        assert dumps(valkey_url) == before
        assert await day.asked_again(node) == answers
        assert dumps(valkey_url) == before
        report = await node.reconciler.report()
        assert report["ok"], report
