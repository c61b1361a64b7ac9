"""What was refused is known before anybody is woken, and costs nothing where nothing was."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.errors import NotRecorded, Unavailable
from flashstock.hotpath.applied import AppliedTracker
from flashstock.model.records import ReservationRecord
from tests.unit.hotpath.fakes import settle


class Book:
    """Answers what it is told, and counts the questions."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, int]] = []
        self.asked: list[tuple[int, int, int]] = []
        self.away = False

    async def refused_events(
        self, shard: int, generation: int, after_seq: int
    ) -> list[tuple[str, int]]:
        self.asked.append((shard, generation, after_seq))
        if self.away:
            raise Unavailable
        return self.refused

    async def reservation_record(self, _reservation_id: str) -> ReservationRecord | None:
        return None


async def opened() -> tuple[AppliedTracker, Book]:
    book = Book()
    applied = AppliedTracker(1, 60_000, book)
    applied.open_shard(0, "1", 10)
    await applied.settle(0)
    await settle()
    book.asked.clear()
    return applied, book


async def test_announcements_that_join_up_ask_nobody():
    applied, book = await opened()
    for seq in range(11, 20):
        applied.announce(0, "1", seq, seq - 1)
    applied.announce(0, "1", 19, 5)
    assert (applied.applied(0), book.asked) == (19, [])
    assert not applied.has_refusals(0)


@pytest.mark.parametrize("recorded_after", [None, 12, 15])
async def test_what_an_announcement_leaves_open_is_asked_first(recorded_after):
    """From the cursor alone, after a lost announcement, or where something was refused."""
    applied, book = await opened()
    book.refused = [("digest", 13)]
    waiting = asyncio.create_task(applied.recorded(0, "1", 13, "digest"))
    another = asyncio.create_task(applied.recorded(0, "1", 14, "other"))
    await settle()
    applied.announce(0, "1", 15, recorded_after)
    assert applied.applied(0) == 10
    with pytest.raises(NotRecorded):
        await waiting
    await another
    assert book.asked == [(0, 1, 10)]
    with pytest.raises(NotRecorded):
        await applied.recorded(0, "1", 13, "digest")


async def test_while_nobody_can_be_asked_nobody_is_woken():
    applied, book = await opened()
    book.away = True
    waiting = asyncio.create_task(applied.wait(0, "1", 11))
    await settle()
    applied.announce(0, "1", 11)
    await settle()
    assert not waiting.done()
    book.away = False
    applied.announce(0, "1", 11)
    await waiting


async def test_a_shard_is_open_only_once_it_is_known_what_was_refused():
    book = Book()
    book.refused, book.away = [("digest", 7)], True
    applied = AppliedTracker(1, 60_000, book)
    applied.open_shard(0, "1", 10)
    with pytest.raises(Unavailable):
        await applied.settle(0)
    book.away = False
    await applied.settle(0)
    assert applied.is_refused(0, "digest", 7, 7)
    applied.open_shard(0, "2", 10)
    assert not applied.is_refused(0, "digest", 7, 7), "numbers mean nothing in another generation"
