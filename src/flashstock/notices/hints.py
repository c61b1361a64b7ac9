"""Hints: what to buy, and when a pool will be sold out. Sums, not promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import UnknownPool
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, reading
from flashstock.ledger.tables import pools
from flashstock.model.rules import TIME_MS_MAX
from flashstock.model.stock import StockState
from flashstock.stockbook.tables import (
    allocations,
    skus,
    stock_balances,
    stock_commands,
    stock_movements,
)

DAY_MS: Final = 24 * 3_600_000
MINUTE_MS: Final = 60_000
WINDOW_DAYS_MAX: Final = 366
COVER_DAYS_MAX: Final = 366
WINDOW_MINUTES_MAX: Final = 30 * 24 * 60
_POOLS_ASKED_AT_ONCE: Final = 500

_OWN: Final = [
    state.value
    for state in (
        StockState.AVAILABLE,
        StockState.RESERVED,
        StockState.BOUGHT_OUT,
        StockState.VIRTUAL,
    )
]
_SOLD: Final = [
    state.value for state in (StockState.COMMITTED, StockState.CUSTOMER, StockState.ELSEWHERE)
]

SoldByPool = Callable[[int, int, str | None], Awaitable[Mapping[str, int]]]
"""Units sold, less what came back, by pool, in minutes from one moment up to another; of one pool
where one is named. The statistics know."""


@dataclass(frozen=True, slots=True)
class PurchaseHint:
    sku: str
    sold: int
    daily_sales: float
    lead_time_days: int
    cover_days: int
    safety_stock: int
    available: int
    in_transit: int
    suggested: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """``sold_out_at_ms`` is ``None`` where, at this rate, it never will be."""

    pool: str
    at_ms: int
    since_ms: int
    sold: int
    left: int
    sold_out_at_ms: int | None


def suggested_purchase(
    sold: int, window_days: int, cover_for_days: int, safety_stock: int, there: int
) -> int:
    """What to buy so that the stock lasts ``cover_for_days`` at the rate of the window.

    ``there`` is what is available and what is on its way. Exact: rounded up once, never below 0.
    """
    needed = -(-sold * cover_for_days // window_days)
    return max(0, needed + safety_stock - there)


def sold_out_at_ms(now_ms: int, since_ms: int, sold: int, left: int) -> int | None:
    """When nothing is left if it goes on as it went since then; ``None`` where it stands still."""
    if left <= 0:
        return now_ms
    if sold <= 0 or now_ms <= since_ms:
        return None
    at_ms = now_ms - (-left * (now_ms - since_ms) // sold)
    return at_ms if at_ms <= TIME_MS_MAX else None


class Hints:
    """Raises ``LedgerUnavailable`` where SQL does not answer.

    Args:
        clock: ms since the epoch.
    """

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], int], sold_by_pool: SoldByPool
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._sold_by_pool = sold_by_pool

    async def purchases(
        self, window_days: int, cover_days: int, after: str, limit: int
    ) -> list[PurchaseHint]:
        """A page of SKUs, by SKU. What is sold by pools and what is sold otherwise both count."""
        now_ms = self._clock()
        since_ms = now_ms - window_days * DAY_MS
        by_pool = await self._sold_by_pool(since_ms, now_ms, None)
        page = select(skus).where(skus.c.sku > after).order_by(skus.c.sku).limit(limit)
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            rows = (await connection.execute(page)).all()
            names = [row.sku for row in rows]
            there = await _balances(connection, names)
            sold = await _sold_by_pools(connection, by_pool)
            sold.update(await _sold_otherwise(connection, names, since_ms))
        return [_hint(row, sold[row.sku], window_days, cover_days, there) for row in rows]

    async def forecast(self, pool: str, window_minutes: int) -> Forecast:
        """When a pool will be sold out. Of a younger pool, the window begins with its sale.

        Raises:
            UnknownPool: SQL knows of no such pool (yet).
        """
        now_ms = self._clock()
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(pools).where(pools.c.id == pool))).first()
        if row is None:
            raise UnknownPool(f"there is no pool {pool!r}", pool=pool)
        began_ms = max(row.created_at_ms, row.starts_at_ms)
        since_ms = max(now_ms - window_minutes * MINUTE_MS, min(began_ms, now_ms))
        since_ms -= since_ms % MINUTE_MS
        sold = (await self._sold_by_pool(since_ms, now_ms, pool)).get(pool, 0)
        left = max(0, row.total - row.sold)
        ends_ms = sold_out_at_ms(now_ms, since_ms, sold, left)
        return Forecast(pool, now_ms, since_ms, sold, left, ends_ms)


def _hint(
    row: Any,
    sold: int,
    window_days: int,
    cover_days: int,
    there: Mapping[str, tuple[int, int]],
) -> PurchaseHint:
    available, in_transit = there.get(row.sku, (0, 0))
    sold = max(0, sold)
    suggested = suggested_purchase(
        sold,
        window_days,
        row.lead_time_days + cover_days,
        row.safety_stock,
        available + in_transit,
    )
    return PurchaseHint(
        row.sku,
        sold,
        round(sold / window_days, 3),
        row.lead_time_days,
        cover_days,
        row.safety_stock,
        available,
        in_transit,
        suggested,
    )


async def _balances(
    connection: AsyncConnection, names: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """(available, in transit) over all locations."""
    rows = await connection.execute(
        select(
            stock_balances.c.sku,
            func.sum(stock_balances.c.available),
            func.sum(stock_balances.c.in_transit),
        )
        .where(stock_balances.c.sku.in_(names))
        .group_by(stock_balances.c.sku)
    )
    return {sku: (int(available), int(in_transit)) for sku, available, in_transit in rows}


async def _sold_by_pools(connection: AsyncConnection, by_pool: Mapping[str, int]) -> Counter[str]:
    """Units of each SKU: of a bundle, those of its components."""
    sold: Counter[str] = Counter()
    ids = sorted(by_pool)
    for start in range(0, len(ids), _POOLS_ASKED_AT_ONCE):
        asked = ids[start : start + _POOLS_ASKED_AT_ONCE]
        contents = await connection.execute(
            select(allocations.c.pool, allocations.c.sku, allocations.c.per_unit)
            .where(allocations.c.pool.in_(asked))
            .distinct()
        )
        allocated = set()
        for pool, sku, per_unit in contents:
            allocated.add(pool)
            sold[sku] += by_pool[pool] * per_unit
        others = [pool for pool in asked if pool not in allocated]
        rows = await connection.execute(
            select(pools.c.id, pools.c.sku).where(pools.c.id.in_(others))
        )
        for pool, sku in rows:
            sold[sku] += by_pool[pool]
    return sold


async def _sold_otherwise(
    connection: AsyncConnection, names: Sequence[str], since_ms: int
) -> Counter[str]:
    """What left for orders without passing through a pool, less what came back from them.

    What a pool sold stands in ``campaign`` until it is shipped and was counted as the pool's.
    """
    before = await connection.execute(
        select(stock_commands.c.number)
        .where(stock_commands.c.at_ms < since_ms)
        .order_by(stock_commands.c.number.desc())
        .limit(1)
    )
    first = (before.scalar() or 0) + 1
    source, target = stock_movements.c.source, stock_movements.c.target
    total = func.sum(stock_movements.c.quantity)
    recent = (stock_movements.c.sku.in_(names)) & (stock_movements.c.command >= first)
    sold: Counter[str] = Counter()
    left = select(stock_movements.c.sku, total).where(recent, source.in_(_OWN), target.in_(_SOLD))
    for sku, units in await connection.execute(left.group_by(stock_movements.c.sku)):
        sold[sku] += int(units)
    back = select(stock_movements.c.sku, total).where(
        recent, source.in_(_SOLD[:1]), target.in_(_OWN)
    )
    for sku, units in await connection.execute(back.group_by(stock_movements.c.sku)):
        sold[sku] -= int(units)
    return sold
