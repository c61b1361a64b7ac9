"""Groups in play while Redis is lost: rebuilt to the letter, each decided once, nobody's money
forgotten.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import redis

from flashstock import bootstrap
from flashstock.errors import FlashstockError, NotRecorded, Overloaded
from flashstock.hotpath import keys
from flashstock.hotpath.group_calls import join
from flashstock.hotpath.scripts import SettleGroupStatus
from flashstock.model.group_rules import GroupDeduct, GroupRules, GroupType
from flashstock.model.ids import digest_of, parse_reservation_id
from flashstock.model.states import PoolState
from flashstock.reconcile.watch import Watch
from flashstock.service.reservations import Answer
from tests.recovery.dump import ShardDump, dump
from tests.recovery.node import Node, eventually, meta, opened, raw, settings_for

SHARDS = 2
PAY, FORM, BRIEF, HOUSE = "pay", "form", "brief", "house"
POOLS = (PAY, FORM, BRIEF, HOUSE)
LIFE_MS = 24 * 3_600_000
BRIEF_MS = 3_600_000


async def open_pools(node: Node) -> None:
    rules = {
        PAY: GroupRules(3, LIFE_MS, seats_per_buyer=2),
        FORM: GroupRules(3, LIFE_MS, deduct=GroupDeduct.FORM, groups_per_buyer=2),
        BRIEF: GroupRules(3, BRIEF_MS, type=GroupType.NEWCOMERS),
        HOUSE: GroupRules(3, BRIEF_MS, deduct=GroupDeduct.FORM, house_max=1),
    }
    for pool, group_rules in rules.items():
        text = group_rules.text
        await node.create(pool, 60, group_buy=text, per_buyer_limit=4, hold_ms=LIFE_MS)


async def brief_ones_end(node: Node) -> None:
    """Their deadline is over, by the only clock that counts."""
    for client, shard in zip(node.stores.servers.clients, range(SHARDS), strict=False):
        seconds, _ = await client.time()
        await client.hset(meta(shard), "clock_ms", seconds * 1_000 + BRIEF_MS + 1_000)


async def pay(node: Node, reservation: str) -> Any:
    """The answer as a caller can tell it by, the time of day apart."""
    try:
        answer = await node.reservations.confirm(reservation, f"pay-{reservation}")
    except FlashstockError as refusal:
        return refusal.code
    assert isinstance(answer, Answer)
    return answer.replayed, answer.view.record, answer.view.order_no


async def trade(node: Node) -> list[str]:
    """Groups in every state, in pools of both modes; every reservation there was."""
    await open_pools(node)
    seats: list[str] = []
    for pool in POOLS:
        seats += await _groups(node, pool)
    await brief_ones_end(node)
    for pool in (BRIEF, HOUSE):
        await eventually(partial(_is_settled, node, pool), "time has decided its groups")
    await node.is_applied()
    return seats


async def _groups(node: Node, pool: str) -> list[str]:
    """One that forms, one with two paid seats and a pending one, one whose opener has left, one
    that everybody has left.
    """
    opener = [await node.seat(pool, f"{pool}-{number}", "open") for number in range(4)]
    joined = [
        await node.seat(pool, f"{pool}-{number}-{n}", opener[number])
        for number in range(3)
        for n in range(2)
    ]
    for seat in (opener[0], *joined[:3], opener[1], opener[2], joined[4]):
        assert isinstance(await pay(node, seat), tuple)
    for left in (opener[2], opener[3]):
        await node.reservations.cancel(left)
    return [*opener, *joined]


async def _is_settled(node: Node, pool: str) -> bool:
    await node.stores.store.expire(pool, 8)
    await node.is_applied()
    shard = node.stores.store.shard_of(pool)
    found = await node.stores.queries.retained_groups(shard, "", 100, 0)
    return not any(group.unsettled for group in found if group.pool == pool)


def dumps(url: str) -> list[ShardDump]:
    with raw(url) as client:
        return [dump(client, shard) for shard in range(SHARDS)]


def dump_of(url: str) -> ShardDump:
    """The only shard."""
    with raw(url) as client:
        return dump(client, 0)


async def lose_everything(node: Node, url: str, shards: int = SHARDS) -> None:
    with raw(url) as client:
        client.flushall()
    for shard in range(shards):
        node.gate.lost(shard)
        await node.gate.opened(shard)


async def states(node: Node) -> dict[str, list[tuple[str, int, int, int]]]:
    """Pool → (state, pending, paid, house) of its groups, in no order."""
    found: dict[str, list[tuple[str, int, int, int]]] = {pool: [] for pool in POOLS}
    for shard in range(SHARDS):
        for row in await node.stores.queries.retained_groups(shard, "", 1_000, 0):
            found[row.pool].append((row.state, row.pending, row.paid, row.house))
    return {pool: sorted(groups) for pool, groups in found.items()}


async def test_groups_of_every_state_are_the_same_after_losing_everything(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as node:
        seats = await trade(node)
        still = [("failed", 0, 0, 0), ("formed", 0, 3, 0), ("open", 1, 1, 0), ("open", 1, 2, 0)]
        over = [("failed", 0, 0, 0)] * 3 + [("formed", 0, 3, 0)]
        helped = [("failed", 0, 0, 0)] * 2 + [("formed", 0, 2, 1), ("formed", 0, 3, 0)]
        assert await states(node) == {PAY: still, FORM: still, BRIEF: over, HOUSE: helped}
        answers = [await pay(node, seat) for seat in seats[:4]]
        before = dumps(valkey_url)
        assert sum(len(shard.groups) for shard in before) == 16
        await lose_everything(node, valkey_url)
        assert dumps(valkey_url) == before
        assert [await pay(node, seat) for seat in seats[:4]] == answers
        assert dumps(valkey_url) == before
        report = await node.reconciler.report()
        assert report["ok"], report


async def test_after_a_rebuild_groups_fill_up_and_end_as_before(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node)
        opener = {pool: await node.seat(pool, f"{pool}-1", "open") for pool in (PAY, FORM)}
        await asyncio.gather(*(pay(node, seat) for seat in opener.values()))
        await node.is_applied()
        await lose_everything(node, valkey_url)
        for pool, group in opener.items():
            second = await node.seat(pool, f"{pool}-2", "match")
            third = await node.seat(pool, f"{pool}-3", "match")
            with pytest.raises(AssertionError, match="GROUP_FULL"):
                await node.seat(pool, f"{pool}-4", group)
            for seat in (second, third):
                assert isinstance(await pay(node, seat), tuple)
        found = await states(node)
        assert found[PAY] == found[FORM] == [("formed", 0, 3, 0)]
        for pool in (PAY, FORM):
            assert (await node.pools.get(pool)).counters.sold == 3
        assert (await node.reconciler.report())["ok"]


async def test_a_group_whose_deadline_passed_while_redis_was_away_is_decided_once(
    valkey_url, database_url
):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node)
        seats = [await node.seat(BRIEF, "1", "open")]
        seats.append(await node.seat(BRIEF, "2", seats[0]))
        for seat in seats:
            assert isinstance(await pay(node, seat), tuple)
        await node.is_applied()
        await lose_everything(node, valkey_url)
        await brief_ones_end(node)
        target = parse_reservation_id(seats[0])
        assert target is not None
        await node.stores.store.settle_group(target)
        await node.is_applied()
        assert (await states(node))[BRIEF] == [("failed", 0, 0, 0)]
        owed = await node.stores.queries.refunds(0, 10)
        assert sorted(row.reservation_id for row in owed) == sorted(seats)
        for seat in seats:
            assert await pay(node, seat) == "refund_due"
        assert len(await node.stores.queries.refunds(0, 10)) == 2
        assert (await node.pools.get(BRIEF)).counters.available == 60
        assert (await node.reconciler.report())["ok"]


async def test_a_seat_is_remembered_as_long_as_its_group(valkey_url, database_url, monkeypatch):
    """However long ago it was paid: its group can't be served or refunded without it."""
    retention_ms = 50
    monkeypatch.setattr(bootstrap, "retention_ms_of", lambda _settings: retention_ms)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        rules = GroupRules(2, LIFE_MS, deduct=GroupDeduct.FORM)
        await node.create("long", 10, group_buy=rules.text, hold_ms=retention_ms)
        opener = await node.seat("long", "1", "open")
        await node.reservations.confirm(opener, "pay-1")
        for _ in range(2):
            await asyncio.sleep(3 * retention_ms / 1_000)
            await node.stores.store.expire("long", 8)
        await node.is_applied()
        with raw(valkey_url) as client:
            before = dump(client, 0)
            assert len(before.records) == 1
            client.flushall()
        node.gate.lost(0)
        await node.gate.opened(0)
        with raw(valkey_url) as client:
            assert dump(client, 0) == before
        last = await node.seat("long", "2", "match")
        await node.reservations.confirm(last, "pay-2")
        assert (await node.pools.get("long")).counters.sold == 2
        assert (await node.reconciler.report())["ok"]


