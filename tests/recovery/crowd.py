"""Buyers over HTTP who remember every answer they got, and ask again until they have one.

Each buyer's wish is one key: a hold that is then paid, given back or left. A question whose
answer was lost, or was a 503, stays open and is asked again with the same key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Self

from flashstock import errors
from flashstock.client import Client, Reservation, RetryPolicy
from flashstock.model.states import ReservationState

ASK_ONCE = RetryPolicy(attempts_max=1)
PAUSE_S = 0.05
PATIENCE_S = 60.0


@dataclass
class Wish:
    """One buyer's wish, and everything the service ever said about it."""

    pool: str
    key: str
    quantity: int
    ending: str
    """confirm, cancel or leave."""
    refused: str = ""
    reservation: str = ""
    paid: Reservation | None = None
    refund: str = ""
    cancelled: bool = False
    too_late: bool = False
    """It ended by itself before it could be given back."""

    @property
    def buyer(self) -> str:
        return f"buyer-{self.key}"

    @property
    def payment_ref(self) -> str:
        return f"pay-{self.key}"

    @property
    def settled(self) -> bool:
        """Nothing is left to be asked."""
        ended = self.ending == "leave" or self.paid or self.refund or self.cancelled
        return bool(self.refused or self.too_late or (self.reservation and ended))

    @property
    def state(self) -> ReservationState | None:
        """What the service acknowledged last; ``None`` where time alone may have decided."""
        if self.paid is not None:
            return ReservationState.CONFIRMED
        return ReservationState.CANCELLED if self.cancelled else None


@dataclass
class Crowd:
    """``size`` buyers at a time, each with one wish after the other, until ``settle``.

    No two crowds of a service may begin with the same pool: their keys are named for it.
    """

    url: str
    pools: tuple[str, ...]
    api_key: str | None = None
    size: int = 8
    seed: int = 1
    wishes: list[Wish] = field(default_factory=list)
    unanswered: int = 0

    async def __aenter__(self) -> Self:
        self._random = Random(self.seed)
        self._numbers = count(1)
        self._stopping = False
        self._client = await Client(
            self.url,
            api_key=self.api_key,
            connections_max=self.size * 2,
            timeout_ms=5_000,
            retry=ASK_ONCE,
        ).__aenter__()
        self._buyers = [asyncio.create_task(self._buy()) for _ in range(self.size)]
        return self

    async def __aexit__(self, *failure: object) -> None:
        for buyer in self._buyers:
            buyer.cancel()
        await asyncio.gather(*self._buyers, return_exceptions=True)
        await self._client.__aexit__(None, None, None)

    @property
    def granted(self) -> int:
        return sum(bool(wish.reservation) for wish in self.wishes)

    async def has_been_granted(self, more: int) -> None:
        """Wait until so many more wishes were granted: the service goes on."""
        wanted = self.granted + more
        await self._until(lambda: self.granted >= wanted)

    async def has_been_unanswered(self, total: int) -> None:
        """Wait until so many questions had no answer: the fault is felt."""
        await self._until(lambda: self.unanswered >= total)

    async def _until(self, look: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not look():
                self._raise_failures()
                await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """No new wishes; every open question is asked until it has an answer."""
        self._stopping = True
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._buyers)
            await asyncio.gather(*(self._fulfil(w) for w in self.wishes if not w.settled))

    def _raise_failures(self) -> None:
        for buyer in self._buyers:
            if buyer.done() and not buyer.cancelled():
                buyer.result()

    async def _buy(self) -> None:
        while not self._stopping:
            draw = self._random.random()
            wish = Wish(
                self._random.choice(self.pools),
                f"{self.pools[0]}-{next(self._numbers)}",
                self._random.choice((1, 1, 1, 2)),
                "confirm" if draw < 0.4 else "cancel" if draw < 0.7 else "leave",
            )
            self.wishes.append(wish)
            # One in four is left open for a while: its key comes back later.
            patience = 1 if self._random.random() < 0.25 else None
            await self._fulfil(wish, patience)

    async def _fulfil(self, wish: Wish, attempts_max: int | None = None) -> None:
        attempts = count(1)
        while not wish.settled:
            try:
                await self._ask(wish)
            except errors.Unavailable:
                self.unanswered += 1
                if next(attempts) == attempts_max:
                    return
                await asyncio.sleep(PAUSE_S)

    async def _ask(self, wish: Wish) -> None:
        """Ask the next thing there is to ask. Raises ``Unavailable`` where nothing was learnt."""
        client = self._client
        if not wish.reservation:
            await self._reserve(wish)
        elif wish.ending == "confirm":
            try:
                paid = await client.confirm(wish.reservation, wish.payment_ref)
            except (errors.RefundDue, errors.AlreadyCancelled) as refusal:
                wish.refund = refusal.code
            else:
                assert paid.state is ReservationState.CONFIRMED, paid
                wish.paid = paid
                with suppress(errors.Unavailable):
                    assert await client.confirm(wish.reservation, wish.payment_ref) == paid
        else:
            try:
                given_back = await client.cancel(wish.reservation)
            except errors.ReservationExpired:
                wish.too_late = True
            else:
                assert given_back.state is ReservationState.CANCELLED, given_back
                wish.cancelled = True

    async def _reserve(self, wish: Wish) -> None:
        try:
            granted = await self._client.reserve(wish.pool, wish.buyer, wish.quantity, wish.key)
        except errors.Refused as refusal:
            wish.refused = refusal.code
            return
        held = granted.reservation
        assert (held.pool, held.buyer, held.quantity) == (wish.pool, wish.buyer, wish.quantity)
        wish.reservation = held.id
