"""The crowd of the campaign: all verbs, both durabilities, every answer remembered.

It buys without end, at a steady pace. Between two stretches it is asked to settle: then every
question has an answer, and what was acknowledged can be held against SQL to the last unit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec

from flashstock import errors
from flashstock.client import Reservation
from flashstock.client.problems import error_of
from flashstock.model.states import ReservationState
from tests.recovery.crowd import Crowd, Wish

THINKING_S = (0.03, 0.15)
MEMORY_S = 0.1
"""A process may say "sold out" from memory for 50 ms, also to a key that another one granted."""
ORDINARY_REFUSALS = ("sold_out",)


@dataclass(frozen=True)
class Stall:
    """A pool as buyers see it."""

    pool: str
    fast: bool
    scarce: bool
    """Few units, held for moments: it sells out, holds expire and payments come too late."""


@dataclass
class Order(Wish):
    """A wish, with what ``fast`` pools and the clock make of it."""

    stall: Stall = field(default_factory=lambda: Stall("", False, False))
    asked_at: float = 0.0
    """The moment of the first question, by this process's monotonic clock."""
    receipt: str = ""
    in_doubt: bool = False
    """The answer to the last question was lost: a refusal has to be asked for again."""
    ever_in_doubt: bool = False
    lost: bool = False
    """Nobody knows it any more, which only a ``fast`` hold may come to."""

    @property
    def settled(self) -> bool:
        return self.lost or super().settled

    def doubt(self) -> None:
        self.in_doubt = self.ever_in_doubt = True


class Held(msgspec.Struct, frozen=True):
    """An answer to ``reserve``, receipt included."""

    id: str
    pool: str
    buyer: str
    quantity: int
    state: ReservationState
    receipt: str


class Surprise(AssertionError):
    """An answer that no fault excuses."""


class Forgotten(Surprise):
    """What was acknowledged is not known any more."""


