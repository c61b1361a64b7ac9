"""Signs of life, and what SQL does when a recovery gives the time of an outage back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flashstock.ledger.apply import Cursor, CursorMoved
from flashstock.ledger.failures import Violation
from flashstock.ledger.journal_queries import Subject
from flashstock.model import events
from flashstock.model.events import Event, Held, Hold, LogEntry, Postponed
from flashstock.model.fold import FoldViolation, fold
from flashstock.model.rules import NO_DEADLINE_MS
from tests.contract.ledger.written_log import (
    DEADLINE_MS,
    NOW_MS,
    POOL,
    Book,
    Log,
    cancelled,
    confirmed,
    created,
    digest,
    held,
    reservation_id,
)

OTHER = "pool-2"
HOUR_MS = 3_600_000
BEGAN_MS = NOW_MS + 60_000
LATER_MS = BEGAN_MS + HOUR_MS
BY_MS = LATER_MS - BEGAN_MS


def until(number: int, deadline_ms: int, cart: str = "") -> Held:
    return Held(POOL, NOW_MS, deadline_ms, (Hold(digest(number), f"buyer-{number}", 1, cart),))


STORY: Sequence[Event] = (
    created(),
    created(pool=OTHER),
    held(1, 2, 3, 4),
    held(5, pool=OTHER),
    until(6, BEGAN_MS),
    until(7, BEGAN_MS + 1),
    until(8, NO_DEADLINE_MS),
    until(9, NO_DEADLINE_MS - 1),
    cancelled(2),
    confirmed(3),
)
UNTIL = {
    1: DEADLINE_MS + BY_MS,
    2: DEADLINE_MS,
    3: DEADLINE_MS,
    4: DEADLINE_MS + BY_MS,
    5: DEADLINE_MS + BY_MS,
    6: BEGAN_MS,
    7: LATER_MS + 1,
    8: NO_DEADLINE_MS,
    9: NO_DEADLINE_MS - 1,
}
"""Number → deadline afterwards."""


async def deadlines(book: Book) -> dict[int, int]:
    rows = await book.rows("reservations")
    return {int(row.id.rpartition("~")[2]): row.deadline_ms for row in rows}


def given_back(cursor: Cursor, holds: dict[str, int]) -> list[LogEntry]:
    log = Log(cursor.shard, cursor.generation, cursor.seq)
    parts = [Postponed(pool, LATER_MS, BEGAN_MS, count) for pool, count in holds.items()]
    return [replace(entry, stream_id="7-7") for entry in log.entries(*parts)]


async def test_exactly_what_had_time_left_is_put_off(book: Book):
    await book.write(*STORY)
    holds = await book.ledger.interrupted_holds(0, BEGAN_MS)
    assert holds == {POOL: 4, OTHER: 1}
    entries = given_back(book.cursor, holds)
    after = await book.ledger.postpone(book.cursor, entries)
    assert after == Cursor(0, 1, book.cursor.seq + 2, "7-7") == await book.ledger.cursor(0)
    assert await deadlines(book) == UNTIL
    assert await book.ledger.alive_at_ms(0) == LATER_MS, "and that is a sign of life"
    journal = await book.rows("journal")
    assert [(row.kind, row.pool) for row in journal[-2:]] == [
        ("postponed", POOL),
        ("postponed", OTHER),
    ]
    stored = await book.queries.pool(OTHER)
    assert stored is not None
    assert stored.updated_at_ms == LATER_MS, "time goes on from there in Redis, too"


async def test_the_fold_of_the_journal_says_the_same(book: Book):
    entries = Log().entries(*STORY, Postponed(POOL, LATER_MS, BEGAN_MS, 4))
    changes = fold((entry, events.decode(entry)) for entry in entries)
    found = {int(row.id[-16:]): row.deadline_ms for row in changes.inserted.values()}
    assert found == {**UNTIL, 5: DEADLINE_MS}
    assert [one.holds for one in changes.postponed] == [0], "none is left to SQL"


async def test_seats_end_with_their_group(book: Book):
    await book.write(*STORY)
    holds = await book.ledger.interrupted_holds(0, BEGAN_MS)
    async with book.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE reservations SET cart = 'g:{digest(1)}' WHERE id = '{reservation_id(1)}'"
        )
    assert await book.ledger.interrupted_holds(0, BEGAN_MS) == {**holds, POOL: 3}
    await book.ledger.postpone(book.cursor, given_back(book.cursor, {POOL: 3}))
    assert (await deadlines(book))[1] == DEADLINE_MS


@pytest.mark.parametrize(
    ("holds", "refused"),
    [({POOL: 4, OTHER: 2}, Violation), ({POOL: 4, "unknown": 1}, Violation)],
    ids=["not so many", "no such pool"],
)
async def test_all_or_nothing(book: Book, holds: dict[str, int], refused: type[Exception]):
    await book.write(*STORY)
    before = await deadlines(book), await book.rows("cursors"), await book.rows("journal")
    with pytest.raises(refused):
        await book.ledger.postpone(book.cursor, given_back(book.cursor, holds))
    assert (await deadlines(book), await book.rows("cursors"), await book.rows("journal")) == before


async def test_a_deadline_is_explained_by_what_moved_it_last(book: Book):
    """Held; put off; moved by its holder, held since, over by then, or without a deadline."""
    await book.write(*STORY)
    book.cursor = await book.ledger.postpone(
        book.cursor, given_back(book.cursor, {POOL: 4, OTHER: 1})
    )
    book.log.seq = book.cursor.seq
    longer = events.Extended(POOL, LATER_MS + 1, digest(4), LATER_MS + HOUR_MS)
    await book.write(longer, held(10, at_ms=LATER_MS + 2))
    seat = reservation_id(7)
    async with book.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE reservations SET cart = 'g:{digest(1)}' WHERE id = '{seat}'"
        )
    until = await book.queries.deadlines_of([reservation_id(n) for n in range(1, 11)])
    assert until == {
        reservation_id(1): DEADLINE_MS + BY_MS,
        reservation_id(4): LATER_MS + HOUR_MS,
        reservation_id(6): BEGAN_MS,
        reservation_id(9): NO_DEADLINE_MS - 1,
        reservation_id(10): LATER_MS + 2 + 900_000,
    }, "who is held and ends by a deadline of its own"
    asked = {n: Subject(POOL, digest(n), until.get(reservation_id(n), 0)) for n in (1, 4, 6, 7, 10)}
    found = await book.queries.latest_entries(0, asked.values())
    assert {n: found[subject].kind for n, subject in asked.items()} == {
        1: "postponed",
        4: "extended",
        6: "held",
        7: "held",
        10: "held",
    }
    without = await book.queries.latest_entries(0, [Subject(POOL, digest(1))])
    assert [entry.kind for entry in without.values()] == ["held"], "where no deadline is asked for"


async def test_who_was_overtaken_puts_nothing_off(book: Book):
    await book.write(*STORY)
    entries = given_back(book.cursor, {POOL: 4, OTHER: 1})
    assert await book.ledger.bump_generation(0, 1, 0, "somebody", 1_000)
    before = await deadlines(book)
    with pytest.raises(CursorMoved):
        await book.ledger.postpone(book.cursor, entries)
    assert await deadlines(book) == before
    assert await book.ledger.alive_at_ms(0) == NOW_MS


async def test_it_is_not_decided_amid_changes_of_what_sql_has(book: Book):
    entries = Log().entries(cancelled(1), Postponed(POOL, LATER_MS, BEGAN_MS, 1))
    with pytest.raises(FoldViolation):
        fold((entry, events.decode(entry)) for entry in entries)


async def test_every_decision_is_a_sign_of_life(book: Book):
    assert await book.ledger.alive_at_ms(0) == 0
    await book.write(created())
    assert await book.ledger.alive_at_ms(0) == NOW_MS
    await book.write(held(1, at_ms=NOW_MS + 7), held(2, at_ms=NOW_MS + 5))
    assert await book.ledger.alive_at_ms(0) == NOW_MS + 7
    await book.write(held(3, at_ms=NOW_MS + 6))
    assert await book.ledger.alive_at_ms(0) == NOW_MS + 7, "it never goes back"
    assert await book.ledger.alive_at_ms(1) == 0


async def test_a_quiet_shard_is_kept_alive_by_who_stands_where_it_stands(book: Book):
    await book.write(created())
    ledger = book.ledger
    assert await ledger.keep_alive(book.cursor, NOW_MS + 9)
    assert await ledger.alive_at_ms(0) == NOW_MS + 9
    assert await ledger.keep_alive(book.cursor, NOW_MS + 8)
    assert await ledger.alive_at_ms(0) == NOW_MS + 9
    (row,) = await book.rows("cursors")
    for other in (
        replace(book.cursor, seq=book.cursor.seq + 1),
        replace(book.cursor, log_id="9-9"),
        replace(book.cursor, generation=2),
        replace(book.cursor, shard=3),
    ):
        assert not await ledger.keep_alive(other, NOW_MS + 99)
    assert await book.rows("cursors") == [row]
