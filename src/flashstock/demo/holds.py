"""What the crowd was told about each of its holds, and what must be true because of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flashstock.model.states import ReservationState
from flashstock.report.audit import Acknowledged
from flashstock.report.overlap import Promise


class Fate(StrEnum):
    """How a hold ended, as far as its buyer was told."""

    OPEN = "open"
    """No answer ended it: at its deadline it expires."""
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    REFUND_DUE = "refund_due"
    """Paid too late: it stays expired, and the payment goes back."""
    UNTOLD = "untold"
    """The request that would have ended it was never answered."""


STATES_OF_FATE: Final = {
    Fate.OPEN: frozenset({ReservationState.EXPIRED}),
    Fate.CONFIRMED: frozenset({ReservationState.CONFIRMED}),
    Fate.CANCELLED: frozenset({ReservationState.CANCELLED}),
    Fate.REFUND_DUE: frozenset({ReservationState.EXPIRED}),
    Fate.UNTOLD: frozenset(ReservationState),
}


@dataclass(slots=True)
class CrowdHold:
    """One acknowledged hold. Times are ms since the epoch.

    Args:
        acknowledged_ms: when the buyer had the answer in hand.
        cancel_sent_ms: when the buyer began to give it up.
        paid_ms: when the buyer had the answer to the payment in hand.
        payment_ref: of the payment that was made, in time or not.
    """

    reservation: str
    pool: str
    buyer: str
    quantity: int
    acknowledged_ms: int
    expires_ms: int
    fate: Fate = Fate.OPEN
    cancel_sent_ms: int | None = None
    paid_ms: int | None = None
    payment_ref: str | None = None
    order_no: str | None = None

    @property
    def paid_late(self) -> bool:
        return self.paid_ms is not None and self.paid_ms > self.expires_ms

    def acknowledged(self) -> Acknowledged:
        """What must be found once every open hold has expired."""
        sold = self.fate is Fate.CONFIRMED
        return Acknowledged(
            reservation=self.reservation,
            pool=self.pool,
            buyer=self.buyer,
            quantity=self.quantity,
            states=STATES_OF_FATE[self.fate],
            payment_ref=self.payment_ref if sold else None,
            order_no=self.order_no if sold else None,
        )

    def promises(self) -> Iterator[Promise]:
        """When its units were certainly this buyer's."""
        if self.fate is Fate.CONFIRMED and not self.paid_late:
            yield Promise(self.acknowledged_ms, None, self.quantity)
            return
        given_up_ms = self.cancel_sent_ms
        ended_ms = self.expires_ms if given_up_ms is None else min(given_up_ms, self.expires_ms)
        yield Promise(self.acknowledged_ms, ended_ms, self.quantity)
        if self.fate is Fate.CONFIRMED and self.paid_ms is not None:
            yield Promise(self.paid_ms, None, self.quantity)