def _one_seat_less(client: redis.Redis, shard: int, digest: str) -> None:
    client.zremrangebylex(keys.group_members(shard, PAY), f"[{digest}a", f"({digest}c")


def _one_paid_more(client: redis.Redis, shard: int, digest: str) -> None:
    packed = client.hget(keys.groups(shard), digest)
    assert isinstance(packed, str)
    client.hset(keys.groups(shard), digest, packed.replace("\t1\t1\t0\t", "\t1\t2\t0\t"))


def _forgotten(client: redis.Redis, shard: int, digest: str) -> None:
    client.hdel(keys.groups(shard), digest)


def _invented(client: redis.Redis, shard: int, digest: str) -> None:
    packed = client.hget(keys.groups(shard), digest)
    client.hset(keys.groups(shard), "x" * 16, str(packed))


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (_one_seat_less, "group_members"),
        (_one_paid_more, "group_paid"),
        (_forgotten, "missing_group"),
        (_invented, "unrecorded_group"),
    ],
)
async def test_what_differs_of_a_group_is_found_and_mended_by_a_rebuild(
    valkey_url, sqlite_url, damage, kind
):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await open_pools(node)
        opener = await node.seat(PAY, "1", "open")
        await node.seat(PAY, "2", opener)
        await pay(node, opener)
        await node.is_applied()
        assert (await node.reconciler.report())["groups_checked"] == 2
        before = dump_of(valkey_url)
        with raw(valkey_url) as client:
            damage(client, 0, opener.rpartition("~")[2])
        report = await node.reconciler.report()
        assert not report["ok"]
        assert [found["kind"] for found in report["differences"]] == [kind]
        assert report["differences"][0]["remedy"] == "rebuild the shard from SQL"
        if kind != "unrecorded_group":
            watch = Watch(node.stores.store, node.stores.queries, node.stores.proof)
            found = await watch.round()
            assert [paused["pool"] for paused in found["paused"]] == [PAY]
            assert (await node.pools.get(PAY)).rules.state is PoolState.PAUSED
            await node.pools.set_state(PAY, PoolState.OPEN)
        mended = await node.reconciler.repair(dry_run=False)
        assert mended["pools"] == [{"pool": PAY, "remedy": "rebuild the shard from SQL"}]
        await lose_everything(node, valkey_url, 1)
        assert dump_of(valkey_url).groups == before.groups
        assert (await node.reconciler.report())["ok"]


