"""Holds all that buyers were told against SQL, and says what is wrong in one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flashstock.model.states import ReservationState
from tests.chaos.traffic import Order
from tests.recovery.audit import Books, check_answers, check_books

SHOWN = 10


@dataclass
class Findings:
    """What was found, one line each; empty lists where all is well."""

    lost: list[str] = field(default_factory=list)
    oversold: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    fast_lost: int = 0
    """Holds of ``fast`` pools that nobody knows any more, with a fault that accounts for each."""

    @property
    def lines(self) -> list[str]:
        named = {
            "LOST": self.lost,
            "OVERSOLD": self.oversold,
            "DIFFERENCE": self.differences,
            "VIOLATION": self.other,
        }
        return [f"{name} {line}" for name, lines in named.items() for line in lines[:SHOWN]]


def check_history(
    books: Books, orders: Sequence[Order], may_lose_fast: Sequence[float]
) -> Findings:
    """All orders are settled, and the log is applied.

    Args:
        may_lose_fast: the moments at which a fault was over that may lose holds of ``fast`` pools.
    """
    found = Findings()
    _check_stock(books, orders, found)
    _check_orders(books, orders, may_lose_fast, found)
    careful = [order for order in orders if not order.stall.fast]
    _assert(lambda: check_answers(books, careful), found)
    _assert(lambda: check_books(books), found)
    if books.quarantined:
        found.other.append(f"in quarantine: {sorted(books.quarantined)[:SHOWN]}")
    return found


def _assert(check: Any, found: Findings) -> None:
    try:
        check()
    except AssertionError as broken:
        found.other.append(f"{str(broken)[:2_000]}")


def _check_stock(books: Books, orders: Iterable[Order], found: Findings) -> None:
    """By SQL's counters, by its rows, and by what buyers were told."""
    told: dict[str, int] = defaultdict(int)
    rows: dict[str, int] = defaultdict(int)
    for order in orders:
        if order.paid is not None:
            told[order.pool] += order.quantity
    for row in books.reservations.values():
        if row.state in (ReservationState.HELD.value, ReservationState.CONFIRMED.value):
            rows[row.pool] += row.quantity - row.returned
    for pool, row in books.pools.items():
        if max(row.held + row.sold + row.locked, told[pool], rows[pool]) > row.total:
            counted = f"{row.held} held, {row.sold} sold, {rows[pool]} in rows"
            found.oversold.append(f"{pool}: {counted}, {told[pool]} told sold, of {row.total}")


def _check_orders(
    books: Books, orders: Sequence[Order], may_lose_fast: Sequence[float], found: Findings
) -> None:
    last_loss = max(may_lose_fast, default=0.0)
    told = {order.reservation for order in orders}
    untold = books.reservations.keys() - told
    found.other += [f"{one} stands in SQL, and nobody was told of it" for one in sorted(untold)]
    for order in orders:
        if not order.reservation:
            continue
        row = books.reservations.get(order.reservation)
        state = None if row is None else row.state
        if order.state is not None and state != order.state.value:
            found.lost.append(f"{order}: SQL has it as {state}")
        elif row is None and not order.stall.fast:
            found.lost.append(f"{order}: SQL does not know it")
        elif row is None or order.lost:
            found.fast_lost += 1
            if last_loss < order.asked_at:
                found.lost.append(f"{order}: no fault since it was asked for may lose it")
        _check_payment(books, order, found)


def _check_payment(books: Books, order: Order, found: Findings) -> None:
    sale = books.orders.get(order.reservation)
    if (sale is not None) != (order.paid is not None):
        found.lost.append(f"{order}: SQL has the sale {sale}")
    elif sale is not None and order.paid is not None:
        told = (order.paid.order_no, order.paid.payment_ref, order.paid.quantity)
        if told != (sale.order_no, sale.payment_ref, sale.quantity):
            found.lost.append(f"{order}: the sale is {sale}")
    if bool(order.refund) != (order.payment_ref in books.refunds):
        found.lost.append(f"{order}: its refund in SQL: {books.refunds.get(order.payment_ref)}")
    if not order.stall.scarce and (order.refund or order.too_late):
        found.lost.append(f"{order}: its hold did not last, though nothing had ended it")
