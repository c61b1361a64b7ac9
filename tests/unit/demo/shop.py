"""A shop in memory that keeps the rules, so that one rule at a time can be broken."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import msgspec

from flashstock.client import Granted, Reservation
from flashstock.errors import BuyerLimit, RefundDue, SoldOut
from flashstock.model.states import ReservationState
from flashstock.report.tally import Tally


class HonestShop:
    """One pool. Holds are taken and expire as in the service; answers come a little later."""

    def __init__(self, units: int, hold_seconds: float, per_buyer_limit: int) -> None:
        self.units = units
        self.hold = timedelta(seconds=hold_seconds)
        self.limit = per_buyer_limit
        self.by_id: dict[str, Reservation] = {}
        self.tally = Tally()
        self._orders = itertools.count(1)

    def sweep(self) -> None:
        """Expire what is due."""
        now = datetime.now(UTC)
        for found in list(self.by_id.values()):
            if found.state is ReservationState.HELD and found.expires_at <= now:  # type: ignore[operator]
                self._change(found.id, state=ReservationState.EXPIRED)

    def taken(self, buyer: str | None = None) -> int:
        """Units held or sold, of everyone or of one buyer."""
        active = {ReservationState.HELD, ReservationState.CONFIRMED}
        return sum(
            found.quantity
            for found in self.by_id.values()
            if found.state in active and buyer in {None, found.buyer}
        )

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        await self._travel("reserve")
        self.sweep()
        id = f"{pool}~{key}"
        if id in self.by_id:
            return Granted(self.by_id[id], replayed=True)
        if self.taken(buyer) + quantity > self.limit:
            raise BuyerLimit
        if self.taken() + quantity > self.units:
            raise SoldOut
        expires_at = datetime.now(UTC) + self.hold
        held = Reservation(id, pool, buyer, quantity, ReservationState.HELD, expires_at)
        self.by_id[id] = held
        return Granted(held, replayed=False)

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        await self._travel("confirm")
        self.sweep()
        found = self.by_id[reservation]
        if found.state is ReservationState.EXPIRED and self.taken() + found.quantity > self.units:
            raise RefundDue
        if found.state is not ReservationState.CONFIRMED:
            self._change(
                reservation,
                state=ReservationState.CONFIRMED,
                payment_ref=payment_ref,
                order_no=str(next(self._orders)),
            )
        return self.by_id[reservation]

    async def cancel(self, reservation: str) -> Reservation:
        await self._travel("cancel")
        self._change(reservation, state=ReservationState.CANCELLED)
        return self.by_id[reservation]

    async def _travel(self, purpose: str) -> None:
        self.tally.observe(purpose, 200, 0.001)
        await asyncio.sleep(0.001)

    def _change(self, reservation: str, **changes: object) -> None:
        self.by_id[reservation] = msgspec.structs.replace(self.by_id[reservation], **changes)
