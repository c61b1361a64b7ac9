"""Several writers at one shard: every event is applied once, whoever gets there first."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.apply import Applied, CursorMoved, Ledger
from flashstock.ledger.engine import create_engine
from flashstock.model.events import Event, LogEntry
from tests.contract.ledger.written_log import (
    NOW_MS,
    ORDER_SECRET,
    Book,
    Log,
    cancelled,
    confirmed,
    created,
    held,
)

WRITERS = 4


@pytest.fixture
async def rivals(ledger_url: str) -> AsyncIterator[list[Ledger]]:
    """Ledgers that share nothing but the database."""
    engines: list[AsyncEngine] = [create_engine(ledger_url) for _ in range(WRITERS)]
    yield [Ledger(engine, ORDER_SECRET, lambda: NOW_MS) for engine in engines]
    for engine in engines:
        await engine.dispose()


async def test_of_two_with_the_same_batch_one_wins(book: Book, rivals: list[Ledger]):
    await book.write(created())
    for number in range(1, 21):
        batch = book.log.entries(held(number))
        results = await asyncio.gather(
            *(rival.apply(book.cursor, batch) for rival in rivals[:2]), return_exceptions=True
        )
        assert {type(result) for result in results} == {Applied, CursorMoved}
        (applied,) = [result for result in results if isinstance(result, Applied)]
        book.cursor = applied.cursor
    assert len(await book.states()) == 20
    assert await book.units() == (100, 20, 0, 0)
    assert len(await book.rows("journal")) == 21


async def test_many_writers_of_one_log_apply_it_once(book: Book, rivals: list[Ledger]):
    events: list[Event] = [created(total=1000)]
    for number in range(1, 91, 3):
        events += [held(number, number + 1, number + 2), cancelled(number), confirmed(number + 1)]
    entries = book.log.entries(*events)
    lost = await asyncio.gather(
        *(_follow(rival, entries, seed) for seed, rival in enumerate(rivals))
    )
    cursor = await book.ledger.cursor(0)
    assert cursor is not None
    assert cursor.seq == entries[-1].last_seq
    assert await book.units() == (1000, 30, 30, 0)
    assert len(await book.rows("journal")) == len(entries)
    assert await book.queries.quarantined(0, 10) == []
    assert sum(lost) > 0, "nobody ever met a rival: this proves nothing"


async def _follow(ledger: Ledger, entries: Sequence[LogEntry], seed: int) -> int:
    """Apply the log in batches of varying length; how often somebody else was first."""
    choose = random.Random(seed)
    lost = 0
    while True:
        cursor = await ledger.cursor(0)
        assert cursor is not None
        left = [entry for entry in entries if entry.last_seq > cursor.seq]
        if not left:
            return lost
        try:
            await ledger.apply(cursor, left[: choose.randint(1, 5)])
        except CursorMoved:
            lost += 1


async def test_shards_are_written_side_by_side(book: Book, rivals: list[Ledger]):
    async def write(shard: int, ledger: Ledger) -> None:
        log = Log(shard)
        pool = f"pool-of-{shard}"
        cursor = await ledger.create_cursor(shard)
        events: list[Event] = [created(pool=pool), *(held(n, pool=pool) for n in range(10))]
        for event in events:
            cursor = (await ledger.apply(cursor, [log.entry(event)])).cursor

    await asyncio.gather(*(write(shard, rival) for shard, rival in enumerate(rivals, 1)))
    totals = await book.queries.shard_totals()
    assert [(one.shard, one.pools, one.held) for one in totals] == [
        (s, 1, 10) for s in (1, 2, 3, 4)
    ]


async def test_a_violation_seen_by_two_is_recorded_once(book: Book, rivals: list[Ledger]):
    await book.write(created())
    batch = book.log.entries(held(1), cancelled(50), held(2))
    results = await asyncio.gather(
        *(rival.apply(book.cursor, batch) for rival in rivals), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Applied)]
    assert [result.quarantined for result in won] == [(batch[1].seq,)]
    assert all(isinstance(r, Applied | CursorMoved) for r in results)
    assert len(await book.queries.quarantined(0, 10)) == 1
    assert await book.states() == {"1": "held", "2": "held"}
