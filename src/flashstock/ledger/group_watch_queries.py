"""Queries of those who watch groups: pools that sell to them, how they went, who was in one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select, text

from flashstock.ledger.pool_queries import stored_pool
from flashstock.ledger.reads import Reads
from flashstock.ledger.reservation_queries import stored_reservation
from flashstock.ledger.stored import StoredPool, StoredReservation
from flashstock.ledger.tables import IS_SEAT, groups, orders, pools, refunds, reservations
from flashstock.model.group_records import cart_of_group
from flashstock.model.ids import ReservationId
from flashstock.model.states import GroupState


class GroupCounts(NamedTuple):
    """A pool's groups, by what became of them."""

    open: int = 0
    formed: int = 0
    failed: int = 0


class GroupTimes(NamedTuple):
    """When a group was opened and when it formed or failed; ms since the epoch."""

    opened_at_ms: int
    settled_at_ms: int | None


@dataclass(frozen=True, slots=True)
class SeatOnRecord:
    """Whoever has, or had, a seat. The times are of its payment, and of what is due back of it."""

    reservation: StoredReservation
    paid_at_ms: int | None
    refund_due_at_ms: int | None
    refund_settled_at_ms: int | None


class GroupWatchQueries(Reads):
    """Part of ``Queries``."""

    async def pools_of_groups(self, after: str, limit: int) -> list[StoredPool]:
        """Pools that sell to groups, by id; reads through all pools."""
        statement = select(pools).where(pools.c.group_buy != "", pools.c.id > after)
        rows = await self._all(statement.order_by(pools.c.id).limit(limit))
        return [stored_pool(row) for row in rows]

    async def group_counts(self, names: Collection[str]) -> dict[str, GroupCounts]:
        """The groups of each of these pools, counted in the index; pools without any are left
        out.
        """
        found: dict[str, GroupCounts] = {}
        columns = (groups.c.pool, groups.c.state)
        statement = select(*columns, func.count()).where(groups.c.pool.in_(names))
        for pool, state, count in await self._all(statement.group_by(*columns)):
            counts = found.get(pool, GroupCounts())
            found[pool] = counts._replace(**{GroupState(state).value: int(count)})
        return found

    async def group_times(self, group: ReservationId) -> GroupTimes | None:
        """``None`` where SQL does not have the group (yet)."""
        statement = select(groups.c.opened_at_ms, groups.c.settled_at_ms)
        row = await self._first(statement.where(groups.c.id == str(group)))
        return None if row is None else GroupTimes(*row)

    async def seats_on_record(self, group: ReservationId, limit: int) -> list[SeatOnRecord]:
        """Every seat that was ever taken in a group, the latest first."""
        columns = reservations.c
        statement = (
            select(
                reservations,
                orders.c.confirmed_at_ms,
                refunds.c.recorded_at_ms,
                refunds.c.settled_at_ms,
            )
            .outerjoin(orders, orders.c.reservation_id == columns.id)
            .outerjoin(refunds, refunds.c.payment_ref == columns.payment_ref)
            .where(
                columns.cart == cart_of_group(group.digest),
                text(IS_SEAT),
                columns.pool == group.pool,
            )
            .order_by(columns.created_at_ms.desc(), columns.id)
            .limit(limit)
        )
        rows = await self._all(statement)
        return [SeatOnRecord(stored_reservation(row[:-3]), *row[-3:]) for row in rows]
