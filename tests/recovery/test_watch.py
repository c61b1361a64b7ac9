"""The watch on real servers: it sees what is broken, pauses it, and lets the rest sell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flashstock import errors
from flashstock.hotpath import keys
from flashstock.ledger.journal_queries import Subject
from flashstock.model.states import Durability, PoolState
from flashstock.reconcile import settling
from flashstock.reconcile.watch import LAST_ROUND, RESERVATIONS_PER_ROUND, Watch
from tests.recovery.node import Node, eventually, opened, raw, settings_for


def watch_on(node: Node, reservations_max: int = RESERVATIONS_PER_ROUND) -> Watch:
    stores = node.stores
    return Watch(stores.store, stores.queries, stores.proof, reservations_max=reservations_max)


async def state_of(node: Node, pool: str) -> PoolState:
    return (await node.pools.get(pool)).rules.state


async def reason_in_journal(node: Node, pool: str) -> str:
    """The reason of the pool's last event, as SQL has it."""
    await node.is_applied()
    shard = node.stores.store.shard_of(pool)
    entries = await node.stores.queries.latest_entries(shard, [Subject(pool)])
    assert entries[Subject(pool)].kind == "configured"
    async with node.stores.engine.connect() as connection:
        payload = await connection.exec_driver_sql(
            f"SELECT payload FROM journal WHERE seq = {entries[Subject(pool)].seq}"
        )
        fields: list[str] = payload.scalar_one().split("\t")
    return fields[fields.index("reason") + 1]


async def test_what_is_whole_is_ok_and_stays_on_sale(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=2)
    async with opened(settings) as node:
        for pool in ("a", "b"):
            await node.create(pool, 5)
        held = [await node.hold(pool, f"{pool}{n}") for pool in ("a", "b") for n in range(4)]
        await node.reservations.confirm(held[0], "pay")
        await node.reservations.cancel(held[1])
        found = await watch_on(node).round()
        assert found["ok"], found
        assert (found["pools_checked"], found["cycles"], found["paused"]) == (2, 1, [])
        assert found["reservations_checked"] == 6 + 8, "SQL's holds, and all Redis remembers"


