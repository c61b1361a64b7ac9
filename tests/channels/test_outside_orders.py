"""What shops sell by themselves: told in any order and any number of times, it happens once."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.channels.states import OrderState, Progress, StockEffect, progress
from flashstock.errors import (
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    UnknownChannel,
    UnknownOrder,
)
from flashstock.ledger.engine import create_engine
from tests.channels.mall import Mall
from tests.dispatch.yard import address_of, patiently

ROAD = (
    OrderState.PENDING_PAYMENT,
    OrderState.PAID,
    OrderState.SHIPPED,
    OrderState.COMPLETED,
)
PAID, SHIPPED, CLOSED = OrderState.PAID, OrderState.SHIPPED, OrderState.CLOSED


@pytest.fixture
async def stocked(mall):
    """Ten caps at east, four at west; a shop that calls things by names of its own."""
    await mall.receive("cap", 10)
    await mall.receive("cap", 4, "west")
    await mall.shop("shop")
    words = {"WAIT_PAY": "pending_payment", "PAYED": "paid", "SENT": "shipped", "OFF": "closed"}
    states = {word: OrderState(state) for word, state in words.items()}
    await mall.channels.put_states("shop", states)
    return mall


async def test_an_order_takes_its_units_when_it_is_paid_and_is_gone_when_it_is_sent(stocked):
    order, _ = await stocked.tell("7", "WAIT_PAY", ("cap", "", 3))
    assert (order.state, order.stock) == (OrderState.PENDING_PAYMENT, StockEffect.NONE)
    assert await stocked.balance("cap") == {"on_hand": 10, "available": 10}
    order, _ = await stocked.tell("7", "PAYED")
    assert (order.state, order.stock) == (PAID, StockEffect.COMMITTED)
    assert await stocked.balance("cap") == {"on_hand": 10, "available": 7, "committed": 3}
    order, _ = await stocked.tell("7", "SENT")
    assert (order.state, order.stock) == (SHIPPED, StockEffect.GONE)
    assert await stocked.balance("cap") == {"on_hand": 7, "available": 7}
    assert await stocked.kinds("7") == ["commit", "ship"]
    assert await stocked.orders.get("shop", "7") == order


async def test_a_closed_order_gives_its_units_back(stocked):
    await stocked.tell("7", "PAYED", ("cap", "", 3))
    order, _ = await stocked.tell("7", "OFF")
    assert (order.state, order.stock) == (CLOSED, StockEffect.RELEASED)
    assert await stocked.balance("cap") == {"on_hand": 10, "available": 10}
    order, _ = await stocked.tell("7", "PAYED")
    assert order.state is CLOSED, "closed is for ever"
    assert await stocked.kinds("7") == ["commit", "uncommit"]


async def test_a_sale_that_is_told_when_it_has_left_is_sold_elsewhere(stocked):
    order, _ = await stocked.tell("7", "completed", ("cap", "west", 3))
    assert (order.state, order.stock) == (OrderState.COMPLETED, StockEffect.GONE)
    assert await stocked.balance("cap", "west") == {"on_hand": 1, "available": 1}
    assert await stocked.kinds("7") == ["sold_elsewhere"]


async def test_whatever_is_told_twice_happens_once(stocked):
    first = await stocked.tell("7", "PAYED", ("cap", "", 3), key="k")
    assert await stocked.tell("7", "PAYED", ("cap", "", 3), key="k") == (first[0], True)
    assert (await stocked.tell("7", "PAYED", ("cap", "", 3)))[1] is False
    with pytest.raises(IdempotencyMismatch):
        await stocked.tell("7", "PAYED", ("cap", "", 4), key="k")
    with pytest.raises(IdempotencyMismatch):
        await stocked.tell("7", "SENT", ("cap", "", 4))
    assert await stocked.balance("cap") == {"on_hand": 10, "available": 7, "committed": 3}


async def test_told_by_many_at_once_it_happens_once(stocked):
    others = [Mall(create_engine(address_of(stocked.engine))) for _ in range(2)]
    await asyncio.gather(
        *(
            patiently(partial(teller.tell, "7", word, ("cap", "", 3), key=f"{number}-{word}"))
            for number, teller in enumerate([stocked, *others])
            for word in ("PAYED", "SENT", "PAYED")
        )
    )
    for other in others:
        await other.engine.dispose()
    assert await stocked.balance("cap") == {"on_hand": 7, "available": 7}


async def test_units_come_from_one_location_where_one_has_them(stocked):
    order, _ = await stocked.tell("7", "PAYED", ("cap", "", 11))
    assert {line.location: line.quantity for line in order.lines} == {"east": 10, "west": 1}
    with pytest.raises(InsufficientStock) as refused:
        await stocked.tell("8", "PAYED", ("cap", "", 4))
    assert refused.value.extra["missing"] == [{"sku": "cap", "missing": 1}]
    with pytest.raises(UnknownOrder):
        await stocked.orders.get("shop", "8")
    await stocked.shop("own", locations=("west",))
    order, _ = await stocked.tell("9", "paid", ("cap", "", 3), channel="own")
    assert [line.location for line in order.lines] == ["west"]


async def test_what_can_not_be_understood_is_refused(stocked):
    with pytest.raises(InvalidRequest):
        await stocked.tell("7", "STRANGE", ("cap", "", 1))
    with pytest.raises(InvalidRequest):
        await stocked.tell("7", "PAYED")
    with pytest.raises(UnknownChannel):
        await stocked.tell("7", "paid", ("cap", "", 1), channel="nowhere")
    assert (await stocked.channels.states("shop")).states["OFF"] is CLOSED


@given(st.lists(st.sampled_from(OrderState), max_size=12))
def test_an_order_never_goes_back_and_takes_and_gives_each_once(told):
    known: Progress | None = None
    effects = [StockEffect.NONE]
    for state in told:
        before, known = known, progress(known, state)
        assert progress(known, state) == known, "told again, nothing changes"
        if before is not None and before.state is CLOSED:
            assert known == before
        if before is not None and {before.state, known.state} <= set(ROAD):
            assert ROAD.index(before.state) <= ROAD.index(known.state)
        if known.stock is not effects[-1]:
            effects.append(known.stock)
    allowed = {
        (StockEffect.NONE, StockEffect.COMMITTED),
        (StockEffect.NONE, StockEffect.GONE),
        (StockEffect.COMMITTED, StockEffect.GONE),
        (StockEffect.COMMITTED, StockEffect.RELEASED),
    }
    assert set(pairwise(effects)) <= allowed
    if known is not None and OrderState.PAID in told and known.state is CLOSED:
        assert known.stock is not StockEffect.COMMITTED
