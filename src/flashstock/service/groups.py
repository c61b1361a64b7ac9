"""Groups: look at one, list those that can be joined. (Seats are taken in lanes, and paid for or
left as reservations are.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from flashstock.errors import UnknownGroup
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.group_replies import GroupAndSeats, OpenGroup
from flashstock.hotpath.store import HotStore
from flashstock.ledger.shown_groups import ShownGroup
from flashstock.ledger.stored import StoredReservation
from flashstock.model.group_records import GroupRecord
from flashstock.model.ids import ReservationId, parse_reservation_id
from flashstock.model.states import GroupState, ReservationState

MEMBERS_SHOWN_MAX: Final = 100


class GroupBook(Protocol):
    """What this service needs of SQL."""

    async def shown_group(self, group: ReservationId) -> ShownGroup | None: ...

    async def seats_of(self, group: ReservationId, limit: int) -> Sequence[StoredReservation]: ...


@dataclass(frozen=True, slots=True)
class MemberView:
    """A seat and who has it."""

    reservation: str
    buyer: str
    quantity: int
    state: ReservationState
    is_opener: bool


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group as of ``now_ms`` (Redis clock). Of large ones the first members are shown."""

    id: str
    record: GroupRecord
    now_ms: int
    reason: str = ""
    members: tuple[MemberView, ...] = ()


class GroupService:
    """Shows groups."""

    def __init__(self, store: HotStore, applied: AppliedTracker, book: GroupBook) -> None:
        self._store = store
        self._applied = applied
        self._book = book

    async def get(self, group_id: str) -> GroupView:
        """The group now. One whose deadline has passed is decided before it is shown, and what
        was decided is in SQL.

        Raises:
            UnknownGroup: there never was one of this id.
        """
        target = parse_reservation_id(group_id)
        if target is None:
            raise UnknownGroup(f"{group_id[:100]!r} is not a group id", group=group_id[:100])
        found, now_ms = await self._read(target)
        if found is not None and _is_overdue(found.record, now_ms):
            _, settled = await self._store.settle_group(target)
            shard = self._store.shard_of(target.pool)
            await self._applied.wait(shard, settled.generation, settled.seq)
            found, now_ms = await self._read(target)
        if found is None:
            return await self._forgotten(target, now_ms)
        reason = ""
        if found.record.state is GroupState.FAILED:
            shown = await self._book.shown_group(target)
            reason = shown.reason if shown is not None else ""
        members = tuple(
            _member(target, found.record, digest, seat.buyer, seat.quantity, seat.state)
            for digest, seat in found.seats
        )
        return GroupView(group_id, found.record, now_ms, reason, members)

    async def page(self, pool: str, after: str, limit: int) -> tuple[list[GroupView], str | None]:
        """Groups of a pool with a free seat, the nearest to full first, and where to go on after.

        Raises:
            UnknownPool: there is no such pool. NotAGroupBuy: it sells without groups.
        """
        score, _, digest = after.partition("~")
        position = (int(score), digest) if after else None
        reply = await self._store.list_open_groups(pool, limit, position)
        views = [
            GroupView(f"{pool}~{each.digest}", each.record, reply.now_ms)
            for each in reply.groups
            if not _is_overdue(each.record, reply.now_ms)
        ]
        return views, _cursor(reply.groups[-1]) if reply.more and reply.groups else None

    async def _read(self, target: ReservationId) -> tuple[GroupAndSeats | None, int]:
        reply = await self._store.read_groups(target.pool, [target.digest], MEMBERS_SHOWN_MAX)
        found = reply.groups[0]
        ours = found is not None and found.record.pool == target.pool
        return found if ours else None, reply.now_ms

    async def _forgotten(self, target: ReservationId, now_ms: int) -> GroupView:
        shown = await self._book.shown_group(target)
        if shown is None:
            raise UnknownGroup(f"there is no group {target}", group=str(target))
        seats = await self._book.seats_of(target, MEMBERS_SHOWN_MAX)
        members = []
        for seat in seats:
            digest, record = seat.id.rpartition("~")[2], seat.record()
            members.append(
                _member(target, shown.record, digest, seat.buyer, seat.quantity, record.state)
            )
        return GroupView(str(target), shown.record, now_ms, shown.reason, tuple(members))


def _member(
    group: ReservationId,
    record: GroupRecord,
    digest: str,
    buyer: str,
    quantity: int,
    state: ReservationState,
) -> MemberView:
    reservation = f"{group.pool}~{digest}"
    return MemberView(reservation, buyer, quantity, state, digest == record.opener)


def _is_overdue(record: GroupRecord, now_ms: int) -> bool:
    return record.state is GroupState.OPEN and record.deadline_ms <= now_ms


def _cursor(last: OpenGroup) -> str:
    return f"{last.score}~{last.digest}"
