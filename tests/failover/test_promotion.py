"""A replica that is behind takes the primary's place, under a crowd that buys.

It provably lacks holds that buyers were told of: replication is cut before they are granted.
"""

from __future__ import annotations

import asyncio
from functools import partial

from flashstock.model.ids import parse_reservation_id
from tests.failover.selling import Sale, now, selling
from tests.failover.valkeys import ManyServers, Server, eventually

LATE = 20
"""Acknowledged holds that no replica knows."""
UNWRITTEN_S = 0.3
"""The crowd asks for this long while nobody commits."""


async def fall_behind(many: ManyServers, sale: Sale, shard: int) -> Server:
    """Let a shard's replicas miss what its primary grants. Returns the primary."""
    primary = many.primary_of(shard)
    await sale.is_open_in([shard])
    await asyncio.to_thread(primary.cut_replication)
    replicas = many.replicas_of(primary)
    assert replicas
    late = 0
    while late < LATE:
        for order in await sale.acknowledged_more(shard, 5):
            target = parse_reservation_id(order.reservation)
            assert target is not None
            assert primary.has(shard, target.digest)
            # What was decided just before the cut and answered after it may be known to some.
            late += not any(replica.has(shard, target.digest) for replica in replicas)
    return primary


async def kill_before_the_commit(sale: Sale, primary: Server) -> float:
    """Kill it with decisions that SQL does not have, and nobody else. Returns the moment."""
    with sale.writer_stopped():
        await asyncio.sleep(UNWRITTEN_S)
        killed_at = now()
        primary.kill()
    return killed_at


async def is_replaced(many: ManyServers, shard: int, old: Server) -> None:
    def replaced() -> bool:
        return many.primary_of(shard) is not old

    await asyncio.to_thread(eventually, replaced, "a replica is promoted")


async def test_sentinel_promotes_a_replica_that_is_behind(sentinels, tmp_path):
    async with selling(sentinels, tmp_path) as sale:
        old = await fall_behind(sentinels, sale, 0)
        killed_at = await kill_before_the_commit(sale, old)
        await is_replaced(sentinels, 0, old)
        await sale.is_open_in([0])
        lossy_until = now()
        sale.say_how_long("the primary behind sentinels was killed", killed_at)

        # It comes back with more than the new one had, and is a primary in its own eyes.
        await asyncio.to_thread(old.start)
        assert old.replication()["role"] == "master"
        await sale.is_open_in([0])
        demoted = partial(_is_replica, old)
        await asyncio.to_thread(eventually, demoted, "the old primary is a replica")
        await sale.is_open_in([0])
        await sale.check(lossy_until)
        assert sentinels.primary_of(0) is not old


async def test_a_cluster_promotes_a_replica_that_is_behind(cluster, tmp_path):
    """One node of three dies; the shards of the others go on."""
    shards = range(3)
    async with selling(cluster, tmp_path, shard_count=len(shards)) as sale:
        homes = {shard: cluster.primary_of(shard) for shard in shards}
        assert len({home.port for home in homes.values()}) > 1, "the shards are spread"
        old = await fall_behind(cluster, sale, 0)
        others = [shard for shard in shards if homes[shard] is not old]
        killed_at = await kill_before_the_commit(sale, old)
        await sale.is_open_in(others)
        await is_replaced(cluster, 0, old)
        await sale.is_open_in(shards)
        lossy_until = now()
        sale.say_how_long("a node of a cluster was killed", killed_at)

        await asyncio.to_thread(old.start)
        demoted = partial(_is_replica, old)
        await asyncio.to_thread(eventually, demoted, "the old primary is a replica")
        await sale.is_open_in(shards)
        await sale.check(lossy_until)


def _is_replica(server: Server) -> bool:
    return bool(server.replication()["role"] == "slave")
