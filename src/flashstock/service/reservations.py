"""Reservations: look at, confirm, cancel, extend, return. (Reserving is in the lanes.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from flashstock import errors
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.group_replies import SeatReply
from flashstock.hotpath.replies import ReservationReply
from flashstock.hotpath.scripts import (
    CancelStatus,
    ConfirmStatus,
    ExtendStatus,
    ReturnSaleStatus,
)
from flashstock.hotpath.store import HotStore
from flashstock.model.group_records import GroupRecord
from flashstock.model.ids import ReservationId, digest_of, parse_reservation_id, shard_of
from flashstock.model.orders import order_number
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState
from flashstock.service.lost_holds import LostHolds, ReceiptBook, unknown
from flashstock.service.views import ReservationView


class ReservationBook(Protocol):
    """What this service needs of SQL."""

    async def reservation_record(self, reservation_id: str) -> ReservationRecord | None:
        """A reservation as SQL has it, for those the hot path has forgotten."""
        ...

    async def payment_owner(self, payment_ref: str) -> str | None:
        """The reservation that a payment reference confirmed or is to be refunded for."""
        ...

    async def has_refund(self, payment_ref: str) -> bool:
        """Is the payment due back, or back already?"""
        ...

    async def record_refund(self, view: ReservationRecord, reservation_id: str, ref: str) -> None:
        """Put a refund on record for a reservation the hot path has forgotten; idempotent."""
        ...


Refusal = type[errors.FlashstockError]

CONFIRM_REFUSALS: Final[dict[ConfirmStatus, Refusal]] = {
    ConfirmStatus.ALREADY_CONFIRMED: errors.AlreadyConfirmed,
    ConfirmStatus.PAYMENT_REF_USED: errors.PaymentRefUsed,
    ConfirmStatus.REFUND_DUE: errors.RefundDue,
    ConfirmStatus.ALREADY_CANCELLED: errors.AlreadyCancelled,
    ConfirmStatus.UNKNOWN: errors.UnknownReservation,
}
CANCEL_REFUSALS: Final[dict[CancelStatus, Refusal]] = {
    CancelStatus.ALREADY_CONFIRMED: errors.AlreadyConfirmed,
    CancelStatus.EXPIRED: errors.ReservationExpired,
    CancelStatus.UNKNOWN: errors.UnknownReservation,
}
EXTEND_REFUSALS: Final[dict[ExtendStatus, Refusal]] = {
    ExtendStatus.ALREADY_CONFIRMED: errors.AlreadyConfirmed,
    ExtendStatus.EXPIRED: errors.ReservationExpired,
    ExtendStatus.ALREADY_CANCELLED: errors.AlreadyCancelled,
    ExtendStatus.UNKNOWN: errors.UnknownReservation,
}
RETURN_REFUSALS: Final[dict[ReturnSaleStatus, Refusal]] = {
    ReturnSaleStatus.NOT_CONFIRMED: errors.NotConfirmed,
    ReturnSaleStatus.ALREADY_RETURNED: errors.AlreadyReturned,
    ReturnSaleStatus.TOO_MANY: errors.InsufficientStock,
    ReturnSaleStatus.MISMATCH: errors.IdempotencyMismatch,
    ReturnSaleStatus.NOT_FORMED: errors.GroupNotFormed,
    ReturnSaleStatus.UNKNOWN: errors.UnknownReservation,
}
_ENDED_REFUSALS: Final[dict[ReservationState, Refusal]] = {
    ReservationState.CONFIRMED: errors.AlreadyConfirmed,
    ReservationState.RETURNED: errors.AlreadyConfirmed,
    ReservationState.CANCELLED: errors.AlreadyCancelled,
    ReservationState.REVOKED: errors.AlreadyCancelled,
    ReservationState.EXPIRED: errors.ReservationExpired,
    ReservationState.ORDERED: errors.ReservationExpired,
    ReservationState.REFUNDED: errors.AlreadyCancelled,
}
_PAYABLE_LATE: Final = (ReservationState.EXPIRED, ReservationState.ORDERED)
_REFUNDED: Final = (ConfirmStatus.REFUND_DUE, ConfirmStatus.ALREADY_CANCELLED)
_CANCELLED: Final = (ReservationState.CANCELLED, ReservationState.REVOKED)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reservation, and whether this call changed it."""

    view: ReservationView
    replayed: bool
    group: GroupRecord | None = None
    """Of a seat: its group as this call left it, where the hot path knows it."""


