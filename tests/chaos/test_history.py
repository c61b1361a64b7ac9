"""The history check sees what it is for: each promise broken once, in books made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flashstock.client import Reservation
from flashstock.model.states import ReservationState
from tests.chaos.history import Findings, check_history
from tests.chaos.traffic import Order, Stall
from tests.recovery.audit import Books

ASKED_AT = 10.0


def order(ending: str, *, fast: bool = False, scarce: bool = False) -> Order:
    stall = Stall("pool", fast, scarce)
    made = Order("pool", ending, 1, ending, stall=stall, asked_at=ASKED_AT)
    made.reservation = f"pool~{ending}"
    return made


def paid() -> Order:
    made = order("confirm")
    told = Reservation(made.reservation, "pool", made.buyer, 1, ReservationState.CONFIRMED)
    made.paid = Reservation(
        *(told.id, told.pool, told.buyer, told.quantity, told.state),
        payment_ref=made.payment_ref,
        order_no="no-1",
    )
    return made


def row(made: Order, state: str) -> Any:
    return SimpleNamespace(
        id=made.reservation, pool="pool", buyer=made.buyer, quantity=1, state=state, returned=0
    )


def sale(made: Order) -> Any:
    return SimpleNamespace(order_no="no-1", payment_ref=made.payment_ref, quantity=1)


def books(*rows: Any, total: int = 5, **others: Any) -> Books:
    pool = SimpleNamespace(held=0, sold=0, locked=0, total=total, oversell_allowance=0)
    return Books(reservations={one.id: one for one in rows}, pools={"pool": pool}, **others)


def check(found: Books, *orders: Order, may_lose_fast: tuple[float, ...] = ()) -> Findings:
    return check_history(found, orders, may_lose_fast)


def test_what_was_kept_is_not_complained_about():
    sold, left, gone = paid(), order("leave"), order("cancel")
    gone.cancelled = True
    rows = (row(sold, "confirmed"), row(left, "held"), row(gone, "cancelled"))
    found = check(books(*rows, orders={sold.reservation: sale(sold)}), sold, left, gone)
    assert (found.lost, found.oversold, found.fast_lost) == ([], [], 0)


@pytest.mark.parametrize("state", [None, "held", "expired"])
def test_a_sale_that_sql_does_not_have_is_lost(state):
    sold = paid()
    rows = [row(sold, state)] if state else []
    assert check(books(*rows), sold).lost


def test_a_hold_that_sql_does_not_have_is_lost():
    assert check(books(), order("leave")).lost


def test_a_cancellation_that_did_not_last_is_lost():
    gone = order("cancel")
    gone.cancelled = True
    assert check(books(row(gone, "held")), gone).lost


def test_a_fast_hold_may_be_lost_by_a_fault_that_came_after_it_and_by_no_other():
    left = order("leave", fast=True)
    assert check(books(), left).lost
    assert check(books(), left, may_lose_fast=(ASKED_AT - 1,)).lost
    excused = check(books(), left, may_lose_fast=(ASKED_AT + 1,))
    assert (excused.lost, excused.fast_lost) == ([], 1)


def test_a_refund_that_is_not_on_record_is_lost():
    late = order("confirm", scarce=True)
    late.refund = "refund_due"
    assert check(books(row(late, "expired")), late).lost
    assert not check(books(row(late, "expired"), refunds={late.payment_ref: 1}), late).lost


def test_a_hold_that_nothing_ended_must_last():
    late = order("confirm")
    late.refund = "refund_due"
    assert check(books(row(late, "expired"), refunds={late.payment_ref: 1}), late).lost


def test_more_than_there_is_is_oversold():
    sold = paid()
    stored = books(row(sold, "confirmed"), total=0, orders={sold.reservation: sale(sold)})
    assert check(stored, sold).oversold


def test_what_nobody_was_told_of_is_no_less_wrong():
    assert check(books(row(order("leave"), "held"))).other
