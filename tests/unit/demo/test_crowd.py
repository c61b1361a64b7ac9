"""The crowd takes an honest shop at its word, and catches one that breaks it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from flashstock.client import Granted, Reservation
from flashstock.demo.crowd import Crowd
from flashstock.demo.holds import CrowdHold, Fate
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace, now_ms
from flashstock.demo.scenario import Again, Intent, Phase, plan
from flashstock.errors import SoldOut, Unavailable
from flashstock.model.states import ReservationState
from flashstock.report.overlap import Promise, promised_at_once_max
from tests.unit.demo.shop import HonestShop

HOLD_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Quick(DemoOptions):
    """Options whose holds are over sooner than a whole second."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hold_seconds", HOLD_SECONDS)


QUICK = Quick(units=40, buyers=300, requests=900, concurrency=32)


def shop_of(kind: type[HonestShop], units: int = QUICK.units) -> HonestShop:
    return kind(units, HOLD_SECONDS, QUICK.per_buyer_limit)


async def played(shop: HonestShop, **changes: Any) -> Crowd:
    visits = [visit._replace(**changes) for visit in plan(QUICK)]
    crowd = Crowd(shop, QUICK, "p", "run", Pace(now_ms(), shop.tally), shop.tally)
    await crowd.play(visits)
    return crowd


async def rushed(shop: HonestShop, **changes: Any) -> Crowd:
    """Everybody at once, with nobody waiting for a better moment."""
    return await played(shop, phase=Phase.RUSH, after_seconds=0.0, **changes)


async def test_an_honest_shop_is_believed_and_every_story_is_told():
    shop = shop_of(HonestShop)
    crowd = await played(shop)
    assert crowd.broken_promises == []
    assert crowd.repeats_checked > 5
    counts = crowd.counts()
    for fate in (Fate.OPEN, Fate.CONFIRMED, Fate.CANCELLED):
        assert counts[fate] > 0, fate
    assert counts[Fate.UNTOLD] == 0
    await asyncio.sleep(HOLD_SECONDS)
    assert crowd.expired() == counts[Fate.OPEN] + counts[Fate.REFUND_DUE]
    assert shop.tally.refused["sold_out"] > 100
    granted = sum(hold.quantity for hold in crowd.holds.values())
    assert granted > QUICK.units, "released units were not sold again"
    shop.sweep()
    for hold in crowd.holds.values():
        assert shop.by_id[hold.reservation].state in hold.acknowledged().states
    promises = [promise for hold in crowd.holds.values() for promise in hold.promises()]
    assert 0 < promised_at_once_max(promises) <= QUICK.units
    assert shop.tally.requests >= QUICK.requests


async def test_late_payers_are_served_or_owed_a_refund():
    shop = shop_of(HonestShop)
    crowd = await played(shop, intent=Intent.PAY_LATE)
    counts = crowd.counts()
    late = [hold for hold in crowd.holds.values() if hold.fate is Fate.CONFIRMED]
    assert late
    assert all(hold.paid_late for hold in late)
    assert counts[Fate.REFUND_DUE] == shop.tally.refused["refund_due"]
    assert counts[Fate.CONFIRMED] + counts[Fate.REFUND_DUE] == len(crowd.holds)


class SecondHold(HonestShop):
    """Forgets keys: a repetition is another hold."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        return await super().reserve(pool, buyer, quantity, f"{key}-{self.tally.requests}")


class RefusesRepeats(HonestShop):
    """Answers "sold out" to whoever has a hold already."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        granted = await super().reserve(pool, buyer, quantity, key)
        if granted.replayed:
            raise SoldOut
        return granted


