"""What SQL refuses is never acknowledged: keys used again after they were forgotten, and poison."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flashstock import bootstrap
from flashstock.config import Settings
from flashstock.errors import FlashstockError, NotRecorded, Unavailable
from flashstock.hotpath import keys
from flashstock.model.group_rules import GroupRules
from flashstock.model.ids import digest_of
from flashstock.model.states import Durability, PoolState, ReservationState
from tests.recovery.audit import check_books, read_books
from tests.recovery.node import CALLER, Node, eventually, meta, opened, raw, settings_for

POOL = "pool"
HOLD_MS = 60
LONGER_HOLD_MS = 1_000
"""Long enough to be asked for something before it ends."""
RETENTION_MS = 120


@pytest.fixture(autouse=True)
def soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day in a blink."""
    monkeypatch.setattr(bootstrap, "retention_ms_of", lambda _settings: RETENTION_MS)


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[tuple[Node, Node]]:
    """An API process that writes nothing, and a writer's process that answers nobody."""
    async with opened(settings, writing=False) as api, opened(settings) as writer:
        yield api, writer


def id_of(key: str) -> str:
    return f"{POOL}~{digest_of('reservation', CALLER, key)}"


async def forgotten(node: Node, url: str, key: str) -> None:
    """Let the hold end and Redis forget it, as the sweeper does in its time."""

    async def gone() -> bool:
        await node.stores.store.expire(POOL, 8)
        with raw(url) as client:
            return not client.hexists(keys.reservations(0), id_of(key).partition("~")[2])

    await eventually(gone, "the record is forgotten")
    await node.is_applied()


async def is_dealt_with(node: Node) -> bool:
    return not await node.stores.queries.quarantine_unpaused()


async def answered(node: Node, key: str, quantity: int = 1) -> str:
    """What the caller is told: a state, or the code of an error."""
    try:
        verdicted = await node.reserve(POOL, f"buyer-{key}", quantity, key)
    except FlashstockError as error:
        return error.code
    if verdicted.verdict == 2:
        return "idempotency_mismatch"
    return (await node.reservations.get(id_of(key))).state.value


async def is_whole(node: Node, url: str) -> None:
    await eventually(lambda: is_dealt_with(node), "the quarantine is dealt with")
    await node.is_applied()
    check_books(await read_books(url))
    report = await node.reconciler.report()
    assert report["ok"], report
    assert (await node.pools.get(POOL)).rules.state is PoolState.OPEN


