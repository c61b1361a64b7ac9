"""Orders as dispatch sees them: one state each, which follows from what left and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.tables import order_dispatch, order_returns
from flashstock.errors import UnknownOrder
from flashstock.ledger.tables import groups, orders, reservations
from flashstock.model.group_records import SEAT_MARK
from flashstock.model.states import GroupState, ReservationState


class SaleState(StrEnum):
    """What state an order of ours is in. Unpaid ones are reservations, and none of dispatch's."""

    WAITING = "waiting"
    """Paid, and its group has not formed: nothing of it may be sent."""
    PAID = "paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CLOSED = "closed"
    REFUNDING = "refunding"


class ReturnState(StrEnum):
    """How far a return is."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


class ReturnKind(StrEnum):
    """What comes back: units that had left, or units that never did."""

    SHIPPED = "shipped"
    UNSHIPPED = "unshipped"


@dataclass(frozen=True, slots=True)
class Sale:
    """An order, in units of it.

    Args:
        shipped: what ever left; ``returned``: what of that came back.
        given_up: what was given back before it left, so it never will.
        pending_shipped, pending_unshipped: in returns that are under way.
    """

    order_no: str
    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    paid_at_ms: int
    shipped: int
    returned: int
    given_up: int
    pending_shipped: int
    pending_unshipped: int
    audited_at_ms: int | None = None
    audited_by: str | None = None
    shipped_at_ms: int | None = None
    completed_at_ms: int | None = None
    group_state: str | None = None
    """Of the group that it is a seat of; ``None`` for every other order."""

    @property
    def is_waiting(self) -> bool:
        """Is it a seat of a group that has not formed?"""
        return self.group_state is not None and self.group_state != GroupState.FORMED.value

    @property
    def state(self) -> SaleState:
        """The one state it is in."""
        if self.pending_shipped or self.pending_unshipped:
            return SaleState.REFUNDING
        if self.returned + self.given_up >= self.quantity:
            return SaleState.CLOSED
        if self.is_waiting:
            return SaleState.WAITING
        if self.completed_at_ms is not None:
            return SaleState.COMPLETED
        if self.shipped + self.given_up >= self.quantity:
            return SaleState.SHIPPED
        return SaleState.PAID

    @property
    def to_ship(self) -> int:
        """Units that are still to be sent; those of an order that waits may never be."""
        left = self.quantity - self.shipped - self.given_up - self.pending_unshipped
        return max(0, left)

    @property
    def with_buyer(self) -> int:
        """Units that left, and may come back."""
        return self.shipped - self.returned - self.pending_shipped


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders: any where it says nothing. ``after`` is (paid_at_ms, order_no)."""

    state: SaleState | None = None
    buyer: str | None = None
    pool: str | None = None
    after: tuple[int, str] = (-1, "")
    limit: int = 100


def _pending(kind: ReturnKind) -> ColumnElement[int]:
    return (
        select(cast(func.coalesce(func.sum(order_returns.c.quantity), 0), BigInteger))
        .where(
            order_returns.c.order_no == orders.c.order_no,
            order_returns.c.state == ReturnState.PENDING.value,
            order_returns.c.kind == kind.value,
        )
        .correlate(orders)
        .scalar_subquery()
    )


_DISPATCH: Final = order_dispatch.c
_SHIPPED: Final = func.coalesce(_DISPATCH.shipped, 0)
_RETURNED: Final = func.coalesce(_DISPATCH.returned, 0)
_IS_PENDING: Final = exists().where(
    order_returns.c.order_no == orders.c.order_no,
    order_returns.c.state == ReturnState.PENDING.value,
)
_IN_POOL: Final = func.coalesce(reservations.c.returned, 0)
_DIRECT: Final = _IN_POOL - func.coalesce(_DISPATCH.through_pool, 0)
"""Units that the reservation counts as returned and no return of ours accounts for: they were given
back at the pool. Of no use while a return is pending, which the pool may have counted or not."""
_GIVEN_UP: Final = case(
    (reservations.c.state == ReservationState.REFUNDED.value, orders.c.quantity),
    else_=func.coalesce(_DISPATCH.withdrawn, 0)
    + case((_IS_PENDING, 0), (_DIRECT > 0, _DIRECT), else_=0),
)
_STATE: Final = case(
    (_IS_PENDING, literal(SaleState.REFUNDING.value)),
    (orders.c.quantity <= _RETURNED + _GIVEN_UP, literal(SaleState.CLOSED.value)),
    (groups.c.state != GroupState.FORMED.value, literal(SaleState.WAITING.value)),
    (_DISPATCH.completed_at_ms.is_not(None), literal(SaleState.COMPLETED.value)),
    (orders.c.quantity <= _SHIPPED + _GIVEN_UP, literal(SaleState.SHIPPED.value)),
    else_=literal(SaleState.PAID.value),
)
"""``Sale.state``, for the database to look for; a test holds them against each other."""
_UNFINISHED: Final = (SaleState.PAID, SaleState.WAITING)
_ITS_GROUP: Final = groups.c.id == reservations.c.pool.concat("~").concat(
    func.substr(reservations.c.cart, len(SEAT_MARK) + 1)
)
"""No other cart of a reservation is the digest of a group, two characters into it."""

