"""Queries about single reservations, and pages of many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text, tuple_, union_all

from flashstock.ledger.reads import IS_ENDED, IS_HELD, Reads, of_pool
from flashstock.ledger.stored import RetainedReservation, StoredReservation
from flashstock.ledger.tables import (
    EARLY_MS,
    ENDED_EARLY,
    MAY_RUN_OUT,
    orders,
    refunds,
    reservations,
)
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState


class ReservationQueries(Reads):
    """Part of ``Queries``."""

    async def reservation(self, reservation_id: str) -> StoredReservation | None:
        row = await self._first(select(reservations).where(reservations.c.id == reservation_id))
        return None if row is None else stored_reservation(row)

    async def reservation_record(self, reservation_id: str) -> ReservationRecord | None:
        """The same as a record, for those that the hot path has forgotten."""
        stored = await self.reservation(reservation_id)
        return None if stored is None else stored.record()

    async def reservations_by_ids(self, ids: Collection[str]) -> list[StoredReservation]:
        """Those that exist, in no particular order."""
        return await self._stored(select(reservations).where(reservations.c.id.in_(ids)))

    async def deadlines_of(self, ids: Collection[str]) -> dict[str, int]:
        """Until when each of those lasts that are held and end by their own deadline."""
        statement = select(reservations.c.id, reservations.c.deadline_ms)
        holds = statement.where(reservations.c.id.in_(ids), text(MAY_RUN_OUT))
        return {row[0]: row[1] for row in await self._all(holds)}

    async def pool_reservations(
        self, pool: str, after_id: str, limit: int
    ) -> list[StoredReservation]:
        """Every reservation a pool ever had, by id."""
        statement = select(reservations).where(of_pool(pool), reservations.c.id > after_id)
        return await self._stored(statement.order_by(reservations.c.id).limit(limit))

    async def open_reservations(
        self, shard: int, after_id: str, limit: int, up_to_seq: int | None = None
    ) -> list[StoredReservation]:
        """A shard's holds, oldest first. The page goes on after any reservation, ended or not.

        Args:
            up_to_seq: only what was granted by then. Without it, pages that are read more slowly
                than holds are granted have no end.
        """
        statement = _held(shard, await self._position(after_id), limit)
        if up_to_seq is not None:
            statement = statement.where(reservations.c.seq <= up_to_seq)
        return await self._stored(statement)

    async def retained_reservations(
        self, shard: int, after_id: str, limit: int, ended_since_ms: int
    ) -> Sequence[RetainedReservation]:
        """All that Redis must know of a shard: first its holds, then what ended lately, then what
        ended before that but had a deadline since, for Redis forgets by the deadline.

        Costs as much as it returns, however long the shard's history is. For a shard that
        stands still (under recovery): what ends between two pages may be left out.
        """
        after = await self._position(after_id)
        rows: list[RetainedReservation] = []
        if after is None or after.state == ReservationState.HELD.value:
            rows += await self._all(_held(shard, after, limit, _RETAINED))
            after = None
        if len(rows) < limit and (
            after is None or after.updated_at_ms >= ended_since_ms - EARLY_MS
        ):
            rows += await self._all(_ended(shard, after, limit - len(rows), ended_since_ms))
            after = None
        if len(rows) < limit:
            rows += await self._all(_early(shard, after, limit - len(rows), ended_since_ms))
        return rows

    async def max_order_index(self, shard: int) -> int:
        """The index of the shard's latest sale; 0 where there was none."""
        index = reservations.c.order_index
        statement = select(func.max(index)).where(reservations.c.shard == shard, index > 0)
        row = await self._first(statement)
        return int(row[0] or 0) if row else 0

    async def payment_owner(self, payment_ref: str) -> str | None:
        """The reservation that a payment confirmed, or for which it is due back."""
        sale = select(orders.c.reservation_id).where(orders.c.payment_ref == payment_ref)
        refund = select(refunds.c.reservation_id).where(refunds.c.payment_ref == payment_ref)
        row = await self._first(select(union_all(sale, refund).subquery()))
        return None if row is None else str(row.reservation_id)

    async def has_refund(self, payment_ref: str) -> bool:
        """Is the payment due back, or back already?"""
        statement = select(refunds.c.id).where(refunds.c.payment_ref == payment_ref)
        return await self._first(statement) is not None

    async def _position(self, reservation_id: str) -> Any | None:
        """Where a page begins. Rows are never deleted, so the row before it is still there."""
        if not reservation_id:
            return None
        statement = select(
            reservations.c.id,
            reservations.c.seq,
            reservations.c.state,
            reservations.c.updated_at_ms,
            reservations.c.deadline_ms,
        )
        return await self._first(statement.where(reservations.c.id == reservation_id))

    async def _stored(self, statement: Select[Any]) -> list[StoredReservation]:
        return [stored_reservation(row) for row in await self._all(statement)]


_WHOLE: Final = tuple(reservations.c)
_RETAINED: Final = tuple(reservations.c[name] for name in RetainedReservation._fields)


def _held(
    shard: int,
    after: Any | None,
    limit: int,
    wanted: Sequence[ColumnElement[Any]] = _WHOLE,
) -> Select[Any]:
    """Holds in the order in which they were granted: neither part of the key ever changes."""
    columns = (reservations.c.seq, reservations.c.id)
    position = None if after is None else (after.seq, after.id)
    return _page(shard, IS_HELD, columns, position, limit, wanted)


def _ended(shard: int, after: Any | None, limit: int, since_ms: int) -> Select[Any]:
    """Also from a little earlier, where the deadline was later: the others have an index."""
    columns = (reservations.c.updated_at_ms, reservations.c.id)
    position = (since_ms - EARLY_MS, "") if after is None else (after.updated_at_ms, after.id)
    late = or_(reservations.c.updated_at_ms >= since_ms, reservations.c.deadline_ms > since_ms)
    return _page(shard, and_(IS_ENDED, late), columns, position, limit)


def _early(shard: int, after: Any | None, limit: int, since_ms: int) -> Select[Any]:
    columns = (reservations.c.deadline_ms, reservations.c.id)
    position = (since_ms + 1, "") if after is None else (after.deadline_ms, after.id)
    earlier = reservations.c.updated_at_ms < since_ms - EARLY_MS
    return _page(shard, and_(text(ENDED_EARLY), earlier), columns, position, limit)


def _page(
    shard: int,
    which: ColumnElement[bool],
    columns: tuple[ColumnElement[int], ColumnElement[str]],
    position: tuple[int, str] | None,
    limit: int,
    wanted: Sequence[ColumnElement[Any]] = _RETAINED,
) -> Select[Any]:
    statement = select(*wanted).where(reservations.c.shard == shard, which)
    if position is not None:
        statement = statement.where(tuple_(*columns) > tuple_(*position))
    return statement.order_by(*columns).limit(limit)


def stored_reservation(row: Any) -> StoredReservation:
    """By position, in the order of the table: a reconciliation reads a million of these."""
    id, shard, pool, buyer, quantity, cart, state, *rest = row
    return StoredReservation(id, shard, pool, buyer, quantity, cart, ReservationState(state), *rest)
