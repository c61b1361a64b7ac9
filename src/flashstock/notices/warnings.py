"""What is wrong at present: read from SQL, one statement a kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import reading
from flashstock.ledger.tables import orders, pools, quarantine, refunds, reservations
from flashstock.model.group_records import SEAT_MARK, group_id
from flashstock.model.group_rules import GroupType
from flashstock.model.states import ReservationState
from flashstock.notices.tables import warnings
from flashstock.reconcile.explain import time_text
from flashstock.stockbook.tables import lots, skus, stock_balances

AT_ONCE_MAX: Final = 10_000
"""Subjects of one kind that are looked at; with more than that, none of the kind is cleared."""
EXPIRES_WITHIN_MS: Final = 14 * 24 * 3_600_000
EXPIRES_CLEARED_MS: Final = EXPIRES_WITHIN_MS + 24 * 3_600_000
REFUND_OVERDUE_MS: Final = 24 * 3_600_000
NEWCOMERS_WITHIN_MS: Final = 30 * 24 * 3_600_000
NEARLY_PERCENT: Final = 10
NEARLY_CLEARED_PERCENT: Final = 15
SAFETY_CLEARED_PERCENT: Final = 110


class WarningKind(StrEnum):
    """What can be wrong, and of what it is said (the subject)."""

    BELOW_SAFETY_STOCK = "below_safety_stock"
    """Of a SKU: less is available, over all locations, than its safety stock."""
    LOT_EXPIRING = "lot_expiring"
    """Of a lot: its guarantee ends within 14 days, or has ended, and nobody has dealt with it."""
    NEARLY_SOLD_OUT = "nearly_sold_out"
    """Of an open pool: at most a tenth of it is neither held nor sold."""
    REFUND_OVERDUE = "refund_overdue"
    """Of a refund: it has been due for a day."""
    NOT_A_NEWCOMER = "not_a_newcomer"
    """Of an order that is to be sent: it joined a newcomers' group, and its buyer is not new."""
    QUARANTINE_NOT_EMPTY = "quarantine_not_empty"
    """Of the ledger: events contradict it, and nobody has resolved them."""


@dataclass(slots=True)
class Findings:
    """What is wrong with which subject, and which are not well enough to be called well again.

    ``complete`` is false where there were more than could be looked at.
    """

    wrong: dict[str, dict[str, Any]] = field(default_factory=dict)
    lingering: set[str] = field(default_factory=set)
    complete: bool = True

    def add(self, subject: str, detail: dict[str, Any], *, wrong: bool) -> None:
        """Note one subject."""
        if wrong:
            self.wrong[subject] = detail
        else:
            self.lingering.add(subject)


@dataclass(frozen=True, slots=True)
class RaisedWarning:
    """A row of the warnings. ``detail`` is as of when it was raised."""

    id: int
    kind: str
    subject: str
    detail: dict[str, Any]
    raised_at_ms: int
    cleared_at_ms: int | None


