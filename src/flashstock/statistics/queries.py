"""What the statistics say of a pool, or of several together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Table, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import InvalidRequest, UnknownPool
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, reading
from flashstock.ledger.tables import pools
from flashstock.statistics.lives import percentile
from flashstock.statistics.tables import (
    COUNTS,
    statistics_lives,
    statistics_minutes,
    statistics_refusals,
)
from flashstock.statistics.tally import MINUTE_MS, minute_of

BUCKETS_MAX: Final = 1_500
"""A day of minutes, and some more."""
_POOLS_MAX: Final = 1_000
_ROWS_MAX: Final = 200_000
"""Rows of one kind that are added up at once, buckets of lives included."""


class Grain(StrEnum):
    """How long a bucket is."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


_GRAIN_MS: Final = {
    Grain.MINUTE: MINUTE_MS,
    Grain.HOUR: 60 * MINUTE_MS,
    Grain.DAY: 24 * 60 * MINUTE_MS,
}


@dataclass(slots=True)
class Bucket:
    """Sums over a time. ``counts`` has the names of ``tables.COUNTS``; ``at_ms`` is its start."""

    at_ms: int
    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lives: Counter[int] = field(default_factory=Counter)

    @property
    def requested(self) -> int:
        """Requests that were decided: holds granted, and refusals as far as they were counted."""
        return self.counts["held_count"] + self.refused.total()

    def life_ms(self, share: float) -> float | None:
        """How long at most ``share`` of the holds that ended here had lasted, to 6.25 %."""
        return percentile(self.lives, share)

    @property
    def life_mean_ms(self) -> float | None:
        """Exact."""
        count = self.counts["lives_count"]
        return self.counts["lives_ms"] / count if count else None


@dataclass(frozen=True, slots=True)
class StockAt:
    """A pool's counters at the end of a time, as the journal has them."""

    total: int
    held: int
    sold: int
    locked: int

    @property
    def left(self) -> int:
        """Neither held nor sold."""
        return self.total - self.held - self.sold

    @property
    def sell_through(self) -> float | None:
        """Sold, as a share of all."""
        return self.sold / self.total if self.total > 0 else None


@dataclass(frozen=True, slots=True)
class Report:
    """Buckets in order of time, those without anything left out; their sum; the stock after."""

    buckets: list[Bucket]
    total: Bucket
    stock: StockAt


