"""A stock book that does not say what was acknowledged is found out, whatever it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from flashstock.client import Movement, Order, OrderReturn, StockLine
from flashstock.errors import NotReturnable, NotShippable
from flashstock.replay.account import BookFindings, compare_balances
from flashstock.replay.plan import name_of
from tests.unit.replay.days import row
from tests.unit.replay.played import RUN, Played
from tests.unit.replay.shop import HonestShop


class SendsTooMuch(HonestShop):
    """A unit more than was bought leaves the book."""

    def _send(self, order_no: str) -> None:
        super()._send(order_no)
        self._goods(self.orders[order_no].pool, on_hand=-1, available=-1)


class SendsHalf(HonestShop):
    """Sends the first of the orders that go together, and says nothing of the others."""

    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order:
        return await super().ship(order_no, key, region=region)


class LosesWhatComesBack(HonestShop):
    """Takes goods back, and does not put them on the shelf."""

    async def take_back(self, order_no: str, quantity: int, key: str, **where: str) -> OrderReturn:
        returned = await super().take_back(order_no, quantity, key, **where)
        self._goods(self.orders[order_no].pool, on_hand=-quantity, available=-quantity)
        return returned


class SellsDamagedGoods(HonestShop):
    """Puts what somebody has to look at first among what can be sold."""

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement:
        moved = await super().move(kind, lines, key, reason=reason, reference=reference)
        for line in lines:
            self._goods(line.sku, unsellable=-line.quantity, available=line.quantity)
        return moved


class KeepsInCampaign(HonestShop):
    """Never gives back what nobody bought."""

    def end(self) -> None:
        before = {sku: units.copy() for sku, units in self.book.items()}
        super().end()
        self.book = before


class ForgetsReturns(HonestShop):
    """Books the goods, and does not note that they are of this order."""

    async def take_back(self, order_no: str, quantity: int, key: str, **where: str) -> OrderReturn:
        returned = await super().take_back(order_no, quantity, key, **where)
        self.orders[order_no] = msgspec.structs.replace(self.orders[order_no], returned=0)
        return returned


class ForgetsOrders(HonestShop):
    """Has no order of a sale any more."""

    def end(self) -> None:
        super().end()
        self.orders.clear()


class FindsGoods(HonestShop):
    """Has units at the run's locations that nobody received."""

    def end(self) -> None:
        super().end()
        self._goods("what is this", on_hand=1, available=1)


class RefusesToSend(HonestShop):
    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order:
        raise NotShippable


class RefusesReturns(HonestShop):
    async def take_back(self, order_no: str, quantity: int, key: str, **where: str) -> OrderReturn:
        raise NotReturnable


@pytest.mark.parametrize(
    "shop",
    [
        SendsTooMuch,
        SendsHalf,
        LosesWhatComesBack,
        SellsDamagedGoods,
        KeepsInCampaign,
        ForgetsReturns,
        ForgetsOrders,
        FindsGoods,
        RefusesToSend,
        RefusesReturns,
    ],
)
async def test_a_stock_book_that_is_wrong_is_found_out(shop):
    rows = [
        row("1", "85123A", 4),
        row("1", "71053", 5),
        row("2", "22423", 6, buyer=""),
        row("C3", "85123A", -3, at="2010-12-01 09:00:00"),
        row("C4", "71053", -2, at="2010-12-01 09:00:00", buyer="someone else"),
    ]
    played = Played(shop(), rows, "1.5")
    await played.play()
    assert played.broken != []


async def test_units_that_were_received_and_are_not_for_sale_are_found_out():
    played = Played(HonestShop(), [row("1", "85123A", 4)])
    await played.play()
    played.account.allocated["85123A"] -= 1
    names = {"85123A": name_of(RUN, "85123A")}
    found = BookFindings()
    compare_balances(played.account, names, played.shop.balances(), found)
    assert found.described == ["stock book: 85123A: 4 units received, 3 for sale"]