class Warnings:
    """The warnings as the watcher left them last."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open_by_kind(self) -> dict[str, int]:
        """How many of each kind are raised and not cleared; every kind is there."""
        counts = (
            select(warnings.c.kind, func.count().label("raised"))
            .where(warnings.c.cleared_at_ms.is_(None))
            .group_by(warnings.c.kind)
        )
        async with reading(self._engine) as connection:
            found = {row.kind: row.raised for row in await connection.execute(counts)}
        return {kind.value: found.get(kind.value, 0) for kind in WarningKind}

    async def page(
        self, after: int, limit: int, *, kind: WarningKind | None, cleared: bool | None
    ) -> list[RaisedWarning]:
        """By id: those that are cleared, those that are not, or (``None``) all.

        Raises:
            LedgerUnavailable: the database did not answer.
        """
        statement = select(warnings).where(warnings.c.number > after).order_by(warnings.c.number)
        if kind is not None:
            statement = statement.where(warnings.c.kind == kind.value)
        if cleared is not None:
            is_open = warnings.c.cleared_at_ms.is_(None)
            statement = statement.where(~is_open if cleared else is_open)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement.limit(limit))).all()
        return [
            RaisedWarning(
                row.number,
                row.kind,
                row.subject,
                orjson.loads(row.detail),
                row.raised_at_ms,
                row.cleared_at_ms,
            )
            for row in rows
        ]


async def below_safety_stock(connection: AsyncConnection, _now_ms: int) -> Findings:
    """Cleared a tenth above the safety stock: a sale up and down must not ring each time."""
    available = func.coalesce(func.sum(stock_balances.c.available), 0)
    rows = await connection.execute(
        select(skus.c.sku, skus.c.safety_stock, available)
        .outerjoin(stock_balances, stock_balances.c.sku == skus.c.sku)
        .where(skus.c.safety_stock > 0)
        .group_by(skus.c.sku, skus.c.safety_stock)
        .having(available * 100 < skus.c.safety_stock * SAFETY_CLEARED_PERCENT)
        .order_by(skus.c.sku)
        .limit(AT_ONCE_MAX + 1)
    )
    found = Findings()
    for sku, safety_stock, there in _bounded(found, rows):
        detail = {"sku": sku, "available": int(there), "safety_stock": safety_stock}
        found.add(sku, detail, wrong=there < safety_stock)
    return found


async def lots_expiring(connection: AsyncConnection, now_ms: int) -> Findings:
    """Also of lots whose guarantee has ended: they are open until somebody decides."""
    rows = await connection.execute(
        select(lots)
        .where(lots.c.state == "open", lots.c.guaranteed_until_ms < now_ms + EXPIRES_CLEARED_MS)
        .order_by(lots.c.guaranteed_until_ms, lots.c.id)
        .limit(AT_ONCE_MAX + 1)
    )
    found = Findings()
    for row in _bounded(found, rows):
        detail = {
            "lot": row.id,
            "sku": row.sku,
            "location": row.location,
            "quantity": row.quantity - row.released,
            "guaranteed_until": time_text(row.guaranteed_until_ms),
        }
        wrong = row.guaranteed_until_ms < now_ms + EXPIRES_WITHIN_MS
        found.add(str(row.id), detail, wrong=wrong)
    return found


async def nearly_sold_out(connection: AsyncConnection, now_ms: int) -> Findings:
    """Locked units count as left: a wave will bring them."""
    left = pools.c.total - pools.c.held - pools.c.sold
    rows = await connection.execute(
        select(pools.c.id, pools.c.sku, pools.c.total, left.label("left"))
        .where(
            pools.c.state == "open",
            pools.c.total > 0,
            pools.c.starts_at_ms <= now_ms,
            (pools.c.ends_at_ms == 0) | (pools.c.ends_at_ms > now_ms),
            left * 100 <= pools.c.total * NEARLY_CLEARED_PERCENT,
        )
        .order_by(pools.c.id)
        .limit(AT_ONCE_MAX + 1)
    )
    found = Findings()
    for row in _bounded(found, rows):
        detail = {"pool": row.id, "sku": row.sku, "left": row.left, "total": row.total}
        found.add(row.id, detail, wrong=row.left * 100 <= row.total * NEARLY_PERCENT)
    return found


async def refunds_overdue(connection: AsyncConnection, now_ms: int) -> Findings:
    rows = await connection.execute(
        select(refunds)
        .where(
            refunds.c.settled_at_ms.is_(None),
            refunds.c.recorded_at_ms <= now_ms - REFUND_OVERDUE_MS,
        )
        .order_by(refunds.c.id)
        .limit(AT_ONCE_MAX + 1)
    )
    found = Findings()
    for row in _bounded(found, rows):
        detail = {
            "refund": row.id,
            "payment_ref": row.payment_ref,
            "reservation": row.reservation_id,
            "due_since": time_text(row.recorded_at_ms),
        }
        found.add(str(row.id), detail, wrong=True)
    return found


async def quarantine_not_empty(connection: AsyncConnection, _now_ms: int) -> Findings:
    counted = await connection.execute(
        select(func.count(), func.min(quarantine.c.recorded_at_ms)).where(
            quarantine.c.resolved_at_ms.is_(None)
        )
    )
    count, since_ms = counted.one()
    found = Findings()
    if count:
        found.add("ledger", {"events": count, "since": time_text(since_ms)}, wrong=True)
    return found


async def not_newcomers(connection: AsyncConnection, now_ms: int) -> Findings:
    """What the shop attested, checked against our own orders. A payment that was given back is no
    purchase, nor is another seat in the same group; and whoever opens one need not be new.
    """
    selling = select(pools.c.id).where(pools.c.group_buy.contains(f":{GroupType.NEWCOMERS}:"))
    seat, before, its_seat = reservations, orders.alias("before"), reservations.alias("its_seat")
    earlier = (
        select(func.min(before.c.order_no))
        .join(its_seat, its_seat.c.id == before.c.reservation_id)
        .where(
            before.c.buyer == orders.c.buyer,
            before.c.confirmed_at_ms < orders.c.confirmed_at_ms,
            its_seat.c.state != ReservationState.REFUNDED.value,
            its_seat.c.cart != seat.c.cart,
        )
        .correlate(orders, seat)
        .scalar_subquery()
    )
    own_group = literal(SEAT_MARK).concat(func.substr(seat.c.id, func.length(seat.c.pool) + 2))
    rows = await connection.execute(
        select(orders, seat.c.cart, earlier.label("earlier"))
        .join(seat, seat.c.id == orders.c.reservation_id)
        .where(
            orders.c.finished_at_ms.is_(None),
            orders.c.confirmed_at_ms > now_ms - NEWCOMERS_WITHIN_MS,
            orders.c.pool.in_(selling),
            seat.c.cart != own_group,
            earlier.is_not(None),
        )
        .order_by(orders.c.confirmed_at_ms, orders.c.order_no)
        .limit(AT_ONCE_MAX + 1)
    )
    found = Findings()
    for row in _bounded(found, rows):
        detail = {
            "order_no": row.order_no,
            "buyer": row.buyer,
            "pool": row.pool,
            "group": group_id(row.pool, row.cart),
            "earlier_order_no": row.earlier,
        }
        found.add(row.order_no, detail, wrong=True)
    return found


Looking = Callable[[AsyncConnection, int], Awaitable[Findings]]

LOOKS: Final[dict[WarningKind, Looking]] = {
    WarningKind.BELOW_SAFETY_STOCK: below_safety_stock,
    WarningKind.LOT_EXPIRING: lots_expiring,
    WarningKind.NEARLY_SOLD_OUT: nearly_sold_out,
    WarningKind.REFUND_OVERDUE: refunds_overdue,
    WarningKind.NOT_A_NEWCOMER: not_newcomers,
    WarningKind.QUARANTINE_NOT_EMPTY: quarantine_not_empty,
}


def _bounded(found: Findings, rows: Iterable[Any]) -> Iterable[Any]:
    """The rows, up to the bound; one more than that makes the findings incomplete."""
    for number, row in enumerate(rows):
        if number == AT_ONCE_MAX:
            found.complete = False
            return
        yield row
