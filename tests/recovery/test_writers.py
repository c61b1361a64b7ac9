"""The writer: killed anywhere, doubled, asleep, or fed with what no script of ours wrote."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import redis
from sqlalchemy import update

from flashstock.errors import FlashstockError
from flashstock.hotpath import keys
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import cursors
from flashstock.model.states import Durability, PoolState
from flashstock.writer import quarantine, writer
from tests.recovery.audit import check_books, read_books
from tests.recovery.campaign import FACTOR, draws
from tests.recovery.node import Node, eventually, meta, opened, raw, settings_for

POOL, OTHER, FAST = "pool", "other", "fast"
KILLS = 25


async def open_pools(node: Node) -> None:
    await node.create(POOL, 100_000)
    await node.create(OTHER, 100_000)
    await node.create(FAST, 100_000, durability=Durability.FAST)


async def is_whole(node: Node) -> None:
    await node.is_applied()
    check_books(await read_books(str(node.settings.database_url)))
    report = await node.reconciler.report()
    assert report["ok"], report


@pytest.mark.timeout(120 * FACTOR)
async def test_cancelled_at_any_moment_it_applies_everything_once(valkey_url, database_url):
    """A few kills by default; more with ``CAMPAIGN=100 pytest --timeout 0 -k any_moment``."""
    settings = await settings_for(
        valkey_url, database_url, writer_batch_events_max=128, log_margin_entries=5
    )
    async with opened(settings) as node:
        await open_pools(node)
        for name, random in draws(KILLS):
            buying = [asyncio.ensure_future(_buy(node, f"{name}-{n}", random)) for n in range(20)]
            await asyncio.sleep(random.random() * 0.02)
            await node.stop_writing()
            node.write()
            await asyncio.gather(*buying)
        await is_whole(node)


async def _buy(node: Node, key: str, random: Random) -> None:
    await asyncio.sleep(random.random() * 0.02)
    pool = random.choice((POOL, OTHER, FAST))
    try:
        reservation = await node.hold(pool, key)
        if random.random() < 0.5:
            await node.reservations.confirm(reservation, f"pay-{key}")
    except FlashstockError:
        return


async def test_two_at_once_share_the_work_without_doing_it_twice(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, log_margin_entries=5)
    async with opened(settings) as first, opened(settings) as second:
        await open_pools(first)
        for number in range(10):
            node = (first, second)[number % 2]
            await asyncio.gather(*(node.hold(POOL, f"{number}-{n}") for n in range(10)))
            if number % 3 == 2:
                await node.stop_writing()
                node.write()
        await is_whole(second)
        assert (await first.pools.get(POOL)).counters.held == 100


async def test_one_that_slept_while_the_log_was_trimmed_asks_for_no_rebuild(
    valkey_url, sqlite_url, monkeypatch
):
    settings = await settings_for(valkey_url, sqlite_url, log_margin_entries=0)
    async with opened(settings) as node, opened(settings, writing=False) as sleeper:
        await open_pools(node)
        asleep, awake = asyncio.Event(), asyncio.Event()
        log: Any = sleeper.writers[0]._log
        read = log.read

        async def read_and_sleep(after: str, **options: Any) -> Any:
            asleep.set()
            await awake.wait()
            return await read(after, **options)

        monkeypatch.setattr(log, "read", read_and_sleep)
        sleeper.write()
        await asleep.wait()
        generation = node.stores.store.generation(0)
        for number in range(250):  # XTRIM drops whole nodes of a hundred entries
            await node.hold(FAST, f"while-asleep-{number}")
        await node.is_applied()
        await eventually(lambda: _is_trimmed(valkey_url), "the log is trimmed")
        await node.stop_writing()
        awake.set()
        await sleeper.hold(POOL, "by the sleeper")
        assert sleeper.stores.store.generation(0) == generation
        await is_whole(sleeper)


async def _is_trimmed(url: str) -> bool:
    with raw(url) as client:
        first: Any = client.xrange(keys.shard_log(0), count=1)
    return int(first[0][1]["seq"]) > 100


async def test_a_gap_is_not_passed_but_rebuilt_once(valkey_url, sqlite_url):
    """An entry that SQL lacks is gone from the log: nobody can tell any more what it said."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node, opened(settings) as second:
        await open_pools(node)
        kept = await node.hold(POOL, "kept")
        for one in (node, second):
            await one.stop_writing()
        lost = await node.hold(FAST, "lost")
        await node.hold(FAST, "after")
        with raw(valkey_url) as client:
            newest: Any = client.xrevrange(keys.shard_log(0), count=2)
            client.xdel(keys.shard_log(0), newest[1][0])
        generation = int(str(node.stores.store.generation(0)))
        for one in (node, second):
            one.write()
        await eventually(lambda: _is_open_after(node, generation), "it is rebuilt")
        await eventually(lambda: _is_open_after(second, generation), "it is rebuilt")
        await is_whole(node)
        assert node.stores.store.generation(0) == str(generation + 1)
        assert (await node.reservations.get(kept)).record.pool == POOL
        with pytest.raises(FlashstockError):
            await node.reservations.get(lost)