class Statistics:
    """Reads the statistics. Raises ``LedgerUnavailable`` where SQL does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def pool(self, pool: str, from_ms: int, to_ms: int, grain: Grain) -> Report:
        """One pool, from the minute of ``from_ms`` up to, and without, that of ``to_ms``.

        Raises:
            UnknownPool: neither the statistics nor SQL know it.
            InvalidRequest: that would be too many buckets.
        """
        report = await self.together([pool], from_ms, to_ms, grain)
        if not report.total.requested and not any(report.total.counts.values()):
            async with reading(self._engine) as connection:
                known = await connection.execute(select(pools.c.id).where(pools.c.id == pool))
                if known.first() is None:
                    raise UnknownPool(f"there is no pool {pool!r}", pool=pool)
        return report

    async def together(
        self, names: Sequence[str], from_ms: int, to_ms: int, grain: Grain
    ) -> Report:
        """Several pools added up.

        Raises:
            InvalidRequest: too many pools, or too many buckets.
        """
        if len(names) > _POOLS_MAX:
            raise InvalidRequest(f"statistics add up at most {_POOLS_MAX} pools")
        buckets: dict[int, Bucket] = {}

        def bucket(at_ms: int) -> Bucket:
            if at_ms not in buckets:
                buckets[at_ms] = Bucket(at_ms)
            return buckets[at_ms]

        span = (minute_of(from_ms), minute_of(to_ms + MINUTE_MS - 1))
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            for row in await _sums(connection, statistics_minutes, names, span, grain, COUNTS):
                found = bucket(row.at_ms)
                for name in COUNTS:
                    found.counts[name] += int(getattr(row, name))
            for row in await _sums(
                connection, statistics_refusals, names, span, grain, ("requests",), "reason"
            ):
                bucket(row.at_ms).refused[row.reason] += int(row.requests)
            for row in await _sums(
                connection, statistics_lives, names, span, grain, ("holds",), "bucket"
            ):
                bucket(row.at_ms).lives[row.bucket] += int(row.holds)
            stock = await _stock(connection, names, span[1])
        ordered = [buckets[at_ms] for at_ms in sorted(buckets)]
        total = _added(ordered, span[0])
        return Report([] if grain is Grain.TOTAL else ordered, total, stock)

    async def sold_by_pool(
        self, since_ms: int, until_ms: int, pool: str | None = None
    ) -> Mapping[str, int]:
        """Units sold, less what came back, by pool: from one minute up to the end of another."""
        minute = statistics_minutes.c.minute_ms
        statement = (
            select(statistics_minutes.c.pool, func.sum(statistics_minutes.c.sold_delta))
            .where(minute >= minute_of(since_ms), minute <= minute_of(until_ms))
            .group_by(statistics_minutes.c.pool)
        )
        if pool is not None:
            statement = statement.where(statistics_minutes.c.pool == pool)
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            return {row[0]: int(row[1]) for row in await connection.execute(statement)}

    async def pools(self, after: str, limit: int) -> list[str]:
        """Pools that have statistics, by id."""
        statement = (
            select(statistics_minutes.c.pool)
            .where(statistics_minutes.c.pool > after)
            .distinct()
            .order_by(statistics_minutes.c.pool)
            .limit(limit)
        )
        async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            return list((await connection.execute(statement)).scalars())


async def _sums(
    connection: AsyncConnection,
    table: Table,
    names: Sequence[str],
    span: tuple[int, int],
    grain: Grain,
    counted: Sequence[str],
    *by: str,
) -> Sequence[Row[Any]]:
    """The counted columns added up by bucket (and by whatever else)."""
    minute = table.c.minute_ms
    start: ColumnElement[int] = literal(span[0])
    if grain is not Grain.TOTAL:
        # Written out: PostgreSQL must see that what is selected is what is grouped by.
        start = minute - minute % literal_column(str(_GRAIN_MS[grain]))
    bucket = start.label("at_ms")
    others = [table.c[name] for name in by]
    statement = select(
        bucket, *others, *(func.sum(table.c[name]).label(name) for name in counted)
    ).where(table.c.pool.in_(names), minute >= span[0], minute < span[1])
    grouped = others if grain is Grain.TOTAL else [bucket, *others]
    if grouped:
        statement = statement.group_by(*grouped)
    else:
        statement = statement.having(func.count() > 0)
    rows = (await connection.execute(statement.limit(_ROWS_MAX))).all()
    if len(rows) == _ROWS_MAX or len({row.at_ms for row in rows}) > BUCKETS_MAX:
        raise InvalidRequest(
            f"that would be more than {BUCKETS_MAX} buckets; ask for a shorter time, or a coarser"
            " `by`"
        )
    return rows


async def _stock(connection: AsyncConnection, names: Sequence[str], before_ms: int) -> StockAt:
    """Where the pools' units were at the end of the span: everything before it added up."""
    columns = ("total_delta", "held_delta", "sold_delta", "locked_delta")
    sums = [func.coalesce(func.sum(statistics_minutes.c[name]), 0) for name in columns]
    found = await connection.execute(
        select(*sums).where(
            statistics_minutes.c.pool.in_(names), statistics_minutes.c.minute_ms < before_ms
        )
    )
    return StockAt(*map(int, found.one()))


def _added(buckets: Sequence[Bucket], at_ms: int) -> Bucket:
    total = Bucket(at_ms)
    for bucket in buckets:
        total.counts.update(bucket.counts)
        total.refused.update(bucket.refused)
        total.lives.update(bucket.lives)
    return total
