"""Gifts in tiers, and what is sold before it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from flashstock.campaigns.gift_watch import find_paid_orders
from flashstock.campaigns.gifts import GiftGiver
from flashstock.campaigns.tables import campaign_gifts
from flashstock.campaigns.terms import Gift, Item
from flashstock.errors import (
    BalancePaid,
    InsufficientStock,
    NoBalanceDue,
    PaymentRefUsed,
    Unavailable,
    UnknownOrder,
)
from flashstock.ledger.engine import reading
from flashstock.model.ids import ReservationId, digest_of
from flashstock.stockbook.balances import Balances
from tests.campaigns.offers import Office
from tests.recovery.node import eventually, raw


@pytest.fixture
async def office(site) -> Office:
    made = Office(site)
    await site.locations("north", "south")
    await made.goods("mug", north=30)
    await made.goods("pin", north=2)
    await made.goods("card", north=3)
    return made


GIFTS = (Gift("pin", 2, 1), Gift("card", 2, 2))


async def tiers(
    office: Office, code: str, pool: str, buyers: Sequence[str]
) -> list[tuple[str, int]]:
    """State and tier of each buyer's gift."""
    found = []
    for buyer in buyers:
        order = await office.site.order_of(pool, buyer)
        (gift,) = await office.gifts.page(code, "", 10, order)
        found.append((gift.state.value, gift.tier))
    return found


async def test_the_first_to_pay_get_the_first_tier_then_the_next_then_none(office):
    code = await office.running(Item(1, "mug", 10, gifts=GIFTS))
    pool = f"{code}-1"
    for buyer in "abcde":
        await office.site.sell(pool, buyer)
    await office.given()
    expected = [("given", 1), ("given", 1), ("given", 2), ("given", 2), ("none", 2)]
    assert await tiers(office, code, pool, "abcde") == expected
    assert await office.site.counters(f"{code}-1-g1") == (2, 0, 0, 2, 0)
    gifts = await office.gifts.page(code, "", 10)
    assert len({gift.gift_order_no for gift in gifts} - {None}) == 4
    await office.site.adds_up()


async def test_nobody_can_buy_a_gift(office):
    code = await office.running(Item(1, "mug", 10, gifts=GIFTS))
    verdict = await office.site.node.reserve(f"{code}-1-g1", "thief", 1, "steal")
    assert verdict.verdict not in (0, 1)
    assert await office.site.counters(f"{code}-1-g1") == (2, 2, 0, 0, 0)


class LosingPools:
    """Every reply is lost once: the call has had its effect."""

    def __init__(self, real) -> None:
        self._real = real
        self._seen: set[tuple[str, str]] = set()

    async def _once(self, what: str, key: str, answer):
        if (what, key) not in self._seen:
            self._seen.add((what, key))
            raise Unavailable("the reply was lost")
        return answer

    async def reserve(self, pool_id, units, digests, *others):
        answer = await self._real.reserve(pool_id, units, digests, *others)
        return await self._once("reserve", digests[0], answer)

    async def cancel(self, target, kind):
        return await self._real.cancel(target, kind)

    async def confirm(self, target, payment_ref):
        answer = await self._real.confirm(target, payment_ref)
        return await self._once("confirm", str(target), answer)


async def test_two_givers_whose_replies_are_lost_give_everyone_one_gift(office):
    code = await office.running(Item(1, "mug", 10, gifts=GIFTS))
    pool = f"{code}-1"
    for buyer in "abcde":
        await office.site.sell(pool, buyer)
    await office.site.node.is_applied()
    givers = [
        GiftGiver(office.site.engine, LosingPools(office.site.node.stores.store), office.clock)
        for _ in range(2)
    ]

    async def give() -> bool:
        await asyncio.gather(*(giver.round() for giver in givers), return_exceptions=True)
        await office.site.node.is_applied()
        expected = [("given", 1), ("given", 1), ("given", 2), ("given", 2), ("none", 2)]
        return await tiers(office, code, pool, "abcde") == expected

    await eventually(give, "everyone has what there is")
    for _ in range(10):
        assert await give(), "and nothing more"
    for tier in (1, 2):
        assert await office.site.counters(f"{code}-1-g{tier}") == (2, 0, 0, 2, 0)


async def test_a_giver_that_heard_of_a_later_moment_does_not_give_a_second_gift(office):
    code = await office.running(Item(1, "mug", 10, gifts=(Gift("pin", 1, 1), Gift("card", 1, 2))))
    pool, first = f"{code}-1", f"{code}-1-g1"
    await office.site.sell(pool, "a")
    await office.given()
    await office.site.sell(pool, "b")
    await office.site.node.is_applied()
    await find_paid_orders(office.site.engine, office.clock())
    async with reading(office.site.engine) as connection:
        open_gifts = campaign_gifts.c.state == "deciding"
        slept_on = (await connection.execute(select(campaign_gifts).where(open_gifts))).one()
    await office.given()
    order = await office.site.order_of(pool, "a")
    gift = ReservationId(first, digest_of("gift", order, first))
    await office.site.node.reservations.return_sale("shop", "back", str(gift), 1)
    await office.giver._step(slept_on)
    await office.given()
    assert await tiers(office, code, pool, "b") == [("given", 2)]
    assert await office.site.counters(first) == (1, 1, 0, 0, 0)


