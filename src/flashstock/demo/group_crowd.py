"""The crowd of a group-buy: buyers who open groups, join, are matched, pay, or think better."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from flashstock.client import Group, Reservation, SeatTaken
from flashstock.demo.group_seats import CrowdSeat, Register, SeatFate
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace, now_ms
from flashstock.demo.scenario import Again, Intent, Visit
from flashstock.errors import AlreadyConfirmed, FlashstockError, RefundDue, Unavailable
from flashstock.model.states import ReservationState
from flashstock.report.tally import Tally

PAY_WITHIN: Final = 0.5
"""Share of the hold that a punctual buyer takes at most: the rest is room for a slow machine."""
LATE_SECONDS: Final = 0.1
LEAVE_SHARE: Final = 0.4
"""Of those who let go, who have paid before; so patient ones leave a group, others give up."""
LOOKED_AT_MAX: Final = 5
"""Open groups a buyer chooses from."""


class Way(StrEnum):
    """How a buyer comes to a seat."""

    OPEN = "open"
    JOIN = "join"
    MATCH = "match"


WAY_WEIGHTS: Final = {Way.OPEN: 8, Way.JOIN: 32, Way.MATCH: 60}


class GroupShop(Protocol):
    """What the crowd asks of the service."""

    async def open_group(
        self, pool: str, buyer: str, key: str, *, quantity: int = 1, match: bool = False
    ) -> SeatTaken: ...

    async def join_group(
        self, group: str, buyer: str, key: str, *, quantity: int = 1
    ) -> SeatTaken: ...

    def open_groups(self, pool: str) -> AsyncIterator[Group]: ...

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation: ...

    async def cancel(self, reservation: str) -> Reservation: ...


class GroupCrowd:
    """Plays the visits, spread over some pools.

    Args:
        run: tells the keys of this run from those of another on the same data.
    """

    def __init__(
        self,
        shop: GroupShop,
        options: DemoOptions,
        pools: Sequence[str],
        run: str,
        pace: Pace,
        tally: Tally,
        register: Register,
    ) -> None:
        self._shop = shop
        self._options = options
        self._pools = pools
        self._run = run
        self._pace = pace
        self._tally = tally
        self._register = register
        self._random = Random(options.seed)
        self.repeats_checked = 0
        """Requests sent again with the same key while the buyer had the seat."""
        self.untold_units = dict.fromkeys(pools, 0)
        """Units of requests that were never answered, by pool."""

    async def play(self, visits: Sequence[Visit]) -> None:
        """Send the visits, then see every seat through to its buyer's last step."""
        await self._pace.play(visits, self._options, self._visit)

    async def _visit(self, visit: Visit, steps: asyncio.TaskGroup) -> None:
        pool = self._random.choice(self._pools)
        way = self._random.choices(list(WAY_WEIGHTS), list(WAY_WEIGHTS.values()))[0]
        try:
            group = await self._chosen(pool) if way is Way.JOIN else None
            taken = await self._take(visit, pool, group, way)
        except Unavailable:
            self.untold_units[pool] += visit.quantity
            return
        except FlashstockError as refusal:
            self._refused(refusal)
            return
        seat = self._noted(taken.reservation)
        if seat is None:
            return
        if visit.again is not Again.NO:
            await self._repeat(visit, pool, group, way, seat)
        steps.create_task(self._see_through(visit, seat))

    async def _chosen(self, pool: str) -> str | None:
        """One of the groups that are nearest to full."""
        found: list[str] = []
        async for group in self._shop.open_groups(pool):
            found.append(group.id)
            if len(found) == LOOKED_AT_MAX:
                break
        return self._random.choice(found) if found else None

    async def _take(self, visit: Visit, pool: str, group: str | None, way: Way) -> SeatTaken:
        key = f"{self._run}-seat-{visit.number}"
        if group is not None:
            return await self._shop.join_group(group, visit.buyer, key, quantity=visit.quantity)
        match = way is not Way.OPEN
        return await self._shop.open_group(
            pool, visit.buyer, key, quantity=visit.quantity, match=match
        )

    def _noted(self, reservation: Reservation) -> CrowdSeat | None:
        group, expires_at = reservation.group, reservation.expires_at
        if group is None or expires_at is None:
            self._break(reservation.id, "is a seat without a group, or without a deadline")
            return None
        if reservation.id in self._register.seats:
            self._break(reservation.id, "was given to two requests")
        expires_ms = int(expires_at.timestamp() * 1000)
        self._register.expect(group, reservation.pool, expires_ms)
        self._look(reservation)
        seat = CrowdSeat(
            reservation=reservation.id,
            pool=reservation.pool,
            group=group,
            buyer=reservation.buyer,
            quantity=reservation.quantity,
            expires_ms=expires_ms,
        )
        self._register.seats[reservation.id] = seat
        return seat

    async def _repeat(
        self, visit: Visit, pool: str, group: str | None, way: Way, seat: CrowdSeat
    ) -> None:
        """Send the same key again: the answer must be the same seat, and say that it is."""
        try:
            again = await self._take(visit, pool, group, way)
        except Unavailable:
            return
        except FlashstockError as refusal:
            self._break(seat.reservation, f"was asked for again, and refused: {refusal.code}")
            return
        self.repeats_checked += 1
        if again.reservation.id != seat.reservation or not again.replayed:
            self._break(seat.reservation, f"came again as {again.reservation.id}")

    async def _see_through(self, visit: Visit, seat: CrowdSeat) -> None:
        soon = visit.patience * PAY_WITHIN * self._options.hold_seconds
        try:
            if visit.intent is Intent.PAY:
                await asyncio.sleep(soon)
                await self._pay(visit, seat)
            elif visit.intent is Intent.LET_GO:
                await asyncio.sleep(soon / 2)
                if visit.patience < LEAVE_SHARE:
                    await self._pay(visit, seat)
                    await asyncio.sleep(soon / 2)
                await self._leave(seat)
            elif visit.intent is Intent.PAY_LATE:
                await asyncio.sleep((seat.expires_ms - now_ms()) / 1000 + LATE_SECONDS)
                await self._pay(visit, seat)
        except Unavailable:
            seat.fate = SeatFate.UNTOLD
        except FlashstockError as refusal:
            self._refused(refusal)

    async def _pay(self, visit: Visit, seat: CrowdSeat) -> None:
        seat.payment_ref = f"{self._run}-payment-{visit.number}"
        try:
            paid = await self._shop.confirm(seat.reservation, seat.payment_ref)
        except RefundDue:
            seat.fate = SeatFate.REFUND_DUE
            raise
        seat.fate = SeatFate.PAID
        seat.order_no = paid.order_no
        self._look(paid)
        if visit.again is Again.REPEAT:
            again = await self._shop.confirm(seat.reservation, seat.payment_ref)
            self.repeats_checked += 1
            if again.order_no != paid.order_no:
                self._break(seat.reservation, f"has orders {paid.order_no} and {again.order_no}")

    async def _leave(self, seat: CrowdSeat) -> None:
        try:
            left = await self._shop.cancel(seat.reservation)
        except AlreadyConfirmed:
            if seat.fate is not SeatFate.PAID:
                self._break(seat.reservation, "is said to be paid, and was not")
            raise
        self._look(left)
        seat.ended_as = left.state
        refunded = left.state is ReservationState.REFUNDED
        if refunded is not (seat.fate is SeatFate.PAID):
            self._break(seat.reservation, f"was {seat.fate}, and is {left.state} once it is left")
        seat.fate = SeatFate.LEFT if refunded else SeatFate.GIVEN_UP

    def _look(self, reservation: Reservation) -> None:
        if reservation.group is not None and reservation.group_now is not None:
            self._register.note(reservation.group, reservation.pool, reservation.group_now)

    def _refused(self, refusal: FlashstockError) -> None:
        if not isinstance(refusal, Unavailable):
            self._tally.refused[refusal.code] += 1

    def _break(self, reservation: str, what: str) -> None:
        self._register.broken_promises.append(f"{reservation} {what}")
