"""What can be watched of groups: those of a pool that are open, and one group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from jinja2 import Environment

from flashstock.api.services import Services
from flashstock.console.samples import SLOW_EVERY
from flashstock.errors import FlashstockError, Unavailable
from flashstock.ledger.group_watch_queries import GroupCounts, GroupTimes, SeatOnRecord
from flashstock.model.ids import ReservationId
from flashstock.model.states import GroupState, ReservationState
from flashstock.service.groups import GroupView

GROUPS_SHOWN: Final = 25
SEATS_READ_MAX: Final = 200

_ENDS: Final = {
    ReservationState.CANCELLED: "left",
    ReservationState.EXPIRED: "did not pay in time",
    ReservationState.REVOKED: "lost the seat, unpaid",
    ReservationState.REFUNDED: "is out, and to be paid back",
    ReservationState.RETURNED: "returned everything",
}


class Moment(NamedTuple):
    """Something that happened to a group. ``reservation``: whose seat; empty: the group's."""

    at_ms: int
    text: str
    reservation: str = ""


@dataclass(frozen=True, slots=True)
class OpenGroups:
    """A page of a pool's open groups, the nearest to full first."""

    views: Sequence[GroupView]
    next_after: str | None
    counts: GroupCounts


async def open_groups_of(services: Services, pool: str, after: str) -> OpenGroups:
    """Raises ``UnknownPool``, ``NotAGroupBuy``."""
    views, next_after = await services.groups.page(pool, after, GROUPS_SHOWN)
    counts = (await services.queries.group_counts([pool])).get(pool, GroupCounts())
    return OpenGroups(views, next_after, counts)


class GroupsOfPool:
    """The first open groups of a pool."""

    def __init__(
        self, pool: str, services: Services, templates: Environment, now_ms: Callable[[], int]
    ) -> None:
        self._pool = pool
        self._services = services
        self._template = templates.get_template("live/groups.html")
        self._now_ms = now_ms
        self._found: OpenGroups | None = None
        self._at_ms = 0
        self._taken = 0
        self._problem = ""

    async def look(self) -> None:
        self._problem = await _problem_of(self._read)

    def draw(self) -> str:
        return self._template.render(
            pool=self._pool, found=self._found, at_ms=self._at_ms, problem=self._problem
        )

    async def _read(self) -> None:
        views, next_after = await self._services.groups.page(self._pool, "", GROUPS_SHOWN)
        counts = self._found.counts if self._found is not None else GroupCounts()
        if self._taken % SLOW_EVERY == 0:
            found = await self._services.queries.group_counts([self._pool])
            counts = found.get(self._pool, GroupCounts())
        self._taken += 1
        self._found = OpenGroups(views, next_after, counts)
        self._at_ms = self._now_ms()


class OneGroup:
    """One group: as Redis has it, and what SQL has written down of it."""

    def __init__(
        self,
        group: ReservationId,
        services: Services,
        templates: Environment,
        now_ms: Callable[[], int],
    ) -> None:
        self._group = group
        self._services = services
        self._template = templates.get_template("live/group.html")
        self._now_ms = now_ms
        self._view: GroupView | None = None
        self._times: GroupTimes | None = None
        self._seats: Sequence[SeatOnRecord] = ()
        self._at_ms = 0
        self._problem = ""

    async def look(self) -> None:
        self._problem = await _problem_of(self._read)

    def draw(self) -> str:
        view = self._view
        return self._template.render(
            view=view,
            rules=view.record.rules if view is not None else None,
            seats={seat.reservation.id: seat for seat in self._seats},
            times=self._times,
            moments=moments_of_group(view, self._times, self._seats) if view is not None else (),
            is_open=view is not None and view.record.state is GroupState.OPEN,
            seats_read_max=SEATS_READ_MAX,
            at_ms=self._at_ms,
            problem=self._problem,
        )

    async def _read(self) -> None:
        queries = self._services.queries
        self._view = await self._services.groups.get(str(self._group))
        self._times = await queries.group_times(self._group)
        self._seats = await queries.seats_on_record(self._group, SEATS_READ_MAX)
        self._at_ms = self._now_ms()


def moments_of_group(
    view: GroupView, times: GroupTimes | None, seats: Sequence[SeatOnRecord]
) -> list[Moment]:
    """What happened to a group, as its rows in SQL say, the latest first."""
    moments = [moment for seat in seats for moment in _moments_of_seat(view, seat)]
    if times is not None:
        moments.append(Moment(times.opened_at_ms, "the group was opened"))
        if times.settled_at_ms is not None:
            ended = f"the group {view.record.state.value}"
            if view.reason:
                ended += f": {view.reason.replace('_', ' ')}"
            moments.append(Moment(times.settled_at_ms, ended))
    return sorted(moments, key=lambda moment: moment.at_ms, reverse=True)


def _moments_of_seat(view: GroupView, seat: SeatOnRecord) -> list[Moment]:
    stored = seat.reservation
    taken = "opened it" if stored.id == view.id else "took a seat"
    told = [
        (stored.created_at_ms, taken),
        (seat.paid_at_ms, "paid"),
        (seat.refund_due_at_ms, "is due a refund"),
        (seat.refund_settled_at_ms, "was paid back"),
    ]
    if stored.state in _ENDS:
        told.append((stored.updated_at_ms, _ENDS[stored.state]))
    return [Moment(at_ms, f"{stored.buyer} {text}", stored.id) for at_ms, text in told if at_ms]


async def _problem_of(read: Callable[[], Awaitable[None]]) -> str:
    """Read; what went wrong in words, or nothing. What was read before stays."""
    try:
        await read()
    except FlashstockError as problem:
        return problem.title if isinstance(problem, Unavailable) else problem.detail
    return ""
