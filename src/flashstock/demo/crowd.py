"""The crowd: buyers who reserve, repeat themselves, pay, let go, pay late, or walk away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from flashstock.client import Granted, Reservation
from flashstock.demo.holds import CrowdHold, Fate
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace, now_ms
from flashstock.demo.scenario import Again, Intent, Visit
from flashstock.errors import FlashstockError, RefundDue, Unavailable
from flashstock.report.tally import Tally

PAY_WITHIN: Final = 0.6
"""Share of the hold that a punctual buyer takes at most: the rest is room for a slow machine."""
LATE_SECONDS_MIN: Final = 0.02
LATE_SECONDS_SPREAD: Final = 0.6


class Shop(Protocol):
    """What the crowd asks of the service."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted: ...

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation: ...

    async def cancel(self, reservation: str) -> Reservation: ...


class Crowd:
    """Plays the visits against one pool.

    Args:
        run: tells the keys of this run from those of another on the same data.
    """

    def __init__(
        self, shop: Shop, options: DemoOptions, pool: str, run: str, pace: Pace, tally: Tally
    ) -> None:
        self._shop = shop
        self._options = options
        self._pool = pool
        self._run = run
        self._pace = pace
        self._tally = tally
        self.holds: dict[str, CrowdHold] = {}
        self.broken_promises: list[str] = []
        self.repeats_checked = 0
        """Requests sent again with the same key while the buyer had the hold."""
        self.untold_units = 0
        """Units of requests that were never answered."""

    async def play(self, visits: Sequence[Visit]) -> None:
        """Send the visits, then see every hold through to its buyer's last step."""
        await self._pace.play(visits, self._options, self._visit)

    def counts(self) -> dict[Fate, int]:
        """How many holds have which fate so far."""
        counts = dict.fromkeys(Fate, 0)
        for hold in self.holds.values():
            counts[hold.fate] += 1
        return counts

    def expired(self) -> int:
        """Holds whose time ran out, those paid too late and in vain included."""
        now = now_ms()
        unpaid = {Fate.OPEN, Fate.REFUND_DUE}
        return sum(hold.fate in unpaid and hold.expires_ms <= now for hold in self.holds.values())

    async def _visit(self, visit: Visit, steps: asyncio.TaskGroup) -> None:
        answers: Sequence[Granted | FlashstockError]
        if visit.again is Again.DOUBLE:
            answers = await asyncio.gather(self._reserve(visit), self._reserve(visit))
        else:
            answers = [await self._reserve(visit)]
        granted = [answer for answer in answers if isinstance(answer, Granted)]
        if not granted:
            if any(isinstance(answer, Unavailable) for answer in answers):
                self.untold_units += visit.quantity
            return
        ids = {answer.reservation.id for answer in granted}
        if len(ids) > 1:
            self._break(visit, f"two requests at once got two holds, {sorted(ids)}")
        hold = self._take(granted[0].reservation)
        if visit.again is not Again.NO:
            await self._repeat(visit, hold)
        steps.create_task(self._see_through(visit, hold))

    async def _reserve(self, visit: Visit) -> Granted | FlashstockError:
        """The hold, or why there is none (as far as an answer told)."""
        key = f"{self._run}-visit-{visit.number}"
        try:
            return await self._shop.reserve(self._pool, visit.buyer, visit.quantity, key)
        except FlashstockError as problem:
            self._refused(problem)
            return problem

    def _take(self, reservation: Reservation) -> CrowdHold:
        expires_at = reservation.expires_at
        hold = CrowdHold(
            reservation=reservation.id,
            pool=reservation.pool,
            buyer=reservation.buyer,
            quantity=reservation.quantity,
            acknowledged_ms=now_ms(),
            expires_ms=int(expires_at.timestamp() * 1000) if expires_at is not None else 0,
        )
        if reservation.id in self.holds:
            self.broken_promises.append(f"{reservation.id} was given to two requests")
        self.holds[reservation.id] = hold
        return hold

    async def _repeat(self, visit: Visit, hold: CrowdHold) -> None:
        """Send the same key again: the answer must be the same hold, and say that it is."""
        answer = await self._reserve(visit)
        if isinstance(answer, Unavailable):
            return
        self.repeats_checked += 1
        if isinstance(answer, FlashstockError):
            self._break(visit, f"held {hold.reservation}, asked again, got {answer.code}")
        elif answer.reservation.id != hold.reservation:
            self._break(visit, f"held {hold.reservation}, then {answer.reservation.id}")
        elif not answer.replayed:
            self._break(visit, f"the answer does not say that {hold.reservation} is a replay")

    async def _see_through(self, visit: Visit, hold: CrowdHold) -> None:
        hold_seconds = self._options.hold_seconds
        try:
            if visit.intent is Intent.PAY:
                await asyncio.sleep(visit.patience * PAY_WITHIN * hold_seconds)
                await self._pay(visit, hold)
            elif visit.intent is Intent.LET_GO:
                await asyncio.sleep(visit.patience * PAY_WITHIN * hold_seconds)
                hold.cancel_sent_ms = now_ms()
                await self._shop.cancel(hold.reservation)
                hold.fate = Fate.CANCELLED
            elif visit.intent is Intent.PAY_LATE:
                late_seconds = LATE_SECONDS_MIN + visit.patience * LATE_SECONDS_SPREAD
                await asyncio.sleep((hold.expires_ms - now_ms()) / 1000 + late_seconds)
                await self._pay(visit, hold)
        except Unavailable:
            hold.fate = Fate.UNTOLD
        except FlashstockError as refusal:
            if isinstance(refusal, RefundDue):
                hold.fate = Fate.REFUND_DUE
            self._refused(refusal)

    async def _pay(self, visit: Visit, hold: CrowdHold) -> None:
        payment_ref = f"{self._run}-payment-{visit.number}"
        hold.payment_ref = payment_ref
        paid = await self._shop.confirm(hold.reservation, payment_ref)
        hold.fate = Fate.CONFIRMED
        hold.paid_ms = now_ms()
        hold.order_no = paid.order_no
        if visit.again is Again.REPEAT:
            again = await self._shop.confirm(hold.reservation, payment_ref)
            self.repeats_checked += 1
            if again.order_no != paid.order_no:
                self._break(visit, f"paid once, got orders {paid.order_no} and {again.order_no}")

    def _refused(self, refusal: FlashstockError) -> None:
        if not isinstance(refusal, Unavailable):
            self._tally.refused[refusal.code] += 1

    def _break(self, visit: Visit, what: str) -> None:
        self.broken_promises.append(f"{visit.buyer}, visit {visit.number}: {what}")
