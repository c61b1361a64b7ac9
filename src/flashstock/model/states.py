"""The states of a pool and of a reservation, and how durable an acknowledgement is."""

from __future__ import annotations

from enum import StrEnum


class ReservationState(StrEnum):
    """``held → confirmed | cancelled | expired | revoked``; ``confirmed → returned``.

    ``ordered → confirmed | cancelled | revoked`` where the pool takes units at the payment.
    """

    HELD = "held"
    ORDERED = "ordered"
    """Wanted, and holding nothing."""
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


class DeductMode(StrEnum):
    """When a sale takes its units, and until when an unpaid one keeps them."""

    HOLD = "hold"
    """At the reservation, until a deadline."""
    ORDER = "order"
    """At the reservation, until somebody cancels it."""
    PAYMENT = "payment"
    """At the payment, if some are left."""


class Durability(StrEnum):
    """When a hold is acknowledged: once committed in SQL, or once the script has run."""

    LEDGER = "ledger"
    FAST = "fast"
