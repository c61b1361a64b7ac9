"""Paying for a hold that every store has lost, on the strength of its receipt.

Only holds of ``fast`` pools can get lost, with the tail of the log; their receipts were given out
all the same. A receipt was signed by us, so what it says was promised once.
"""

from __future__ import annotations

from typing import Protocol

from flashstock import errors
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.replies import ReservationReply
from flashstock.hotpath.scripts import ReclaimStatus
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import ReservationId
from flashstock.model.receipts import Receipt


class ReceiptBook(Protocol):
    """Knows our signature; ``ReceiptSigner`` is one."""

    def verify(self, text: str) -> Receipt | None:
        """The claims of a receipt that we signed, else ``None``."""
        ...


class LostHolds:
    """Sells lost holds again, or records that their payments are due back."""

    def __init__(self, store: HotStore, applied: AppliedTracker, receipts: ReceiptBook) -> None:
        self._store = store
        self._applied = applied
        self._receipts = receipts

    async def confirm(
        self, target: ReservationId, payment_ref: str, receipt_text: str | None
    ) -> ReservationReply:
        """Take the receipt's units for its buyer and sell them, in one step; committed in SQL.

        Only to be called for what neither Redis nor SQL knows.

        Raises:
            UnknownReservation: no receipt, or one of another reservation.
            InvalidRequest: not a receipt of ours.
            RefundDue: no stock, or the buyer's limit is reached; the refund is on record.
            PaymentRefUsed: the payment is another reservation's.
            Unavailable: the reservation turned up meanwhile; the same request finds out.
        """
        claims = self._claims(target, receipt_text)
        try:
            reply = await self._store.reclaim(
                target,
                payment_ref,
                buyer=claims.buyer,
                quantity=claims.quantity,
                deadline_ms=claims.deadline_ms,
            )
        except errors.UnknownPool:
            raise unknown(target) from None
        status = ReclaimStatus(reply.status)
        if status is ReclaimStatus.KNOWN:
            raise errors.Unavailable("the reservation has just become known; retry")
        if status is ReclaimStatus.PAYMENT_REF_USED:
            raise errors.PaymentRefUsed(payment_ref=payment_ref)
        shard = self._store.shard_of(target.pool)
        # A refund is a promise too: also a refusal waits until it is on record.
        await self._applied.recorded(shard, reply.generation, reply.seq, target.digest)
        if status is ReclaimStatus.REFUND_DUE:
            raise errors.RefundDue(reservation=str(target))
        return reply

    def _claims(self, target: ReservationId, receipt_text: str | None) -> Receipt:
        if receipt_text is None:
            raise unknown(target)
        claims = self._receipts.verify(receipt_text)
        if claims is None:
            problem = {"field": "receipt", "problem": "is not a receipt of this service"}
            raise errors.InvalidRequest(
                "receipt is not a receipt of this service", errors=[problem]
            )
        if claims.reservation_id != str(target):
            raise unknown(target)
        return claims


def unknown(target: ReservationId) -> errors.UnknownReservation:
    """What is said of a reservation that nobody knows."""
    return errors.UnknownReservation(
        f"there is no reservation {str(target)!r}", reservation=str(target)
    )