async def test_a_large_group_that_failed_is_settled_to_its_end_after_a_rebuild(
    valkey_url, sqlite_url
):
    """Its seats are given back in bounded steps, and Redis is lost between two of them."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        store = node.stores.store
        rules = GroupRules(300, BRIEF_MS)
        await node.create("large", 300, group_buy=rules.text, hold_ms=LIFE_MS)
        group = await node.seat("large", "opener", "open")
        digests = [digest_of("seat", str(number)) for number in range(200)]
        for some in (digests[:128], digests[128:]):
            columns = ([f"b-{one}" for one in some], ["1"] * len(some))
            await store.take_seats(
                "large", len(some), some, *columns, [join(group[-16:])] * len(some)
            )
        paying = [group, *(f"large~{digest}" for digest in digests[:149])]
        assert all(await asyncio.gather(*(pay(node, seat) for seat in paying)))
        await brief_ones_end(node)
        target = parse_reservation_id(group)
        assert target is not None
        assert (await store.settle_group(target))[0] is SettleGroupStatus.MORE
        await node.is_applied()
        (row,) = await node.stores.queries.groups_by_ids([group])
        assert (row.state, row.pending + row.paid) == ("failed", 201 - 128)
        await lose_everything(node, valkey_url, 1)
        assert (await node.reconciler.report())["ok"]
        await brief_ones_end(node)

        async def is_settled() -> bool:
            await store.expire("large", 8)
            await node.is_applied()
            (row,) = await node.stores.queries.groups_by_ids([group])
            return not row.unsettled

        await eventually(is_settled, "every seat is given back")
        assert (await node.pools.get("large")).counters.available == 300
        assert len(await node.stores.queries.refunds(0, 1_000)) == 150
        assert (await node.reconciler.report())["ok"]


async def test_a_quarantined_seat_is_resolved_once_a_rebuild_has_dropped_it(valkey_url, sqlite_url):
    """SQL was changed behind our back: its group is said to be over."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await open_pools(node)
        group = await node.seat(PAY, "1", "open")
        await _sql(node, "UPDATE groups SET state = 'failed'")
        with pytest.raises(NotRecorded):
            await node.seat(PAY, "2", group)
        await _sql(node, "UPDATE groups SET state = 'open'")
        (event,) = await node.stores.queries.quarantined(0, 10)
        with pytest.raises(Overloaded, match="rebuild"):
            await node.reconciler.resolve(event.id)
        await lose_everything(node, valkey_url, 1)
        assert (await node.reconciler.resolve(event.id)).resolved_at_ms
        assert (await node.reconciler.report())["ok"]
        await node.pools.set_state(PAY, PoolState.OPEN)
        await node.seat(PAY, "3", group)
        assert (await node.reconciler.report())["ok"]


async def _sql(node: Node, statement: str) -> None:
    async with node.stores.engine.begin() as connection:
        await connection.exec_driver_sql(statement)
