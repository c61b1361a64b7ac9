"""Returns across the two stores: nothing comes back twice, and no crash leaves a unit nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flashstock.dispatch.orders import ReturnKind, ReturnState, SaleState
from flashstock.dispatch.return_rows import Disposition
from flashstock.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    NotReturnable,
    NotShippable,
    UnknownLocation,
    UnknownOrder,
)
from tests.dispatch.counter import Cut

SHIPPED, UNSHIPPED = ReturnKind.SHIPPED, ReturnKind.UNSHIPPED


async def test_units_that_never_left_can_be_sold_again(counter):
    order_no = await counter.sell("a", 3)
    returned, replayed = await counter.take_back(order_no, quantity=1, reason="changed her mind")
    assert (returned.state, returned.kind, replayed) == (ReturnState.DONE, UNSHIPPED, False)
    assert await counter.site.counters("sale") == (10, 8, 0, 2, 0)
    assert (await counter.sale(order_no)).to_ship == 2
    await counter.take_back(order_no, "two")
    assert (await counter.sale(order_no)).state is SaleState.CLOSED
    assert await counter.site.counters("sale") == (10, 10, 0, 0, 0)
    assert await counter.site.stock("sku", "east") == {"on_hand": 10, "campaign": 10}
    with pytest.raises(NotShippable):
        await counter.ship(order_no)
    await counter.site.adds_up()


@pytest.mark.parametrize(
    ("disposition", "state"),
    [
        (Disposition.AVAILABLE, "available"),
        (Disposition.UNSELLABLE, "unsellable"),
        (Disposition.INSPECT, "unsellable"),
    ],
)
async def test_goods_that_had_left_come_back_to_a_location_and_leave_the_pool(
    counter, disposition, state
):
    order_no = await counter.sell("a", 3)
    await counter.ship(order_no)
    await counter.take_back(order_no, quantity=2, location="west", disposition=disposition)
    assert await counter.site.stock("sku", "west") == {"on_hand": 2, state: 2}
    assert await counter.site.stock("sku", "east") == {"on_hand": 7, "campaign": 7}
    assert await counter.site.counters("sale") == (8, 7, 0, 1, 0)
    sale = await counter.sale(order_no)
    assert (sale.state, sale.with_buyer, sale.returned) == (SaleState.SHIPPED, 1, 2)
    await counter.take_back(order_no, "two", location="west")
    assert (await counter.sale(order_no)).state is SaleState.CLOSED
    await counter.site.adds_up()


async def test_a_repetition_takes_nothing_more_back(counter):
    order_no = await counter.sell("a", 3)
    await counter.ship(order_no)
    first = await counter.take_back(order_no, quantity=1, location="west")
    again = await counter.take_back(order_no, quantity=1, location="west")
    assert (first[0], False) == first
    assert (first[0], True) == again
    with pytest.raises(IdempotencyMismatch):
        await counter.take_back(order_no, quantity=2, location="west")
    assert await counter.site.stock("sku", "west") == {"on_hand": 1, "available": 1}


async def test_no_more_comes_back_than_left_and_nothing_of_what_did_not(counter):
    order_no = await counter.sell("a", 3)
    await counter.ship(order_no, quantity=2)
    for fields in ({"quantity": 3, "location": "west"}, {"quantity": 2}):
        with pytest.raises(NotReturnable) as refused:
            await counter.take_back(order_no, str(fields), **fields)
        found = (refused.value.extra["shipped"], refused.value.extra["unshipped"])
        assert found == (2, 1)
    with pytest.raises(UnknownLocation):
        await counter.take_back(order_no, "moon", location="moon")
    with pytest.raises(UnknownOrder):
        await counter.take_back("1", "none")
    assert await counter.rows(order_no) == []
    await counter.take_back(order_no, "all of it", location="west")
    await counter.take_back(order_no, "the rest")
    with pytest.raises(NotReturnable):
        await counter.take_back(order_no, "more", location="west")
    assert await counter.rows(order_no) == [("done", SHIPPED, 2), ("done", UNSHIPPED, 1)]
    assert await counter.site.counters("sale") == (8, 8, 0, 0, 0)
    await counter.site.adds_up()


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("shipped", [True, False])
async def test_a_crash_between_the_stores_is_finished_by_the_resumer(counter, cut, shipped):
    order_no = await counter.sell("a", 2)
    fields: dict[str, Any] = {"quantity": 1}
    if shipped:
        await counter.ship(order_no)
        fields["location"] = "west"
    counter.wire.cut = cut
    with pytest.raises(Cut):
        await counter.take_back(order_no, **fields)
    assert (await counter.sale(order_no)).state is SaleState.REFUNDING
    with pytest.raises(NotShippable):
        await counter.ship(order_no, command_id="meanwhile")
    counter.wire.calls = 0
    with pytest.raises(NotReturnable):
        await counter.take_back(order_no, "meanwhile", **{**fields, "quantity": 2})
    assert counter.wire.calls == 0, "it is not left to the pool"
    counter.wire.cut = ""
    await counter.site.node.is_applied()
    await counter.site.adds_up()
    assert await counter.returns.resume() == 1
    assert await counter.returns.resume() == 0
    again, replayed = await counter.take_back(order_no, **fields)
    assert (again.state, replayed) == (ReturnState.DONE, True)
    total = 9 if shipped else 10
    assert await counter.site.counters("sale") == (total, 10 - 2 + (not shipped), 0, 1, 0)
    back = {"on_hand": 1, "available": 1} if shipped else None
    if back:
        assert await counter.site.stock("sku", "west") == back
    await counter.site.adds_up()


async def test_many_who_finish_a_return_at_once_book_it_once(counter):
    order_no = await counter.sell("a", 3)
    await counter.ship(order_no)
    asked = [counter.take_back(order_no, quantity=1, location="west") for _ in range(4)]
    asked += [counter.take_back(order_no, "two", quantity=2, location="west") for _ in range(4)]
    resuming = [counter.returns.resume() for _ in range(4)]
    await asyncio.gather(*asked, *resuming)
    assert await counter.site.stock("sku", "west") == {"on_hand": 3, "available": 3}
    assert await counter.site.counters("sale") == (7, 7, 0, 0, 0)
    assert (await counter.sale(order_no)).state is SaleState.CLOSED
    await counter.site.adds_up()


async def test_two_returns_of_the_same_units_do_not_both_count(counter):
    order_no = await counter.sell("a", 2)
    await counter.ship(order_no)
    asked = [counter.take_back(order_no, f"{n}", quantity=2, location="west") for n in range(6)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, NotReturnable) for answer in answers) == 5
    assert await counter.site.stock("sku", "west") == {"on_hand": 2, "available": 2}


async def test_what_is_being_sent_and_what_is_given_back_never_overlap(counter):
    for number in range(6):
        order_no = await counter.sell(f"{number}", 1)
        await asyncio.gather(
            counter.ship(order_no),
            counter.take_back(order_no, f"{number}"),
            return_exceptions=True,
        )
        sale = await counter.sale(order_no)
        assert sale.state in (SaleState.SHIPPED, SaleState.CLOSED)
        assert sale.shipped + sale.given_up == 1
    await counter.site.adds_up()


async def test_a_pool_that_gave_the_units_back_already_refuses(counter):
    order_no = await counter.sell("a", 1)
    reservation = counter.site.reservation("sale", "a")
    counter.wire.cut = "before"
    with pytest.raises(Cut):
        await counter.take_back(order_no)
    counter.wire.cut = ""
    await counter.site.node.reservations.return_sale("shop", "elsewhere", reservation, 1)
    with pytest.raises(NotReturnable):
        await counter.take_back(order_no)
    assert await counter.rows(order_no) == [("refused", UNSHIPPED, 1)]
    assert (await counter.sale(order_no)).state is SaleState.CLOSED
    await counter.site.adds_up()


async def test_goods_come_back_also_when_the_pool_has_forgotten_the_sale(counter, valkey_url):
    order_no = await counter.sell("a", 2)
    await counter.ship(order_no)
    counter.forget(valkey_url, "a")
    returned, _ = await counter.take_back(order_no, quantity=1, location="west")
    assert (returned.state, returned.through_pool) == (ReturnState.DONE, False)
    assert await counter.site.stock("sku", "west") == {"on_hand": 1, "available": 1}
    assert (await counter.sale(order_no)).with_buyer == 1
    assert await counter.site.counters("sale") == (10, 8, 0, 2, 0), "for the pool they stay sold"
    await counter.site.adds_up()


async def test_units_of_a_forgotten_sale_that_never_left_become_available(counter, valkey_url):
    order_no = await counter.sell("a", 2)
    counter.forget(valkey_url, "a")
    await counter.take_back(order_no)
    assert (await counter.sale(order_no)).state is SaleState.CLOSED
    assert await counter.site.stock("sku", "east") == {
        "on_hand": 10,
        "campaign": 8,
        "available": 2,
    }
    await counter.site.adds_up()


async def test_a_key_that_did_something_else_is_refused(counter):
    order_no = await counter.sell("a", 2)
    await counter.take_back(order_no, quantity=1)
    other = await counter.sell("b", 1)
    with pytest.raises(IdempotencyMismatch):
        await counter.take_back(other, quantity=1)
    with pytest.raises(InvalidRequest):
        await counter.ship(order_no, quantity=2)
