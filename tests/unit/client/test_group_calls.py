"""The client's calls about groups: what they send, and how answers are typed."""

from __future__ import annotations

import json

import pytest

from flashstock.client import Attests, GroupBuy, PoolOrder, Tier
from flashstock.errors import GroupFull
from tests.unit.client.scripted import HELD, answer

GROUP = "p~0123456789abcdef"
PROGRESS = {
    "state": "open",
    "size": 3,
    "paid": 1,
    "pending": 1,
    "house": 0,
    "missing": 2,
    "free_seats": 1,
    "ends_at": "2026-11-22T03:00:00.123Z",
    "time_left_ms": 1_500,
    "price_minor": None,
    "next_price": {"seats": 2, "price_minor": 1_990, "missing": 1},
}
LINE = {"id": GROUP, "pool": "p", "type": "super", **PROGRESS, "opener": GROUP}
SEAT = {**HELD, "group": GROUP, "group_now": PROGRESS}
FULL = {"code": "group_full", "title": "T", "status": 409, "detail": "d", "missing": 1}


async def test_seats_are_asked_for_as_the_interface_names_them(service, client_of):
    service.answers = [
        answer(SEAT, 201),
        answer(SEAT, 201),
        answer(SEAT, Idempotency_Replayed="true"),
    ]
    async with client_of(service) as client:
        opened = await client.open_group("p", "b", "k-1")
        matched = await client.open_group("p", "b", "k-2", quantity=2, match=True)
        joined = await client.join_group(GROUP, "b", "k-3", attests=Attests(new_buyer=True))
    assert [(method, path) for method, path, _, _ in service.received] == [
        ("POST", "/v1/groups"),
        ("POST", "/v1/groups"),
        ("POST", f"/v1/groups/{GROUP}/join"),
    ]
    assert [json.loads(body) for body in service.bodies] == [
        {"pool": "p", "buyer": "b", "quantity": 1},
        {"pool": "p", "buyer": "b", "quantity": 2, "match": True},
        {"buyer": "b", "quantity": 1, "attests": {"new_buyer": True}},
    ]
    assert [headers["Idempotency-Key"] for _, _, headers, _ in service.received] == [
        "k-1",
        "k-2",
        "k-3",
    ]
    assert [seat.replayed for seat in (opened, matched, joined)] == [False, False, True]
    assert opened.reservation.group == GROUP
    now = opened.reservation.group_now
    assert now is not None
    assert (now.free_seats, now.next_price.missing if now.next_price else 0) == (1, 1)


async def test_the_receipt_of_a_seat_is_shown_at_its_payment(service, client_of):
    service.answers = [answer(SEAT, 201), answer({**SEAT, "state": "confirmed"})]
    async with client_of(service) as client:
        seat = (await client.open_group("p", "b", "k")).reservation
        await client.confirm(seat.id, "pay-1")
    assert json.loads(service.bodies[1]) == {"payment_ref": "pay-1", "receipt": HELD["receipt"]}


async def test_a_full_group_says_so(service, client_of):
    service.answers = [answer(FULL, 409)]
    async with client_of(service) as client:
        with pytest.raises(GroupFull) as refusal:
            await client.join_group(GROUP, "b", "k")
    assert refusal.value.extra["missing"] == 1


async def test_groups_are_typed_and_read_to_the_last_page(service, client_of):
    seat = {"reservation": GROUP, "buyer": "b", "quantity": 1, "state": "held", "opener": True}
    service.answers = [
        answer({**LINE, "reason": None, "members": [seat]}),
        answer({"items": [LINE], "next_after": "1000~x"}),
        answer({"items": [LINE, LINE], "next_after": None}),
    ]
    async with client_of(service) as client:
        found = await client.group(GROUP)
        listed = [group.id async for group in client.open_groups("p")]
    assert found.members[0].opener
    assert found.type == "super"
    assert listed == [GROUP] * 3
    assert service.received[2][1] == "/v1/groups?pool=p&after=1000~x"


async def test_the_rules_of_a_pool_are_sent_without_what_goes_without_saying(service, client_of):
    pool = {"id": "p", "state": "open", "total": 1, "available": 1, "held": 0, "sold": 0}
    rules = {"size": 3, "life_seconds": 60, "type": "super", "seats_per_buyer": 1, "deduct": "pay"}
    service.answers = [answer({**pool, "group_buy": {**rules, "house_max": 0}}, 201)]
    wanted = GroupBuy(size=3, life_seconds=60, type="super", tiers=(Tier(2, 1_990),))
    async with client_of(service) as client:
        made = await client.open_pool(PoolOrder("p", "s", 1, group_buy=wanted))
    assert json.loads(service.bodies[0])["group_buy"] == {
        "size": 3,
        "life_seconds": 60,
        "type": "super",
        "tiers": [{"seats": 2, "price_minor": 1_990}],
    }
    assert made.group_buy is not None
    assert made.group_buy.size == 3
