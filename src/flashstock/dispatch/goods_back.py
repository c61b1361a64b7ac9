"""The book's side of a return: goods come back to a location, or never left it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.contents import (
    Component,
    allotments,
    components,
    places,
    said_by_sku,
    take,
)
from flashstock.dispatch.return_rows import Disposition, Return
from flashstock.dispatch.sourcing import plan, ranked
from flashstock.dispatch.tables import order_shipment_lines, order_shipments
from flashstock.errors import InsufficientStock
from flashstock.model.ids import digest_of
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.arrivals import Arrival, arriving
from flashstock.stockbook.posting import balances_of, post
from flashstock.stockbook.tables import allocations


async def book_goods(
    connection: AsyncConnection, returned: Return, at_ms: int, *, leaves_pool: bool
) -> None:
    """Goods arrive from the customer: sound ones cover what was sold ahead of them, as any do.

    Args:
        leaves_pool: the pool does not count them as sold any more, so the book must not count
            them as shipped for it.
    """
    needs = await _needs(connection, returned)
    sound = returned.disposition == Disposition.AVAILABLE.value
    arrivals = [
        Arrival(
            component.sku,
            returned.location,
            quantity=units if sound else 0,
            damaged=0 if sound else units,
        )
        for component, units in sorted(needs.items())
    ]
    postings = tuple(await arriving(connection, StockState.CUSTOMER, arrivals))
    await _post(connection, returned, MovementKind.RETURN, postings, at_ms)
    if leaves_pool:
        await _forget_shipped(connection, returned, needs)


async def release_forgotten(connection: AsyncConnection, returned: Return, at_ms: int) -> None:
    """Units that never left become available, since their pool can't take them back.

    The pool goes on counting them as sold, so the book counts them as shipped for it. What was
    sold ahead of its arrival is withdrawn from virtual stock first.

    Raises:
        InsufficientStock: they are not where they should be.
    """
    needs = await _needs(connection, returned)
    found = await allotments(connection, [returned.pool])
    stock: dict[str, dict[Component, int]] = defaultdict(dict)
    for allotment in found:
        stock[allotment.location][allotment.component] = allotment.quantity
    try:
        parcels = plan(needs, stock, ranked(await places(connection)))
    except InsufficientStock as shortage:
        raise said_by_sku(returned.order_no, shortage) from None
    balances = await balances_of(
        connection, [(name.sku, code) for code, parcel in parcels.items() for name in parcel]
    )
    postings: list[Posting] = []
    for location, parcel in parcels.items():
        for component, units in sorted(parcel.items()):
            ahead = min(units, balances[component.sku, location]["virtual"])
            targets = ((StockState.VIRTUAL, ahead), (StockState.AVAILABLE, units - ahead))
            postings += [
                Posting(component.sku, location, StockState.CAMPAIGN, target, quantity)
                for target, quantity in targets
                if quantity
            ]
    await _post(connection, returned, MovementKind.DEALLOCATE, tuple(postings), at_ms)
    await take(connection, parcels)


async def _needs(connection: AsyncConnection, returned: Return) -> dict[Component, int]:
    found = await allotments(connection, [returned.pool])
    per_unit = await components(connection, [returned.pool], found)
    return {name: each * returned.quantity for name, each in per_unit[returned.pool].items()}


async def _post(
    connection: AsyncConnection,
    returned: Return,
    kind: MovementKind,
    postings: tuple[Posting, ...],
    at_ms: int,
) -> None:
    what = f"{returned.disposition}: {returned.reason}" if returned.disposition else returned.reason
    command = StockCommand(
        id=digest_of("order return", returned.command_id),
        kind=kind,
        postings=postings,
        reason=what[:500],
        reference=returned.order_no,
        actor=returned.actor,
    )
    await post(connection, command, at_ms)


async def _forget_shipped(
    connection: AsyncConnection, returned: Return, needs: Mapping[Component, int]
) -> None:
    """Lower ``shipped`` where the order was sent from first, then wherever there is some."""
    sent_from = await _sent_from(connection, returned.order_no)
    found = await allotments(connection, [returned.pool])
    for component, units in needs.items():
        left = units
        rows = [allotment for allotment in found if allotment.component == component]
        rows.sort(key=lambda row: (-sent_from[component.sku, row.location], row.location))
        for row in rows:
            quantity = min(left, row.shipped)
            left -= quantity
            here = (
                (allocations.c.pool == component.pool)
                & (allocations.c.sku == component.sku)
                & (allocations.c.location == row.location)
            )
            lowered = {"shipped": allocations.c.shipped - quantity}
            await connection.execute(update(allocations).where(here).values(lowered))


async def _sent_from(connection: AsyncConnection, order_no: str) -> Counter[tuple[str, str]]:
    """Units of an order that were sent, by SKU and location."""
    statement = (
        select(
            order_shipment_lines.c.sku,
            order_shipments.c.location,
            order_shipment_lines.c.quantity,
        )
        .join(order_shipments, order_shipments.c.number == order_shipment_lines.c.shipment)
        .where(order_shipment_lines.c.order_no == order_no)
    )
    sent: Counter[tuple[str, str]] = Counter()
    for row in await connection.execute(statement):
        sent[row.sku, row.location] += row.quantity
    return sent
