"""What people ask of orders: to see them, to audit them, to complete them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.dispatch.contents import (
    Component,
    allotments,
    components,
    gifts_of,
)
from flashstock.dispatch.orders import (
    Filter,
    Mergeable,
    ReturnState,
    Sale,
    SaleState,
    mergeable,
    sale_of,
    sales,
)
from flashstock.dispatch.progress import advance
from flashstock.dispatch.return_rows import Return, returns_of, returns_page
from flashstock.dispatch.snapshots import Snapshot, snapshot_of
from flashstock.dispatch.tables import order_shipment_lines, order_shipments
from flashstock.errors import NotShippable, NotShipped
from flashstock.ledger.engine import reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import skus


@dataclass(frozen=True, slots=True)
class OrderLine:
    """What an order takes of one SKU, and how much of it has left. The title is the SKU's own."""

    sku: str
    title: str
    quantity: int
    shipped: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """What left in one parcel, of one order."""

    number: int
    location: str
    carrier: str
    tracking: str
    shipped_at_ms: int
    shipped_by: str
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """All that is known of an order; ``gifts`` are the numbers of the orders of its gifts."""

    sale: Sale
    lines: tuple[OrderLine, ...]
    parcels: tuple[Parcel, ...]
    returns: tuple[Return, ...]
    gifts: tuple[str, ...]
    snapshot: Snapshot | None = None


class OrderBook:
    """Reads orders, and notes what people decide about them.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def detail(self, order_no: str) -> OrderDetail:
        """One order. Raises ``UnknownOrder``."""
        async with reading(self._engine) as connection:
            sale = await sale_of(connection, order_no)
            parcels = await _parcels(connection, order_no)
            return OrderDetail(
                sale=sale,
                lines=tuple(await _lines(connection, sale, parcels)),
                parcels=parcels,
                returns=tuple(await returns_of(connection, order_no)),
                gifts=tuple(gift.order_no for gift in await gifts_of(connection, order_no)),
                snapshot=await snapshot_of(connection, sale),
            )

    async def page(self, wanted: Filter) -> list[Sale]:
        """Orders, the oldest payment first."""
        async with reading(self._engine) as connection:
            return await sales(connection, wanted)

    async def mergeable(self, after: str, limit: int) -> list[Mergeable]:
        """Buyers whose orders may be sent together."""
        async with reading(self._engine) as connection:
            return await mergeable(connection, after, limit)

    async def returns(self, state: ReturnState | None, after: int, limit: int) -> list[Return]:
        """Returns, the oldest first."""
        async with reading(self._engine) as connection:
            return await returns_page(connection, state, after, limit)

    async def audit(self, order_no: str, actor: str) -> OrderDetail:
        """Note that somebody has checked an order: it is not merged any more.

        Repeating it changes nothing: the first one stands.

        Raises:
            UnknownOrder: there is none. NotShippable: there is nothing left of it to be checked.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            sale = await sale_of(connection, order_no)
            if sale.audited_at_ms is None:
                if sale.state is not SaleState.PAID:
                    raise NotShippable(
                        f"order {order_no} is {sale.state}",
                        order_no=order_no,
                        state=sale.state.value,
                    )
                now_ms = self._clock()
                await advance(connection, order_no, now_ms, audited_at_ms=now_ms, audited_by=actor)
        return await self.detail(order_no)

    async def complete(self, order_no: str) -> OrderDetail:
        """Note that the buyer has got everything. Repeating it changes nothing.

        Raises:
            UnknownOrder: there is none. NotShipped: something of it has not left.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            sale = await sale_of(connection, order_no)
            if sale.completed_at_ms is None:
                if sale.state is not SaleState.SHIPPED:
                    raise NotShipped(
                        f"order {order_no} is {sale.state}",
                        order_no=order_no,
                        state=sale.state.value,
                    )
                now_ms = self._clock()
                await advance(connection, order_no, now_ms, completed_at_ms=now_ms)
        return await self.detail(order_no)


async def _parcels(connection: AsyncConnection, order_no: str) -> tuple[Parcel, ...]:
    lines, parcels = order_shipment_lines.c, order_shipments.c
    statement = (
        select(order_shipments, lines.sku, lines.quantity)
        .join(order_shipment_lines, lines.shipment == parcels.number)
        .where(lines.order_no == order_no)
        .order_by(parcels.number, lines.sku)
    )
    found: dict[int, tuple[Any, list[tuple[str, int]]]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.number, (row, []))[1].append((row.sku, row.quantity))
    return tuple(
        Parcel(
            number,
            row.location,
            row.carrier,
            row.tracking,
            row.shipped_at_ms,
            row.shipped_by,
            tuple(contents),
        )
        for number, (row, contents) in found.items()
    )


async def _lines(
    connection: AsyncConnection, sale: Sale, parcels: Sequence[Parcel]
) -> list[OrderLine]:
    found = await allotments(connection, [sale.pool])
    per_unit: dict[Component, int] = (await components(connection, [sale.pool], found))[sale.pool]
    sent: dict[str, int] = {}
    for parcel in parcels:
        for sku, units in parcel.lines:
            sent[sku] = sent.get(sku, 0) + units
    named = select(skus.c.sku, skus.c.title).where(skus.c.sku.in_([c.sku for c in per_unit]))
    titles = {row.sku: row.title for row in await connection.execute(named)}
    return [
        OrderLine(
            component.sku,
            titles.get(component.sku, ""),
            each * sale.quantity,
            sent.get(component.sku, 0),
        )
        for component, each in sorted(per_unit.items())
    ]
