"""Queries about groups: those that Redis must know, their seats, and what they add up to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, case, cast, func, or_, select, text, tuple_

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS
from flashstock.ledger.reads import Reads, of_pool
from flashstock.ledger.stored import BuyerTotal, RetainedReservation
from flashstock.ledger.tables import IS_SEAT, UNSETTLED, groups, reservations
from flashstock.model.group_fold import PAID, PENDING
from flashstock.model.group_records import GroupRecord, cart_of_group
from flashstock.model.states import GroupState


class StoredGroup(NamedTuple):
    """What a rebuild and a comparison need of a group; columns of the table, as they are."""

    id: str
    pool: str
    rules: str
    state: str
    deadline_ms: int
    opener: str
    pending: int
    paid: int
    house: int
    seq: int
    updated_at_ms: int
    settled_at_ms: int | None

    @property
    def digest(self) -> str:
        return self.id.rpartition("~")[2]

    @property
    def unsettled(self) -> bool:
        """Are there seats of it to be paid, ended or refunded? As ``tables.UNSETTLED`` says."""
        failed = self.state == GroupState.FAILED
        return self.state == GroupState.OPEN or self.pending > 0 or (failed and self.paid > 0)

    def record(self) -> GroupRecord:
        """The record that the scripts keep of it."""
        return GroupRecord(
            GroupState(self.state),
            self.deadline_ms,
            self.rules,
            self.pool,
            self.pending,
            self.paid,
            self.house,
            self.opener.rpartition("~")[2],
            self.seq,
        )


class GroupSums(NamedTuple):
    """One group's seats, as its row says and as its reservations add up to."""

    id: str
    pending: int
    paid: int
    pending_seats: int
    paid_seats: int

    def agree(self) -> bool:
        """The invariant: the row is the sum of what it counts."""
        return (self.pending, self.paid) == (self.pending_seats, self.paid_seats)


class GroupQueries(Reads):
    """Part of ``Queries``."""

    async def retained_groups(
        self, shard: int, after_id: str, limit: int, since_ms: int
    ) -> Sequence[StoredGroup]:
        """All groups that Redis must know of a shard: first those with seats to settle, by id,
        then those that changed last since then, in that order.

        Costs as much as it returns. For a shard that stands still, or for who looks again: what
        is settled between two pages may be left out.
        """
        after = await self._first(_GROUPS.where(groups.c.id == after_id)) if after_id else None
        found: list[StoredGroup] = []
        if after is None or StoredGroup(*after).unsettled:
            found += await self._groups(
                _GROUPS.where(groups.c.shard == shard, text(_UNSETTLED), groups.c.id > after_id)
                .order_by(groups.c.id)
                .limit(limit)
            )
            after = None
        if len(found) < limit:
            columns = (groups.c.updated_at_ms, groups.c.id)
            position = (since_ms, "") if after is None else (after.updated_at_ms, after.id)
            found += await self._groups(
                _GROUPS.where(
                    groups.c.shard == shard,
                    text(f"NOT {_UNSETTLED}"),
                    tuple_(*columns) > tuple_(*position),
                )
                .order_by(*columns)
                .limit(limit - len(found))
            )
        return found

    async def groups_by_ids(self, ids: Collection[str]) -> Sequence[StoredGroup]:
        """Those that exist, in no particular order."""
        return await self._groups(_GROUPS.where(groups.c.id.in_(ids)))

    async def live_seats(
        self, digests: Collection[str], after: tuple[str, str], limit: int
    ) -> Sequence[RetainedReservation]:
        """Seats of these groups that are pending, paid or returned, by cart and id.

        A digest says nothing of the shard, nor of the pool: there may be seats of namesakes.

        Args:
            after: cart and id of the last one seen.
        """
        columns = (reservations.c.cart, reservations.c.id)
        carts = [cart_of_group(digest) for digest in digests]
        statement = (
            select(*_SEAT)
            .where(
                text(IS_SEAT),
                reservations.c.cart.in_(carts),
                reservations.c.state.in_(_LIVE),
                tuple_(*columns) > tuple_(*after),
            )
            .order_by(*columns)
            .limit(limit)
        )
        rows: Sequence[Any] = await self._all(statement, LONG_OPERATION_TIMEOUT_MS)
        return rows

    def buyer_groups(self, pool: str, page: int) -> AsyncGenerator[Sequence[BuyerTotal], None]:
        """How many groups of a pool each buyer is in, in no order; as ``buyer_totals``."""
        found = cast(func.count(reservations.c.cart.distinct()), BigInteger).label("units")
        statement = (
            select(reservations.c.buyer, found)
            .where(of_pool(pool), text(IS_SEAT), reservations.c.state.in_(_LIVE))
            .group_by(reservations.c.buyer)
        )
        return self._in_pages(statement, page)

    async def group_sums(self, shard: int, pool: str | None = None) -> list[GroupSums]:
        """Groups of a shard (or of one pool) whose seats are not what their reservations add up
        to. One statement, so both are of one moment.
        """
        which = reservations.c.shard == shard if pool is None else of_pool(pool)
        group = reservations.c.pool.concat("~").concat(func.substr(reservations.c.cart, 3))
        is_pending = reservations.c.state.in_([state.value for state in PENDING])
        added = (
            select(
                group.label("id"),
                func.sum(case((is_pending, 1), else_=0)).label("pending"),
                func.sum(case((is_pending, 0), else_=1)).label("paid"),
            )
            .where(which, text(IS_SEAT), reservations.c.state.in_(_LIVE))
            .group_by(group)
        ).subquery()
        pending = func.coalesce(added.c.pending, 0)
        paid = func.coalesce(added.c.paid, 0)
        statement = (
            select(groups.c.id, groups.c.pending, groups.c.paid, pending, paid)
            .outerjoin(added, added.c.id == groups.c.id)
            .where(
                groups.c.shard == shard,
                or_(groups.c.pending != pending, groups.c.paid != paid),
            )
            .order_by(groups.c.id)
            .limit(WRONG_MAX)
        )
        if pool is not None:
            statement = statement.where(groups.c.pool == pool)
        rows = await self._all(statement, LONG_OPERATION_TIMEOUT_MS)
        return [GroupSums(row[0], *map(int, row[1:])) for row in rows]

    async def _groups(self, statement: Any) -> list[StoredGroup]:
        return [StoredGroup(*row) for row in await self._all(statement)]


WRONG_MAX: Final = 1_000
_UNSETTLED: Final = f"({UNSETTLED})"
_LIVE: Final = sorted(state.value for state in PENDING | PAID)
_SEAT: Final = tuple(reservations.c[name] for name in RetainedReservation._fields)
_GROUPS: Final = select(*(groups.c[name] for name in StoredGroup._fields))
