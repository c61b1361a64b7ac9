"""Carts: every line or none."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import Verdict
from flashstock.model.rules import PoolCounters, Wave
from flashstock.model.states import PoolState, ReservationState
from tests.reference.asking import HOLD_MS, create, hold, key, target
from tests.reference.subjects import START_MS


async def ask(store, *lines, buyer="a", cart="cart"):
    """``lines`` are (pool, number of the key, quantity)."""
    asked = [(pool, key(number), quantity) for pool, number, quantity in lines]
    return await store.reserve_cart(0, cart, buyer, asked)


def verdicts_of(reply):
    return [line.verdict for line in reply.lines]


async def test_every_line_is_held(subject, store):
    await create(store, "p")
    await create(store, "q", hold_ms=2 * HOLD_MS)
    reply = await ask(store, ("p", 1, 2), ("q", 2, 3))
    assert reply.held
    assert verdicts_of(reply) == [Verdict.HELD, Verdict.HELD]
    assert [line.available for line in reply.lines] == [8, 7]
    p, q = (line.record for line in reply.lines)
    assert (p.pool, p.buyer, p.cart, p.quantity) == ("p", "a", "cart", 2)
    assert (p.deadline_ms, q.deadline_ms) == (START_MS + HOLD_MS, START_MS + 2 * HOLD_MS)
    assert (p.seq, q.seq, reply.seq) == (3, 4, 4)
    assert (await subject.state(["p", "q"])).records == {key(1): p, key(2): q}


async def test_a_line_of_a_cart_is_a_reservation_like_any_other(store):
    await create(store, "p")
    await ask(store, ("p", 1, 2))
    assert (await store.confirm(target("p", 1), "pay")).record.state is ReservationState.CONFIRMED


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ({"total": 1}, Verdict.SOLD_OUT),
        ({"per_buyer_limit": 1}, Verdict.BUYER_LIMIT),
        ({"starts_at_ms": START_MS + 1}, Verdict.NOT_STARTED),
        ({"ends_at_ms": START_MS}, Verdict.ENDED),
        ({"state": PoolState.CLOSED}, Verdict.ENDED),
        ({"state": PoolState.PAUSED}, Verdict.PAUSED),
    ],
    ids=["sold out", "limit", "not started", "ended", "closed", "paused"],
)
async def test_one_line_that_is_refused_refuses_all(subject, store, rules, verdict):
    await create(store, "p")
    await create(store, "q", **rules)
    before = await subject.state(["p", "q"])
    reply = await ask(store, ("p", 1, 2), ("q", 2, 2))
    assert not reply.held
    assert verdicts_of(reply) == [Verdict.HELD, verdict]
    assert [line.record for line in reply.lines] == [None, None]
    assert reply.lines[1].available == (await store.snapshot("q")).counters.available
    assert await subject.state(["p", "q"]) == before


async def test_a_pool_that_does_not_exist_refuses_all(store):
    await create(store, "p")
    reply = await ask(store, ("p", 1, 2), ("nowhere", 2, 1))
    assert not reply.held
    assert verdicts_of(reply) == [Verdict.HELD, Verdict.UNKNOWN_POOL]
    assert (await store.snapshot("p")).counters.held == 0


async def test_a_repetition_is_answered_with_the_first_cart(subject, store):
    await create(store, "p")
    await create(store, "q")
    first = await ask(store, ("p", 1, 2), ("q", 2, 3))
    before = await subject.state(["p", "q"])
    again = await ask(store, ("p", 1, 2), ("q", 2, 3))
    assert again.held
    assert verdicts_of(again) == [Verdict.REPLAYED, Verdict.REPLAYED]
    assert [line.record for line in again.lines] == [line.record for line in first.lines]
    assert await subject.state(["p", "q"]) == before


@pytest.mark.parametrize(
    ("buyer", "cart", "quantity"), [("b", "cart", 2), ("a", "another", 2), ("a", "cart", 1)]
)
async def test_a_key_used_for_something_else_is_refused(store, buyer, cart, quantity):
    await create(store, "p")
    await create(store, "q")
    await ask(store, ("p", 1, 2))
    reply = await ask(store, ("p", 1, quantity), ("q", 2, 1), buyer=buyer, cart=cart)
    assert verdicts_of(reply) == [Verdict.MISMATCH, Verdict.HELD]
    assert not reply.held
    assert (await store.snapshot("q")).counters.held == 0


async def test_a_key_that_reserved_alone_is_not_a_carts(store):
    await create(store, "p")
    await hold(store, "p", (1, "a", 2))
    reply = await ask(store, ("p", 1, 2))
    assert verdicts_of(reply) == [Verdict.MISMATCH]


async def test_time_is_settled_even_where_the_cart_is_refused(subject, store):
    """Due waves and expired holds are decided by time alone, whoever looks first."""
    await create(store, "p", total=5, locked=2, waves=(Wave(START_MS + HOLD_MS, 2),))
    await hold(store, "p", (1, "a", 3))
    await subject.set_clock(START_MS + HOLD_MS)
    reply = await ask(store, ("p", 2, 6), buyer="b")
    assert not reply.held
    assert (verdicts_of(reply), reply.lines[0].available) == ([Verdict.SOLD_OUT], 5)
    assert (await store.snapshot("p")).counters == PoolCounters(5, 5, 0, 0, 0)
    assert (await ask(store, ("p", 3, 5), buyer="b")).held


@pytest.mark.parametrize("second", [("p", 2, 6), ("q", 1, 1)], ids=["pool", "key"])
async def test_nothing_comes_twice_in_a_cart(subject, store, second):
    """Each line is measured against the whole pool: together two could take what is not there."""
    await create(store, "p")
    await create(store, "q")
    before = await subject.state(["p", "q"])
    reply = await ask(store, ("p", 1, 6), second)
    assert not reply.held
    assert verdicts_of(reply) == [Verdict.HELD, Verdict.MISMATCH]
    assert await subject.state(["p", "q"]) == before
