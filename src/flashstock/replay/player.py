"""Plays a day against a service: carts, payments, returns, in the order of the day."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from flashstock.client import Cart, Line, Pool, PoolOrder, Reservation
from flashstock.errors import FlashstockError, Unavailable
from flashstock.model.ids import digest_of
from flashstock.replay.plan import Minute, PlannedCart, PlannedReturn, pool_of
from flashstock.replay.till import Purchase, Till, Told
from flashstock.report.tally import Tally


class Shop(Protocol):
    """What a replay asks of the service."""

    async def open_pool(self, order: PoolOrder) -> Pool: ...

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart: ...

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation: ...

    async def return_units(self, reservation: str, quantity: int, key: str) -> Reservation: ...

    async def adjust(self, pool: str, delta: int, key: str) -> None: ...


class Player:
    """Plays minutes of a day, and keeps the till.

    Args:
        run: begins every pool id, key and payment reference, so that runs never meet.
        confirm: pay what is admitted.
        concurrency: requests under way at once.
    """

    def __init__(
        self, shop: Shop, till: Till, tally: Tally, *, run: str, confirm: bool, concurrency: int
    ) -> None:
        self._shop = shop
        self._till = till
        self._tally = tally
        self._run = run
        self._confirm = confirm
        self._slots = asyncio.Semaphore(concurrency)
        self.carts_admitted = 0
        self.carts_refused = 0
        self.carts_untold = 0
        self.done = 0
        """Carts and returns that are over."""
        self.broken_promises: list[str] = []

    async def play(self, minute: Minute) -> None:
        """Play the carts of a minute side by side, then its returns; back when all are over."""
        await asyncio.gather(*(self._buy(cart) for cart in minute.carts))
        await asyncio.gather(*(self._bring_back(returned) for returned in minute.returns))

    async def _buy(self, cart: PlannedCart) -> None:
        lines = [Line(pool_of(self._run, line.sku), line.quantity) for line in cart.lines]
        key = f"{self._run}-cart-{digest_of(cart.invoice)}"
        try:
            async with self._slots:
                held = await self._shop.reserve_cart(cart.buyer, lines, key)
        except Unavailable:
            self.carts_untold += 1
            for line in lines:
                self._till.lose_track(line.pool, line.quantity)
        except FlashstockError as refusal:
            self.carts_refused += 1
            self._tally.refused[refusal.code] += 1
        else:
            self.carts_admitted += 1
            self._compare(cart, lines, held)
            await self._take(cart, held)
        self.done += 1

    def _compare(self, cart: PlannedCart, lines: Sequence[Line], held: Cart) -> None:
        """All of it or nothing: what is held must be what was asked for, added up by pool."""
        asked: Counter[str] = Counter()
        for line in lines:
            asked[line.pool] += line.quantity
        got = {reservation.pool: reservation.quantity for reservation in held.reservations}
        if got != asked or len(got) != len(held.reservations):
            self.broken_promises.append(
                f"invoice {cart.invoice}: {asked.total()} units of {len(asked)} pools asked for,"
                f" {sum(got.values())} of {len(got)} held"
            )

    async def _take(self, cart: PlannedCart, held: Cart) -> None:
        purchases = [self._till.take(reservation) for reservation in held.reservations]
        if self._confirm:
            paid = f"{self._run}-{digest_of(cart.invoice)}"
            await asyncio.gather(
                *(
                    self._pay(purchase, f"{paid}-{number}")
                    for number, purchase in enumerate(purchases, start=1)
                )
            )

    async def _pay(self, purchase: Purchase, payment_ref: str) -> None:
        try:
            async with self._slots:
                paid = await self._shop.confirm(purchase.reservation, payment_ref)
        except FlashstockError as problem:
            purchase.told = Told.NOTHING
            self._till.lose_track(purchase.pool, purchase.quantity)
            self._count_refusal(problem)
        else:
            purchase.told = Told.CONFIRMED
            purchase.payment_ref = payment_ref
            purchase.order_no = paid.order_no

    async def _bring_back(self, returned: PlannedReturn) -> None:
        pool = pool_of(self._run, returned.sku)
        key = f"{self._run}-return-{digest_of(returned.invoice, str(returned.number))}"
        shares = self._till.bring_back(returned.buyer, pool, returned.quantity)
        for number, (purchase, share) in enumerate(shares):
            await self._return_units(purchase, share, f"{key}-{number}")
        earlier = returned.quantity - sum(share for _, share in shares)
        if earlier > 0:
            await self._book_in(pool, earlier, f"{key}-earlier")
        self.done += 1

    async def _return_units(self, purchase: Purchase, quantity: int, key: str) -> None:
        try:
            async with self._slots:
                await self._shop.return_units(purchase.reservation, quantity, key)
        except FlashstockError as problem:
            self._till.keep(purchase, quantity)
            if isinstance(problem, Unavailable):
                purchase.told = Told.NOTHING
                self._till.lose_track(purchase.pool, purchase.quantity)
            self._count_refusal(problem)

    async def _book_in(self, pool: str, quantity: int, key: str) -> None:
        try:
            async with self._slots:
                await self._shop.adjust(pool, quantity, key)
        except FlashstockError as problem:
            if isinstance(problem, Unavailable):
                self._till.lose_track(pool, quantity)
            self._count_refusal(problem)
        else:
            self._till.book_in(pool, quantity)

    def _count_refusal(self, problem: FlashstockError) -> None:
        if not isinstance(problem, Unavailable):
            self._tally.refused[problem.code] += 1
