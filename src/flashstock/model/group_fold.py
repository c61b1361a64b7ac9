"""What events do to groups. How many seats one has follows from the rows of its reservations.

So a seat that ends, or is paid, is told of once: by the event of its reservation. Which group it
is of stands in that row's ``cart``; only the row of a reservation that the run itself granted is
at hand here, the others are in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flashstock.model import events
from flashstock.model.changes import Changes, FoldViolation, GroupChange, GroupRow, ReservationRow
from flashstock.model.group_records import group_id, group_of_cart
from flashstock.model.states import GroupState, ReservationState

PENDING: Final = frozenset({ReservationState.HELD, ReservationState.ORDERED})
PAID: Final = frozenset(
    {ReservationState.PAID, ReservationState.CONFIRMED, ReservationState.RETURNED}
)


@dataclass(slots=True)
class SeatsMoved:
    """How one group's seats moved over a run."""

    pending: int = 0
    paid: int = 0
    at_ms: int = 0
    """When the last of them did."""

    def count(self, state: ReservationState, by: int) -> None:
        """Count a seat in this state, or (``by`` -1) no longer."""
        self.pending += by * (state in PENDING)
        self.paid += by * (state in PAID)


def moves_a_seat(before: ReservationState, after: ReservationState) -> bool:
    """Would the change matter to a group, were the reservation a seat?"""
    return (before in PENDING) != (after in PENDING) or (before in PAID) != (after in PAID)


def seats_moved(changes: Changes, carts: Mapping[str, str]) -> dict[str, SeatsMoved]:
    """Group → what became of its seats.

    Args:
        carts: by reservation, of those in ``changes.changed`` that are seats.
    """
    moved: dict[str, SeatsMoved] = {}
    for reservation_id in changes.seats:
        row = changes.inserted[reservation_id]
        seats = moved.setdefault(group_id(row.pool, row.cart), SeatsMoved())
        seats.count(row.state, 1)
        seats.at_ms = max(seats.at_ms, row.seat_at_ms)
    for reservation_id, cart in carts.items():
        change = changes.changed[reservation_id]
        seats = moved.setdefault(group_id(reservation_id.partition("~")[0], cart), SeatsMoved())
        seats.count(change.expected, -1)
        seats.count(change.state, 1)
        seats.at_ms = max(seats.at_ms, change.seat_at_ms)
    return moved


def fold_new_seat(changes: Changes, seq: int, row: ReservationRow) -> None:
    """A granted reservation, if it is a seat, is one of a group that is open."""
    if group_of_cart(row.cart):
        _open_group(changes, seq, group_id(row.pool, row.cart))
        row.seat_at_ms = row.created_at_ms
        changes.seats.append(row.id)


def fold_group(changes: Changes, entry: events.LogEntry, event: events.Event) -> None:
    """Fold what is about a group itself."""
    match event:
        case events.GroupsOpened():
            _fold_opened(changes, entry, event)
        case events.GroupFormed():
            group = _settled(changes, entry.seq, event)
            group.state, group.house = GroupState.FORMED, event.house
        case events.GroupFailed():
            failed = _settled(changes, entry.seq, event)
            failed.state, failed.reason = GroupState.FAILED, event.reason.value
        case events.OpenerPassed():
            passed = _open_group(changes, entry.seq, f"{event.pool}~{event.group}")
            passed.opener = f"{event.pool}~{event.opener}"
        case events.SeatsRefunded():
            refunded = _known_group(changes, f"{event.pool}~{event.group}")
            if refunded.state is GroupState.FORMED:
                raise FoldViolation(entry.seq, f"{refunded.id} has formed, and is refunded")
            if refunded.paid is not None:
                refunded.paid -= len(event.seats)


def _fold_opened(changes: Changes, entry: events.LogEntry, event: events.GroupsOpened) -> None:
    for digest in event.groups:
        opened = f"{event.pool}~{digest}"
        if opened in changes.groups_opened or opened in changes.groups_changed:
            raise FoldViolation(entry.seq, f"group {opened} is opened twice")
        changes.groups_opened[opened] = GroupRow(
            id=opened,
            pool=event.pool,
            rules_text=event.rules_text,
            deadline_ms=event.deadline_ms,
            opener=opened,
            opened_at_ms=event.at_ms,
            generation=entry.generation,
            seq=entry.seq,
        )


def _known_group(changes: Changes, group: str) -> GroupRow | GroupChange:
    found = changes.groups_opened.get(group) or changes.groups_changed.get(group)
    if found is None:
        found = changes.groups_changed[group] = GroupChange(group)
    return found


def _open_group(changes: Changes, seq: int, group: str) -> GroupRow | GroupChange:
    """The group, which must be open: in this run, and where the run found it in SQL."""
    found = _known_group(changes, group)
    if found.state not in (None, GroupState.OPEN):
        raise FoldViolation(seq, f"group {group} has {found.state}")
    if isinstance(found, GroupChange):
        found.expected = GroupState.OPEN
    return found


def _settled(
    changes: Changes, seq: int, event: events.GroupFormed | events.GroupFailed
) -> GroupRow | GroupChange:
    """The group, which ends now: once."""
    group = _open_group(changes, seq, f"{event.pool}~{event.group}")
    group.settled_at_ms = event.at_ms
    group.paid = event.paid
    return group
