"""Who had time left when the service went away has it when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from sqlalchemy import update

from flashstock.errors import Recovering
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.position import Position
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import cursors, reservations
from flashstock.model.events import LogEntry, Postponed, decode
from flashstock.model.group_rules import GroupRules
from flashstock.model.rules import NO_DEADLINE_MS
from flashstock.model.states import DeductMode, Durability, ReservationState
from flashstock.writer import writer as writer_module
from tests import servers
from tests.recovery.audit import check_books, read_books
from tests.recovery.copies import promote, replica_of
from tests.recovery.interrupted import Died, Interrupted, die
from tests.recovery.node import Node, eventually, opened, raw, settings_for, unopened
from tests.recovery.story import DAMAGES, lose_the_scripts
from tests.recovery.test_stale_copies import go_on_selling, is_whole

HOUR_MS = 3_600_000
POOL = "pool"


async def go_away(node: Node, gone_ms: int, damage: Callable[[Any], None], shard: int = 0) -> None:
    """Stop writing, and let it be so long ago that the shard was lost.

    What SQL has is that much older then, and Redis has it no more.
    """
    await node.is_applied()
    await node.stop_writing()
    ends = reservations.c.deadline_ms
    async with writing(node.stores.engine) as connection:
        await connection.execute(
            update(cursors)
            .where(cursors.c.shard == shard)
            .values(alive_at_ms=cursors.c.alive_at_ms - gone_ms)
        )
        await connection.execute(
            update(reservations)
            .where(reservations.c.shard == shard, ends < NO_DEADLINE_MS)
            .values(deadline_ms=ends - gone_ms)
        )
    with raw(str(node.settings.redis_url)) as client:
        damage(client)


async def come_back(node: Node, shard: int = 0, *, rebuilt: bool = False) -> None:
    """Recover the shard, as far as that is needed or (``rebuilt``) all of it."""
    if rebuilt:
        node.gate.rebuild(shard)
    node.gate.lost(shard)
    await node.gate.opened(shard)
    node.write()


async def deadline_of(node: Node, reservation_id: str) -> int:
    (row,) = await node.stores.queries.reservations_by_ids([reservation_id])
    return row.deadline_ms


async def postponed(node: Node, shard: int = 0) -> list[Postponed]:
    """What was given back so far, by the journal."""
    books = await read_books(str(node.settings.database_url))
    found = []
    for row in books.journal[shard]:
        entry = LogEntry(shard, row.generation, row.seq, row.count, row.kind, row.payload)
        event = decode(entry)
        if isinstance(event, Postponed):
            found.append(event)
    return found


async def agree(node: Node) -> None:
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report
    check_books(await read_books(str(node.settings.database_url)))


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_hold_lives_for_what_it_had_left(valkey_url, database_url, damage):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10, hold_ms=60_000)
        await node.create("other", 10, hold_ms=50_000)
        held, other = await node.hold(POOL, "held"), await node.hold("other", "other")
        await go_away(node, HOUR_MS, damage)
        alive_at_ms = await node.stores.ledger.alive_at_ms(0)
        told = {one: await deadline_of(node, one) for one in (held, other)}
        await come_back(node)
        one, two = await postponed(node)
        assert {one.pool: one.holds, two.pool: two.holds} == {POOL: 1, "other": 1}
        assert one.began_ms == two.began_ms == alive_at_ms
        assert one.by_ms == two.by_ms >= HOUR_MS
        for reservation_id, deadline_ms in told.items():
            view = await node.reservations.get(reservation_id)
            assert view.state is ReservationState.HELD
            assert view.record.deadline_ms == deadline_ms + one.by_ms
            assert await deadline_of(node, reservation_id) == deadline_ms + one.by_ms
        answer = await node.reservations.confirm(held, "pay")
        assert answer.view.state is ReservationState.CONFIRMED
        await agree(node)
        stands_at = (await node.stores.store.lookup(0, ["-"])).seq
        cursor = await node.stores.ledger.cursor(0)
        assert cursor is not None
        assert isinstance(stands_at, Position)
        assert (stands_at, stands_at.log_id) == (cursor.seq, cursor.log_id)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_nothing_else_is_touched(valkey_url, database_url, damage):
    """What was over by then, what has no deadline, and seats, which end with their group."""
    settings = await settings_for(valkey_url, database_url)
    rules = GroupRules(3, 2 * HOUR_MS)
    async with opened(settings) as node:
        await node.create(POOL, 10, hold_ms=60_000)
        await node.create("endless", 10, hold_ms=60_000, deduct=DeductMode.ORDER)
        await node.create("groups", 10, group_buy=rules.text, hold_ms=7_200_000)
        await node.create("brief", 10, hold_ms=1)
        over = await node.hold("brief", "over")
        endless, seat = (
            await node.hold("endless", "endless"),
            await node.seat("groups", "a", "open"),
        )
        sold, cancelled = await node.hold(POOL, "sold"), await node.hold(POOL, "cancelled")
        await node.reservations.confirm(sold, "pay")
        await node.reservations.cancel(cancelled)
        assert await deadline_of(node, over) < await node.stores.store.now_ms(0)
        await go_away(node, HOUR_MS, damage)
        before = {
            one: await deadline_of(node, one) for one in (over, endless, seat, sold, cancelled)
        }
        await come_back(node, rebuilt=True)
        assert await postponed(node) == []
        assert {one: await deadline_of(node, one) for one in before} == before
        await node.stores.store.expire("brief", 8)
        assert (await node.reservations.get(over)).state is ReservationState.EXPIRED
        await agree(node)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("gone_ms", [0, -HOUR_MS], ids=["short", "a clock that went back"])
async def test_neither_a_moment_nor_a_clock_moves_a_deadline(
    valkey_url, database_url, monkeypatch, damage, gone_ms
):
    monkeypatch.setattr("flashstock.recovery.outage.OUTAGE_MIN_MS", 30 * 60_000)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        held = await node.hold(POOL, "held")
        await go_away(node, gone_ms, damage)
        before = await deadline_of(node, held)
        await come_back(node, rebuilt=True)
        assert await postponed(node) == []
        assert await deadline_of(node, held) == before
        await agree(node)


async def test_an_outage_that_took_less_than_giving_it_back_is_not_made_longer(
    valkey_url, sqlite_url, monkeypatch
):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        await node.hold(POOL, "held")
        await go_away(node, HOUR_MS, lose_the_scripts)
        a_day_for_each = 1 / (24 * HOUR_MS)
        monkeypatch.setattr("flashstock.recovery.outage.HOLDS_BACK_IN_MS", a_day_for_each)
        await come_back(node, rebuilt=True)
        assert await postponed(node) == []
        await agree(node)


async def test_what_sql_refuses_does_not_keep_the_shard_closed(
    valkey_url, database_url, monkeypatch
):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        held = await node.hold(POOL, "held")
        await go_away(node, HOUR_MS, lose_the_scripts)
        before = await deadline_of(node, held)

        async def too_many(_shard: int, _began_ms: int) -> dict[str, int]:
            return {POOL: 2}

        monkeypatch.setattr(node.stores.ledger, "interrupted_holds", too_many)
        await come_back(node, rebuilt=True)
        assert await postponed(node) == []
        assert await deadline_of(node, held) == before
        await agree(node)


async def test_a_rebuild_on_demand_is_no_outage(valkey_url, database_url, monkeypatch):
    """Nor is that nobody wanted anything: the writer says from time to time that all is well."""
    monkeypatch.setattr(writer_module, "LOOK_INTERVAL_S", 0.0)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        held = await node.hold(POOL, "held")
        before = await deadline_of(node, held)
        await node.is_applied()
        async with writing(node.stores.engine) as connection:
            await connection.execute(
                update(cursors).values(alive_at_ms=cursors.c.alive_at_ms - HOUR_MS)
            )
        quiet_since_ms = await node.stores.ledger.alive_at_ms(0)

        async def looked() -> bool:
            return await node.stores.ledger.alive_at_ms(0) > quiet_since_ms + HOUR_MS

        await eventually(looked, "the writer says that the shard works")
        node.gate.rebuild(0)
        await node.gate.opened(0)
        assert await postponed(node) == []
        assert await deadline_of(node, held) == before
        await agree(node)


async def test_where_nobody_has_looked_yet_there_was_no_outage(valkey_url, database_url):
    """As in a database of the version before."""
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        await node.hold(POOL, "held")
        await go_away(node, HOUR_MS, lose_the_scripts)
        async with writing(node.stores.engine) as connection:
            await connection.execute(update(cursors).values(alive_at_ms=0))
        await come_back(node)
        assert await postponed(node) == []


async def test_what_the_log_still_held_was_decided_when_the_shard_worked(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10, durability=Durability.FAST)
        first = await node.hold(POOL, "first")
        await go_away(node, HOUR_MS, lambda _: None)
        last = await node.hold(POOL, "last")
        with raw(valkey_url) as client:
            client.script_flush()
        await come_back(node)
        assert await postponed(node) == []
        rows = await node.stores.queries.reservations_by_ids([first, last])
        assert {row.id for row in rows} == {first, last}


async def test_a_server_that_only_answers_is_no_sign_of_life(valkey_url, database_url):
    """A writer may find its way back to a restarted server before anybody has recovered it."""
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        await node.hold(POOL, "held")
        await go_away(node, HOUR_MS, lose_the_scripts)
        alive_at_ms = await node.stores.ledger.alive_at_ms(0)
        cursor = await node.stores.ledger.cursor(0)
        assert cursor is not None
        (writing_to,) = node.writers
        with pytest.raises(Recovering):
            await writing_to._has_moved_on(cursor)
        assert await node.stores.ledger.alive_at_ms(0) == alive_at_ms
        await node.gate.opened(0)
        assert len(await postponed(node)) == 1, "the writer has noticed it, too"


async def test_only_the_shard_that_was_away_gives_back(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=2)
    async with opened(settings) as node:
        names = (f"{POOL}-{number}" for number in count())
        pools: dict[int, str] = {}
        while len(pools) < 2:
            name = next(names)
            pools.setdefault(node.stores.store.shard_of(name), name)
        held = {}
        for shard, pool in pools.items():
            await node.create(pool, 10)
            held[shard] = await node.hold(pool, pool)
        await go_away(node, HOUR_MS, lose_the_scripts, shard=1)
        before = {shard: await deadline_of(node, one) for shard, one in held.items()}
        await come_back(node, 0, rebuilt=True)
        await come_back(node, 1)
        assert await postponed(node, 0) == []
        (event,) = await postponed(node, 1)
        assert await deadline_of(node, held[0]) == before[0]
        assert await deadline_of(node, held[1]) == before[1] + event.by_ms
        await agree(node)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_recovery_that_dies_at_any_step_gives_back_once(
    valkey_url, sqlite_url, nobody_waits, damage, before
):
    """All of the outage, however many take turns: what is left is what was left when it began."""
    settings = await settings_for(valkey_url, sqlite_url)
    given_back = 0
    async with opened(settings) as node:
        await node.create(POOL, 1_000, hold_ms=60_000)
    for step in count(1):
        async with opened(settings) as node:
            held = await node.hold(POOL, f"held-{step}")
            await go_away(node, HOUR_MS, damage)
            alive_at_ms = await node.stores.ledger.alive_at_ms(0)
            left_ms = await deadline_of(node, held) - alive_at_ms
        dying = await unopened(settings)
        interrupted = Interrupted(dying, step, die, before=before)
        try:
            await dying.gate._open_or_recover(0)
        except Died:
            assert interrupted.fired
        async with opened(settings) as successor:
            events = await postponed(successor)
            assert len(events) > given_back
            assert events[given_back].began_ms == alive_at_ms
            given_back = len(events)
            assert await deadline_of(successor, held) - events[-1].at_ms == left_ms
            view = await successor.reservations.get(held)
            assert (view.state, view.record.deadline_ms - events[-1].at_ms) == (
                ReservationState.HELD,
                left_ms,
            )
            await agree(successor)
        await dying.close()
        if not interrupted.fired:
            break
    assert step > 12


async def test_who_recovers_at_once_gives_back_once(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10)
        await node.hold(POOL, "held")
        await go_away(node, HOUR_MS, lose_the_scripts)
    nodes = [await unopened(settings) for _ in range(4)]
    try:
        await asyncio.gather(*(node.open() for node in nodes))
        assert len(await postponed(nodes[0])) == 1
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_what_an_old_primary_decided_does_not_follow_what_was_given_back(sqlite_url):
    """It stands at numbers that SQL has by now, and its log has the entry before them."""
    with servers.hot_server(servers.valkey_binary(), append_only=True) as primary:
        settings = await settings_for(primary.url, sqlite_url)
        async with opened(settings) as node:
            await node.create(POOL, 10)
            held = {await node.hold(POOL, "held")}
            await go_away(node, HOUR_MS, lambda _: None)
            generation = str(node.stores.store.generation(0))
        with replica_of(primary) as old:
            old.start()
            await go_on_selling(old, generation, events=5)
            old.stop()
            with raw(primary.url) as client:
                client.script_flush()
            dying = await unopened(settings)
            dying.stores.ledger.postpone = dies_after(dying.stores.ledger.postpone)  # type: ignore[method-assign]
            with pytest.raises(Died):
                await dying.gate._open_or_recover(0)
            cursor = await dying.stores.ledger.cursor(0)
            assert cursor is not None
            await dying.close()
            promote(primary, old)
        with raw(primary.url) as client:
            assert int(client.hget("{fs:00}:meta", "seq") or 0) > cursor.seq
        later = await unopened(settings)
        log = ShardLog(later.stores.servers.clients[0], 0)
        assert not await log.holds(Position(cursor.seq, cursor.log_id))
        await later.close()
        async with opened(settings) as node:
            await is_whole(node, held)
            check_books(await read_books(sqlite_url))


def dies_after(step: Callable[..., Any]) -> Any:
    async def stepping(*arguments: Any) -> None:
        await step(*arguments)
        raise Died

    return partial(stepping)
