"""Everything that is kept, as CSV, a page at a time: memory does not grow with what is exported.

Each page is of one moment; two pages need not be of the same one. What is there when an export
begins, and is not changed meanwhile, is in it once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.imports.campaign_rows import COLUMNS as CAMPAIGN_COLUMNS
from flashstock.imports.shopify import COLUMNS as SHOPIFY_COLUMNS
from flashstock.imports.sku_rows import COLUMNS as SKU_COLUMNS
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, reading
from flashstock.ledger.tables import orders, reservations
from flashstock.model.csv_rows import written_rows
from flashstock.reconcile.explain import time_text
from flashstock.stockbook.tables import (
    BALANCE_COLUMNS,
    locations,
    skus,
    stock_balances,
    stock_commands,
    stock_movements,
)

PAGE: Final = 1_000

Cells = Sequence[str | int | None]
CampaignItems = Callable[[AsyncConnection, tuple[str, int], int], Awaitable[Sequence[Any]]]
"""Items of the newest revision of each campaign, by (code, item), after one of them; at most so
many. Campaigns know."""
Page = Callable[[AsyncConnection, Any], Awaitable[Sequence[Any]]]
Plan = tuple[Sequence[str], Page, Callable[[Any], Any], Callable[[Any], Cells]]
"""Columns; the rows after a position; the position of a row; its cells."""


class ExportKind(StrEnum):
    SKUS = "skus"
    STOCK = "stock"
    MOVEMENTS = "movements"
    ORDERS = "orders"
    RESERVATIONS = "reservations"
    CAMPAIGNS = "campaigns"


class ExportLayout(StrEnum):
    OWN = "own"
    SHOPIFY = "shopify"


class Exports:
    """Streams CSV.

    Args:
        campaign_items: pages of the items of campaigns.
    """

    def __init__(self, engine: AsyncEngine, campaign_items: CampaignItems) -> None:
        self._engine = engine
        self._campaign_items = campaign_items

    async def lines(self, kind: ExportKind, layout: ExportLayout) -> AsyncIterator[str]:
        """The names of the columns, then page after page. Of stock only there is another layout.

        Raises:
            LedgerUnavailable: also midway; what was sent so far has no proper end then.
        """
        header, page, position, cells = self._plan(kind, layout)
        yield written_rows([header])
        after: Any = None
        while True:
            async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
                rows = await page(connection, after)
            if rows:
                yield written_rows(cells(row) for row in rows)
            if len(rows) < PAGE:
                return
            after = position(rows[-1])

    def _plan(self, kind: ExportKind, layout: ExportLayout) -> Plan:
        if kind is ExportKind.STOCK and layout is ExportLayout.SHOPIFY:
            return SHOPIFY_COLUMNS, _stock, _of_cell, _shopify_cells
        if kind is ExportKind.CAMPAIGNS:
            return CAMPAIGN_HEADER, self._campaigns, _of_item, _campaign_cells
        return _PLAIN[kind]

    async def _campaigns(self, connection: AsyncConnection, after: Any) -> Sequence[Any]:
        return await self._campaign_items(connection, after or ("", 0), PAGE)


CAMPAIGN_HEADER: Final = (*CAMPAIGN_COLUMNS, "code", "revision", "status", "item", "pool")
STOCK_HEADER: Final = ("sku", "location", "available", *BALANCE_COLUMNS[:1], *BALANCE_COLUMNS[2:])
MOVEMENT_HEADER: Final = (
    "movement",
    "kind",
    "sku",
    "location",
    "source",
    "target",
    "quantity",
    "reason",
    "reference",
    "actor",
    "at",
)
ORDER_HEADER: Final = (
    "order_no",
    "reservation",
    "pool",
    "buyer",
    "quantity",
    "payment_ref",
    "confirmed_at",
)
RESERVATION_HEADER: Final = (
    "reservation",
    "pool",
    "buyer",
    "quantity",
    "state",
    "created_at",
    "expires_at",
    "updated_at",
    "payment_ref",
    "order_no",
    "returned",
)


async def _skus(connection: AsyncConnection, after: str | None) -> Sequence[Any]:
    statement = select(skus).where(skus.c.sku > (after or "")).order_by(skus.c.sku).limit(PAGE)
    return (await connection.execute(statement)).all()


async def _stock(connection: AsyncConnection, after: tuple[str, str] | None) -> Sequence[Any]:
    cell = (stock_balances.c.sku, stock_balances.c.location)
    statement = (
        select(
            stock_balances,
            skus.c.spu,
            skus.c.title,
            locations.c.name.label("location_name"),
        )
        .join(skus, skus.c.sku == stock_balances.c.sku)
        .join(locations, locations.c.code == stock_balances.c.location)
        .where(tuple_(*cell) > tuple_(*(after or ("", ""))))
        .order_by(*cell)
        .limit(PAGE)
    )
    return (await connection.execute(statement)).all()


async def _movements(connection: AsyncConnection, after: int | None) -> Sequence[Any]:
    statement = (
        select(
            stock_movements,
            stock_commands.c.kind,
            stock_commands.c.reason,
            stock_commands.c.reference,
            stock_commands.c.actor,
            stock_commands.c.at_ms,
        )
        .join(stock_commands, stock_commands.c.number == stock_movements.c.command)
        .where(stock_movements.c.number > (after or 0))
        .order_by(stock_movements.c.number)
        .limit(PAGE)
    )
    return (await connection.execute(statement)).all()


async def _orders(connection: AsyncConnection, after: str | None) -> Sequence[Any]:
    statement = (
        select(orders).where(orders.c.order_no > (after or "")).order_by(orders.c.order_no)
    ).limit(PAGE)
    return (await connection.execute(statement)).all()


async def _reservations(connection: AsyncConnection, after: str | None) -> Sequence[Any]:
    statement = (
        select(reservations)
        .where(reservations.c.id > (after or ""))
        .order_by(reservations.c.id)
        .limit(PAGE)
    )
    return (await connection.execute(statement)).all()


def _of_cell(row: Any) -> tuple[str, str]:
    return row.sku, row.location


def _of_item(row: Any) -> tuple[str, int]:
    return row.code, row.item


def _stock_cells(row: Any) -> Cells:
    return [getattr(row, name) for name in STOCK_HEADER]


def _shopify_cells(row: Any) -> Cells:
    """``Unavailable`` is what is on hand and neither available nor committed."""
    unavailable = row.on_hand + row.virtual - row.available - row.committed
    name = row.location_name or row.location
    options = ("Title", "Default Title", "", "", "", "")
    product = (row.spu or row.sku, row.title, *options, row.sku, "", "", name)
    return (*product, row.in_transit, unavailable, row.committed, row.available, row.on_hand)


def _movement_cells(row: Any) -> Cells:
    posting = (row.kind, row.sku, row.location, row.source, row.target, row.quantity)
    return (row.command, *posting, row.reason, row.reference, row.actor, time_text(row.at_ms))


def _order_cells(row: Any) -> Cells:
    sale = (row.order_no, row.reservation_id, row.pool, row.buyer, row.quantity, row.payment_ref)
    return (*sale, time_text(row.confirmed_at_ms))


def _reservation_cells(row: Any) -> Cells:
    times = (row.created_at_ms, row.deadline_ms, row.updated_at_ms)
    paid = (row.payment_ref, row.order_no, row.returned)
    return (row.id, row.pool, row.buyer, row.quantity, row.state, *map(time_text, times), *paid)


def _campaign_cells(row: Any) -> Cells:
    times = (time_text(row.starts_at_ms), time_text(row.ends_at_ms))
    rules = (row.per_buyer_limit, row.hold_ms // 60_000)
    item = (row.sku, row.title, row.quantity, row.price_minor, row.currency)
    about = (row.code, row.revision, row.status, row.item, row.pool)
    return (row.name, *times, *rules, *item, *about)


_PLAIN: Final[dict[ExportKind, Plan]] = {
    ExportKind.SKUS: (
        SKU_COLUMNS,
        _skus,
        lambda row: row.sku,
        lambda row: [getattr(row, name) for name in SKU_COLUMNS],
    ),
    ExportKind.STOCK: (STOCK_HEADER, _stock, _of_cell, _stock_cells),
    ExportKind.MOVEMENTS: (
        MOVEMENT_HEADER,
        _movements,
        lambda row: row.number,
        _movement_cells,
    ),
    ExportKind.ORDERS: (ORDER_HEADER, _orders, lambda row: row.order_no, _order_cells),
    ExportKind.RESERVATIONS: (
        RESERVATION_HEADER,
        _reservations,
        lambda row: row.id,
        _reservation_cells,
    ),
}