@dataclass
class Traffic(Crowd):
    """Keeps buying at ``stalls`` until ``settle``, and again after ``resume``."""

    stalls: Sequence[Stall] = ()
    answers: list[float] = field(default_factory=list)
    """When a question was decided, as opposed to put off with a 503 or lost."""
    in_flight: int = 0
    replays: int = 0
    batches: int = 0

    @property
    def orders(self) -> list[Order]:
        return [wish for wish in self.wishes if isinstance(wish, Order)]

    def resume(self) -> None:
        self._stopping = False
        self._buyers = [asyncio.create_task(self._buy()) for _ in range(self.size)]

    async def _buy(self) -> None:
        while not self._stopping:
            if self._random.random() < 0.15:
                orders = [self._draw() for _ in range(self._random.randint(2, 5))]
                await self._reserve_together(orders)
            else:
                orders = [self._draw()]
            for order in orders:
                # One in four is left open for a while: its key comes back later.
                patience = 1 if self._random.random() < 0.25 else None
                await self._fulfil(order, patience)
                if order.reservation and self._random.random() < 0.15:
                    await self._ask_again(order)
            await asyncio.sleep(self._random.uniform(*THINKING_S))

    def _draw(self) -> Order:
        stall, draw = self._random.choice(self.stalls), self._random.random()
        order = Order(
            stall.pool,
            f"{self.pools[0]}-{next(self._numbers)}",
            self._random.choice((1, 1, 1, 2)),
            "confirm" if draw < 0.4 else "cancel" if draw < 0.7 else "leave",
            stall=stall,
            asked_at=monotonic(),
        )
        self.wishes.append(order)
        return order

    @contextmanager
    def _asking(self, *orders: Order) -> Iterator[None]:
        """Count it as in flight, and as decided unless the answer is lost or a 503."""
        self.in_flight += 1
        try:
            yield
        except errors.Unavailable:
            for order in orders:
                order.doubt()
            raise
        except errors.FlashstockError:
            self.answers.append(monotonic())
            raise
        else:
            self.answers.append(monotonic())
        finally:
            self.in_flight -= 1

    async def _ask(self, wish: Wish) -> None:
        assert isinstance(wish, Order)
        if not wish.reservation:
            await self._reserve(wish)
        elif wish.ending == "confirm":
            await self._confirm(wish)
        else:
            await self._cancel(wish)

    async def _reserve(self, wish: Wish) -> None:
        assert isinstance(wish, Order)
        try:
            self._grant(wish, await self._send_reserve(wish))
        except errors.Refused as refusal:
            await self._refuse(wish, refusal)

    async def _send_reserve(self, order: Order) -> Held:
        body = {"pool": order.pool, "buyer": order.buyer, "quantity": order.quantity}
        with self._asking(order):
            received = await self._client._send(
                "reserve", "POST", "/v1/reservations", body, order.key
            )
        return msgspec.json.decode(received.payload, type=Held)

    async def _reserve_together(self, orders: Sequence[Order]) -> None:
        items = [
            {"idempotency_key": o.key, "pool": o.pool, "buyer": o.buyer, "quantity": o.quantity}
            for o in orders
        ]
        try:
            with self._asking(*orders):
                received = await self._client._send(
                    "batch", "POST", "/v1/reservations/batch", {"items": items}
                )
        except errors.Unavailable:
            self.unanswered += 1
            return
        self.batches += 1
        answers: list[dict[str, Any]] = msgspec.json.decode(received.payload)["items"]
        assert len(answers) == len(orders)
        for order, answer in zip(orders, answers, strict=True):
            if answer["status"] < 300:
                self._grant(order, msgspec.convert(answer, type=Held))
                continue
            problem = error_of(answer["status"], msgspec.json.encode(answer))
            if isinstance(problem, errors.Unavailable):
                order.doubt()
            elif isinstance(problem, errors.Refused):
                await self._refuse(order, problem)
            else:
                raise Surprise(f"{order} was answered {answer}")

    def _grant(self, order: Order, held: Held) -> None:
        found = (held.pool, held.buyer, held.quantity)
        if found != (order.pool, order.buyer, order.quantity):
            raise Surprise(f"{order} was granted as {held}")
        if order.reservation not in ("", held.id):
            raise Surprise(f"{order} was granted again as {held.id}")
        order.reservation, order.receipt = held.id, held.receipt

    async def _refuse(self, order: Order, refusal: errors.Refused) -> None:
        if refusal.code not in ORDINARY_REFUSALS:
            raise Surprise(f"{order} was refused: {refusal.code} {refusal}") from refusal
        if not order.in_doubt:
            order.refused = refusal.code
            return
        order.in_doubt = False
        await asyncio.sleep(MEMORY_S)

    async def _confirm(self, order: Order) -> None:
        try:
            paid = await self._send_confirm(order)
        except errors.RefundDue as refusal:
            order.refund = refusal.code
            return
        except errors.UnknownReservation as refusal:
            raise Forgotten(f"{order} is unknown, receipt or not") from refusal
        except errors.FlashstockError as refusal:
            if isinstance(refusal, errors.Unavailable):
                raise
            raise Surprise(f"{order} could not be paid: {refusal.code} {refusal}") from refusal
        if (paid.state, paid.payment_ref) != (ReservationState.CONFIRMED, order.payment_ref):
            raise Surprise(f"{order} was paid as {paid}")
        order.paid = paid

    async def _send_confirm(self, order: Order) -> Reservation:
        body = {"payment_ref": order.payment_ref, "receipt": order.receipt}
        path = f"/v1/reservations/{order.reservation}/confirm"
        with self._asking(order):
            received = await self._client._send("confirm", "POST", path, body)
        return msgspec.json.decode(received.payload, type=Reservation)

    async def _cancel(self, order: Order) -> None:
        try:
            with self._asking(order):
                given_back = await self._client.cancel(order.reservation)
        except errors.ReservationExpired:
            order.too_late = True
        except errors.UnknownReservation as refusal:
            if not order.stall.fast:
                raise Forgotten(f"{order} is unknown") from refusal
            order.lost = True
        else:
            if given_back.state is not ReservationState.CANCELLED:
                raise Surprise(f"{order} was given back as {given_back}")
            order.cancelled = True

    async def _ask_again(self, order: Order) -> None:
        """The same key, or the same payment: the same answer."""
        try:
            if order.paid is not None:
                if (again := await self._send_confirm(order)) != order.paid:
                    raise Surprise(f"{order} was paid again as {again}")
            elif not order.lost:
                self._grant(order, await self._send_reserve(order))
        except errors.Unavailable:
            self.unanswered += 1
        except errors.SoldOut:
            if not order.stall.fast:
                await self._insist(order)
        else:
            self.replays += 1

    async def _insist(self, order: Order) -> None:
        """Refused from the memory of a process that did not grant it: not for long."""
        await asyncio.sleep(MEMORY_S)
        try:
            self._grant(order, await self._send_reserve(order))
        except errors.Unavailable:
            self.unanswered += 1
        except errors.SoldOut as refusal:
            raise Forgotten(f"{order} was granted, and is refused now") from refusal

    async def is_remembered(self, order: Order) -> None:
        """All is quiet: the key has its reservation. Raises ``Surprise``."""
        try:
            self._grant(order, await self._send_reserve(order))
        except errors.SoldOut:
            await self._insist(order)
        self.replays += 1
