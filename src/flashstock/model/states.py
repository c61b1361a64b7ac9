"""The states of a pool and of a reservation, and how durable an acknowledgement is."""

from __future__ import annotations

from enum import StrEnum


class ReservationState(StrEnum):
    """``held → confirmed | cancelled | expired | revoked``; ``confirmed → returned``."""

    HELD = "held"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REVOKED = "revoked"
    RETURNED = "returned"


class PoolState(StrEnum):
    """``open ⇄ paused → closed``. A closed pool stays closed; its holds can still be paid."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"


class Durability(StrEnum):
    """When a hold is acknowledged: once committed in SQL, or once the script has run."""

    LEDGER = "ledger"
    FAST = "fast"
