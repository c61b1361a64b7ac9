"""Queries about pools, and about what their reservations add up to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, func, select

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS
from flashstock.ledger.reads import COUNTS_FOR_LIMIT, TAKES_UNITS, Reads, of_limit_scope, of_pool
from flashstock.ledger.stored import BuyerTotal, PoolSums, ShardTotals, StoredPool
from flashstock.ledger.tables import pools, reservations
from flashstock.model.events import decode_waves
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import DeductMode, Durability, PoolState, ReservationState


class PoolQueries(Reads):
    """Part of ``Queries``."""

    async def pool(self, pool: str) -> StoredPool | None:
        row = await self._first(select(pools).where(pools.c.id == pool))
        return None if row is None else stored_pool(row)

    async def pools(self, after: str, limit: int, *, shard: int | None = None) -> list[StoredPool]:
        """Pools by id, those of one shard if one is named."""
        statement = select(pools).where(pools.c.id > after).order_by(pools.c.id).limit(limit)
        if shard is not None:
            statement = statement.where(pools.c.shard == shard)
        return [stored_pool(row) for row in await self._all(statement)]

    async def pool_sums(self, shard: int, pool: str | None = None) -> list[PoolSums]:
        """``held`` and ``sold`` of a shard's pools (or of one) computed again, by pool.

        One statement, so the rows and the sums are of one moment.
        """
        which = reservations.c.shard == shard if pool is None else of_pool(pool)
        added = _added_up(which).subquery()
        statement = (
            select(
                pools.c.id,
                pools.c.held,
                pools.c.sold,
                func.coalesce(added.c.held, 0),
                func.coalesce(added.c.sold, 0),
            )
            .outerjoin(added, added.c.pool == pools.c.id)
            .where(pools.c.shard == shard)
            .order_by(pools.c.id)
        )
        if pool is not None:
            statement = statement.where(pools.c.id == pool)
        rows = await self._all(statement, LONG_OPERATION_TIMEOUT_MS)
        return [PoolSums(row[0], *map(int, row[1:])) for row in rows]

    def buyer_totals(self, pool: str, page: int) -> AsyncGenerator[Sequence[BuyerTotal], None]:
        """What each buyer counts for in a pool or in all pools of its group, in no order.

        As of one moment. To be closed (``contextlib.aclosing``): it keeps a connection. The
        reservations are added up once, not once a page.
        """
        units = cast(func.sum(_LEFT), BigInteger).label("units")
        statement = (
            select(reservations.c.buyer, units)
            .where(of_limit_scope(pool), COUNTS_FOR_LIMIT)
            .group_by(reservations.c.buyer)
        )
        return self._in_pages(statement, page)

    async def shard_totals(self) -> list[ShardTotals]:
        """Every shard's pools added up, by shard."""
        promised = pools.c.held + pools.c.sold + pools.c.locked
        statement = (
            select(
                pools.c.shard,
                func.count(),
                func.sum(pools.c.total),
                func.sum(pools.c.held),
                func.sum(pools.c.sold),
                func.sum(pools.c.locked),
                func.sum(case((promised > pools.c.total, promised - pools.c.total), else_=0)),
            )
            .group_by(pools.c.shard)
            .order_by(pools.c.shard)
        )
        return [ShardTotals(*map(int, row)) for row in await self._all(statement)]


_LEFT: Final = reservations.c.quantity - reservations.c.returned


def _added_up(which: ColumnElement[bool]) -> Select[Any]:
    is_held = reservations.c.state == ReservationState.HELD.value
    return (
        select(
            reservations.c.pool,
            func.sum(case((is_held, reservations.c.quantity), else_=0)).label("held"),
            func.sum(case((is_held, 0), else_=_LEFT)).label("sold"),
        )
        .where(which, TAKES_UNITS)
        .group_by(reservations.c.pool)
    )


def stored_pool(row: Any) -> StoredPool:
    """Read a row of ``pools``."""
    return StoredPool(
        row.id,
        row.shard,
        _rules(row),
        _counters(row),
        row.oversell_allowance,
        row.created_at_ms,
        row.updated_at_ms,
    )


def _rules(row: Any) -> PoolRules:
    return PoolRules(
        sku=row.sku,
        state=PoolState(row.state),
        per_buyer_limit=row.per_buyer_limit,
        hold_ms=row.hold_ms,
        starts_at_ms=row.starts_at_ms,
        ends_at_ms=row.ends_at_ms,
        durability=Durability(row.durability),
        waves=decode_waves(row.waves),
        audience=row.audience,
        channels=row.channels,
        deduct=DeductMode(row.deduct),
        group_buy=row.group_buy,
    )


def _counters(row: Any) -> PoolCounters:
    available = row.total - row.held - row.sold - row.locked
    return PoolCounters(row.total, available, row.held, row.sold, row.locked)