async def test_a_lost_hold_pauses_its_pool_and_no_other(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        for pool in ("a", "b"):
            await node.create(pool, 5)
        lost = await node.hold("a", "lost")
        await node.hold("b", "kept")
        watch = watch_on(node)
        assert (await watch.round())["ok"]
        with raw(valkey_url) as client:
            client.hdel(keys.reservations(0), lost.partition("~")[2])
        found = await watch.round()
        assert (found["ok"], found["lost"], found["differences_count"]) == (False, 1, 1)
        (difference,) = found["differences"]
        assert (difference["kind"], difference["subject"]) == ("missing", lost)
        assert difference["remedy"] == "restore the reservation from SQL"
        stored = await node.stores.queries.reservation(lost)
        assert stored is not None
        assert (difference["explained_by"]["seq"], difference["explained_by"]["kind"]) == (
            stored.seq,
            "held",
        )
        ((pool, reason),) = [(row["pool"], row["reason"]) for row in found["paused"]]
        assert pool == "a"
        assert lost in reason
        assert await state_of(node, "a") is PoolState.PAUSED
        assert await state_of(node, "b") is PoolState.OPEN
        assert await reason_in_journal(node, "a") == reason
        again = await watch.round()
        assert (again["ok"], again["paused"]) == (False, []), "still broken, paused once"


async def test_repair_ends_a_breach_and_is_in_the_journal(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("a", 5)
        lost = await node.hold("a", "lost")
        with raw(valkey_url) as client:
            client.hdel(keys.reservations(0), lost.partition("~")[2])
            client.hincrby(keys.pool(0, "a"), "available", 1)
        watch = watch_on(node)
        found = await watch.round()
        assert not found["invariants"]["pools_balance"]
        await node.is_applied()
        would = await node.reconciler.repair(dry_run=True)
        assert (would["repaired"], would["pools"][0]["counters"]) == (0, {"available": [5, 4]})
        assert not (await watch.round())["ok"], "a dry run mends nothing"
        did = await node.reconciler.repair(dry_run=False)
        assert did == would | {"dry_run": False, "repaired": 1}
        await node.is_applied()
        assert (await node.reconciler.repair(dry_run=False))["pools"] == []
        found = await watch.round()
        assert found["ok"], found
        entries = await node.stores.queries.latest_entries(0, [Subject("a")])
        assert entries[Subject("a")].kind == "repaired"
        await node.pools.set_state("a", PoolState.OPEN)
        await node.reservations.confirm(lost, "pay")


async def test_units_out_of_nowhere_pause_the_pool(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("a", 2)
        await node.hold("a", "one", quantity=2)
        with raw(valkey_url) as client:
            client.hincrby(keys.pool(0, "a"), "held", 3)
        found = await watch_on(node).round()
        assert found["oversold"] == 3
        assert not found["invariants"]["nothing_oversold"]
        assert found["paused"] == [{"pool": "a", "reason": "reconciliation: 3 units are oversold"}]


async def test_what_is_only_on_its_way_pauses_nothing(valkey_url, database_url, monkeypatch):
    """The writer stands still for longer than a round is ready to wait."""
    monkeypatch.setattr(settling, "SETTLE_TIMEOUT_S", 0.2)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("a", 50, durability=Durability.FAST)
        await node.hold("a", "before")
        await node.is_applied()
        await node.stop_writing()
        for number in range(10):
            await node.hold("a", f"late{number}")
        watch = watch_on(node)
        found = await watch.round()
        assert found["lag_events"] == 10
        assert found["unsettled"] == 10
        assert (found["ok"], found["paused"]) == (True, [])
        assert await state_of(node, "a") is PoolState.OPEN
        node.write()
        await node.is_applied()
        found = await watch.round()
        assert (found["ok"], found["unsettled"], found["lag_events"]) == (True, 0, 0)


async def test_a_breach_is_seen_in_the_middle_of_traffic_and_traffic_is_none(
    valkey_url, database_url
):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        for pool in ("busy", "broken"):
            await node.create(pool, 100_000)
        lost = await node.hold("broken", "lost")
        stop = asyncio.Event()

        async def trade(buyer: int) -> None:
            number = 0
            while not stop.is_set():
                held = await node.hold("busy", f"{buyer}-{number}")
                if number % 3 == 0:
                    await node.reservations.confirm(held, f"pay-{buyer}-{number}")
                elif number % 3 == 1:
                    await node.reservations.cancel(held)
                number += 1

        traders = [asyncio.create_task(trade(buyer)) for buyer in range(8)]
        try:
            watch = watch_on(node, reservations_max=600)
            found = await watch.round()
            for _ in range(5):
                assert (found["ok"], found["paused"]) == (True, []), found
                found = await watch.round()
            cycles_max = found["cycles"] + 2
            with raw(valkey_url) as client:
                client.hdel(keys.reservations(0), lost.partition("~")[2])
            paused: list[str] = []
            while not paused and found["cycles"] < cycles_max:
                found = await watch.round()
                paused += [row["pool"] for row in found["paused"]]
            assert paused == ["broken"]
        finally:
            stop.set()
            await asyncio.gather(*traders)
        assert await state_of(node, "busy") is PoolState.OPEN


async def test_a_cycle_ends_however_fast_holds_come(valkey_url, sqlite_url):
    """Each round reads fewer than came since the last."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 1_000)
        await node.hold("a", "lost")
        watch = watch_on(node, reservations_max=10)
        for number in range(30):
            for one in range(12):
                await node.hold("a", f"{number}-{one}")
            if (await watch.round())["cycles"]:
                break
        assert number < 29


async def test_a_round_is_bounded_and_the_next_goes_on(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 1_000)
        held = [await node.hold("a", str(number)) for number in range(60)]
        await node.is_applied()
        watch = watch_on(node, reservations_max=25)
        first = await watch.round()
        assert (first["reservations_checked"], first["cycles"]) == (25, 0)
        assert first["ok"]
        last = (await node.stores.queries.open_reservations(0, held[25], 100))[-1].id
        with raw(valkey_url) as client:
            client.hdel(keys.reservations(0), last.partition("~")[2])
        rounds = [await watch.round() for _ in range(2)]
        assert [found["ok"] for found in rounds] == [True, False]
        rounds = [await watch.round() for _ in range(8)]
        assert [found["lost"] for found in rounds] == [1] * 8, "looked at again each round"
        assert rounds[-1]["cycles"] > 0


async def test_the_data_set_changes_under_the_watch(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 5)
        await node.hold("a", "one")
        watch = watch_on(node, reservations_max=1)
        assert (await watch.round())["ok"]
        with raw(valkey_url) as client:
            client.flushall()
        with pytest.raises(errors.Recovering):
            await watch.round()
        await node.gate.opened(0)
        rounds = [await watch.round() for _ in range(4)]
        assert [(found["ok"], found["paused"]) for found in rounds] == [(True, [])] * 4
        assert rounds[-1]["cycles"] > 0


async def test_a_new_data_set_is_read_from_its_beginning(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 5)
        first, *_ = [await node.hold("a", str(number)) for number in range(3)]
        watch = watch_on(node, reservations_max=1)
        assert (await watch.round())["ok"], "it has read the first hold"
        with raw(valkey_url) as client:
            client.flushall()
            node.gate.lost(0)
            await node.gate.opened(0)
            client.hdel(keys.reservations(0), first.partition("~")[2])
        assert (await watch.round())["lost"] == 1


async def test_sums_that_are_wrong_in_sql_are_seen(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        for pool in ("a", "b"):
            await node.create(pool, 5)
        await node.hold("b", "one")
        async with node.stores.engine.begin() as connection:
            await connection.exec_driver_sql("UPDATE reservations SET quantity = 2")
        watch = watch_on(node)
        rounds = [await watch.round() for _ in range(4)]
        assert [found["invariants"]["counters_are_sums"] for found in rounds] == [
            True,
            False,
            False,
            False,
        ]


async def test_a_pool_that_redis_forgot_is_for_a_rebuild(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 5)
        with raw(valkey_url) as client:
            client.delete(keys.pool(0, "a"))
        found = await watch_on(node).round()
        assert [difference["kind"] for difference in found["differences"]] == ["missing_pool"]
        assert found["differences"][0]["remedy"] == "rebuild the shard from SQL"
        assert found["paused"] == []
        did = await node.reconciler.repair(dry_run=False)
        assert did["pools"] == [{"pool": "a", "remedy": "rebuild the shard from SQL"}]
        assert did["repaired"] == 0


async def test_what_the_watch_found_is_there_for_every_process(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("a", 5)
        assert await node.reconciler.last_round() is None
        running = asyncio.create_task(watch_on(node).run(0.01))

        async def second_round() -> dict[str, Any] | None:
            found = await node.reconciler.last_round()
            return found if found is not None and found["round"] > 1 else None

        try:
            second = await eventually(second_round, "a second round")
            assert second is not None
            assert second["ok"]
        finally:
            running.cancel()
        assert await node.stores.queries.setting(LAST_ROUND) is not None