SALES: Final[Select[Any]] = (
    select(
        orders.c.order_no,
        orders.c.reservation_id,
        orders.c.pool,
        orders.c.buyer,
        orders.c.quantity,
        orders.c.payment_ref,
        orders.c.confirmed_at_ms.label("paid_at_ms"),
        _SHIPPED.label("shipped"),
        _RETURNED.label("returned"),
        _GIVEN_UP.label("given_up"),
        _pending(ReturnKind.SHIPPED).label("pending_shipped"),
        _pending(ReturnKind.UNSHIPPED).label("pending_unshipped"),
        _DISPATCH.audited_at_ms,
        _DISPATCH.audited_by,
        _DISPATCH.shipped_at_ms,
        _DISPATCH.completed_at_ms,
        groups.c.state.label("group_state"),
    )
    .outerjoin(order_dispatch, _DISPATCH.order_no == orders.c.order_no)
    .outerjoin(reservations, reservations.c.id == orders.c.reservation_id)
    .outerjoin(groups, _ITS_GROUP)
)


async def sales(connection: AsyncConnection, wanted: Filter) -> list[Sale]:
    """Orders, the oldest payment first: those to be packed next come first."""
    key = (orders.c.confirmed_at_ms, orders.c.order_no)
    paid_at_ms, order_no = wanted.after
    behind = (key[0] > paid_at_ms) | and_(key[0] == paid_at_ms, key[1] > order_no)
    statement = SALES.where(key[0] >= paid_at_ms, behind).order_by(*key).limit(wanted.limit)
    if wanted.buyer is not None:
        statement = statement.where(orders.c.buyer == wanted.buyer)
    if wanted.pool is not None:
        statement = statement.where(orders.c.pool == wanted.pool)
    if wanted.state is not None:
        statement = statement.where(_STATE.in_([wanted.state.value]))
    if wanted.state in _UNFINISHED:
        statement = statement.where(orders.c.finished_at_ms.is_(None))
    return [Sale(**row._asdict()) for row in await connection.execute(statement)]


async def sale_of(connection: AsyncConnection, order_no: str) -> Sale:
    """One order. Raises ``UnknownOrder``."""
    found = await sales_of(connection, [order_no])
    if not found:
        raise UnknownOrder(f"there is no order {order_no[:40]!r}", order_no=order_no[:40])
    return found[0]


async def sales_of(connection: AsyncConnection, order_nos: Sequence[str]) -> list[Sale]:
    """Those of these orders that there are, the oldest first."""
    statement = SALES.where(orders.c.order_no.in_(order_nos)).order_by(
        orders.c.confirmed_at_ms, orders.c.order_no
    )
    return [Sale(**row._asdict()) for row in await connection.execute(statement)]


@dataclass(frozen=True, slots=True)
class Mergeable:
    """Orders of one buyer that may be sent together, the oldest first."""

    buyer: str
    sales: tuple[Sale, ...] = field(default=())


async def mergeable(connection: AsyncConnection, after: str, limit: int) -> list[Mergeable]:
    """Buyers, in order, with two orders or more that are paid, unsent and not audited."""
    waiting = and_(
        orders.c.finished_at_ms.is_(None),
        _STATE.in_([SaleState.PAID.value]),
        _SHIPPED == 0,
        _DISPATCH.audited_at_ms.is_(None),
    )
    buyers = (
        select(orders.c.buyer)
        .outerjoin(order_dispatch, _DISPATCH.order_no == orders.c.order_no)
        .outerjoin(reservations, reservations.c.id == orders.c.reservation_id)
        .outerjoin(groups, _ITS_GROUP)
        .where(waiting, orders.c.buyer > after)
        .group_by(orders.c.buyer)
        .having(func.count() >= 2)
        .order_by(orders.c.buyer)
        .limit(limit)
    )
    names = list((await connection.execute(buyers)).scalars())
    found: dict[str, list[Sale]] = {name: [] for name in names}
    key = (orders.c.buyer, orders.c.confirmed_at_ms, orders.c.order_no)
    statement = SALES.where(waiting, orders.c.buyer.in_(names)).order_by(*key)
    for row in await connection.execute(statement) if names else ():
        found[row.buyer].append(Sale(**row._asdict()))
    return [Mergeable(name, tuple(group)) for name, group in found.items() if len(group) > 1]
