"""Plays the day's sales against a service: carts and payments, in the order of the day.

A return is matched with what its buyer has bought by then. The goods come back when what was
bought has been sent: see ``desk``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from flashstock.client import Cart, Line, Reservation
from flashstock.errors import FlashstockError, Unavailable
from flashstock.model.ids import digest_of
from flashstock.replay.plan import Minute, PlannedCart, PlannedReturn
from flashstock.replay.till import Purchase, Till, Told
from flashstock.report.tally import Tally


class Shop(Protocol):
    """What a day of sales asks of the service."""

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart: ...

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation: ...


class SoldCart(NamedTuple):
    """A cart to be sent: its paid purchases."""

    key: str
    country: str
    purchases: tuple[Purchase, ...]


class Comeback(NamedTuple):
    """Units that come back: of a purchase of today, or (``None``) of an earlier day."""

    key: str
    sku: str
    purchase: Purchase | None
    quantity: int


class Player:
    """Plays minutes of a day, and keeps the till.

    Args:
        pools: the pool that each SKU is sold from.
        run: begins every key and payment reference, so that runs never meet.
        confirm: pay what is admitted.
        concurrency: requests under way at once.
    """

    def __init__(
        self,
        shop: Shop,
        till: Till,
        tally: Tally,
        pools: Mapping[str, str],
        *,
        run: str,
        confirm: bool,
        concurrency: int,
    ) -> None:
        self._shop = shop
        self._till = till
        self._tally = tally
        self._pools = pools
        self._run = run
        self._confirm = confirm
        self._slots = asyncio.Semaphore(concurrency)
        self.carts_admitted = 0
        self.carts_refused = 0
        self.carts_untold = 0
        self.done = 0
        """Carts and returns that are over."""
        self.sold_carts: list[SoldCart] = []
        self.comebacks: list[Comeback] = []
        self.broken_promises: list[str] = []

    async def play(self, minute: Minute) -> None:
        """Play the carts of a minute side by side, then its returns; back when all are over."""
        await asyncio.gather(*(self._buy(cart) for cart in minute.carts))
        for returned in minute.returns:
            self._bring_back(returned)

    async def _buy(self, cart: PlannedCart) -> None:
        lines = [Line(self._pools[line.sku], line.quantity) for line in cart.lines]
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
        if not self._confirm:
            return
        paid = f"{self._run}-{digest_of(cart.invoice)}"
        await asyncio.gather(
            *(
                self._pay(purchase, f"{paid}-{number}")
                for number, purchase in enumerate(purchases, start=1)
            )
        )
        sold = tuple(purchase for purchase in purchases if purchase.order_no is not None)
        if sold:
            key = f"{self._run}-ship-{digest_of(cart.invoice)}"
            self.sold_carts.append(SoldCart(key, cart.country, sold))

    async def _pay(self, purchase: Purchase, payment_ref: str) -> None:
        try:
            async with self._slots:
                paid = await self._shop.confirm(purchase.reservation, payment_ref)
        except FlashstockError as problem:
            purchase.told = Told.NOTHING
            self._till.lose_track(purchase.pool, purchase.quantity)
            if not isinstance(problem, Unavailable):
                self._tally.refused[problem.code] += 1
        else:
            purchase.told = Told.CONFIRMED
            purchase.payment_ref = payment_ref
            purchase.order_no = paid.order_no

    def _bring_back(self, returned: PlannedReturn) -> None:
        key = f"{self._run}-return-{digest_of(returned.invoice, str(returned.number))}"
        pool = self._pools.get(returned.sku)
        shares: list[tuple[Purchase, int]] = []
        if pool is not None:
            shares = self._till.bring_back(returned.buyer, pool, returned.quantity)
        for number, (purchase, share) in enumerate(shares):
            self.comebacks.append(Comeback(f"{key}-{number}", returned.sku, purchase, share))
        earlier = returned.quantity - sum(share for _, share in shares)
        if earlier > 0:
            self.comebacks.append(Comeback(f"{key}-earlier", returned.sku, None, earlier))
        self.done += 1
