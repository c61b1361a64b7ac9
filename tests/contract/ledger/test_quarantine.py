"""An event that contradicts SQL is set aside; every other one is applied, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.engine import writing
from flashstock.model import events
from flashstock.model.fold import Changes
from flashstock.model.rules import PoolRules
from flashstock.model.states import PoolState, ReservationState
from tests.contract.ledger.written_log import (
    NOW_MS,
    POOL,
    Book,
    Log,
    cancelled,
    confirmed,
    created,
    held,
    refund_due,
    returned,
)

EXPIRED = ReservationState.EXPIRED

# What was there before the batch: 1 and 2 held (2 units each), 3 sold (2 units), 4 cancelled.
BEFORE = (
    created(total=20, locked=5),
    held(1, 2, 3, 4, quantity=2),
    confirmed(3, quantity=2),
    cancelled(4, quantity=2),
    refund_due(4, payment_ref="payment-late", quantity=2),
)

VIOLATIONS: dict[str, events.Event] = {
    "oversold": held(50, quantity=12),
    "stock taken from under the holds": events.Adjusted(POOL, NOW_MS, -14, 0, "c"),
    "more units locked than there are": events.Adjusted(POOL, NOW_MS, 0, 20, "c"),
    "more units released than are locked": events.WaveReleased(POOL, NOW_MS, 6, ()),
    "held again": held(1, quantity=2),
    "held again after its end": held(4, quantity=2),
    "no units": held(50, quantity=0),
    "fewer than no units": held(50, quantity=-3),
    "a hold of an unknown pool": held(50, pool="nowhere"),
    "a hold of a pool of another shard": held(50, pool="elsewhere"),
    "an unknown pool is adjusted": events.Adjusted("nowhere", NOW_MS, 1, 0, "c"),
    "created again": created(),
    "an unknown hold ends": cancelled(50),
    "an end after the end": cancelled(4, quantity=2),
    "a sale ends": cancelled(3, quantity=2),
    "other units come back than were held": cancelled(1, quantity=1),
    "other units are sold than were held": confirmed(1, quantity=1),
    "sold again": confirmed(3, quantity=2, payment_ref="another", order_index=9),
    "an unknown hold is paid": confirmed(50),
    "paid late though not expired": confirmed(1, quantity=2, before=EXPIRED),
    "a payment for two reservations": confirmed(1, quantity=2, payment_ref="payment-3"),
    "an order number for two sales": replace(
        confirmed(1, quantity=2, order_index=3), buyer="buyer-3"
    ),
    "a refund for two reservations": refund_due(1, payment_ref="payment-late"),
    "the deadline of a sale": events.Extended(POOL, NOW_MS, f"{3:016d}", NOW_MS),
    "a return of a hold": returned(1, 1, 1, complete=False),
    "a return of more than was sold": returned(3, 3, 3, complete=False),
    "a return that misses an earlier one": returned(3, 1, 2, complete=True),
    "all is returned, but not all units": returned(3, 1, 1, complete=True),
}

MALFORMED: dict[str, tuple[str, str, int]] = {
    "unknown kind": ("sold_out", f"{POOL}\t{NOW_MS}", 1),
    "unstorable kind": ("he\0ld\ud800", f"{POOL}\t{NOW_MS}", 1),
    "empty payload": ("held", "", 1),
    "missing fields": ("confirmed", f"{POOL}\t{NOW_MS}\tabc", 1),
    "not a number": ("extended", f"{POOL}\t{NOW_MS}\t{1:016d}\tsoon", 1),
    "not a time": ("repaired", f"{POOL}\tnow\tx", 1),
    "a time no clock shows": ("repaired", f"{POOL}\t{10**18}\tx", 1),
    "not a pool": ("repaired", f"no pool!\t{NOW_MS}\tx", 1),
    "a wrong count": ("cancelled", f"{POOL}\t{NOW_MS}\t{1:016d}\t2", 3),
    "a number no column holds": ("extended", f"{POOL}\t{NOW_MS}\t{1:016d}\t{2**63}", 1),
    "a quantity no column holds": ("held", f"{POOL}\t{NOW_MS}\t1\t{50:016d}\tb\t{10**40}\t", 1),
    "a lone surrogate": ("held", f"{POOL}\t{NOW_MS}\t1\t{50:016d}\t\ud800\t1\t", 1),
}


@pytest.fixture
async def furnished(book: Book) -> Book:
    """A pool in the middle of its sale, and one that lives in another shard."""
    assert (await book.write(*BEFORE)).quarantined == ()
    await _execute(
        book,
        "INSERT INTO pools (id, shard, sku, state, total, held, sold, locked, per_buyer_limit,"
        " hold_ms, starts_at_ms, ends_at_ms, durability, waves, created_at_ms, updated_at_ms)"
        " VALUES ('elsewhere', 1, 's', 'open', 9, 0, 0, 0, 0, 1, 0, 0, 'ledger', '', 1, 1)",
    )
    return book


async def _execute(book: Book, statement: str) -> None:
    async with writing(book.engine) as connection:
        await connection.execute(text(statement))


async def _check_set_aside_alone(
    book: Book, write_bad: Callable[[Log], events.LogEntry], pool: str
) -> None:
    """Apply it between good events: they count, it does not, and everyone can see why."""
    before = await book.units()
    good = book.log.entry(held(10))
    bad = write_bad(book.log)
    batch = [good, bad, *book.log.entries(held(11, 12), cancelled(10))]
    applied = await book.apply(batch)

    assert applied.quarantined == (bad.seq,)
    assert applied.cursor.seq == batch[-1].last_seq
    assert await book.ledger.cursor(0) == applied.cursor
    states = await book.states()
    assert [states.get(n) for n in ("10", "11", "12")] == ["cancelled", "held", "held"]
    total, units_held, sold, locked = before
    assert await book.units() == (total, units_held + 2, sold, locked)

    (row,) = await book.queries.quarantined(0, 10)
    assert (row.shard, row.generation, row.seq, row.pool) == (0, 1, bad.seq, pool)
    assert row.error
    assert (row.recorded_at_ms, row.pool_paused, row.resolved_at_ms) == (NOW_MS, False, None)
    journal = await book.rows("journal")
    assert [(r.seq, r.count) for r in journal][-4:] == [(e.seq, e.count) for e in batch]
    stored = await book.queries.pool(POOL)
    assert stored is not None
    assert stored.rules.state is (PoolState.PAUSED if pool == POOL else PoolState.OPEN)


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_is_set_aside_alone(furnished: Book, name: str):
    event = VIOLATIONS[name]
    await _check_set_aside_alone(furnished, lambda log: log.entry(event), event.pool)
    (row,) = await furnished.queries.quarantined(0, 10)
    assert (row.kind, row.payload) == events.encode(event)


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_entry_is_set_aside_alone(furnished: Book, name: str):
    kind, payload, count = MALFORMED[name]
    pool = POOL if payload.startswith(POOL) else ""
    await _check_set_aside_alone(furnished, lambda log: log.raw(kind, payload, count), pool)


@pytest.mark.parametrize(
    ("counter", "event", "constraint"),
    [
        ("held", cancelled(1, quantity=2), "ck_pools_held_not_negative"),
        ("sold", returned(3, 2, 2, complete=True), "ck_pools_sold_not_negative"),
    ],
    ids=["held", "sold"],
)
async def test_a_counter_that_drifted_can_not_go_below_zero(
    furnished: Book, counter: str, event: events.Event, constraint: str
):
    await _execute(furnished, f"UPDATE pools SET {counter} = 1 WHERE id = '{POOL}'")
    before = await furnished.states()
    applied = await furnished.write(event)
    assert applied.quarantined == (applied.cursor.seq,)
    assert await furnished.states() == before
    (row,) = await furnished.queries.quarantined(0, 10)
    assert constraint in row.error


async def test_of_one_entry_only_the_bad_holds_are_set_aside(furnished: Book):
    # 20 units, 5 locked, 6 promised: of the next twelve holds, nine find room, in order.
    entry = furnished.log.entry(held(*range(10, 22)))
    applied = await furnished.apply([entry])
    assert applied.quarantined == tuple(entry.seq + i for i in (9, 10, 11))
    states = await furnished.states()
    assert [n for n in range(10, 22) if str(n) in states] == list(range(10, 19))
    assert await furnished.units() == (20, 13, 2, 5)
    rows = await furnished.queries.quarantined(0, 10)
    assert [row.payload for row in rows] == [events.encode(held(n))[1] for n in (19, 20, 21)]
    assert (await furnished.rows("journal"))[-1].payload == entry.payload


async def test_what_follows_from_a_bad_event_is_bad_too(furnished: Book):
    entries = furnished.log.entries(
        held(50, quantity=12), held(10), confirmed(50, quantity=12), confirmed(10)
    )
    applied = await furnished.apply(entries)
    assert applied.quarantined == (entries[0].seq, entries[2].seq)
    assert (await furnished.states())["10"] == "confirmed"
    assert await furnished.units() == (20, 4, 3, 5)


WITHIN = {
    "held twice": (held(50), held(50)),
    "ended twice": (held(50), cancelled(50), cancelled(50)),
    "paid after its end": (held(50), cancelled(50), confirmed(50)),
    "other units end than were held": (held(50), cancelled(50, quantity=2)),
    "other units end than were held, after a longer deadline": (
        events.Extended(POOL, NOW_MS, f"{1:016d}", NOW_MS),
        cancelled(1, quantity=1),
    ),
    "a part of a sale returned twice": (
        returned(3, 1, 1, complete=False),
        returned(3, 1, 1, complete=False),
    ),
    "one payment, two sales": (
        held(50),
        confirmed(50, payment_ref="p"),
        confirmed(1, quantity=2, payment_ref="p"),
    ),
    "one payment, two refunds": (
        refund_due(4, payment_ref="p", quantity=2),
        refund_due(50, payment_ref="p"),
    ),
    "created twice": (created(pool="pool-2"), created(pool="pool-2")),
    "created after it was used": (held(50, pool="pool-2"), created(pool="pool-2")),
}


@pytest.mark.parametrize("name", WITHIN)
async def test_events_of_one_batch_may_contradict_each_other(furnished: Book, name: str):
    """One of them is set aside, and the same one as if each had come alone."""
    *_, last = entries = furnished.log.entries(*WITHIN[name])
    applied = await furnished.apply(entries)
    bad = entries[0] if name == "created after it was used" else last
    assert applied.quarantined == (bad.seq,)
    await furnished.units()


async def test_every_event_of_a_batch_may_be_bad(furnished: Book):
    entries = furnished.log.entries(cancelled(60, 61), cancelled(62), held(50, pool="nowhere"))
    before = await furnished.units()
    applied = await furnished.apply(entries)
    first = entries[0].seq
    assert applied.quarantined == tuple(range(first, first + 4))
    assert await furnished.units() == before


async def test_the_next_batch_goes_on_as_if_nothing_had_been(furnished: Book):
    await furnished.write(cancelled(60))
    applied = await furnished.write(held(10))
    assert applied.quarantined == ()
    assert (await furnished.states())["10"] == "held"


async def test_an_operator_can_open_the_pool_again(furnished: Book):
    await furnished.write(cancelled(60))
    resumed = events.Configured(POOL, NOW_MS, PoolRules("sku-1"), False, 0, 0)
    assert (await furnished.write(resumed)).quarantined == ()
    stored = await furnished.queries.pool(POOL)
    assert stored is not None
    assert stored.rules.state is PoolState.OPEN


async def test_a_closed_pool_stays_closed(furnished: Book):
    closed = PoolRules("sku-1", PoolState.CLOSED)
    await furnished.write(events.Configured(POOL, NOW_MS, closed, False, 0, 0), cancelled(60))
    stored = await furnished.queries.pool(POOL)
    assert stored is not None
    assert stored.rules.state is PoolState.CLOSED


async def test_quarantine_is_a_list_of_what_to_do(furnished: Book):
    await furnished.write(cancelled(60), held(10), cancelled(61))
    first, second = await furnished.queries.quarantine_unpaused()
    assert (first.seq, second.seq) == (first.seq, first.seq + 2)
    await furnished.queries.mark_quarantine_paused([first.id])
    assert [row.id for row in await furnished.queries.quarantine_unpaused()] == [second.id]
    assert [row.id for row in await furnished.queries.quarantined(first.id, 10)] == [second.id]


async def test_finding_few_bad_events_among_many_takes_few_attempts(
    book: Book, monkeypatch: pytest.MonkeyPatch
):
    await book.write(created(total=10_000))
    attempts = 0
    change = book.ledger._writes.change

    async def counted(
        connection: AsyncConnection, shard: int, changes: Changes, numbers: Mapping[str, str]
    ) -> None:
        nonlocal attempts
        attempts += 1
        await change(connection, shard, changes, numbers)

    monkeypatch.setattr(book.ledger._writes, "change", counted)
    entries = [book.log.entry(held(*range(n, n + 64))) for n in range(100, 100 + 512, 64)]
    entries.insert(3, book.log.entry(cancelled(99_999)))
    book.log.seq = book.cursor.seq
    entries = [book.log.entry(events.decode(entry)) for entry in entries]
    applied = await book.apply(entries)
    assert len(applied.quarantined) == 1
    assert len(await book.states()) == 512
    # The whole batch, then two halves on each of the ten levels down to the culprit.
    assert attempts <= 1 + 1 + 2 * 10
