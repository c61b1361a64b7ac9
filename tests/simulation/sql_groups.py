"""Groups in the simulated SQL database: how they are written, and what is read of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from flashstock.ledger.failures import Violation
from flashstock.ledger.group_queries import GroupSums, StoredGroup
from flashstock.ledger.group_writes import GroupMove, moved_groups, new_groups, possible_seats
from flashstock.ledger.stored import BuyerTotal, RetainedReservation, StoredReservation
from flashstock.model.changes import Changes
from flashstock.model.group_fold import PAID, PENDING, SeatsMoved, seats_moved
from flashstock.model.group_records import cart_of_group, group_of_cart
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.states import GroupState

if TYPE_CHECKING:
    from tests.simulation.sql_tables import Tables

T = TypeVar("T")
LIVE = PENDING | PAID


def change_groups(tables: Tables, shard: int, changes: Changes) -> None:
    """Write what a batch does to groups. Raises ``Violation``."""
    carts = {
        one: cart
        for one in possible_seats(changes)
        if group_of_cart(cart := tables.reservations[one].cart)
    }
    seats = seats_moved(changes, carts)
    for row in folded_groups(shard, changes, seats):
        if row.id in tables.groups:
            raise Violation(f"group {row.id} is in SQL already")
        tables.groups[row.id] = _checked(row)
    for move in moved_groups(changes, seats):
        tables.groups[move.id] = _checked(_moved(tables.groups.get(move.id), move))
    for reservation_id, at_ms in changes.unsold.items():
        tables.finished[reservation_id] = at_ms


def folded_groups(shard: int, changes: Changes, seats: dict[str, SeatsMoved]) -> list[StoredGroup]:
    """The groups that a run of events opens, as they are at its end."""
    names = StoredGroup._fields
    return [
        StoredGroup(*(row[name] for name in names)) for row in new_groups(shard, changes, seats)
    ]


def _moved(row: StoredGroup | None, move: GroupMove) -> StoredGroup:
    paid = (0 if row is None else row.paid) + move.paid
    if row is None or move.expected not in (None, row.state) or move.paid_after not in (None, paid):
        raise Violation(f"group {move.id} is {row}, not as {move} expects")
    return row._replace(
        state=move.state or row.state,
        pending=row.pending + move.pending,
        paid=paid,
        house=row.house if move.house is None else move.house,
        opener=move.opener or row.opener,
        settled_at_ms=move.settled_at_ms or row.settled_at_ms,
        updated_at_ms=max(move.updated_at_ms, row.updated_at_ms),
    )


def _checked(row: StoredGroup) -> StoredGroup:
    size = parse_group_rules(row.rules).size
    full = row.paid + row.house == size
    if min(row.pending, row.paid) < 0 or row.pending + row.paid > size:
        raise Violation(f"CHECK failed: {row}")
    if row.state == GroupState.FORMED and not full:
        raise Violation(f"CHECK failed: {row}")
    return row


def live_seats(tables: Tables, pool: str) -> list[StoredReservation]:
    """Seats of a pool that are pending, paid or returned."""
    return [
        row
        for row in tables.reservations.values()
        if row.pool == pool and row.state in LIVE and group_of_cart(row.cart)
    ]


def groups_of_buyers(tables: Tables, pool: str) -> Counter[str]:
    """In how many groups of a pool each buyer is."""
    pairs = dict.fromkeys((row.buyer, row.cart) for row in live_seats(tables, pool))
    return Counter(buyer for buyer, _ in pairs)


class SimulatedGroupQueries:
    """What ``ledger.group_queries`` reads. ``_read`` is one statement of ``SimulatedQueries``."""

    async def _read(self, name: str, work: Callable[[Tables], T]) -> T:
        raise NotImplementedError

    async def retained_groups(
        self, shard: int, after_id: str, limit: int, since_ms: int
    ) -> list[StoredGroup]:
        def work(tables: Tables) -> list[StoredGroup]:
            rows = [
                row
                for row in tables.groups.values()
                if tables.pools[row.pool].shard == shard
                and (row.unsettled or row.updated_at_ms >= since_ms)
                and row.id > after_id
            ]
            return sorted(rows)[:limit]

        return await self._read("retained_groups", work)

    async def groups_by_ids(self, ids: Collection[str]) -> list[StoredGroup]:
        wanted = list(ids)
        return await self._read(
            "groups_by_ids", lambda t: [t.groups[one] for one in wanted if one in t.groups]
        )

    async def live_seats(
        self, digests: Collection[str], after: tuple[str, str], limit: int
    ) -> list[RetainedReservation]:
        carts = {cart_of_group(digest) for digest in digests}

        def work(tables: Tables) -> list[RetainedReservation]:
            rows = [
                row
                for row in tables.reservations.values()
                if row.cart in carts and row.state in LIVE and (row.cart, row.id) > after
            ]
            ordered = sorted(rows, key=lambda row: (row.cart, row.id))
            return [retained(row) for row in ordered[:limit]]

        return await self._read("live_seats", work)

    async def buyer_groups(
        self, pool: str, page: int
    ) -> AsyncGenerator[Sequence[BuyerTotal], None]:
        counts = await self._read("buyer_groups", lambda t: groups_of_buyers(t, pool))
        totals = [BuyerTotal(buyer, counts[buyer]) for buyer in sorted(counts)]
        for start in range(0, len(totals), page):
            yield totals[start : start + page]

    async def group_sums(self, shard: int) -> list[GroupSums]:
        def work(tables: Tables) -> list[GroupSums]:
            wrong = []
            for row in tables.groups.values():
                seats = [
                    one
                    for one in live_seats(tables, row.pool)
                    if group_of_cart(one.cart) == row.digest
                ]
                pending = sum(one.state in PENDING for one in seats)
                sums = GroupSums(row.id, row.pending, row.paid, pending, len(seats) - pending)
                if tables.pools[row.pool].shard == shard and not sums.agree():
                    wrong.append(sums)
            return wrong

        return await self._read("group_sums", work)


def retained(row: StoredReservation) -> RetainedReservation:
    """As the columns of a row."""
    columns: dict[str, Any] = {name: getattr(row, name) for name in RetainedReservation._fields}
    return RetainedReservation(**{**columns, "state": row.state.value})
