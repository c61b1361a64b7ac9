"""Groups as rows: what either database is told of those that a batch opened or moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.failures import Violation
from flashstock.ledger.tables import groups
from flashstock.model.changes import Changes, GroupChange, GroupRow
from flashstock.model.group_fold import SeatsMoved
from flashstock.model.group_rules import parse_group_rules


class GroupMove(NamedTuple):
    """How one known group changes, and what it must be before. ``None`` keeps what is there."""

    id: str
    expected: str | None
    state: str | None
    pending: int
    paid: int
    paid_after: int | None
    """What ``paid`` must come to; ``None``: no matter."""
    house: int | None
    reason: str | None
    opener: str | None
    settled_at_ms: int | None
    updated_at_ms: int


def has_groups(changes: Changes) -> bool:
    """Does the batch speak of groups, or grant seats of any?"""
    return bool(changes.seats or changes.groups_opened or changes.groups_changed)


def possible_seats(changes: Changes) -> list[str]:
    """The reservations whose change would matter to a group, were they seats."""
    return [change.id for change in changes.changed.values() if change.seat_at_ms]


def new_groups(
    shard: int, changes: Changes, seats: Mapping[str, SeatsMoved]
) -> list[dict[str, Any]]:
    """The rows of groups that the batch opened, as they are at its end.

    Raises:
        Violation: a group's seats are not what its own events say.
    """
    return [
        {
            "id": row.id,
            "shard": shard,
            "pool": row.pool,
            "rules": row.rules_text,
            "state": row.state.value,
            "size": _size(row),
            "deadline_ms": row.deadline_ms,
            "opener": row.opener,
            "pending": (moved := seats.get(row.id, SeatsMoved())).pending,
            "paid": _expected_paid(row, moved),
            "house": row.house,
            "reason": row.reason,
            "opened_at_ms": row.opened_at_ms,
            "updated_at_ms": max(moved.at_ms, row.settled_at_ms or row.opened_at_ms),
            "settled_at_ms": row.settled_at_ms,
            "generation": row.generation,
            "seq": row.seq,
        }
        for row in changes.groups_opened.values()
    ]


async def open_groups(
    connection: AsyncConnection, shard: int, changes: Changes, seats: Mapping[str, SeatsMoved]
) -> None:
    """Insert the groups that the batch opened. Raises as ``new_groups`` does."""
    if rows := new_groups(shard, changes, seats):
        await connection.execute(insert(groups), rows)


def moved_groups(changes: Changes, seats: Mapping[str, SeatsMoved]) -> list[GroupMove]:
    """Groups in SQL that an event names, or whose seats moved."""
    known = {**changes.groups_changed}
    for group in seats:
        if group not in changes.groups_opened:
            known.setdefault(group, GroupChange(group))
    return [_move(change, seats.get(change.id, SeatsMoved())) for change in known.values()]


def expect_groups(found: int, moved: Sequence[GroupMove]) -> None:
    """Every group that changes was found as its events say, or it is a violation."""
    if found != len(moved):
        names = ", ".join(row.id for row in moved[:10])
        raise Violation(f"{len(moved) - found} of these groups are not as expected in SQL: {names}")


def _move(change: GroupChange, seats: SeatsMoved) -> GroupMove:
    return GroupMove(
        change.id,
        None if change.expected is None else change.expected.value,
        None if change.state is None else change.state.value,
        seats.pending,
        seats.paid,
        change.paid,
        change.house,
        change.reason,
        change.opener,
        change.settled_at_ms,
        max(seats.at_ms, change.settled_at_ms or 0),
    )


def _size(row: GroupRow) -> int:
    try:
        return parse_group_rules(row.rules_text).size
    except ValueError as problem:
        raise Violation(f"group {row.id} has no rules: {problem}") from problem


def _expected_paid(row: GroupRow, seats: SeatsMoved) -> int:
    if row.paid is not None and row.paid != seats.paid:
        raise Violation(f"group {row.id} has {seats.paid} paid seats, not {row.paid}")
    return seats.paid
