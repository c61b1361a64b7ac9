"""When the day's sales are over: every paid order is sent, and what comes back is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from flashstock.client import Movement, Order, OrderReturn, StockLine
from flashstock.errors import FlashstockError, Unavailable
from flashstock.replay.account import Account
from flashstock.replay.player import Comeback, SoldCart
from flashstock.replay.stocking import Stocking, parts_of, region_of
from flashstock.replay.till import Purchase, Told

ORDERS_SENT_TOGETHER_MAX: Final = 21
"""An order, and the 20 that may be merged with it."""
FROM_TODAY: Final = "available"
"""What came back on the day it was sold was not unpacked: it can be sold again."""
FROM_EARLIER: Final = "unsellable"
"""Somebody has to look at it first."""
RETURNED: Final = "done"


class DispatchDesk(Protocol):
    """What sending and taking back asks of the service."""

    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order: ...

    async def take_back(
        self, order_no: str, quantity: int, key: str, *, location: str, disposition: str
    ) -> OrderReturn: ...

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement: ...


class Desk:
    """Sends and takes back, and notes in the account what was acknowledged.

    A refusal is a broken promise: what was paid can be sent, and what was sent can come back.

    Args:
        concurrency: requests under way at once. The book moves one at a time: more than a few
            only wait for each other.
    """

    def __init__(
        self, service: DispatchDesk, account: Account, stocking: Stocking, *, concurrency: int
    ) -> None:
        self._service = service
        self._account = account
        self._stocking = stocking
        self._slots = asyncio.Semaphore(concurrency)
        self.orders_done = 0
        self.comebacks_done = 0
        self.shipments = 0
        self.broken_promises: list[str] = []

    async def ship(self, carts: Sequence[SoldCart]) -> None:
        """Send every order of these carts, those of a cart together."""
        await asyncio.gather(
            *(
                self._send(f"{cart.key}-{number}", cart.country, purchases)
                for cart in carts
                for number, purchases in enumerate(
                    parts_of(cart.purchases, ORDERS_SENT_TOGETHER_MAX), start=1
                )
            )
        )

    async def _send(self, key: str, country: str, purchases: tuple[Purchase, ...]) -> None:
        first, *others = [purchase.order_no for purchase in purchases if purchase.order_no]
        try:
            async with self._slots:
                order = await self._service.ship(
                    first, key, region=region_of(country) or None, merge=others
                )
        except Unavailable:
            for purchase in purchases:
                purchase.shipped = None
                self._account.till.lose_track(purchase.pool, purchase.quantity)
        except FlashstockError as refusal:
            self.broken_promises.append(
                f"order {first} and {len(others)} with it can't be sent: {refusal.code}:"
                f" {refusal.detail}"
            )
        else:
            self.shipments += 1
            for purchase in purchases:
                purchase.shipped = purchase.quantity
            if (order.order_no, order.shipped) != (first, purchases[0].quantity):
                self.broken_promises.append(
                    f"order {first}: {order.shipped} units of {purchases[0].quantity} sent"
                )
        self.orders_done += len(purchases)

    async def take_back(self, comebacks: Sequence[Comeback]) -> None:
        """Book everything that comes back. Returns of one order follow each other."""
        await asyncio.gather(*(self._book(comeback) for comeback in comebacks))

    async def _book(self, comeback: Comeback) -> None:
        async with self._slots:
            if comeback.purchase is None:
                await self._book_in(comeback)
            else:
                await self._return(comeback, comeback.purchase)
        self.comebacks_done += 1

    async def _return(self, comeback: Comeback, purchase: Purchase) -> None:
        till, quantity = self._account.till, comeback.quantity
        if not purchase.shipped or purchase.order_no is None:
            till.keep(purchase, quantity)
            return
        try:
            returned = await self._service.take_back(
                purchase.order_no,
                quantity,
                comeback.key,
                location=self._stocking.store,
                disposition=FROM_TODAY,
            )
        except FlashstockError as problem:
            till.keep(purchase, quantity)
            if isinstance(problem, Unavailable):
                self._lose_track(purchase)
            else:
                self.broken_promises.append(
                    f"order {purchase.order_no}: {quantity} units can't come back:"
                    f" {problem.code}: {problem.detail}"
                )
        else:
            if returned.state != RETURNED:
                till.keep(purchase, quantity)
                self._lose_track(purchase)

    def _lose_track(self, purchase: Purchase) -> None:
        """Whether these units came back, no answer told."""
        purchase.told = Told.NOTHING
        self._account.till.lose_track(purchase.pool, purchase.quantity)

    async def _book_in(self, comeback: Comeback) -> None:
        line = StockLine(
            self._stocking.name(comeback.sku), self._stocking.store, comeback.quantity, FROM_EARLIER
        )
        account = self._account
        try:
            await self._service.move(
                "return",
                (line,),
                comeback.key,
                reason="came back, sold on an earlier day",
                reference=self._stocking.run,
            )
        except Unavailable:
            account.uncertain[comeback.sku] += comeback.quantity
        except FlashstockError as refusal:
            self.broken_promises.append(
                f"{comeback.sku}: {comeback.quantity} units of an earlier day can't come back:"
                f" {refusal.code}: {refusal.detail}"
            )
        else:
            account.of_earlier_days[comeback.sku] += comeback.quantity
