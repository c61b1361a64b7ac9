"""A day played against a shop in memory: honest ones reconcile, dishonest ones are found out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from flashstock.client import (
    Cart,
    Line,
    Movement,
    Order,
    OrderReturn,
    Reservation,
    StockLine,
)
from flashstock.errors import InvalidRequest, Unavailable
from flashstock.model.states import ReservationState
from flashstock.replay.plan import name_of
from tests.unit.replay.days import row
from tests.unit.replay.played import RUN, Played
from tests.unit.replay.shop import HonestShop
from tests.unit.replay.test_plan import some_rows


async def test_carts_are_bought_paid_line_by_line_and_reconcile():
    played = Played(
        HonestShop(),
        [row("1", "85123A", 6), row("1", "71053", 2), row("1", "85123A", 3), row("2", "22423", 1)],
    )
    findings = await played.play()
    assert findings.described == []
    assert findings.reservations_checked == 3
    assert (played.player.carts_admitted, played.player.carts_refused) == (2, 0)
    assert played.till.sold_units() == 12
    assert played.broken == []
    assert len({purchase.payment_ref for purchase in played.till.purchases}) == 3
    assert played.shop.pools[name_of(RUN, "85123A")].sold == 9


async def test_a_cart_that_lacks_one_unit_of_one_line_is_refused_whole():
    rows = [
        row("1", "85123A", 5, at="2010-12-01 08:00:00"),
        row("2", "85123A", 5, at="2010-12-01 09:00:00"),
        row("2", "71053", 5, at="2010-12-01 09:00:00"),
    ]
    played = Played(HonestShop(), rows, "0.9")
    findings = await played.play()
    assert findings.described == []
    assert (played.player.carts_admitted, played.player.carts_refused) == (1, 1)
    assert played.tally.refused == {"sold_out": 1}
    assert played.shop.book[name_of(RUN, "71053")]["available"] == 5


async def test_a_return_goes_to_todays_sale_as_far_as_it_reaches_and_the_rest_is_booked_in():
    rows = [
        row("1", "85123A", 4, at="2010-12-01 08:00:00"),
        row("2", "85123A", 3, at="2010-12-01 08:30:00"),
        row("C3", "85123A", -5, at="2010-12-01 09:00:00"),
        row("C4", "85123A", -9, at="2010-12-01 09:00:00"),
        row("C5", "71053", -2, at="2010-12-01 09:00:00"),
        row("C6", "85123A", -1, at="2010-12-01 09:00:00", buyer="someone else"),
    ]
    played = Played(HonestShop(), rows)
    findings = await played.play()
    assert findings.described == played.broken == []
    assert played.till.sold_units() == played.till.shipped().total() == 7
    assert played.account.returned_units() == 17
    assert played.account.of_earlier_days == {"85123A": 8, "71053": 2}
    pool = played.shop.pools[name_of(RUN, "85123A")]
    assert (pool.total, pool.sold, pool.available) == (0, 0, 0)
    assert played.shop.book[name_of(RUN, "85123A")] == {
        "on_hand": 15,
        "available": 7,
        "unsellable": 8,
        "campaign": 0,
    }
    assert played.account.left_units() == played.book.on_hand == 7 + 8 + 2
    states = {found.state for found in played.shop.reservations.values()}
    assert states == {ReservationState.RETURNED}
    assert [purpose for purpose, _ in played.shop.calls].count("order_return") == 3


async def test_a_return_of_the_minute_of_its_sale_finds_the_sale():
    played = Played(HonestShop(), [row("C2", "85123A", -1), row("1", "85123A", 4)])
    assert (await played.play()).described == []
    assert played.account.of_earlier_days == {}


async def test_a_return_does_not_reach_for_what_was_bought_later():
    rows = [
        row("C2", "85123A", -1, at="2010-12-01 08:00:00"),
        row("1", "85123A", 4, at="2010-12-01 09:00:00"),
    ]
    played = Played(HonestShop(), rows)
    assert (await played.play()).described == played.broken == []
    assert played.account.of_earlier_days == {"85123A": 1}


async def test_orders_of_a_cart_leave_together_as_far_as_they_may():
    codes = [str(20_000 + number) for number in range(25)]
    played = Played(HonestShop(), [row("1", code, 1) for code in codes] + [row("2", buyer="")])
    assert (await played.play()).described == played.broken == []
    assert [purpose for purpose, _ in played.shop.calls].count("ship") == 2 + 1
    assert (played.desk.shipments, played.desk.orders_done) == (3, 26)
    assert played.shop.regions == ["United Kingdom"] * 3
    assert all(order.shipped == order.quantity for order in played.shop.orders.values())


async def test_without_payments_holds_stay_and_returns_are_booked_in():
    rows = [row("1", "85123A", 4), row("C2", "85123A", -1, at="2010-12-01 09:00:00")]
    played = Played(HonestShop(), rows, confirm=False)
    assert (await played.play()).described == played.broken == []
    assert played.till.sold_units() == 0
    assert played.shop.pools[name_of(RUN, "85123A")].held == 4


async def test_requests_under_way_are_bounded():
    rows = [row(str(invoice), code) for invoice in range(30) for code in ("85123A", "71053")]
    played = Played(HonestShop(), rows)
    await played.play()
    assert 1 < played.shop.at_once_max <= 4


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=some_rows)
async def test_any_day_reconciles(rows):
    played = Played(HonestShop(), rows, "0.7")
    findings = await played.play()
    assert findings.described == played.broken == []
    assert played.book.on_hand == played.account.left_units()
    assert played.player.done == len(played.day.carts) + len(played.day.returns)


class HalfACart(HonestShop):
    """Holds the first line only."""

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
        return await super().reserve_cart(buyer, lines[:1], key)


class LastLineWins(HonestShop):
    """Forgets to add up the lines of one SKU."""

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
        last = {line.pool: line for line in lines}
        return await super().reserve_cart(buyer, list(last.values()), key)


@pytest.mark.parametrize("shop", [HalfACart, LastLineWins])
async def test_a_cart_that_is_not_held_whole_is_noticed(shop):
    rows = [row("1", "85123A", 6), row("1", "71053", 2), row("1", "85123A", 3)]
    played = Played(shop(), rows)
    await played.play()
    assert len(played.player.broken_promises) == 1


class ForgetsSales(HonestShop):
    """Acknowledges payments and does not keep them."""

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        found = self._found(reservation)
        return msgspec.structs.replace(found, state=ReservationState.CONFIRMED)


class TwiceReturned(HonestShop):
    """Leaves every returned unit in the pool, too."""

    async def take_back(self, order_no: str, quantity: int, key: str, **where: str) -> OrderReturn:
        returned = await super().take_back(order_no, quantity, key, **where)
        self._move(self.orders[order_no].pool, available=quantity, total=quantity)
        return returned

    def end(self) -> None:
        return None


@pytest.mark.parametrize(("shop", "lost"), [(ForgetsSales, 1), (TwiceReturned, 0)])
async def test_books_that_are_wrong_are_found_out(shop, lost):
    rows = [row("1", "85123A", 4), row("C2", "85123A", -1, at="2010-12-01 09:00:00")]
    findings = await Played(shop(), rows).play()
    assert findings.differences > 0
    assert findings.lost == lost


class Away(HonestShop):
    """Gives no answer to one kind of request; it may have done what was asked."""

    def __init__(self, purpose: str, *, done: bool) -> None:
        super().__init__()
        self.purpose = purpose
        self.done = done

    async def _called(self, purpose: str, key: str) -> None:
        await super()._called(purpose, key)
        if not self.done:
            self._lose(purpose)

    def _lose(self, purpose: str) -> None:
        if purpose == self.purpose:
            raise Unavailable

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
        held = await super().reserve_cart(buyer, lines, key)
        self._lose("cart")
        return held

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        paid = await super().confirm(reservation, payment_ref)
        self._lose("confirm")
        return paid

    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order:
        shipped = await super().ship(order_no, key, region=region, merge=merge)
        self._lose("ship")
        return shipped

    async def take_back(self, order_no: str, quantity: int, key: str, **where: str) -> OrderReturn:
        returned = await super().take_back(order_no, quantity, key, **where)
        self._lose("order_return")
        return returned

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement:
        moved = await super().move(kind, lines, key, reason=reason, reference=reference)
        self._lose("movement")
        return moved


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("purpose", ["cart", "confirm", "ship", "order_return", "movement"])
async def test_what_no_answer_told_is_no_difference(purpose, done):
    rows = [
        row("1", "85123A", 4, at="2010-12-01 08:00:00"),
        row("C2", "85123A", -5, at="2010-12-01 09:00:00"),
    ]
    played = Played(Away(purpose, done=done), rows)
    findings = await played.play()
    assert findings.described == played.broken == []
    assert played.player.done == 2


async def test_a_cart_that_the_service_finds_invalid_is_counted_and_the_day_goes_on():
    class Strict(HonestShop):
        async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
            if buyer == "bad":
                raise InvalidRequest
            return await super().reserve_cart(buyer, lines, key)

    played = Played(Strict(), [row("1", buyer="bad"), row("2")])
    assert (await played.play()).described == []
    assert played.tally.refused == {"invalid_request": 1}
    assert played.player.carts_admitted == 1
