"""What a page is told of a pool, of a hold and of a group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flashstock.client import Group, Pool, Reservation
from flashstock.model.states import PoolState


class Phase(StrEnum):
    """What a buyer can expect of a sale at a moment."""

    NOT_YET = "not_yet"
    OPEN = "open"
    SOLD_OUT = "sold_out"
    PAUSED = "paused"
    ENDED = "ended"


def phase_of(pool: Pool, now: datetime) -> Phase:
    """Sold out is what has no unit left right now; some may still come back."""
    if pool.state is PoolState.CLOSED or (pool.ends_at is not None and now >= pool.ends_at):
        return Phase.ENDED
    if pool.state is PoolState.PAUSED:
        return Phase.PAUSED
    if pool.starts_at is not None and now < pool.starts_at:
        return Phase.NOT_YET
    return Phase.OPEN if pool.available > 0 else Phase.SOLD_OUT


def sale_body(pool: Pool, now: datetime, *, spread_ms: int, yours_ms: int) -> dict[str, Any]:
    """A sale at a moment of the shop's clock, which is the one that counts."""
    return {**_pool_body(pool, now), "opening": {"spread_ms": spread_ms, "yours_ms": yours_ms}}


def _pool_body(pool: Pool, now: datetime) -> dict[str, Any]:
    coming = [wave for wave in pool.waves if wave.at > now]
    return {
        "now": time_text(now),
        "phase": phase_of(pool, now).value,
        "pool": pool.id,
        "total": pool.total,
        "available": pool.available,
        "held": pool.held,
        "sold": pool.sold,
        "locked": pool.locked,
        "per_buyer_limit": pool.per_buyer_limit,
        "hold_seconds": pool.hold_seconds,
        "starts_at": _time_or_none(pool.starts_at),
        "ends_at": _time_or_none(pool.ends_at),
        "next_wave": (
            {"at": time_text(coming[0].at), "quantity": coming[0].quantity} if coming else None
        ),
    }


def hold_body(reservation: Reservation, now: datetime) -> dict[str, Any]:
    """A buyer's own reservation at a moment of the shop's clock."""
    return {
        "now": time_text(now),
        "id": reservation.id,
        "pool": reservation.pool,
        "quantity": reservation.quantity,
        "state": reservation.state.value,
        "expires_at": _time_or_none(reservation.expires_at),
        "order_no": reservation.order_no,
        "receipt": reservation.receipt,
        "group": reservation.group,
    }


def group_line_body(group: Group) -> dict[str, Any]:
    """How far a group is; its time left follows from when it ends, by the shop's clock."""
    tier = group.next_price
    return {
        "id": group.id,
        "state": group.state,
        "size": group.size,
        "paid": group.paid,
        "pending": group.pending,
        "house": group.house,
        "missing": group.missing,
        "free_seats": group.free_seats,
        "ends_at": time_text(group.ends_at),
        "price_minor": group.price_minor,
        "next_price": None
        if tier is None
        else {"seats": tier.seats, "price_minor": tier.price_minor, "missing": tier.missing},
    }


def group_body(group: Group, pool: Pool, buyer: str, now: datetime) -> dict[str, Any]:
    """A group as one of its visitors may see it.

    Who the others are is nobody's business: here a buyer's name is all it takes to be him.
    """
    return {
        "now": time_text(now),
        "phase": phase_of(pool, now).value,
        "pool": group.pool,
        "available": pool.available,
        "hold_seconds": pool.hold_seconds,
        "deduct": pool.group_buy.deduct if pool.group_buy is not None else None,
        "type": group.type,
        "reason": group.reason,
        **group_line_body(group),
        "members": [
            {"state": member.state, "opener": member.opener, "yours": member.buyer == buyer}
            for member in group.members
        ],
        "yours": [member.reservation for member in group.members if member.buyer == buyer],
    }


def groups_body(pool: Pool, groups: Sequence[Group], now: datetime) -> dict[str, Any]:
    """A sale to groups, and the first of those that can be joined."""
    return {**_pool_body(pool, now), "items": [group_line_body(group) for group in groups]}


def time_text(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _time_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)
