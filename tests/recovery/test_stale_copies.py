"""Another server takes the place of the one that was opened: a copy that is behind, or ahead.

Failovers as Sentinel or an operator makes them, played with copies of the append-only file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from flashstock.errors import Recovering, Unavailable
from flashstock.hotpath.connection import connect
from flashstock.hotpath.scripts import Verdict, script_set
from flashstock.hotpath.store import HotStore
from tests import servers
from tests.recovery.copies import promote, replica_of
from tests.recovery.interrupted import Died, die
from tests.recovery.node import Node, opened, raw, settings_for, unopened

POOL = "pool"
STOCK = 10


@pytest.fixture
def primary() -> Iterator[servers.HotServer]:
    with servers.hot_server(servers.valkey_binary(), append_only=True) as server:
        yield server


async def reopened(node: Node, pool: str = POOL) -> str:
    """The generation under which the pool's shard is open once the node has noticed."""
    shard = node.stores.store.shard_of(pool)
    for _ in range(2):
        try:
            await node.pools.get(pool)
        except Unavailable:
            await node.gate.opened(shard)
    return str(node.stores.store.generation(shard))


def pool_in(node: Node, shard: int) -> str:
    """A name for a pool that lives in the shard."""
    names = (f"{POOL}-{number}" for number in count())
    return next(name for name in names if node.stores.store.shard_of(name) == shard)


async def go_on_selling(server: servers.HotServer, generation: str, *, events: int) -> None:
    """What a process does that has heard of nothing."""
    client = connect(server.url, timeout_ms=5_000)
    scripts = script_set(0, generation, 3_600_000)
    for text in scripts.texts.values():
        await client.script_load(text)
    store = HotStore(client, 1)
    store.open_shard(0, scripts)
    for number in range(events):
        reply = await store.reserve(POOL, 1, [f"{number:016d}"], ["buyer"], ["1"])
        assert reply.verdicts == b"0"
    await client.aclose()


def after_verifying(node: Node, act: Callable[[], None]) -> None:
    """Let something happen between the look at a server and the loading of scripts."""
    pipeline_of = node.stores.servers.clients[0].pipeline

    def pipeline(*arguments: Any, **options: Any) -> Any:
        made: Any = pipeline_of(*arguments, **options)
        execute = made.immediate_execute_command

        async def executed(*command: Any, **options: Any) -> Any:
            answer = await execute(*command, **options)
            if command[0] == "SCRIPT EXISTS":
                assert answer == [True]
                act()
            return answer

        made.immediate_execute_command = executed
        return made

    node.stores.servers.clients[0].pipeline = pipeline  # type: ignore[method-assign]


def before_draining(node: Node, act: Callable[[], None]) -> None:
    """Let something happen, once, between the takeover of a data set and the look at its log."""
    drain = node.recoverer._drain
    waiting = [act]

    async def drained(*arguments: Any) -> Any:
        while waiting:
            waiting.pop()()
            await node.stores.servers.clients[0].connection_pool.disconnect()
        return await drain(*arguments)

    node.recoverer._drain = drained  # type: ignore[method-assign, assignment]


async def is_whole(node: Node, held: set[str], pool: str = POOL) -> None:
    """Exactly these are held, in both stores."""
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report
    shard = node.stores.store.shard_of(pool)
    rows = await node.stores.queries.open_reservations(shard, "", 1_000)
    assert {row.id for row in rows} == held
    assert (await node.pools.get(pool)).counters.held == len(held)


@pytest.mark.parametrize("recovered_since", [False, True])
async def test_a_replica_that_is_behind_is_brought_up_to_date(primary, sqlite_url, recovered_since):
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        held = {await node.hold(POOL, "early")}
        with replica_of(primary) as behind:
            if recovered_since:
                with raw(primary.url) as client:
                    client.script_flush()
                await reopened(node)
            held |= {await node.hold(POOL, f"late-{number}") for number in range(3)}
            before = str(node.stores.store.generation(0))
            promote(primary, behind)
        assert int(await reopened(node)) > int(before)
        await is_whole(node, held)
        assert await node.hold(POOL, "late-0") in held


async def test_what_an_old_primary_went_on_to_sell_does_not_count(primary, sqlite_url):
    """Two primaries: one half of the service talks to the old one, the other to the new."""
    settings = await settings_for(primary.url, sqlite_url, applied_timeout_ms=300)
    async with opened(settings) as old_half:
        await old_half.create(POOL, STOCK)
        held = {await old_half.hold(POOL, f"before-{number}") for number in range(8)}
        with replica_of(primary) as promoted:
            promoted.start()
            new_settings = settings.changed(redis_url=promoted.url)
            async with opened(new_settings) as new_half:
                for number in range(2):
                    with pytest.raises(Unavailable):
                        await old_half.hold(POOL, f"old-{number}")
                held |= {await new_half.hold(POOL, f"new-{number}") for number in range(2)}
                with raw(primary.url) as client:
                    assert client.hget("{fs:00}:pool:pool", "held") == "10", "it did sell them"
                await is_whole(new_half, held)
                refused = await new_half.reserve(POOL, "buyer-old-0", 1, "old-0")
                assert refused.verdict == Verdict.SOLD_OUT
                generation = new_half.stores.store.generation(0)
                with pytest.raises(Unavailable):
                    await old_half.hold(POOL, "old-1")
                assert new_half.stores.store.generation(0) == generation, "nobody disturbed it"
            # The partition ends: the old primary becomes a copy of the new one.
            promote(primary, promoted)
        await reopened(old_half)
        await is_whole(old_half, held)


