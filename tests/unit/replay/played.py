"""A whole day, played against a shop in memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from flashstock.client import PoolOrder
from flashstock.replay.account import Account, BookFindings, compare_balances, compare_orders
from flashstock.replay.desk import Desk
from flashstock.replay.plan import plan_day
from flashstock.replay.player import Player
from flashstock.replay.rows import parse_rows
from flashstock.replay.stocking import plan_stocking
from flashstock.replay.till import Till
from flashstock.report.audit import Findings, audit
from flashstock.report.tally import Tally
from tests.unit.replay.days import lines
from tests.unit.replay.shop import HonestShop

RUN = "replay-0123abcd"


class Played:
    """A day that was played, and everything there is to look at."""

    def __init__(
        self, shop: HonestShop, rows: Sequence[str], ratio: str = "1", *, confirm: bool = True
    ) -> None:
        self.shop = shop
        self.day = plan_day(parse_rows(lines(rows)))
        self.stocking = plan_stocking(RUN, self.day, Fraction(ratio))
        self.till = Till()
        self.account = Account(self.till)
        self.tally = Tally()
        self.player = Player(
            shop,
            self.till,
            self.tally,
            self.account.pools,
            run=RUN,
            confirm=confirm,
            concurrency=4,
        )
        self.desk = Desk(shop, self.account, self.stocking, concurrency=4)
        self.book = BookFindings()

    async def play(self) -> Findings:
        """The whole day; what the book says against the answers is in ``book``."""
        for sku, units in self.stocking.units.items():
            name = self.stocking.name(sku)
            await self.shop.open_pool(PoolOrder(name, name, units))
            self.account.received[sku] = units
            self.account.open(sku, name, units)
        for minute in self.day.minutes():
            await self.player.play(minute)
        await self.desk.ship(self.player.sold_carts)
        await self.desk.take_back(self.player.comebacks)
        self.shop.end()
        names = {sku: self.stocking.name(sku) for sku in self.stocking.units}
        compare_balances(self.account, names, self.shop.balances(), self.book)
        compare_orders(self.till, self.shop.orders.values(), self.book)
        return await audit(self.shop, self.till.acknowledged(), self.till.expected())

    @property
    def broken(self) -> list[str]:
        return [
            *self.player.broken_promises,
            *self.desk.broken_promises,
            *self.book.described,
        ]
