"""What an order consists of, and what of it is where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.orders import Sale, sales_of
from flashstock.dispatch.sourcing import Place
from flashstock.errors import InsufficientStock, UnknownLocation
from flashstock.ledger.tables import metadata, pools
from flashstock.stockbook.tables import (
    allocations,
    location_regions,
    locations,
    stock_balances,
)

GIFTS: Final = "campaign_gifts"
"""A table of the campaigns, where there are any: which gift belongs to which order."""


class Component(NamedTuple):
    """Units of a SKU that were set aside for a pool."""

    pool: str
    sku: str


@dataclass(frozen=True, slots=True)
class Allotment:
    """Where the units of a component are. ``quantity`` is there, ``shipped`` has left."""

    component: Component
    location: str
    per_unit: int
    quantity: int
    shipped: int


async def allotments(connection: AsyncConnection, names: Iterable[str]) -> list[Allotment]:
    """Everything that is set aside for these pools."""
    statement = (
        select(allocations)
        .where(allocations.c.pool.in_(sorted(set(names))))
        .order_by(allocations.c.pool, allocations.c.sku, allocations.c.location)
    )
    return [
        Allotment(
            Component(row.pool, row.sku), row.location, row.per_unit, row.quantity, row.shipped
        )
        for row in await connection.execute(statement)
    ]


async def components(
    connection: AsyncConnection, names: Iterable[str], found: Sequence[Allotment]
) -> dict[str, dict[Component, int]]:
    """By pool: how many of which component one unit of it takes.

    A pool of which the book knows nothing takes one of its SKU; there is none of that anywhere.
    """
    per_unit: dict[str, dict[Component, int]] = {name: {} for name in names}
    for allotment in found:
        per_unit[allotment.component.pool][allotment.component] = allotment.per_unit
    bare = [name for name, parts in per_unit.items() if not parts]
    statement = select(pools.c.id, pools.c.sku).where(pools.c.id.in_(bare))
    for row in await connection.execute(statement) if bare else ():
        per_unit[row.id][Component(row.id, row.sku)] = 1
    return per_unit


async def physical_stock(
    connection: AsyncConnection, found: Sequence[Allotment], wanted: Mapping[Component, int]
) -> dict[str, dict[Component, int]]:
    """By location: how many units of each component are set aside and really there.

    What was sold ahead of its arrival is set aside, too, and can't be sent: of a SKU a location
    has ``available + campaign - virtual`` units that belong to nobody else. Pools that want the
    same SKU of it do so one after the other.
    """
    cells = sorted({(allotment.component.sku, allotment.location) for allotment in found})
    balances = stock_balances.c
    statement = select(
        balances.sku,
        balances.location,
        (balances.available + balances.campaign - balances.virtual).label("there"),
    ).where(tuple_(balances.sku, balances.location).in_(cells))
    there: dict[tuple[str, str], int] = defaultdict(int)
    for row in await connection.execute(statement) if cells else ():
        there[row.sku, row.location] = max(0, row.there)
    stock: dict[str, dict[Component, int]] = defaultdict(dict)
    for allotment in found:
        component, cell = allotment.component, (allotment.component.sku, allotment.location)
        units = min(allotment.quantity, there[cell])
        stock[allotment.location][component] = units
        there[cell] -= min(units, wanted.get(component, 0))
    return stock


async def places(connection: AsyncConnection) -> list[Place]:
    """Every location with the regions it serves."""
    levels: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(select(location_regions)):
        levels[row.location][row.region] = row.level
    rows = await connection.execute(select(locations.c.code, locations.c.priority))
    return [Place(row.code, row.priority, levels.get(row.code, {})) for row in rows]


async def check_location(connection: AsyncConnection, code: str) -> None:
    """Raises ``UnknownLocation``."""
    found = await connection.execute(select(locations.c.code).where(locations.c.code == code))
    if found.first() is None:
        raise UnknownLocation(f"there is no location {code!r}", location=code)


async def gifts_of(connection: AsyncConnection, order_no: str) -> list[Sale]:
    """The orders by which the gifts of an order were taken from pools of their own."""
    table = metadata.tables.get(GIFTS)
    if table is None:
        return []
    statement = select(table.c.gift_order_no).where(
        table.c.order_no == order_no, table.c.gift_order_no.is_not(None)
    )
    found = list((await connection.execute(statement)).scalars())
    return await sales_of(connection, found) if found else []


async def take(
    connection: AsyncConnection, parcels: Mapping[str, Mapping[Component, int]], sign: int = 1
) -> None:
    """Count units as shipped that were still there (or, with -1, the other way round)."""
    for location, parcel in parcels.items():
        for component, units in parcel.items():
            here = (
                (allocations.c.pool == component.pool)
                & (allocations.c.sku == component.sku)
                & (allocations.c.location == location)
            )
            values = {
                "quantity": allocations.c.quantity - sign * units,
                "shipped": allocations.c.shipped + sign * units,
            }
            await connection.execute(update(allocations).where(here).values(values))


def said_by_sku(order_no: str, shortage: InsufficientStock) -> InsufficientStock:
    """The refusal of a plan, for whoever asked: components are nobody else's business."""
    missing: dict[str, int] = defaultdict(int)
    for component, units in shortage.extra["missing"].items():
        missing[component.sku] += units
    return InsufficientStock(
        f"order {order_no} can't be sent: {shortage.detail}",
        order_no=order_no,
        missing=[{"sku": sku, "missing": units} for sku, units in sorted(missing.items())],
    )
