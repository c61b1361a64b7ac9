"""What every kind of event does to SQL, and that it does so once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flashstock.ledger.apply import CursorMoved, LogGap
from flashstock.model import events
from flashstock.model.orders import order_number
from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import DeductMode, Durability, PoolState, ReservationState
from tests.contract.ledger.written_log import (
    DEADLINE_MS,
    NOW_MS,
    ORDER_SECRET,
    POOL,
    Book,
    cancelled,
    confirmed,
    created,
    held,
    refund_due,
    released,
    reservation_id,
    returned,
)


async def test_a_pool_is_created_with_its_rules_and_its_stock(book: Book):
    rules = PoolRules(
        "sku-9",
        PoolState.PAUSED,
        per_buyer_limit=3,
        hold_ms=60_000,
        starts_at_ms=5,
        ends_at_ms=50,
        durability=Durability.FAST,
        waves=(Wave(10, 4), Wave(20, 6)),
        audience="level:5",
        channels="app,web",
        deduct=DeductMode.ORDER,
    )
    await book.write(events.Configured(POOL, NOW_MS, rules, True, 40, 10))
    stored = await book.queries.pool(POOL)
    assert stored is not None
    assert stored.rules == rules
    assert (stored.shard, stored.created_at_ms, stored.updated_at_ms) == (0, NOW_MS, NOW_MS)
    assert await book.units() == (40, 0, 0, 10)
    assert stored.counters.balanced()


async def test_rules_change_and_stock_does_not(book: Book):
    await book.write(created(), held(1))
    rules = PoolRules(
        "sku-2",
        PoolState.CLOSED,
        hold_ms=1,
        waves=(Wave(7, 1),),
        audience="new",
        channels="app",
        deduct=DeductMode.PAYMENT,
    )
    await book.write(events.Configured(POOL, NOW_MS + 5, rules, False, 0, 0))
    stored = await book.queries.pool(POOL)
    assert stored is not None
    assert stored.rules == rules
    assert (stored.created_at_ms, stored.updated_at_ms) == (NOW_MS, NOW_MS + 5)
    assert await book.units() == (100, 1, 0, 0)


async def test_holds_become_reservations(book: Book):
    await book.write(created())
    hold = events.Hold("a" * 16, "buyer ✓", 3, "cart-1")
    await book.write(held(1, 2), events.Held(POOL, NOW_MS, DEADLINE_MS, (hold,)))
    stored = await book.queries.reservation(f"{POOL}~{'a' * 16}")
    assert stored is not None
    assert dataclasses.asdict(stored) == {
        "id": f"{POOL}~{'a' * 16}",
        "shard": 0,
        "pool": POOL,
        "buyer": "buyer ✓",
        "quantity": 3,
        "cart": "cart-1",
        "state": ReservationState.HELD,
        "deadline_ms": DEADLINE_MS,
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        "generation": 1,
        "seq": 4,
        "payment_ref": None,
        "order_index": 0,
        "order_no": None,
        "returned": 0,
    }
    second = await book.queries.reservation(reservation_id(2))
    assert second is not None
    assert second.seq == 2, "the first number of its entry, as in its receipt"
    assert await book.units() == (100, 5, 0, 0)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
@pytest.mark.parametrize(
    "state", [ReservationState.CANCELLED, ReservationState.EXPIRED, ReservationState.REVOKED]
)
async def test_holds_end_unpaid(book: Book, state: ReservationState, together: bool):
    await book.write(created())
    granted, ended = held(1, 2, 3, quantity=2), released(state, 1, 3, quantity=2, at_ms=NOW_MS + 9)
    if together:
        await book.write(granted, ended)
    else:
        await book.write(granted)
        await book.write(ended)
    assert await book.states() == {"1": state, "2": "held", "3": state}
    stored = await book.queries.reservation(reservation_id(1))
    assert stored is not None
    assert (stored.created_at_ms, stored.updated_at_ms) == (NOW_MS, NOW_MS + 9)
    assert await book.units() == (100, 2, 0, 0)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_a_payment_makes_a_sale_with_a_number(book: Book, together: bool):
    await book.write(created())
    sale = confirmed(1, quantity=2, order_index=7, at_ms=NOW_MS + 3)
    if together:
        await book.write(held(1, quantity=2), sale)
    else:
        await book.write(held(1, quantity=2))
        await book.write(sale)
    number = order_number(ORDER_SECRET, 0, 7, "buyer-1")
    stored = await book.queries.reservation(reservation_id(1))
    assert stored is not None
    assert stored.state is ReservationState.CONFIRMED
    assert (stored.payment_ref, stored.order_index, stored.order_no) == ("payment-1", 7, number)
    assert [tuple(row) for row in await book.rows("orders")] == [
        (number, reservation_id(1), POOL, "buyer-1", 2, "payment-1", NOW_MS + 3, None)
    ]
    assert await book.units() == (100, 0, 2, 0)


async def test_a_late_payment_takes_the_units_again(book: Book):
    expired = ReservationState.EXPIRED
    await book.write(created(), held(1), released(expired, 1))
    await book.write(confirmed(1, before=expired))
    assert await book.states() == {"1": "confirmed"}
    assert await book.units() == (100, 0, 1, 0)


async def test_a_payment_that_came_too_late_is_owed_back_once(book: Book):
    await book.write(created(), held(1), cancelled(1))
    await book.write(refund_due(1, payment_ref="p"), refund_due(1, payment_ref="p"))
    await book.write(refund_due(1, payment_ref="p"), refund_due(1, payment_ref="q"))
    owed = await book.queries.refunds(0, 10)
    assert [(r.reservation_id, r.payment_ref, r.quantity, r.buyer, r.shard) for r in owed] == [
        (reservation_id(1), "p", 1, "buyer-1", 0),
        (reservation_id(1), "q", 1, "buyer-1", 0),
    ]
    assert await book.queries.quarantined(0, 10) == []
    assert await book.units() == (100, 0, 0, 0)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_a_deadline_moves(book: Book, together: bool):
    await book.write(created())
    moved = events.Extended(POOL, NOW_MS + 1, f"{1:016d}", DEADLINE_MS + 77)
    if together:
        await book.write(held(1), moved)
    else:
        await book.write(held(1))
        await book.write(moved)
    stored = await book.queries.reservation(reservation_id(1))
    assert stored is not None
    assert (stored.deadline_ms, stored.state) == (DEADLINE_MS + 77, ReservationState.HELD)
    assert await book.units() == (100, 1, 0, 0)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in three"])
async def test_units_of_a_sale_come_back_in_parts(book: Book, together: bool):
    await book.write(created(), held(1, quantity=3), confirmed(1, quantity=3))
    first, last = returned(1, 1, 1, complete=False), returned(1, 2, 3, complete=True)
    if together:
        await book.write(first, last)
    else:
        await book.write(first)
        assert await book.states() == {"1": "confirmed"}
        assert await book.units() == (100, 0, 2, 0)
        await book.write(last)
    stored = await book.queries.reservation(reservation_id(1))
    assert stored is not None
    assert (stored.state, stored.returned) == (ReservationState.RETURNED, 3)
    assert await book.units() == (100, 0, 0, 0)


async def test_stock_is_added_taken_back_locked_and_released(book: Book):
    await book.write(created(total=10, locked=2))
    await book.write(
        events.Adjusted(POOL, NOW_MS, 5, 3, "a"), events.Adjusted(POOL, NOW_MS, -1, 0, "b")
    )
    assert await book.units() == (14, 0, 0, 5)
    await book.write(events.WaveReleased(POOL, NOW_MS, 4, (Wave(9, 1),)))
    assert await book.units() == (14, 0, 0, 1)
    stored = await book.queries.pool(POOL)
    assert stored is not None
    assert stored.rules.waves == (Wave(9, 1),)


async def test_a_repair_of_redis_changes_nothing_here(book: Book):
    await book.write(created(), held(1))
    before = await book.rows("reservations")
    await book.write(events.Repaired(POOL, NOW_MS, "reconciliation"))
    assert await book.rows("reservations") == before
    assert await book.units() == (100, 1, 0, 0)
    assert [row.kind for row in await book.rows("journal")] == ["configured", "held", "repaired"]


async def test_the_journal_keeps_every_decision_and_the_cursor_follows(book: Book):
    entries = book.log.entries(created(), held(1, 2, 3), cancelled(2))
    applied = await book.apply(entries)
    assert applied.quarantined == ()
    assert (applied.cursor.seq, applied.cursor.log_id) == (5, "5-0")
    assert await book.ledger.cursor(0) == applied.cursor
    assert [tuple(row) for row in await book.rows("journal")] == [
        (0, e.generation, e.seq, e.count, e.kind, POOL, NOW_MS, e.payload) for e in entries
    ]


async def test_pools_of_one_batch_do_not_mix(book: Book):
    await book.write(created(), created(pool="pool-2", total=7))
    await book.write(held(1), held(1, quantity=2, pool="pool-2"), held(2))
    assert await book.units() == (100, 2, 0, 0)
    assert await book.units("pool-2") == (7, 2, 0, 0)


async def test_what_was_applied_is_not_applied_again(book: Book):
    first = book.log.entries(created(), held(1, 2))
    await book.apply(first)
    second = book.log.entries(held(3))
    again = await book.apply([*first, *second])
    assert again.cursor.seq == 4
    assert await book.states() == dict.fromkeys("123", "held")
    assert await book.apply([*first, *second]) == dataclasses.replace(again, quarantined=())
    assert await book.units() == (100, 3, 0, 0)
    assert len(await book.rows("journal")) == 3


@pytest.mark.parametrize("event", [held(1, 2, 3, 4), cancelled(1, 2, 3, 4)], ids=["held", "ended"])
async def test_only_the_rest_of_an_entry_is_applied(book: Book, event: Any):
    await book.write(created())
    if isinstance(event, events.Released):
        await book.write(held(1, 2, 3, 4))
    whole = book.log.entry(event)
    first_half = events.split(event)[:2]
    book.log.seq = whole.seq - 1
    await book.write(*first_half)
    book.log.seq = whole.last_seq
    await book.apply([whole])
    after = "held" if isinstance(event, events.Held) else "cancelled"
    assert await book.states() == dict.fromkeys("1234", after)
    assert [row.seq for row in await book.rows("journal")][-1] == whole.seq + 2
    assert await book.units() == (100, 4 if after == "held" else 0, 0, 0)


async def test_a_gap_is_refused_and_nothing_written(book: Book):
    await book.write(created())
    book.log.seq += 1
    with pytest.raises(LogGap):
        await book.write(held(1))
    assert await book.ledger.cursor(0) == book.cursor
    assert await book.states() == {}


async def test_a_gap_behind_good_entries_is_refused_too(book: Book):
    good = book.log.entries(created(), held(1))
    book.log.seq += 5
    with pytest.raises(LogGap):
        await book.apply([*good, book.log.entry(held(2))])
    assert await book.rows("journal") == []


@pytest.mark.parametrize("count", [0, -1, 10**7, 10**30])
async def test_an_entry_without_a_sane_count_can_not_be_followed(book: Book, count: int):
    await book.write(created())
    with pytest.raises(LogGap):
        await book.apply([book.log.raw("held", f"{POOL}\t1\t2", count)])
    assert await book.ledger.cursor(0) == book.cursor


async def test_entries_of_another_generation_are_refused(book: Book):
    await book.write(created())
    book.log.generation = 2
    with pytest.raises(LogGap):
        await book.write(held(1))
    assert await book.states() == {}


async def test_a_recovery_may_drain_the_generation_before(book: Book):
    await book.write(created())
    left = book.log.entries(held(1))
    cursor = await book.ledger.bump_generation(0, 1, 0, "me", 1000)
    assert cursor is not None
    with pytest.raises(CursorMoved):
        await book.apply(left)
    with pytest.raises(LogGap):
        await book.ledger.apply(cursor, left)
    drained = await book.ledger.apply(cursor, left, generation=1)
    assert (drained.cursor.generation, drained.cursor.seq) == (2, 2)
    assert await book.states() == {"1": "held"}
    assert [row.generation for row in await book.rows("journal")] == [1, 1]


async def test_entries_of_another_shard_are_refused(book: Book):
    book.log.shard = 3
    with pytest.raises(LogGap):
        await book.write(created())


async def test_nothing_to_apply_leaves_everything_as_it_is(book: Book):
    assert (await book.apply([])).cursor == book.cursor
    assert await book.ledger.cursor(0) == book.cursor
