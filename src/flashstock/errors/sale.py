"""What reservations and pools answer."""

from __future__ import annotations

from flashstock.errors.root import NotFound, Refused


class SoldOut(Refused):
    code = "sold_out"
    title = "Not enough units are left"


class BuyerLimit(Refused):
    code = "buyer_limit"
    title = "The buyer has reached the limit of this pool"


class NotStarted(Refused):
    code = "not_started"
    title = "The sale has not started"


class Ended(Refused):
    code = "ended"
    title = "The sale has ended"


class Paused(Refused):
    code = "paused"
    title = "The sale is paused"


class NotEligible(Refused):
    code = "not_eligible"
    title = "The buyer is not eligible for this sale"


class ReservationExpired(Refused):
    code = "reservation_expired"
    title = "The hold has expired"


class AlreadyCancelled(Refused):
    code = "already_cancelled"
    title = "The reservation was cancelled"


class AlreadyConfirmed(Refused):
    code = "already_confirmed"
    title = "The reservation is already confirmed"


class AlreadyReturned(Refused):
    code = "already_returned"
    title = "The units were already returned"


class NotConfirmed(Refused):
    code = "not_confirmed"
    title = "Only a confirmed reservation can be returned"


class RefundDue(Refused):
    code = "refund_due"
    title = "Paid too late and no stock is left: a refund is due and on record"


class PaymentRefUsed(Refused):
    code = "payment_ref_used"
    title = "This payment already confirmed another reservation"


class RefundSettled(Refused):
    code = "refund_settled"
    title = "The refund was settled under another reference"


class PoolExists(Refused):
    code = "pool_exists"
    title = "A pool of this id exists with other settings"


class InsufficientStock(Refused):
    code = "insufficient_stock"
    title = "There are not enough units where they should come from"


class NotRecorded(Refused):
    """What Redis decided contradicts SQL, which is the truth: it does not count."""

    code = "not_recorded"
    title = "The ledger refused to record it, so it does not count"


class UnknownRefund(NotFound):
    code = "unknown_refund"
    title = "There is no such refund"


class UnknownQuarantinedEvent(NotFound):
    code = "unknown_quarantined_event"
    title = "There is no such event in quarantine"


class UnknownPool(NotFound):
    code = "unknown_pool"
    title = "There is no such pool"


class UnknownReservation(NotFound):
    code = "unknown_reservation"
    title = "There is no such reservation"