async def test_a_forgotten_key_grants_no_second_hold(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with service(settings) as (api, writer):
        await api.create(POOL, 10, hold_ms=HOLD_MS, per_buyer_limit=3)
        first = await api.hold(POOL, "old", 2)
        await forgotten(api, valkey_url, "old")
        with pytest.raises(NotRecorded):
            await api.reserve(POOL, "buyer-old", 2, "old")
        await is_whole(writer, database_url)
        counters = (await api.pools.get(POOL)).counters
        assert (counters.available, counters.held) == (10, 0)
        # From here on it is the replay that it is; and another payload is another matter.
        verdicted = await api.reserve(POOL, "buyer-old", 2, "old")
        assert verdicted.verdict == 1
        assert (await api.reservations.get(first)).state is ReservationState.EXPIRED
        assert await answered(api, "old", 1) == "idempotency_mismatch"
        assert await api.hold(POOL, "new", 3, "buyer-old")
        await is_whole(writer, database_url)


async def test_a_sale_stays_a_sale(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with service(settings) as (api, writer):
        await api.create(POOL, 10, hold_ms=HOLD_MS)
        first = await api.hold(POOL, "old", 2)
        await api.reservations.confirm(first, "pay")
        await forgotten(api, valkey_url, "old")
        with pytest.raises(NotRecorded):
            await api.reserve(POOL, "buyer-old", 2, "old")
        await is_whole(writer, sqlite_url)
        assert (await api.reservations.confirm(first, "pay")).replayed
        counters = (await api.pools.get(POOL)).counters
        assert (counters.available, counters.sold) == (8, 2)


async def test_others_of_the_same_batch_get_theirs(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with service(settings) as (api, writer):
        await api.create(POOL, 100, hold_ms=HOLD_MS)
        await api.hold(POOL, "3")
        await forgotten(api, valkey_url, "3")
        asked = [api.reserve(POOL, f"buyer-{n}", 1, str(n)) for n in range(6)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(answer, NotRecorded) for answer in answers] == [
            number == 3 for number in range(6)
        ]
        await eventually(lambda: is_dealt_with(writer), "the quarantine is dealt with")
        await is_whole(writer, sqlite_url)


async def test_what_became_of_the_second_hold_goes_with_it(valkey_url, sqlite_url):
    """In a fast pool, with a writer that is late: it is extended, and expires."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, 10, hold_ms=LONGER_HOLD_MS, durability=Durability.FAST)
        for key in ("ended", "cancelled"):
            await node.hold(POOL, key)
        for key in ("ended", "cancelled"):
            await forgotten(node, valkey_url, key)
        await node.stop_writing()
        ended = await node.hold(POOL, "ended")
        cancelled = await node.hold(POOL, "cancelled")
        extending = asyncio.ensure_future(node.reservations.extend(ended, 1))
        cancelling = asyncio.ensure_future(node.reservations.cancel(cancelled))
        await asyncio.sleep(LONGER_HOLD_MS / 1000 + 0.02)
        await node.stores.store.expire(POOL, 8)
        node.write()
        await asyncio.gather(extending, cancelling, return_exceptions=True)
        assert isinstance(cancelling.exception(), NotRecorded)
        await is_whole(node, sqlite_url)


async def test_a_writer_that_dies_before_it_says_so_hides_nothing(
    valkey_url, sqlite_url, monkeypatch
):
    """The announcement is lost; whoever waits hears of the cursor in SQL, and of the quarantine."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with service(settings) as (api, writer):
        await api.create(POOL, 10, hold_ms=HOLD_MS)
        await api.hold(POOL, "old")
        await forgotten(api, valkey_url, "old")

        async def unheard(*_: object) -> None:
            raise Unavailable

        for one in writer.writers:
            monkeypatch.setattr(one._log, "announce", unheard)
        monkeypatch.setattr(writer.pauser, "_deal_with_all", unheard)
        assert await answered(api, "old") == "not_recorded"
        assert await answered(api, "old") == "not_recorded", "nor is it a replay"
        async with opened(settings, writing=False) as another:
            assert await answered(another, "old") == "not_recorded", "not in any process"
        monkeypatch.undo()
        async with opened(settings) as successor:
            await is_whole(successor, sqlite_url)
            assert await answered(successor, "old") == "expired"


async def test_a_refused_confirmation_is_never_acknowledged(valkey_url, sqlite_url):
    """SQL was changed behind our back: it does not know the hold any more."""
    settings = await settings_for(valkey_url, sqlite_url)
    async with service(settings) as (api, writer):
        await api.create(POOL, 10)
        hold = await api.hold(POOL, "key")
        await writer.is_applied()
        engine = writer.stores.engine
        async with engine.begin() as connection:
            await connection.exec_driver_sql("UPDATE reservations SET state = 'cancelled'")
        for _ in range(2):
            with pytest.raises((NotRecorded, Unavailable)):
                await api.reservations.confirm(hold, "pay")
        await eventually(lambda: is_dealt_with(writer), "the pool is paused")
        assert (await api.pools.get(POOL)).rules.state is PoolState.PAUSED
        assert await api.stores.queries.payment_owner("pay") is None


async def test_a_forgotten_key_opens_no_second_group(valkey_url, database_url):
    """The group it opened first has formed and is forgotten; SQL keeps it as it was."""
    settings = await settings_for(valkey_url, database_url)
    async with service(settings) as (api, writer):
        rules = GroupRules(2, 3_600_000)
        await api.create(POOL, 10, hold_ms=3_600_000, group_buy=rules.text)
        first = await api.seat(POOL, "old", "open")
        second = await api.seat(POOL, "friend", first)
        for seat in (first, second):
            await api.reservations.confirm(seat, f"pay-{seat}")
        for hours in (2, 4, 6):
            await move_the_clock(valkey_url, hours)
            await api.stores.store.expire(POOL, 8)
        await forgotten(api, valkey_url, "old")
        with pytest.raises(NotRecorded):
            await api.seat(POOL, "old", "open")
        await is_whole(writer, database_url)
        counters = (await api.pools.get(POOL)).counters
        assert (counters.available, counters.held, counters.sold) == (8, 0, 2)
        (group,) = await api.stores.queries.groups_by_ids([first])
        assert (group.state, group.paid) == ("formed", 2)
        assert await api.seat(POOL, "old", "open") == first, "a replay of the first"
        await api.seat(POOL, "new", "open")
        await is_whole(writer, database_url)


async def move_the_clock(url: str, hours: int) -> None:
    """So far ahead; what is remembered is soon forgotten."""
    with raw(url) as client:
        seconds: Any = client.time()[0]
        client.hset(meta(), "clock_ms", (int(seconds) + hours * 3_600) * 1_000)