class ReservationService:
    """Verbs on one reservation. A success is answered once it is committed in SQL.

    Args:
        retention_ms: how long the hot path knows what has ended, from its deadline on at least.
    """

    def __init__(
        self,
        store: HotStore,
        applied: AppliedTracker,
        book: ReservationBook,
        order_secret: bytes,
        receipts: ReceiptBook,
        *,
        retention_ms: int,
    ) -> None:
        self._store = store
        self._applied = applied
        self._book = book
        self._order_secret = order_secret
        self._lost_holds = LostHolds(store, applied, receipts)
        self._retention_ms = retention_ms

    async def get(self, reservation_id: str) -> ReservationView:
        """The reservation now. Raises ``UnknownReservation``."""
        target = _parse(reservation_id)
        shard = self._store.shard_of(target.pool)
        reply = await self._store.lookup(shard, [target.digest])
        record = reply.records[0]
        if record is not None and record.pool == target.pool:
            return self.view(target, record, reply.now_ms)
        return self.view(target, await self._forgotten(target), reply.now_ms)

    async def confirm(
        self, reservation_id: str, payment_ref: str, receipt: str | None = None
    ) -> Answer:
        """Turn the hold into a sale, once.

        A payment after expiry is served if stock is left; otherwise, and after a cancellation,
        the refund is put on record before this raises. The same goes for a hold that is lost, if
        the receipt proves it; for a hold that is known the receipt does not matter.

        Raises:
            RefundDue, AlreadyCancelled: a refund is on record.
            AlreadyConfirmed: by another payment. PaymentRefUsed: for another reservation.
            UnknownReservation: nobody knows it, and the receipt, if any, is not of it.
            InvalidRequest: nobody knows it, and the receipt is not ours.
        """
        target = _parse(reservation_id)
        owner = await self._book.payment_owner(payment_ref)
        if owner is not None and owner != reservation_id:
            raise errors.PaymentRefUsed(payment_ref=payment_ref)
        if owner is not None and await self._book.has_refund(payment_ref):
            # Whatever became of the units since: this payment is on its way back.
            raise self._refunded(await self._book.reservation_record(reservation_id), target)
        shard = self._store.shard_of(target.pool)
        elsewhere = shard_of(payment_ref, self._store.shard_count) != shard
        if elsewhere and not await self._store.claim_payment(payment_ref, target):
            raise errors.PaymentRefUsed(payment_ref=payment_ref)
        reply = await self._store.confirm(target, payment_ref)
        status = ConfirmStatus(reply.status)
        if status is ConfirmStatus.UNKNOWN:
            try:
                return await self._confirm_forgotten(target, payment_ref, receipt, reply.now_ms)
            except (errors.UnknownReservation, errors.InvalidRequest):
                if elsewhere:
                    await self._store.claim_payment(payment_ref, target, release=True)
                raise
        if elsewhere and status is ConfirmStatus.ALREADY_CONFIRMED:
            await self._store.claim_payment(payment_ref, target, release=True)
        # A refund is a promise too: also a refusal waits until it is on record.
        await self._recorded(target, reply)
        suspect = status in _REFUNDED and self._applied.is_suspect(shard, target.digest)
        if suspect and not await self._book.has_refund(payment_ref):
            raise errors.NotRecorded(reservation=str(target))
        return self._answer(
            target, reply, CONFIRM_REFUSALS.get(status), status is ConfirmStatus.REPLAYED
        )

    async def cancel(self, reservation_id: str, kind: str = "cancelled") -> Answer:
        """Give the units back. Repeating it changes nothing."""
        target = _parse(reservation_id)
        reply = await self._store.cancel(target, kind)
        status = CancelStatus(reply.status)
        if status is CancelStatus.UNKNOWN:
            return await self._ended(target, ReservationState.CANCELLED)
        return await self._committed(
            target, reply, CANCEL_REFUSALS.get(status), status is CancelStatus.REPLAYED
        )

    async def extend(self, reservation_id: str, seconds: int) -> Answer:
        """Move the deadline to ``seconds`` from now, never to an earlier moment."""
        target = _parse(reservation_id)
        reply = await self._store.extend(target, seconds * 1000)
        status = ExtendStatus(reply.status)
        if status is ExtendStatus.UNKNOWN:
            return await self._ended(target, None)
        return await self._committed(
            target, reply, EXTEND_REFUSALS.get(status), status is ExtendStatus.UNCHANGED
        )

    async def return_sale(
        self,
        caller: str,
        idempotency_key: str,
        reservation_id: str,
        quantity: int,
        *,
        restock: bool = True,
    ) -> Answer:
        """Take units of a sale back (0: all that are left); the buyer may buy as many again.

        Args:
            restock: they can be sold again. Else they leave the pool, whose total is so many less:
                what was shipped comes back to a warehouse, not to the sale.
        """
        target = _parse(reservation_id)
        command = digest_of("return", caller, idempotency_key)
        reply = await self._store.return_sale(target, quantity, command, restock=restock)
        status = ReturnSaleStatus(reply.status)
        if status is ReturnSaleStatus.UNKNOWN:
            return await self._ended(target, None)
        return await self._committed(
            target, reply, RETURN_REFUSALS.get(status), status is ReturnSaleStatus.REPLAYED
        )

    def view(
        self, target: ReservationId, record: ReservationRecord, now_ms: int
    ) -> ReservationView:
        """What a caller is shown; a sale gets its order number here, derived and not stored."""
        order_no = None
        if record.order_index:
            shard = self._store.shard_of(target.pool)
            order_no = order_number(self._order_secret, shard, record.order_index, record.buyer)
        return ReservationView(str(target), record, now_ms, order_no)

    async def _committed(
        self,
        target: ReservationId,
        reply: ReservationReply,
        refusal: Refusal | None,
        replayed: bool,
    ) -> Answer:
        if refusal is None:
            await self._recorded(target, reply)
        return self._answer(target, reply, refusal, replayed)

    async def _recorded(self, target: ReservationId, reply: ReservationReply) -> None:
        """Wait until what was decided, now or before, is in SQL; ``NotRecorded``: it never is."""
        shard = self._store.shard_of(target.pool)
        await self._applied.recorded(shard, reply.generation, reply.seq, target.digest)
        if reply.record is not None:
            await self._applied.check_known(shard, str(target), reply.record)

    def _answer(
        self,
        target: ReservationId,
        reply: ReservationReply,
        refusal: Refusal | None,
        replayed: bool,
    ) -> Answer:
        if refusal is not None or reply.record is None:
            raise (refusal or errors.UnknownReservation)(reservation=str(target))
        group = reply.group if isinstance(reply, SeatReply) else None
        return Answer(self.view(target, reply.record, reply.now_ms), replayed, group)

    async def _forgotten(self, target: ReservationId) -> ReservationRecord:
        record = await self._book.reservation_record(str(target))
        if record is None:
            raise unknown(target)
        return record

    async def _ended(self, target: ReservationId, replay: ReservationState | None) -> Answer:
        """Only SQL remembers it, so it has ended: a replay of that end, or a refusal."""
        record = await self._forgotten(target)
        given_back = replay is ReservationState.CANCELLED and (
            record.state is ReservationState.REFUNDED
        )
        if record.state is replay or given_back:
            return Answer(self.view(target, record, 0), replayed=True)
        refusal = _ENDED_REFUSALS.get(record.state, errors.Recovering)
        raise refusal(reservation=str(target))

    async def _confirm_forgotten(
        self, target: ReservationId, payment_ref: str, receipt: str | None, now_ms: int
    ) -> Answer:
        record = await self._book.reservation_record(str(target))
        if record is None:
            reply = await self._lost_holds.confirm(target, payment_ref, receipt)
            return self._answer(target, reply, None, replayed=False)
        if record.state in (ReservationState.CONFIRMED, ReservationState.RETURNED):
            if record.payment_ref == payment_ref:
                return Answer(self.view(target, record, 0), replayed=True)
            raise errors.AlreadyConfirmed(reservation=str(target))
        if record.state in (ReservationState.HELD, ReservationState.PAID):
            raise errors.Recovering  # its units are still the buyer's: once Redis knows them again
        remembered = now_ms < record.deadline_ms + self._retention_ms
        if remembered and record.state in _PAYABLE_LATE:
            # A copy that was behind has answered. Whoever knows it may find units for this payment,
            # or has found them: a refund besides would pay it back for nothing.
            raise errors.Recovering
        await self._book.record_refund(record, str(target), payment_ref)
        raise self._refunded(record, target)

    def _refunded(
        self, record: ReservationRecord | None, target: ReservationId
    ) -> errors.FlashstockError:
        """How a caller hears of a refund on record: what it is for was cancelled, or not."""
        cancelled = record is not None and record.state in _CANCELLED
        refusal = errors.AlreadyCancelled if cancelled else errors.RefundDue
        return refusal(reservation=str(target))


def _parse(reservation_id: str) -> ReservationId:
    target = parse_reservation_id(reservation_id)
    if target is None:
        raise errors.UnknownReservation(
            f"{reservation_id[:100]!r} is not a reservation id", reservation=reservation_id[:100]
        )
    return target
