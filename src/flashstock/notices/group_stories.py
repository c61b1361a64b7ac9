"""What each event of a group-buy pool means to those who asked to be told, and to whom it happened.

Read in the transaction that tells. All that an event itself does not say (who had the seat, which
group it was in) never changes once it is written; what may change since is not told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.tables import IS_SEAT, groups, reservations
from flashstock.model import events
from flashstock.model.group_records import cart_of_group, group_id
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.states import FailReason, GroupState, ReservationState
from flashstock.notices.topics import (
    GROUP_FAILED,
    GROUP_FORMED,
    GROUP_JOINED,
    GROUP_MEMBER_LEFT,
    GROUP_OPENED,
    GROUP_OPENER_PASSED,
)
from flashstock.reconcile.explain import time_text

MEMBERS_AT_ONCE: Final = 40
"""In one webhook: names of the greatest length included, it stays far below its limit."""
_IDS_AT_ONCE: Final = 500
_SERVED: Final = [
    state.value
    for state in (ReservationState.PAID, ReservationState.CONFIRMED, ReservationState.RETURNED)
]

Tell = Callable[[str, dict[str, Any], int], Awaitable[None]]
"""Has a topic told with this payload, as of a time (ms)."""
Story = Callable[[AsyncConnection, Any, Tell], Awaitable[None]]


async def _seats_taken(connection: AsyncConnection, event: events.Held, tell: Tell) -> None:
    """The seat of whoever opens a group: the group itself was opened right before."""
    openers = [hold for hold in event.holds if hold.cart == cart_of_group(hold.digest)]
    found = await _groups(connection, [f"{event.pool}~{hold.digest}" for hold in openers])
    for hold in openers:
        group = f"{event.pool}~{hold.digest}"
        opener = {"reservation": group, "buyer": hold.buyer, "quantity": hold.quantity}
        payload = {**_shown(group, event.pool), "opener": opener}
        row = found.get(group)
        if row is not None:
            rules = parse_group_rules(row.rules)
            payload |= {"size": row.size, "type": rules.type, "ends_at": time_text(row.deadline_ms)}
        await tell(GROUP_OPENED, payload, event.at_ms)


async def _paid(
    connection: AsyncConnection, event: events.Confirmed | events.SeatPaid, tell: Tell
) -> None:
    """Paid is joined."""
    reservation = f"{event.pool}~{event.digest}"
    seat = (await _seats(connection, [reservation])).get(reservation)
    if seat is None or not (group := group_id(seat.pool, seat.cart)):
        return
    member = {**_member(seat), "payment_ref": event.payment_ref, "order_no": seat.order_no}
    await tell(GROUP_JOINED, {**_shown(group, event.pool), "member": member}, event.at_ms)


async def _formed(connection: AsyncConnection, event: events.GroupFormed, tell: Tell) -> None:
    """To every member: nobody gets in or out of a formed group, so they are those of today."""
    group = f"{event.pool}~{event.group}"
    row = (await _groups(connection, [group])).get(group)
    columns = reservations.c
    rows = await connection.execute(
        select(reservations)
        .where(
            columns.cart == cart_of_group(event.group),
            text(IS_SEAT),
            columns.pool == event.pool,
            columns.state.in_(_SERVED),
        )
        .order_by(columns.order_index)
    )
    members = [{**_member(seat), "order_no": seat.order_no} for seat in rows]
    payload = {**_shown(group, event.pool), "paid": event.paid, "house": event.house}
    if row is not None:
        tier = parse_group_rules(row.rules).tier_at(event.paid + event.house)
        payload |= {"size": row.size, "price_minor": tier.price_minor if tier else None}
    await _tell_members(tell, GROUP_FORMED, payload, members, event.at_ms)


async def _failed(connection: AsyncConnection, event: events.GroupFailed, tell: Tell) -> None:
    """Its members are told as they leave it: each, with what is due back, exactly once."""
    group = f"{event.pool}~{event.group}"
    row = (await _groups(connection, [group])).get(group)
    payload = {**_shown(group, event.pool), "reason": event.reason.value, "paid": event.paid}
    if row is not None:
        payload["size"] = row.size
    await tell(GROUP_FAILED, payload, event.at_ms)


async def _refunded(connection: AsyncConnection, event: events.SeatsRefunded, tell: Tell) -> None:
    group = f"{event.pool}~{event.group}"
    row = (await _groups(connection, [group])).get(group)
    members = [
        {
            "reservation": f"{event.pool}~{seat.digest}",
            "buyer": seat.buyer,
            "quantity": seat.quantity,
            "payment_ref": seat.payment_ref,
            "refund_due": True,
        }
        for seat in event.seats
    ]
    reason = "group_failed" if _fell_with(row, event.at_ms) else "left"
    payload = {**_shown(group, event.pool), "reason": reason}
    await _tell_members(tell, GROUP_MEMBER_LEFT, payload, members, event.at_ms)


async def _released(connection: AsyncConnection, event: events.Released, tell: Tell) -> None:
    """Seats that ended unpaid."""
    digests = [release.digest for release in event.releases]
    await _ended(connection, event, event.state, digests, tell)


async def _withdrawn(connection: AsyncConnection, event: events.Withdrawn, tell: Tell) -> None:
    await _ended(connection, event, event.state, [event.digest], tell)


async def _ended(
    connection: AsyncConnection,
    event: events.Released | events.Withdrawn,
    state: ReservationState,
    digests: Iterable[str],
    tell: Tell,
) -> None:
    found = await _seats(connection, [f"{event.pool}~{digest}" for digest in digests])
    by_group: dict[str, list[dict[str, Any]]] = {}
    for seat in found.values():
        group = group_id(seat.pool, seat.cart)
        if group:
            by_group.setdefault(group, []).append({**_member(seat), "refund_due": False})
    reason = "left" if state is ReservationState.CANCELLED else state.value
    for group, members in by_group.items():
        told = reason
        if state is ReservationState.REVOKED:
            row = (await _groups(connection, [group])).get(group)
            told = "group_formed" if row and row.state == GroupState.FORMED else "group_failed"
        payload = {**_shown(group, event.pool), "reason": told}
        await _tell_members(tell, GROUP_MEMBER_LEFT, payload, members, event.at_ms)


async def _passed(connection: AsyncConnection, event: events.OpenerPassed, tell: Tell) -> None:
    reservation = f"{event.pool}~{event.opener}"
    seat = (await _seats(connection, [reservation])).get(reservation)
    opener = _member(seat) if seat is not None else {"reservation": reservation}
    payload = {**_shown(f"{event.pool}~{event.group}", event.pool), "opener": opener}
    await tell(GROUP_OPENER_PASSED, payload, event.at_ms)


STORIES: Final[Mapping[str, Story]] = {
    "held": _seats_taken,
    "ordered": _seats_taken,
    "confirmed": _paid,
    "seat_paid": _paid,
    "group_formed": _formed,
    "group_failed": _failed,
    "seats_refunded": _refunded,
    "cancelled": _released,
    "expired": _released,
    "revoked": _released,
    "withdrawn": _withdrawn,
    "opener_passed": _passed,
}
"""By the kind of the log entry. Of ``seats_served``, ``group_formed`` tells."""


def _shown(group: str, pool: str) -> dict[str, Any]:
    return {"group": group, "pool": pool}


def _member(seat: Any) -> dict[str, Any]:
    return {"reservation": seat.id, "buyer": seat.buyer, "quantity": seat.quantity}


def _fell_with(row: Any | None, at_ms: int) -> bool:
    """Was the seat given back because the group had failed? An abandoned one had nobody left."""
    return (
        row is not None
        and row.state == GroupState.FAILED
        and row.reason != FailReason.ABANDONED
        and row.settled_at_ms is not None
        and at_ms >= row.settled_at_ms
    )


async def _tell_members(
    tell: Tell, topic: str, payload: dict[str, Any], members: Sequence[dict[str, Any]], at_ms: int
) -> None:
    """One webhook for some of them at a time; ``part`` of ``parts`` says which."""
    parts = max(1, -(-len(members) // MEMBERS_AT_ONCE))
    for part in range(parts):
        some = members[part * MEMBERS_AT_ONCE : (part + 1) * MEMBERS_AT_ONCE]
        await tell(topic, {**payload, "part": part + 1, "parts": parts, "members": some}, at_ms)


async def _groups(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        rows = await connection.execute(select(groups).where(groups.c.id.in_(some)))
        found.update((row.id, row) for row in rows)
    return found


async def _seats(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        rows = await connection.execute(select(reservations).where(reservations.c.id.in_(some)))
        found.update((row.id, row) for row in rows)
    return found