class SilentReplay(HonestShop):
    """Gives the same hold and does not say that it is one."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        granted = await super().reserve(pool, buyer, quantity, key)
        return granted._replace(replayed=False)


class OrderTwice(HonestShop):
    """Gives a new order number to a payment that is repeated."""

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        paid = await super().confirm(reservation, payment_ref)
        return msgspec.structs.replace(paid, order_no=str(self.tally.requests))


class SameHoldForTwo(HonestShop):
    """Gives one reservation to whoever comes."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        granted = await super().reserve(pool, buyer, quantity, key)
        return granted._replace(
            reservation=msgspec.structs.replace(granted.reservation, id="p~same")
        )


@pytest.mark.parametrize(
    ("shop", "again", "intent", "words"),
    [
        (SecondHold, Again.REPEAT, Intent.ABANDON, "then p~"),
        (SecondHold, Again.DOUBLE, Intent.ABANDON, "at once got two holds"),
        (RefusesRepeats, Again.REPEAT, Intent.ABANDON, "got sold_out"),
        (RefusesRepeats, Again.DOUBLE, Intent.ABANDON, "got sold_out"),
        (SilentReplay, Again.REPEAT, Intent.ABANDON, "does not say"),
        (OrderTwice, Again.REPEAT, Intent.PAY, "paid once, got orders"),
        (SameHoldForTwo, Again.NO, Intent.ABANDON, "given to two requests"),
    ],
)
async def test_a_broken_promise_is_noticed(shop, again, intent, words):
    crowd = await rushed(shop_of(shop, units=1_000), again=again, intent=intent)
    assert crowd.broken_promises
    assert any(words in broken for broken in crowd.broken_promises)


class Oversells(HonestShop):
    """Has a third more than it says."""

    def __init__(self, units: int, hold_seconds: float, per_buyer_limit: int) -> None:
        super().__init__(units + units // 3, hold_seconds, per_buyer_limit)


async def test_an_oversale_shows_in_what_was_promised_at_once():
    crowd = await rushed(shop_of(Oversells), intent=Intent.PAY)
    promises = [promise for hold in crowd.holds.values() for promise in hold.promises()]
    assert promised_at_once_max(promises) > QUICK.units


class Away(HonestShop):
    """Answers nothing that ends a hold."""

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        raise Unavailable

    async def cancel(self, reservation: str) -> Reservation:
        raise Unavailable


async def test_what_no_answer_told_is_not_taken_for_a_promise():
    crowd = await rushed(shop_of(Away))
    untold = [hold for hold in crowd.holds.values() if hold.fate is Fate.UNTOLD]
    assert untold
    assert untold[0].acknowledged().states == frozenset(ReservationState)


class NeverAnswers(HonestShop):
    """Answers no reservation at all."""

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        self.tally.observe("reserve", None, 0.0)
        raise Unavailable


async def test_units_of_unanswered_requests_are_counted_as_uncertain():
    crowd = await rushed(shop_of(NeverAnswers), again=Again.DOUBLE, quantity=2)
    assert crowd.holds == {}
    assert crowd.broken_promises == []
    assert crowd.untold_units >= QUICK.requests - 2 * QUICK.concurrency


def hold(fate: Fate, **more: Any) -> CrowdHold:
    return CrowdHold("p~1", "p", "b", 2, acknowledged_ms=100, expires_ms=200, fate=fate, **more)


@pytest.mark.parametrize(
    ("story", "promises"),
    [
        (hold(Fate.OPEN), [Promise(100, 200, 2)]),
        (hold(Fate.REFUND_DUE), [Promise(100, 200, 2)]),
        (hold(Fate.CONFIRMED, paid_ms=150), [Promise(100, None, 2)]),
        (hold(Fate.CONFIRMED, paid_ms=250), [Promise(100, 200, 2), Promise(250, None, 2)]),
        (hold(Fate.CANCELLED, cancel_sent_ms=130), [Promise(100, 130, 2)]),
        (hold(Fate.UNTOLD, cancel_sent_ms=230), [Promise(100, 200, 2)]),
    ],
)
def test_when_the_units_were_certainly_the_buyers(story, promises):
    assert list(story.promises()) == promises