async def test_what_has_an_earlier_id_than_the_ledgers_is_read_and_not_rebuilt(
    valkey_url, sqlite_url
):
    """The clock went back while the log was built anew, and has come forward again since."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await open_pools(node)
        await node.is_applied()
        await node.stop_writing()
        with raw(valkey_url) as client:
            seconds, _ = client.time()
            ahead_ms = (seconds + 2) * 1_000
            async with writing(node.stores.engine) as connection:
                await connection.execute(update(cursors).values(log_id=f"{ahead_ms}-0"))
            node.gate.rebuild(0)
            await node.gate.opened(0)
            generation = node.stores.store.generation(0)
            held = [await node.hold(FAST, "before")]

            async def has_passed() -> bool:
                return bool(client.time()[0] * 1_000 > ahead_ms)

            await eventually(has_passed, "the clock has passed the id")
            held.append(await node.hold(FAST, "after"))
        node.write()
        await is_whole(node)
        assert node.stores.store.generation(0) == generation
        assert [(await node.reservations.get(one)).record.pool for one in held] == [FAST, FAST]


async def _is_open_after(node: Node, generation: int) -> bool:
    """A process whose writer came too late to see the gap hears of it when it next asks."""
    with suppress(FlashstockError):
        await node.gate.verify()
    return int(node.stores.store.generation(0) or 0) > generation


POISON: dict[str, tuple[str, str | bytes]] = {
    "no field is right": ("held", "poisoned\tnonsense"),
    "an unknown kind": ("conjured", "poisoned\t1700000000000\t1"),
    "no hold of SQL's": ("cancelled", "poisoned\t1700000000000\tAAAAAAAAAAAAAAAA\t1"),
    "below nothing": ("adjusted", "poisoned\t1700000000000\t-1000000\t0\tAAAAAAAAAAAAAAAA"),
    "no text": ("held", b"poisoned\t1700000000000\t1\t\xff\xfe\t\xff\t1\t"),
}


def append(client: redis.Redis, generation: str, kind: str, payload: str | bytes) -> int:
    """Write an event as a script would, in its place in the sequence."""
    seq = int(client.hget(meta(), "seq") or 0) + 1
    entry: Any = {
        "kind": kind,
        "generation": generation,
        "seq": seq,
        "count": 1,
        "payload": payload,
    }
    with client.pipeline() as pipeline:
        pipeline.xadd(keys.shard_log(0), entry)
        pipeline.hset(meta(), "seq", seq)
        pipeline.execute()
    return seq


@pytest.mark.parametrize("what", POISON)
async def test_poison_pauses_its_pool_and_stops_nothing_else(valkey_url, database_url, what):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("poisoned", 10)
        await node.create("healthy", 10)
        kept = await node.hold("poisoned", "kept")
        generation = str(node.stores.store.generation(0))
        with raw(valkey_url) as client:
            seq = append(client, generation, *POISON[what])
        assert await node.hold("healthy", "after")
        await eventually(lambda: _is_paused(node), "the pool is paused in Redis")
        await node.is_applied()
        (row,) = await node.stores.queries.quarantined(0, 10)
        assert (row.seq, row.pool, row.kind) == (seq, "poisoned", POISON[what][0])
        stored = await node.stores.queries.pool("poisoned")
        assert stored is not None
        assert (stored.rules.state, stored.counters.total) == (PoolState.PAUSED, 10)
        verdicted = await node.reserve("poisoned", "buyer", 1, "refused")
        assert verdicted.verdict == 7
        report = await node.reconciler.report()
        wrong = {name for name, holds in report["invariants"].items() if not holds}
        assert wrong == {"nothing_in_quarantine"}, report
        # Who holds something may still pay for it.
        answer = await node.reservations.confirm(kept, "pay-kept")
        assert answer.view.record.payment_ref == "pay-kept"
        check_books(await read_books(database_url))


async def _is_paused(node: Node) -> bool:
    return (await node.pools.get("poisoned")).rules.state is PoolState.PAUSED


async def test_poison_that_a_recovery_drains_pauses_its_pool_too(
    valkey_url, sqlite_url, monkeypatch
):
    """The pauser runs in the writer's process, which may not be the one that recovers."""
    monkeypatch.setattr(quarantine, "LOOK_INTERVAL_S", 0.05)
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("poisoned", 10)
        await node.is_applied()
        for shard_writer in node.writers:
            shard_writer.stop()
        await asyncio.sleep(2 * writer.BLOCK_MS / 1000)
        with raw(valkey_url) as client:
            append(client, str(node.stores.store.generation(0)), *POISON["below nothing"])
            client.script_flush()
        async with opened(settings, writing=False) as other:
            assert len(await other.stores.queries.quarantined(0, 10)) == 1
        await eventually(lambda: _has_been_paused(node), "the pool is paused in Redis")


async def _has_been_paused(node: Node) -> bool:
    try:
        return await _is_paused(node)
    except FlashstockError:
        return False


async def test_what_is_no_entry_at_all_is_left_out(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await open_pools(node)
        with raw(valkey_url) as client:
            for number in range(100):
                client.xadd(keys.shard_log(0), {"graffiti": number})
        assert await node.hold(POOL, "after")
        generation = node.stores.store.generation(0)
        with raw(valkey_url) as client:
            client.xadd(keys.shard_log(0), {"seq": "none", "kind": "held"})
        assert await node.hold(POOL, "after that")
        await is_whole(node)
        assert node.stores.store.generation(0) == generation
