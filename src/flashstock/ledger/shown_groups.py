"""One group and its seats, as SQL has them: for those that the hot path has forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, text

from flashstock.ledger.reads import Reads
from flashstock.ledger.reservation_queries import stored_reservation
from flashstock.ledger.stored import StoredReservation
from flashstock.ledger.tables import IS_SEAT, groups, reservations
from flashstock.model.group_records import GroupRecord, cart_of_group
from flashstock.model.ids import ReservationId
from flashstock.model.states import GroupState, ReservationState

_LIVE = [
    state.value
    for state in (
        ReservationState.HELD,
        ReservationState.ORDERED,
        ReservationState.PAID,
        ReservationState.CONFIRMED,
        ReservationState.RETURNED,
    )
]


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """A group; ``reason`` is why it failed, empty where it did not."""

    record: GroupRecord
    reason: str


class ShownGroupQueries(Reads):
    """Part of ``Queries``."""

    async def shown_group(self, group: ReservationId) -> ShownGroup | None:
        """A group; ``None`` where there never was one of this id."""
        row = await self._first(select(groups).where(groups.c.id == str(group)))
        if row is None:
            return None
        record = GroupRecord(
            GroupState(row.state),
            row.deadline_ms,
            row.rules,
            row.pool,
            row.pending,
            row.paid,
            row.house,
            row.opener.rpartition("~")[2],
            row.seq,
        )
        return ShownGroup(record, row.reason)

    async def seats_of(self, group: ReservationId, limit: int) -> list[StoredReservation]:
        """Those who are in it, in the order in which they paid, then those who have not."""
        columns = reservations.c
        statement = (
            select(reservations)
            .where(
                columns.cart == cart_of_group(group.digest),
                text(IS_SEAT),
                columns.pool == group.pool,
                columns.state.in_(_LIVE),
            )
            .order_by(columns.order_index == 0, columns.order_index, columns.seq, columns.id)
            .limit(limit)
        )
        return [stored_reservation(row) for row in await self._all(statement)]