async def test_a_hold_that_was_lost_with_redis_is_asked_for_again(office):
    code = await office.running(Item(1, "mug", 10, gifts=GIFTS))
    pool = f"{code}-1"
    await office.site.sell(pool, "a")
    node = office.site.node
    await node.is_applied()
    await node.stop_writing()
    await office.giver.round()  # held, but SQL does not know
    with raw(node.settings.redis_url) as client:
        client.flushall()
    node.write()
    node.gate.lost(0)
    await node.gate.opened(0)
    await office.given()
    assert await tiers(office, code, pool, "a") == [("given", 1)]
    assert await office.site.counters(f"{code}-1-g1") == (2, 1, 0, 1, 0)


async def test_gifts_are_given_for_late_payments_and_then_come_back(office):
    code = await office.running(Item(1, "mug", 10, gifts=GIFTS))
    pool = f"{code}-1"
    late = await office.site.node.hold(pool, "late")
    await office.course.end(code, "ops")
    await office.site.relay.round()
    await office.site.node.reservations.confirm(late, "pay-late")
    await office.site.carried_out()
    await office.closing.round()
    assert (await office.site.sql_pool(f"{code}-1-g1")).state == "open"
    await office.given()
    assert await tiers(office, code, pool, ["late"]) == [("given", 1)]
    await office.settled()
    assert await office.site.counters(f"{code}-1-g1") == (1, 0, 0, 1, 0)
    assert await office.site.counters(f"{code}-1-g2") == (0, 0, 0, 0, 0)
    stock = await office.site.stock("card", "north")
    assert stock == {"on_hand": 3, "available": 3}
    await office.site.adds_up()


async def test_a_presale_sells_what_is_allowed_though_it_is_not_there(office):
    await office.site.sku("phone", price_minor=50_000, currency="EUR")
    await office.site.allow_virtual("phone", "south", 8)
    too_many = await office.draft(Item(1, "phone", 9, presale=True))
    await office.life.submit(too_many, 1, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(too_many, 1, "boss", is_admin=False)
    code = await office.running(Item(1, "phone", 8, presale=True, deposit_minor=5_000))
    pool = f"{code}-1"
    assert await office.site.stock("phone", "south") == {"campaign": 8, "virtual": 8}
    await office.site.sell(pool, "ann", 2)
    await office.site.node.is_applied()
    order = await office.site.order_of(pool, "ann")
    balance, new = await office.balances.pay(order, "rest-1", "ops")
    assert new
    assert (balance.amount_minor, balance.currency) == (2 * 45_000, "EUR")
    again, new = await office.balances.pay(order, "rest-1", "ops")
    assert (again, new) == (balance, False)
    with pytest.raises(BalancePaid):
        await office.balances.pay(order, "rest-2", "ops")
    await office.course.end(code, "ops")
    await office.site.carried_out()
    assert await office.site.stock("phone", "south") == {"campaign": 2, "virtual": 2}
    await office.site.adds_up()


async def test_a_presale_takes_what_was_granted_to_shops_too(office):
    """As the service grants it, all that is allowed is available at once."""
    site = office.site
    await site.sku("phone", price_minor=50_000, currency="EUR")
    await Balances(site.engine, lambda: 1).allow_virtual("phone", "south", "ops", allowance=8)
    assert await site.stock("phone", "south") == {"available": 8, "virtual": 8}
    too_many = await office.draft(Item(1, "phone", 9, presale=True))
    await office.life.submit(too_many, 1, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(too_many, 1, "boss", is_admin=False)
    code = await office.running(Item(1, "phone", 5, presale=True))
    assert await site.stock("phone", "south") == {"available": 3, "campaign": 5, "virtual": 8}
    await site.sell(f"{code}-1", "ann", 2)
    await site.node.is_applied()
    await office.course.end(code, "ops")
    await site.carried_out()
    assert await site.stock("phone", "south") == {"available": 3, "campaign": 2, "virtual": 5}
    await site.adds_up()
    again = await office.running(Item(1, "phone", 6, presale=True))
    assert await site.stock("phone", "south") == {"campaign": 8, "virtual": 8}
    assert again != code


async def test_one_payment_pays_one_thing(office):
    await office.site.sku("phone", price_minor=50_000)
    await office.site.allow_virtual("phone", "south", 8)
    code = await office.running(Item(1, "phone", 8, presale=True), Item(2, "mug", 3))
    await office.site.sell(f"{code}-1", "ann")
    await office.site.sell(f"{code}-1", "bob")
    await office.site.sell(f"{code}-2", "eve")
    await office.site.node.is_applied()
    ann, bob = [await office.site.order_of(f"{code}-1", name) for name in ("ann", "bob")]
    await office.balances.pay(ann, "rest", "ops")
    for payment in ("rest", "pay-eve"):
        with pytest.raises(PaymentRefUsed):
            await office.balances.pay(bob, payment, "ops")
    with pytest.raises(NoBalanceDue):
        await office.balances.pay(await office.site.order_of(f"{code}-2", "eve"), "more", "ops")
    with pytest.raises(UnknownOrder):
        await office.balances.pay("123", "more", "ops")
