"""Queries of those who watch: what moves at present, and what one buyer has."""

from __future__ import annotations

from sqlalchemy import and_, or_, select

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS
from flashstock.ledger.pool_queries import stored_pool
from flashstock.ledger.reads import IS_HELD, Reads, of_pool
from flashstock.ledger.reservation_queries import stored_reservation
from flashstock.ledger.stored import StoredPool, StoredReservation
from flashstock.ledger.tables import orders, pools, reservations
from flashstock.model.states import PoolState


class WatchQueries(Reads):
    """Part of ``Queries``."""

    async def pools_for_sale(self, now_ms: int, limit: int) -> list[StoredPool]:
        """Pools that are not over, those that changed last first."""
        statement = (
            select(pools)
            .where(
                pools.c.state != PoolState.CLOSED.value,
                or_(pools.c.ends_at_ms == 0, pools.c.ends_at_ms > now_ms),
            )
            .order_by(pools.c.updated_at_ms.desc(), pools.c.id)
            .limit(limit)
        )
        return [stored_pool(row) for row in await self._all(statement)]

    async def pools_like(self, text: str, after: str, limit: int) -> list[StoredPool]:
        """Pools whose id or SKU has this text in it, by id."""
        matches = or_(pools.c.id.contains(text, autoescape=True), pools.c.sku == text)
        statement = select(pools).where(pools.c.id > after, matches)
        statement = statement.order_by(pools.c.id).limit(limit)
        return [stored_pool(row) for row in await self._all(statement)]

    async def oldest_hold_ms(self) -> int | None:
        """When the oldest hold that is still open was granted."""
        first = (
            select(reservations.c.created_at_ms)
            .where(IS_HELD)
            .order_by(reservations.c.shard, reservations.c.seq)
            .limit(1)
        )
        row = await self._first(first)
        return None if row is None else int(row[0])

    async def holds_of_buyer(self, buyer: str, limit: int) -> list[StoredReservation]:
        """What the buyer holds at present, in any pool; reads through all open holds."""
        statement = select(reservations).where(and_(IS_HELD, reservations.c.buyer == buyer))
        statement = statement.order_by(reservations.c.shard, reservations.c.seq).limit(limit)
        rows = await self._all(statement, LONG_OPERATION_TIMEOUT_MS)
        return [stored_reservation(row) for row in rows]

    async def sales_to_buyer(self, buyer: str, limit: int) -> list[StoredReservation]:
        """What the buyer paid for, the newest first."""
        statement = (
            select(reservations)
            .join(orders, orders.c.reservation_id == reservations.c.id)
            .where(orders.c.buyer == buyer)
            .order_by(orders.c.confirmed_at_ms.desc(), orders.c.order_no)
            .limit(limit)
        )
        return [stored_reservation(row) for row in await self._all(statement)]

    async def of_buyer_in_pool(
        self, buyer: str, pool: str, after_id: str, limit: int
    ) -> list[StoredReservation]:
        """Every reservation a buyer ever had in a pool, by id; reads through the pool's."""
        statement = select(reservations).where(
            of_pool(pool), reservations.c.buyer == buyer, reservations.c.id > after_id
        )
        statement = statement.order_by(reservations.c.id).limit(limit)
        rows = await self._all(statement, LONG_OPERATION_TIMEOUT_MS)
        return [stored_reservation(row) for row in rows]

    async def reservation_of_payment(self, payment_ref: str) -> str | None:
        """The reservation that a payment or an order number is of."""
        statement = select(orders.c.reservation_id).where(
            or_(orders.c.payment_ref == payment_ref, orders.c.order_no == payment_ref)
        )
        row = await self._first(statement)
        return None if row is None else str(row[0])
