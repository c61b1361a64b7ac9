"""Which outage was given back last, as the journal has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.ledger import outage_queries
from flashstock.ledger.outage_queries import GENERATIONS_READ_MAX
from flashstock.ledger.stored import GivenBack
from flashstock.model.events import Postponed
from tests.contract.ledger.written_log import NOW_MS, POOL, Book, Log, cancelled, created, held

OTHER = "pool-2"
MINUTE_MS = 60_000


async def recovered(book: Book, generations: int = 1) -> None:
    """Begin so many recoveries, one after the other."""
    for generation in range(book.cursor.generation, book.cursor.generation + generations):
        assert await book.ledger.bump_generation(0, generation, 0, "somebody", MINUTE_MS)
    cursor = await book.ledger.cursor(0)
    assert cursor is not None
    book.cursor = cursor
    book.log = Log(0, cursor.generation, cursor.seq)


async def give_back(book: Book, began_ms: int, ended_ms: int) -> None:
    """As a recovery does under its own generation, before anything else."""
    holds = await book.ledger.interrupted_holds(0, began_ms)
    assert holds
    parts = [Postponed(pool, ended_ms, began_ms, count) for pool, count in holds.items()]
    entries = [replace(entry, stream_id="7-7") for entry in book.log.entries(*parts)]
    book.cursor = await book.ledger.postpone(book.cursor, entries)


async def last(book: Book, generation: int | None = None) -> GivenBack | None:
    return await book.queries.last_given_back(0, generation or book.cursor.generation)


@pytest.fixture
async def sale(book: Book) -> Book:
    """Three holds in one pool and one in another, and a recovery that has begun."""
    await book.write(created(), created(pool=OTHER), held(1, 2, 3), held(4, pool=OTHER))
    assert await last(book) is None
    await recovered(book)
    assert await last(book) is None
    return book


async def test_all_pools_together_and_whatever_comes_after(sale: Book):
    began_ms, ended_ms = NOW_MS + 1, NOW_MS + MINUTE_MS
    await give_back(sale, began_ms, ended_ms)
    wanted = GivenBack(began_ms, ended_ms, 4)
    assert (await last(sale), wanted.by_ms) == (wanted, MINUTE_MS - 1)
    later_ms = ended_ms + 5
    await sale.write(held(5, at_ms=later_ms), cancelled(1, 2, at_ms=later_ms))
    assert await last(sale) == wanted
    await recovered(sale, generations=2)
    await sale.write(held(6, at_ms=later_ms))
    assert await last(sale) == wanted, "although nothing was given back since"
    assert await last(sale, 1) is None, "nor before"
    assert await sale.queries.last_given_back(1, 2) is None, "nor in another shard"


async def test_the_newest_and_not_the_ones_before(sale: Book):
    await give_back(sale, NOW_MS, NOW_MS + MINUTE_MS)
    await sale.write(cancelled(1, at_ms=NOW_MS + MINUTE_MS + 1))
    await recovered(sale)
    began_ms, ended_ms = NOW_MS + MINUTE_MS + 1, NOW_MS + 3 * MINUTE_MS
    await give_back(sale, began_ms, ended_ms)
    assert await last(sale) == GivenBack(began_ms, ended_ms, 3)
    assert await last(sale, 2) == GivenBack(NOW_MS, NOW_MS + MINUTE_MS, 4)


async def test_what_several_recoveries_gave_back_of_one_outage_is_one(sale: Book):
    times_ms = [NOW_MS + number * MINUTE_MS for number in range(4)]
    for number in range(3):
        await recovered(sale, number)
        await give_back(sale, times_ms[number], times_ms[number + 1])
    assert await last(sale) == GivenBack(times_ms[0], times_ms[-1], 4)


async def test_it_is_bounded(sale: Book, monkeypatch: pytest.MonkeyPatch):
    await give_back(sale, NOW_MS, NOW_MS + MINUTE_MS)
    generation = sale.cursor.generation
    assert await last(sale, generation + GENERATIONS_READ_MAX - 1) is not None
    assert await last(sale, generation + GENERATIONS_READ_MAX) is None
    monkeypatch.setattr(outage_queries, "POOLS_READ_MAX", 1)
    assert await last(sale) == GivenBack(NOW_MS, NOW_MS + MINUTE_MS, 3), "of the first pool only"
    assert POOL < OTHER
