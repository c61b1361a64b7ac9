"""The receipts of holds, kept where the client can hand them in by itself."""

from __future__ import annotations

from collections import OrderedDict

from flashstock.client.answers import Reservation
from flashstock.model.states import ReservationState


class Receipts:
    """Receipts of what is held, by reservation; the newest ones where there are too many.

    A hold of a ``fast`` pool can be lost with the Redis that granted it. Whoever shows its
    receipt when paying gets the units nevertheless, if some are left, or is noted for a refund.
    """

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._kept: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, reservation: Reservation) -> None:
        """Keep the receipt of what can still be paid; forget it once that is decided."""
        self._kept.pop(reservation.id, None)
        if reservation.receipt is None or reservation.state not in _CAN_BE_PAID:
            return
        self._kept[reservation.id] = reservation.receipt
        while len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)

    def of(self, reservation: str) -> str | None:
        """The receipt to show, if there is one."""
        return self._kept.get(reservation)


_CAN_BE_PAID = frozenset(
    {ReservationState.HELD, ReservationState.ORDERED, ReservationState.EXPIRED}
)
