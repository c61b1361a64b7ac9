"""``fast`` pools: what a promotion may take, and that it takes nothing else."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from flashstock.errors import Unavailable, UnknownReservation
from flashstock.hotpath.scripts import Verdict
from flashstock.model.ids import parse_reservation_id
from flashstock.model.states import Durability, ReservationState
from tests.failover.valkeys import eventually
from tests.recovery.node import Node, opened, settings_for

POOL = "fast"
STOCK = 10
LOST = 4


async def insisted(ask, what: str):
    """The answer, once there is one; a 503 is asked again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_a_promotion_takes_unconfirmed_fast_holds_and_no_more(sentinels, sqlite_url):
    """The writer had not read them and no replica has them: both must fail at once."""
    settings = await settings_for(sentinels.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK, durability=Durability.FAST)
        kept = await node.hold(POOL, "kept")
        sold = await node.hold(POOL, "sold")
        await node.reservations.confirm(sold, "pay-sold")
        await node.is_applied()

        old = sentinels.primary_of()
        old.cut_replication()
        await node.stop_writing()
        lost = [await node.hold(POOL, f"lost-{number}") for number in range(LOST)]
        for reservation in lost:
            target = parse_reservation_id(reservation)
            assert target is not None
            assert not any(one.has(0, target.digest) for one in sentinels.replicas_of(old))
        old.kill()
        await asyncio.to_thread(
            eventually, lambda: sentinels.primary_of() is not old, "a replica is promoted"
        )
        node.write()

        for reservation in lost:
            with pytest.raises(UnknownReservation):
                await insisted(partial(node.reservations.get, reservation), "it is asked for")
        assert (await node.reservations.get(kept)).record.state is ReservationState.HELD
        assert (await node.reservations.get(sold)).record.state is ReservationState.CONFIRMED
        await is_sold_once(node, lost)


async def is_sold_once(node: Node, lost: list[str]) -> None:
    """Their units are free again, the same key takes them again, and never more than there are."""
    counters = (await node.pools.get(POOL)).counters
    assert (counters.held, counters.sold) == (1, 1)
    assert await node.hold(POOL, "lost-0") == lost[0]
    verdicts = [
        (await node.reserve(POOL, f"late-{number}", 1, f"late-{number}")).verdict
        for number in range(STOCK)
    ]
    assert verdicts.count(Verdict.HELD) == STOCK - 3
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report
    assert report["differences"] == []
