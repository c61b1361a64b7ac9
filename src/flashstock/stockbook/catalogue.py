"""What stock is kept of, and where: SKUs and locations. Neither ever goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import UnknownLocation, UnknownSku
from flashstock.ledger.engine import reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import location_regions, locations, skus


@dataclass(frozen=True, slots=True)
class Sku:
    """The smallest unit stock is kept in. ``safety_stock`` is a threshold, never a state."""

    sku: str
    spu: str = ""
    title: str = ""
    price_minor: int = 0
    currency: str = ""
    safety_stock: int = 0
    lead_time_days: int = 0
    created_at_ms: int = 0
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Region:
    """A region that a location serves; level 1 is the fastest."""

    region: str
    level: int


@dataclass(frozen=True, slots=True)
class Location:
    """A warehouse or a store. Of two that serve a region equally, the lower priority is first."""

    code: str
    name: str = ""
    kind: str = "warehouse"
    priority: int = 100
    regions: tuple[Region, ...] = ()
    created_at_ms: int = 0
    updated_at_ms: int = 0


Notice = Callable[[AsyncConnection, Sequence[str], int], Awaitable[None]]
"""Told, in the transaction itself, which SKUs something has changed of, and when."""


class Catalogue:
    """Reads and writes SKUs and locations. Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
        on_safety_stock: told of a change of a safety stock: fewer or more units may be shown.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], int],
        on_safety_stock: Notice | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._on_safety_stock = on_safety_stock

    async def put_sku(self, sku: Sku) -> tuple[Sku, bool]:
        """Write all of a SKU's fields. Returns it as it is now, and whether it is new."""
        values = _without_times(asdict(sku))
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            before = await connection.execute(
                select(skus.c.safety_stock).where(skus.c.sku == sku.sku)
            )
            kept_back = before.scalar() or 0
            created = await self._put(connection, skus, skus.c.sku == sku.sku, values)
            if self._on_safety_stock is not None and kept_back != sku.safety_stock:
                await self._on_safety_stock(connection, [sku.sku], self._clock())
            row = (await connection.execute(select(skus).where(skus.c.sku == sku.sku))).one()
        return Sku(**row._asdict()), created

    async def sku(self, sku: str) -> Sku:
        """One SKU.

        Raises:
            UnknownSku: nobody has told us of it.
        """
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(skus).where(skus.c.sku == sku))).first()
        if row is None:
            raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
        return Sku(**row._asdict())

    async def skus(self, after: str, limit: int, spu: str | None = None) -> list[Sku]:
        """SKUs by name, those of one SPU if one is named."""
        statement = select(skus).where(skus.c.sku > after).order_by(skus.c.sku).limit(limit)
        if spu is not None:
            statement = statement.where(skus.c.spu == spu)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
        return [Sku(**row._asdict()) for row in rows]

    async def put_location(self, location: Location) -> tuple[Location, bool]:
        """Write all of a location, the regions it serves included. Returns it, and if it is new."""
        values = _without_times(asdict(location))
        del values["regions"]
        code = location.code
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            # Regions are replaced as a whole: two who do so at once must do so in turn.
            await lock_book(connection)
            created = await self._put(connection, locations, locations.c.code == code, values)
            await connection.execute(
                delete(location_regions).where(location_regions.c.location == code)
            )
            if location.regions:
                rows = [{"location": code, **asdict(region)} for region in location.regions]
                await connection.execute(insert(location_regions), rows)
            statement = select(locations).where(locations.c.code == code)
            [found] = await _with_regions(connection, (await connection.execute(statement)).all())
        return found, created

    async def location(self, code: str) -> Location:
        """One location.

        Raises:
            UnknownLocation: nobody has told us of it.
        """
        async with reading(self._engine) as connection:
            statement = select(locations).where(locations.c.code == code)
            found = await _with_regions(connection, (await connection.execute(statement)).all())
        if not found:
            raise UnknownLocation(f"there is no location {code!r}", location=code)
        return found[0]

    async def locations(self, after: str, limit: int) -> list[Location]:
        """Locations by code."""
        statement = (
            select(locations).where(locations.c.code > after).order_by(locations.c.code)
        ).limit(limit)
        async with reading(self._engine) as connection:
            return await _with_regions(connection, (await connection.execute(statement)).all())

    async def _put(
        self, connection: AsyncConnection, table: Any, which: Any, values: dict[str, Any]
    ) -> bool:
        now_ms = self._clock()
        changed = await connection.execute(
            update(table).where(which).values({**values, "updated_at_ms": now_ms})
        )
        if changed.rowcount:
            return False
        times = {"created_at_ms": now_ms, "updated_at_ms": now_ms}
        await connection.execute(insert(table), {**values, **times})
        return True


def _without_times(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.endswith("_at_ms")}


async def _with_regions(connection: AsyncConnection, rows: Sequence[Any]) -> list[Location]:
    served: dict[str, list[Region]] = {row.code: [] for row in rows}
    statement = (
        select(location_regions)
        .where(location_regions.c.location.in_(list(served)))
        .order_by(location_regions.c.level, location_regions.c.region)
    )
    for row in await connection.execute(statement):
        served[row.location].append(Region(row.region, row.level))
    return [Location(**row._asdict(), regions=tuple(served[row.code])) for row in rows]