async def test_an_old_primary_that_comes_back_is_not_believed(primary, sqlite_url):
    """Its log goes on where SQL stands, but with what was decided under an old generation."""
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        held = {await node.hold(POOL, "before")}
        with replica_of(primary) as old:
            with raw(primary.url) as client:
                client.script_flush()
            await reopened(node)
            held.add(await node.hold(POOL, "after"))
            await node.is_applied()
            await node.stop_writing()
            old.start()
            await go_on_selling(old, str(int(await reopened(node)) - 1), events=5)
            old.stop()
            promote(primary, old)
        node.write()
        await reopened(node)
        await is_whole(node, held)


async def test_a_generation_that_was_never_finished_lets_nobody_in(
    primary, sqlite_url, monkeypatch, nobody_waits
):
    """Else a copy of the generation before would pass for current: SQL knew of no later one."""
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
    with raw(primary.url) as client:
        client.script_flush()
    dying = await unopened(settings)
    monkeypatch.setattr(dying.stores.ledger, "finish_recovery", die)
    with pytest.raises(Died):
        await dying.gate._open_or_recover(0)
    unfinished = (await dying.recoverer.cursor(0)).generation
    await dying.close()
    async with opened(settings) as node:
        generation = int(str(node.stores.store.generation(0)))
        assert generation > unfinished
        assert await node.stores.ledger.opened_generation(0) == generation


async def test_scripts_are_loaded_into_the_server_that_was_verified_or_not_at_all(
    primary, sqlite_url
):
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        with replica_of(primary) as behind:
            held = {await node.hold(POOL, "late")}
            late_comer = await unopened(settings)
            after_verifying(late_comer, lambda: promote(primary, behind))
            with pytest.raises((Unavailable, Recovering)):
                await late_comer.gate._open_or_recover(0)
            with raw(primary.url) as client:
                assert client.info("memory")["number_of_cached_scripts"] == 0
            await late_comer.close()
        await reopened(node)
        await is_whole(node, held)


async def test_what_an_old_primary_sold_is_not_drained_for_another_one(primary, sqlite_url):
    """It comes back between the look at the new one's position and the reading of the log."""
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        held = {await node.hold(POOL, "before")}
        with replica_of(primary) as old:
            with raw(primary.url) as client:
                client.script_flush()
            current = int(await reopened(node))
            await node.is_applied()
            old.start()
            await go_on_selling(old, str(current - 1), events=5)
            old.stop()
            before_draining(node, lambda: promote(primary, old))
            with raw(primary.url) as client:
                client.script_flush()
            assert int(await reopened(node)) > current
        await is_whole(node, held)


async def test_the_recovery_of_one_shard_opens_no_other(primary, sqlite_url):
    """Both shards are on the promoted server, and one of them is noticed before the other."""
    settings = await settings_for(primary.url, sqlite_url, shard_count=2)
    async with opened(settings) as node:
        quiet, busy = (pool_in(node, shard) for shard in range(2))
        for pool in (quiet, busy):
            await node.create(pool, STOCK)
        with raw(primary.url) as client:
            client.script_flush()
        generation = await reopened(node, busy)
        held = {await node.hold(busy, "early")}
        with replica_of(primary) as behind:
            held |= {await node.hold(busy, f"late-{number}") for number in range(3)}
            await node.is_applied()
            promote(primary, behind)
        assert await reopened(node, quiet) == generation, "by number they are the same"
        with pytest.raises(Recovering):
            await node.hold(busy, "too late")
        await reopened(node, busy)
        await is_whole(node, held, busy)


async def test_one_lost_shard_hides_no_other(primary, sqlite_url):
    """A process that nobody asks looks at all it has, once its connection was lost."""
    settings = await settings_for(primary.url, sqlite_url, shard_count=3)
    async with opened(settings) as node:
        with raw(primary.url) as client:
            client.script_flush()
        with pytest.raises(Recovering):
            await node.gate.verify()
        for shard in range(3):
            await node.gate.opened(shard)
        generations = [int(str(node.stores.store.generation(shard))) for shard in range(3)]
        assert generations == [await node.stores.ledger.opened_generation(s) for s in range(3)]
        assert min(generations) > 2
