"""What a rebuild restores is what was there, and it answers as it answered before."""

from __future__ import annotations

import asyncio

import pytest

from flashstock import bootstrap
from flashstock.hotpath.position import Position
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
        for shard in range(SHARDS):
            cursor = await node.stores.ledger.cursor(shard)
            assert cursor is not None
            stands_at = (await node.stores.store.lookup(shard, ["-"])).seq
            assert isinstance(stands_at, Position)
            assert (stands_at, stands_at.log_id) == (cursor.seq, cursor.log_id)


@pytest.mark.parametrize("hold_seconds", [60, 7 * 86_400])
async def test_a_long_hold_that_ended_early_is_remembered_until_after_its_deadline(
    valkey_url, database_url, monkeypatch, hold_seconds
):
    """As Redis remembers it: its key must not be free again because Redis was lost."""
    retention_ms = 50
    monkeypatch.setattr(bootstrap, "retention_ms_of", lambda _settings: retention_ms)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("pool", 10, hold_ms=hold_seconds * 1_000)
        await node.create("brief", 10, hold_ms=retention_ms)
        cancelled, sold = await node.hold("pool", "cancelled"), await node.hold("pool", "sold")
        await node.reservations.cancel(cancelled)
        await node.reservations.confirm(sold, "pay")
        await node.hold("brief", "over")
        for _ in range(2):
            await asyncio.sleep(3 * retention_ms / 1_000)
            await node.stores.store.expire("brief", 8)
        await node.is_applied()
        with raw(valkey_url) as client:
            before = dump(client, 0)
            assert len(before.records) == 2
            client.flushall()
        node.gate.lost(0)
        await node.gate.opened(0)
        with raw(valkey_url) as client:
            assert dump(client, 0) == before
        assert (await node.reserve("pool", "buyer-cancelled", 1, "cancelled")).verdict == 1
