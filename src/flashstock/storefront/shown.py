"""What a page is told of a pool and of a hold."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flashstock.client import Pool, Reservation
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
        "opening": {"spread_ms": spread_ms, "yours_ms": yours_ms},
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
    }


def time_text(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _time_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)
