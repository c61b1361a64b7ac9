"""A shard's slot moves to another node of the cluster while the service runs."""

from __future__ import annotations

import asyncio
from functools import partial

from flashstock.errors import Unavailable
from flashstock.hotpath import keys
from flashstock.model.ids import shard_of
from tests.failover.valkeys import Cluster, Server, eventually
from tests.recovery.node import Node, opened, settings_for
from tests.recovery.node import eventually as comes_true

SHARDS = 3
STOCK = 100


def move(cluster: Cluster, shard: int, target: Server) -> None:
    """As an operator does it: announce, carry the keys over, and tell everybody."""
    source = cluster.primary_of(shard)
    slot = source.ask("CLUSTER", "KEYSLOT", keys.shard_tag(shard))
    source_id, target_id = (one.ask("CLUSTER", "MYID") for one in (source, target))
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while found := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *found)
    for server in (target, source):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


async def holds(node: Node, pools: list[str], name: str) -> set[str]:
    return {await node.hold(pool, f"{name}-{pool}") for pool in pools}


async def test_a_shard_is_found_where_it_went(cluster, sqlite_url):
    settings = await settings_for(cluster.url, sqlite_url, shard_count=SHARDS)
    async with opened(settings) as node:
        pools = [
            next(name for name in map(str, range(1_000)) if shard_of(name, SHARDS) == shard)
            for shard in range(SHARDS)
        ]
        for pool in pools:
            await node.create(pool, STOCK)
        held = await holds(node, pools, "before")
        before = [node.stores.store.generation(shard) for shard in range(SHARDS)]

        home = cluster.primary_of(0)
        target = next(one for one in cluster.data[:3] if one is not home)
        await asyncio.to_thread(move, cluster, 0, target)
        await asyncio.to_thread(
            eventually, lambda: cluster.primary_of(0) is target, "everybody knows of the move"
        )
        await comes_true(partial(is_open, node, pools[0]), "the shard is open elsewhere")
        held |= await holds(node, pools, "after")

        after = [node.stores.store.generation(shard) for shard in range(SHARDS)]
        assert int(str(after[0])) > int(str(before[0]))
        assert after[1:] == before[1:], "nobody disturbed the shards that stayed"
        await node.is_applied()
        report = await node.reconciler.report()
        assert report["ok"], report
        assert report["differences"] == []
        stored = {
            row.id
            for shard in range(SHARDS)
            for row in await node.stores.queries.open_reservations(shard, "", 1_000)
        }
        assert stored == held


async def is_open(node: Node, pool: str) -> bool:
    try:
        await node.pools.get(pool)
    except Unavailable:
        return False
    return True
