"""The states of a pool and of a reservation, and how durable an acknowledgement is."""

from __future__ import annotations

from enum import StrEnum


class ReservationState(StrEnum):
    """``held → confirmed | cancelled | expired | revoked``; ``confirmed → returned``.

    ``ordered → confirmed | cancelled | revoked`` where the pool takes units at the payment.
    A seat of a group that takes units when it forms: ``ordered → paid → confirmed``, and it may
    expire. A paid seat that is given back, or whose group fails: ``paid, confirmed → refunded``.
    """

    HELD = "held"
    ORDERED = "ordered"
    """Wanted, and holding nothing."""
    PAID = "paid"
    """A seat that is paid and holds nothing before its group forms."""
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REVOKED = "revoked"
    RETURNED = "returned"
    REFUNDED = "refunded"
    """A paid seat without a formed group; its refund is on record."""


class GroupState(StrEnum):
    """``open → formed | failed``, once."""

    OPEN = "open"
    FORMED = "formed"
    FAILED = "failed"


class FailReason(StrEnum):
    """Why a group failed."""

    DEADLINE = "deadline"
    NO_STOCK = "no_stock"
    """It was full, or the house would have completed it, and too few units were left."""
    ABANDONED = "abandoned"
    """Its last seat was given up."""


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
