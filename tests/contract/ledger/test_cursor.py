"""Cursors, generations, and the leases of recoveries."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.apply import Cursor, CursorMoved, Ledger
from tests.contract.ledger.written_log import NOW_MS, ORDER_SECRET, Book, created, held


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(engine: AsyncEngine, clock: Clock) -> Ledger:
    return Ledger(engine, ORDER_SECRET, clock)


async def test_a_shard_is_opened_once(ledger: Ledger):
    assert await ledger.cursor(7) is None
    first = await asyncio.gather(*(ledger.create_cursor(7) for _ in range(4)))
    assert set(first) == {Cursor(7, 1, 0, "0-0")}
    assert await ledger.cursor(7) == first[0]


async def test_opening_again_does_not_set_back(book: Book):
    await book.write(created())
    assert await book.ledger.create_cursor(0) == book.cursor


async def test_a_recovery_fences_the_writers_of_before(book: Book):
    await book.write(created())
    entries = book.log.entries(held(1))
    cursor = await book.ledger.bump_generation(0, 1, 0, "me", 1000)
    assert cursor == replace(book.cursor, generation=2)
    with pytest.raises(CursorMoved):
        await book.apply(entries)
    assert await book.states() == {}


async def test_only_one_of_many_wins_a_generation(engine: AsyncEngine, ledger: Ledger):
    await ledger.create_cursor(0)
    won = await asyncio.gather(
        *(ledger.bump_generation(0, 1, 0, f"owner-{n}", 60_000) for n in range(5))
    )
    assert [cursor for cursor in won if cursor] == [Cursor(0, 2, 0, "0-0")]


async def test_a_lease_keeps_others_away_until_it_runs_out(timed: Ledger, clock: Clock):
    await timed.create_cursor(0)
    assert await timed.bump_generation(0, 1, 0, "first", 1000)
    assert await timed.bump_generation(0, 2, 0, "second", 1000) is None
    clock.now_ms += 999
    assert await timed.renew_recovery(0, 2, "first", 1000)
    clock.now_ms += 999
    assert await timed.bump_generation(0, 2, 0, "second", 1000) is None
    clock.now_ms += 1
    taken = await timed.bump_generation(0, 2, 0, "second", 1000)
    assert taken is not None
    assert taken.generation == 3
    assert not await timed.renew_recovery(0, 2, "first", 1000)
    assert not await timed.finish_recovery(0, 2, "first")
    assert await timed.opened_generation(0) == 0


async def test_an_owner_may_start_over(timed: Ledger):
    await timed.create_cursor(0)
    assert await timed.bump_generation(0, 1, 0, "me", 1000)
    again = await timed.bump_generation(0, 2, 0, "me", 1000)
    assert again is not None
    assert again.generation == 3


async def test_a_finished_recovery_is_open_to_the_next(book: Book):
    ledger = book.ledger
    assert await ledger.opened_generation(0) == 0
    assert await ledger.bump_generation(0, 1, 0, "first", 60_000)
    assert await ledger.finish_recovery(0, 2, "first")
    assert await ledger.opened_generation(0) == 2
    (status,) = await book.queries.cursors()
    assert (status.recovery_owner, status.recovery_until_ms) == (None, 0)
    assert not await ledger.finish_recovery(0, 2, "first")
    assert await ledger.bump_generation(0, 2, 2, "second", 60_000)
    assert await ledger.opened_generation(0) == 2, "the recovery under way is not finished"


async def test_what_was_finished_meanwhile_is_not_begun_again(ledger: Ledger):
    """Whoever saw the recovery under way and looks again too late would do it once more."""
    await ledger.create_cursor(0)
    assert await ledger.bump_generation(0, 1, 0, "first", 60_000)
    assert await ledger.finish_recovery(0, 2, "first")
    assert await ledger.bump_generation(0, 2, 0, "second", 60_000) is None
    assert await ledger.cursor(0) == Cursor(0, 2, 0, "0-0")


async def test_only_the_generation_that_was_seen_can_be_ended(ledger: Ledger):
    await ledger.create_cursor(0)
    assert await ledger.bump_generation(0, 9, 0, "me", 1000) is None
    assert await ledger.bump_generation(5, 1, 0, "me", 1000) is None
    assert await ledger.cursor(0) == Cursor(0, 1, 0, "0-0")
