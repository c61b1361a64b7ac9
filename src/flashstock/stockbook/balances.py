"""Reading where units are, and granting virtual stock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import UnknownMovement, UnknownSku
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import pools
from flashstock.model.ids import digest_of
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.movement_queries import (
    MovementFilter,
    movement_page,
    movements_by_number,
)
from flashstock.stockbook.posting import (
    BOOK_TIMEOUT_MS,
    balances_of,
    lock_book,
    must_exist,
    post,
)
from flashstock.stockbook.snapshot import snapshot
from flashstock.stockbook.stored import Balance, PoolUnits, StockOfSku, StoredMovement
from flashstock.stockbook.tables import BALANCE_COLUMNS, allocations, skus, stock_balances


class Balances:
    """Reads the book, and sets how much may be sold ahead of what is there.

    Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def of_sku(self, sku: str) -> StockOfSku:
        """Everything of one SKU, as of one moment.

        Raises:
            UnknownSku: nobody has told us of it.
        """
        async with snapshot(self._engine) as connection:
            known = select(skus.c.safety_stock).where(skus.c.sku == sku)
            safety_stock = await connection.scalar(known)
            if safety_stock is None:
                raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
            statement = select(stock_balances).where(stock_balances.c.sku == sku)
            rows = await connection.execute(statement.order_by(stock_balances.c.location))
            here = tuple(_balance(row) for row in rows)
            of_pools = await _pools_of(connection, sku)
        company = {name: sum(balance.units[name] for balance in here) for name in BALANCE_COLUMNS}
        return StockOfSku(sku, safety_stock, company, here, of_pools)

    async def available(self, sku: str) -> int:
        """Units that a shop may show, over all locations.

        Raises:
            UnknownSku: nobody has told us of it.
        """
        total = func.coalesce(func.sum(stock_balances.c.available), 0)
        added = select(total).where(stock_balances.c.sku == skus.c.sku).scalar_subquery()
        async with reading(self._engine) as connection:
            units = await connection.scalar(select(added).where(skus.c.sku == sku))
        if units is None:
            raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
        return int(units)

    async def page(
        self, after: tuple[str, str], limit: int, location: str | None = None
    ) -> list[Balance]:
        """Balances by SKU, then by location; those of one location if one is named."""
        cell = (stock_balances.c.sku, stock_balances.c.location)
        statement = select(stock_balances).where(tuple_(*cell) > tuple_(*after)).order_by(*cell)
        if location is not None:
            # With the SKU alone the order is that of the location's own index.
            statement = (
                select(stock_balances)
                .where(stock_balances.c.location == location, stock_balances.c.sku > after[0])
                .order_by(stock_balances.c.sku)
            )
        async with reading(self._engine) as connection:
            return [_balance(row) for row in await connection.execute(statement.limit(limit))]

    async def movements(
        self, which: MovementFilter, after: int, limit: int, *, newest: bool
    ) -> list[StoredMovement]:
        """Movements by number, the oldest or the newest first."""
        async with reading(self._engine) as connection:
            return await movement_page(connection, which, after, limit, newest=newest)

    async def movement(self, number: int) -> StoredMovement:
        """One movement.

        Raises:
            UnknownMovement: there is none of this number.
        """
        async with reading(self._engine) as connection:
            found = await movements_by_number(connection, [number])
        if not found:
            raise UnknownMovement(f"there is no movement {number}", number=number)
        return found[0]

    async def allow_virtual(
        self,
        sku: str,
        location: str,
        actor: str,
        *,
        allowance: int | None = None,
        oversell_ratio: float | None = None,
        reason: str = "",
    ) -> Balance:
        """Grant virtual stock up to an allowance, or withdraw what is above it. Idempotent.

        Args:
            allowance: units that may be sold though they are not there.
            oversell_ratio: or instead this many for each unit on hand now, rounded down.

        Raises:
            InsufficientStock: more of it is in use than the new allowance.
            UnknownSku, UnknownLocation: nobody has told us of it.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            before = await _cell(connection, sku, location)
            if allowance is None:
                allowance = int(Decimal(str(oversell_ratio)) * before["on_hand"])
            here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
            permit = update(stock_balances).where(here)
            # The CHECK holds in between too: up before units are granted, down after.
            most = max(allowance, before["virtual"])
            await connection.execute(permit.values(virtual_allowance=most))
            difference = allowance - before["virtual"]
            if difference:
                states = (StockState.VIRTUAL, StockState.AVAILABLE)
                source, target = states if difference > 0 else reversed(states)
                command = StockCommand(
                    id=f"virtual:{digest_of(sku, location, str(before['changed_seq']))}",
                    kind=MovementKind.VIRTUAL,
                    postings=(Posting(sku, location, source, target, abs(difference)),),
                    reason=reason,
                    actor=actor,
                )
                await post(connection, command, self._clock())
            await connection.execute(permit.values(virtual_allowance=allowance))
            row = (await connection.execute(select(stock_balances).where(here))).one()
        return _balance(row)


async def _cell(connection: AsyncConnection, sku: str, location: str) -> Mapping[str, Any]:
    """The row of a SKU at a location, made if it is the first time."""
    await must_exist(connection, [(sku, location)])
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"sku": sku, "location": location}
    await connection.execute(dialect.insert(stock_balances).on_conflict_do_nothing(), row)
    return (await balances_of(connection, [(sku, location)]))[sku, location]


def _balance(row: Any) -> Balance:
    fields = row._asdict()
    units = {name: fields[name] for name in BALANCE_COLUMNS}
    return Balance(row.sku, row.location, units, row.virtual_allowance, row.changed_seq)


async def _pools_of(connection: AsyncConnection, sku: str) -> tuple[PoolUnits, ...]:
    statement = (
        select(
            allocations.c.pool,
            allocations.c.per_unit,
            func.sum(allocations.c.quantity),
            func.sum(allocations.c.shipped),
            pools.c.total,
            pools.c.held,
            pools.c.sold,
            pools.c.locked,
        )
        .outerjoin(pools, pools.c.id == allocations.c.pool)
        .where(allocations.c.sku == sku)
        .group_by(
            allocations.c.pool,
            allocations.c.per_unit,
            pools.c.total,
            pools.c.held,
            pools.c.sold,
            pools.c.locked,
        )
        .order_by(allocations.c.pool)
    )
    rows = await connection.execute(statement)
    return tuple(
        PoolUnits(
            pool=row[0],
            per_unit=row[1],
            quantity=int(row[2]),
            shipped=int(row[3]),
            total=row[4],
            held=row[5] or 0,
            sold=row[6] or 0,
            locked=row[7] or 0,
        )
        for row in rows
    )
