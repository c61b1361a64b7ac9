"""The fold: what a run of the log does to SQL, and which runs contradict themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.model.events import (
    Adjusted,
    Configured,
    Confirmed,
    Event,
    Extended,
    Held,
    Hold,
    LogEntry,
    RefundDue,
    Release,
    Released,
    Repaired,
    Returned,
    WaveReleased,
    Withdrawn,
    encode,
    events_in,
)
from flashstock.model.fold import (
    Changes,
    FoldViolation,
    PoolChange,
    Refund,
    ReservationChange,
    ReservationRow,
    Sale,
    fold,
)
from flashstock.model.rules import NO_DEADLINE_MS, PoolRules, Wave
from flashstock.model.states import ReservationState

D1, D2 = "1" * 16, "2" * 16
HELD, CONFIRMED = ReservationState.HELD, ReservationState.CONFIRMED
EXPIRED, CANCELLED = ReservationState.EXPIRED, ReservationState.CANCELLED
RETURNED, ORDERED = ReservationState.RETURNED, ReservationState.ORDERED

held = Held("p", 10, 99, (Hold(D1, "ann", 2, ""), Hold(D2, "bob", 3, "cart")))
confirmed = Confirmed("p", 20, D1, HELD, 2, "ann", "pay", 7)
late = Confirmed("p", 40, D1, EXPIRED, 2, "ann", "pay", 7)
cancelled = Released("p", 30, CANCELLED, (Release(D1, 2),))
expired = Released("p", 30, EXPIRED, (Release(D1, 2), Release(D2, 3)))
extended = Extended("p", 25, D1, 150)


def returned(quantity: int, so_far: int, complete: bool) -> Returned:
    return Returned("p", 50, D1, quantity, so_far, complete, "command", quantity)


def test_units_that_leave_the_pool_lower_its_total():
    changes = run(held, confirmed, replace(returned(1, 1, False), restock=False))
    assert (changes.pools["p"].total, changes.pools["p"].sold) == (-1, 1)
    changes = run(held, confirmed, returned(1, 1, False))
    assert (changes.pools["p"].total, changes.pools["p"].sold) == (0, 1)


ordered = replace(held, state=ORDERED)
withdrawn = Withdrawn("p", 30, D1, 2, CANCELLED)


def test_what_is_ordered_moves_no_units_until_it_is_paid():
    changes = run(ordered)
    assert {row.state for row in changes.inserted.values()} == {ORDERED}
    assert changes.pools["p"] == PoolChange(updated_at_ms=10)
    changes = run(ordered, replace(confirmed, before=ORDERED))
    assert (changes.pools["p"].held, changes.pools["p"].sold) == (0, 2)
    changes = run(ordered, withdrawn)
    assert changes.inserted[f"p~{D1}"].state is CANCELLED
    assert changes.pools["p"] == PoolChange(updated_at_ms=30)


@pytest.mark.parametrize("end", [confirmed, cancelled])
def test_what_is_ordered_does_not_end_as_a_hold_does(end):
    with pytest.raises(FoldViolation):
        run(ordered, end)


@pytest.mark.parametrize(("end", "at_ms"), [(confirmed, 20), (cancelled, 30)])
def test_a_hold_without_a_deadline_gets_one_when_it_ends(end, at_ms):
    endless = replace(held, deadline_ms=NO_DEADLINE_MS)
    changes = run(endless, end, *([returned(1, 1, False)] if end is confirmed else []))
    assert changes.inserted[f"p~{D1}"].deadline_ms == at_ms
    assert changes.inserted[f"p~{D2}"].deadline_ms == NO_DEADLINE_MS


def run(*found: Event) -> Changes:
    entries, seq = [], 1
    for event in found:
        kind, payload = encode(event)
        entries.append((LogEntry(0, 4, seq, events_in(event), kind, payload), event))
        seq += events_in(event)
    return fold(entries)


def test_a_hold_is_a_row_with_the_number_of_its_entry():
    changes = run(Repaired("p", 5, "why"), held)
    assert changes.inserted[f"p~{D2}"] == ReservationRow(
        id=f"p~{D2}",
        pool="p",
        buyer="bob",
        quantity=3,
        cart="cart",
        state=HELD,
        deadline_ms=99,
        created_at_ms=10,
        updated_at_ms=10,
        generation=4,
        seq=2,
    )
    assert changes.inserted[f"p~{D1}"].seq == 2
    assert changes.pools == {"p": PoolChange(held=5, updated_at_ms=10)}


def test_what_happens_within_a_run_ends_up_in_one_row():
    changes = run(held, extended, confirmed, returned(1, 1, False), returned(1, 2, True))
    row = changes.inserted[f"p~{D1}"]
    assert (row.state, row.deadline_ms, row.updated_at_ms) == (RETURNED, 150, 50)
    assert (row.payment_ref, row.order_index, row.returned) == ("pay", 7, 2)
    assert changes.changed == {}
    assert changes.sales == [Sale(f"p~{D1}", "p", "ann", 2, "pay", 7, 20)]
    pool = changes.pools["p"]
    assert (pool.held, pool.sold) == (3, 0)


@pytest.mark.parametrize(
    ("found", "change", "pool"),
    [
        (
            [confirmed],
            ReservationChange(
                f"p~{D1}",
                HELD,
                CONFIRMED,
                20,
                payment_ref="pay",
                order_index=7,
                quantity=2,
                ended_at_ms=20,
            ),
            PoolChange(held=-2, sold=2, updated_at_ms=20),
        ),
        (
            [late],
            ReservationChange(
                f"p~{D1}", EXPIRED, CONFIRMED, 40, payment_ref="pay", order_index=7, quantity=2
            ),
            PoolChange(sold=2, updated_at_ms=40),
        ),
        (
            [cancelled],
            ReservationChange(f"p~{D1}", HELD, CANCELLED, 30, quantity=2, ended_at_ms=30),
            PoolChange(held=-2, updated_at_ms=30),
        ),
        (
            [extended],
            ReservationChange(f"p~{D1}", HELD, HELD, 25, deadline_ms=150),
            PoolChange(updated_at_ms=25),
        ),
        (
            [returned(1, 2, False)],
            ReservationChange(f"p~{D1}", CONFIRMED, CONFIRMED, 50, returned=2, returned_before=1),
            PoolChange(sold=-1, updated_at_ms=50),
        ),
        (
            [extended, cancelled],
            ReservationChange(
                f"p~{D1}", HELD, CANCELLED, 30, deadline_ms=150, quantity=2, ended_at_ms=30
            ),
            PoolChange(held=-2, updated_at_ms=30),
        ),
        (
            [confirmed, returned(2, 2, True)],
            ReservationChange(
                f"p~{D1}",
                HELD,
                RETURNED,
                50,
                payment_ref="pay",
                order_index=7,
                returned=2,
                quantity=2,
                returned_before=0,
                ended_at_ms=20,
            ),
            PoolChange(held=-2, sold=0, updated_at_ms=50),
        ),
    ],
    ids=["confirmed", "late", "cancelled", "extended", "returned", "two steps", "sold and back"],
)
def test_a_row_that_is_in_sql_must_be_found_as_the_log_left_it(found, change, pool):
    changes = run(*found)
    assert changes.inserted == {}
    assert changes.changed == {change.id: change}
    assert changes.pools == {"p": pool}


def test_a_refund_moves_no_units():
    changes = run(RefundDue("p", 60, D1, 2, "ann", "pay"))
    assert changes.refunds == [Refund(f"p~{D1}", "p", "ann", 2, "pay", 60)]
    assert changes.pools == {"p": PoolChange(updated_at_ms=60)}
    assert (changes.inserted, changes.changed, changes.sales) == ({}, {}, [])


def test_a_pool_is_created_with_its_stock_and_changed_after():
    first, second = PoolRules("sku", waves=(Wave(5, 3),)), PoolRules("sku", per_buyer_limit=1)
    changes = run(
        Configured("p", 1, first, True, 10, 3),
        Adjusted("p", 2, 5, 1, "command"),
        WaveReleased("p", 5, 3, ()),
        Adjusted("p", 6, -2, -1, "other"),
    )
    assert changes.pools["p"] == PoolChange(
        total=13, locked=0, created_at_ms=1, rules=first, waves=(), updated_at_ms=6
    )
    changes = run(WaveReleased("p", 5, 3, (Wave(9, 1),)), Configured("p", 7, second, False, 0, 0))
    assert changes.pools["p"] == PoolChange(locked=-3, rules=second, updated_at_ms=7)


def test_pools_are_kept_apart():
    other = Held("q", 11, 99, (Hold("3" * 16, "ann", 1, ""),))
    changes = run(held, other)
    assert {name: pool.held for name, pool in changes.pools.items()} == {"p": 5, "q": 1}


@pytest.mark.parametrize(
    ("found", "seq"),
    [
        ([held, held], 3),
        ([cancelled, held], 2),
        ([held, cancelled, cancelled], 4),
        ([held, confirmed, cancelled], 4),
        ([held, expired, confirmed], 5),
        ([held, late], 3),
        ([held, confirmed, confirmed], 4),
        ([held, cancelled, extended], 4),
        ([held, returned(2, 2, True)], 3),
        ([held, confirmed, returned(2, 2, True), returned(1, 3, False)], 5),
        ([held, confirmed, returned(1, 2, False)], 4),
        ([returned(1, 1, False), returned(1, 3, False)], 2),
        ([held, Released("p", 30, CANCELLED, (Release(D1, 1),))], 3),
        ([held, Confirmed("p", 20, D1, HELD, 1, "ann", "pay", 7)], 3),
        ([confirmed, Confirmed("p", 20, D1, CONFIRMED, 3, "ann", "pay", 8)], 2),
        ([held, Configured("p", 1, PoolRules("sku"), True, 1, 0)], 3),
    ],
    ids=[
        "held twice",
        "ended, then held",
        "cancelled twice",
        "cancelled after the sale",
        "sold after expiry as if held",
        "late before expiry",
        "sold twice",
        "extended after the end",
        "returned unsold",
        "returned after all were",
        "returned out of order",
        "a return is missing",
        "other units given back",
        "other units sold",
        "other units sold later",
        "created after it sold",
    ],
)
def test_a_run_that_contradicts_itself_names_the_event(found, seq):
    with pytest.raises(FoldViolation) as violation:
        run(*found)
    assert violation.value.seq == seq
    assert str(violation.value).startswith(f"seq {seq}: ")


def test_ending_in_either_order_is_a_contradiction():
    """Confirm and expire race inside the scripts; a log with both would prove a broken one."""
    with pytest.raises(FoldViolation):
        run(held, confirmed, expired)
    with pytest.raises(FoldViolation):
        run(held, expired, confirmed)
