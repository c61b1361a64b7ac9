"""A limit over all pools of a group: under concurrency, after a rebuild, and mended."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.scripts import Verdict
from tests.recovery.dump import dump
from tests.recovery.node import Node, opened, raw, settings_for

SHARDS = 3
ITEMS = ("kit:boots", "kit:laces", "kit:socks")
LIMIT = 5


async def wishes(node: Node, buyer: str, times: int) -> list[Verdict]:
    """The buyer asks for a unit of every item, so many times, all at once."""
    asked = [(pool, f"{buyer}-{pool}-{number}") for number in range(times) for pool in ITEMS]
    answers = await asyncio.gather(*(node.reserve(pool, buyer, 1, key) for pool, key in asked))
    return [Verdict(answer.verdict) for answer in answers]


async def open_group(node: Node) -> None:
    for pool in ITEMS:
        await node.create(pool, 1_000, per_buyer_limit=LIMIT)
    # Of the same name, and none of the group's business.
    await node.create("kit", 1_000, per_buyer_limit=LIMIT)


@pytest.fixture
async def node(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as opened_node:
        await open_group(opened_node)
        yield opened_node


async def lose_everything(node: Node, valkey_url: str) -> None:
    with raw(valkey_url) as client:
        client.flushall()
    for shard in range(SHARDS):
        node.gate.lost(shard)
        await node.gate.opened(shard)


async def test_the_limit_holds_however_many_pools_are_asked_at_once(node, valkey_url):
    buyers = [f"buyer {number}" for number in range(8)]
    for told in await asyncio.gather(*(wishes(node, buyer, 4) for buyer in buyers)):
        assert sorted(told) == [Verdict.HELD] * LIMIT + [Verdict.BUYER_LIMIT] * (12 - LIMIT)
    for number in range(LIMIT):
        await node.hold("kit", f"beside-{number}", buyer="buyer 0")
    report = await node.reconciler.report()
    assert report["ok"], report


async def test_the_limit_is_the_same_after_a_rebuild(node, valkey_url):
    held = [await node.hold(pool, f"{pool}-{n}", buyer="ann") for pool in ITEMS for n in range(1)]
    await node.hold("kit", "beside", buyer="ann", quantity=4)
    await node.reservations.confirm(held[0], "pay")
    await node.reservations.cancel(held[1])
    await node.hold("kit:socks", "two", buyer="ann", quantity=2)
    await node.is_applied()
    with raw(valkey_url) as client:
        before = [dump(client, shard) for shard in range(SHARDS)]
    await lose_everything(node, valkey_url)
    with raw(valkey_url) as client:
        assert [dump(client, shard) for shard in range(SHARDS)] == before
    (counted,) = (shard.buyers["kit:"] for shard in before if "kit:" in shard.buyers)
    assert counted == {"ann": "4"}
    told = [(await node.reserve(pool, "ann", 2, f"more-{pool}")).verdict for pool in ITEMS]
    assert told == [Verdict.BUYER_LIMIT] * 3
    told = [(await node.reserve(pool, "ann", 1, f"last-{pool}")).verdict for pool in ITEMS]
    assert told == [Verdict.HELD, Verdict.BUYER_LIMIT, Verdict.BUYER_LIMIT]


async def test_repair_counts_the_group_s_buyers_anew(node, valkey_url):
    await node.hold("kit:boots", "one", buyer="ann", quantity=2)
    await node.hold("kit:laces", "two", buyer="ann", quantity=1)
    await node.hold("kit:laces", "three", buyer="bob", quantity=1)
    await node.is_applied()
    shard = node.stores.store.shard_of("kit:boots")
    buyers = keys.buyers(shard, "kit:boots")
    with raw(valkey_url) as client:
        client.hset(buyers, mapping={"ann": 1, "nobody": 2})
        client.hincrby(keys.pool(shard, "kit:boots"), "held", -1)
    mended = await node.reconciler.repair(dry_run=False)
    assert [pool["pool"] for pool in mended["pools"]] == ["kit:boots"]
    with raw(valkey_url) as client:
        assert client.hgetall(buyers) == {"ann": "3", "bob": "1"}
    assert (await node.reconciler.report())["ok"]
