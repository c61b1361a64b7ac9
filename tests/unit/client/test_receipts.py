"""Receipts of holds are kept, and shown when they are paid for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flashstock.client import Line, Wish
from flashstock.errors import SoldOut
from tests.unit.client.scripted import HELD, SOLD_OUT, answer


def held(name: str, **more: Any) -> dict[str, Any]:
    return {**HELD, "id": name, "receipt": f"receipt of {name}", **more}


def sold(name: str) -> dict[str, Any]:
    return held(name, state="confirmed", payment_ref="pay", order_no="1")


def shown(body: str) -> str | None:
    receipt: str | None = json.loads(body).get("receipt")
    return receipt


async def test_the_receipt_of_a_hold_is_shown_when_it_is_paid_and_then_forgotten(
    service, client_of
):
    service.answers = [answer(held("p~1"), 201), answer(sold("p~1")), answer(sold("p~1"))]
    async with client_of(service) as client:
        granted = await client.reserve("p", "b", 1, "k")
        await client.confirm("p~1", "pay")
        await client.confirm("p~1", "pay")
    assert granted.reservation.receipt == "receipt of p~1"
    assert [shown(body) for body in service.bodies[1:]] == ["receipt of p~1", None]


async def test_a_receipt_of_another_client_is_shown_instead_of_ones_own(service, client_of):
    service.answers = [answer(held("p~1"), 201), answer(sold("p~1"))]
    async with client_of(service) as client:
        await client.reserve("p", "b", 1, "k")
        await client.confirm("p~1", "pay", receipt="another")
    assert shown(service.bodies[1]) == "another"


async def test_a_hold_that_nobody_was_told_of_is_paid_without(service, client_of):
    service.answers = [answer(sold("p~1"))]
    async with client_of(service) as client:
        await client.confirm("p~1", "pay")
    assert service.bodies == ['{"payment_ref":"pay"}']


@pytest.mark.parametrize("state", ["cancelled", "revoked", "returned"])
async def test_what_can_not_be_paid_any_more_is_forgotten(service, client_of, state):
    ended = held("p~1", state=state)
    service.answers = [answer(held("p~1"), 201), answer(ended), answer(sold("p~1"))]
    async with client_of(service) as client:
        await client.reserve("p", "b", 1, "k")
        await client.cancel("p~1")
        await client.confirm("p~1", "pay")
    assert shown(service.bodies[2]) is None


async def test_the_newest_are_kept_where_there_are_too_many(service, client_of):
    service.answers = [
        *(answer(held(name), 201) for name in ("p~1", "p~2", "p~3")),
        answer(sold("p~0")),
    ]
    async with client_of(service, receipts_max=2) as client:
        for number in range(3):
            await client.reserve("p", "b", 1, f"k{number}")
        for name in ("p~1", "p~2", "p~3"):
            await client.confirm(name, "pay")
    assert [shown(body) for body in service.bodies[3:]] == [
        None,
        "receipt of p~2",
        "receipt of p~3",
    ]


async def test_carts_and_batches_are_kept_too(service, client_of):
    cart = {"id": "c", "buyer": "b", "reservations": [held("p~1"), held("q~1")]}
    batch = {"items": [{"status": 201, **held("p~2")}, {**SOLD_OUT, "status": 409}]}
    service.answers = [answer(cart, 201), answer(batch), answer(sold("x"))]
    async with client_of(service) as client:
        await client.reserve_cart("b", [Line("p", 1), Line("q", 1)], "k")
        first, second = await client.reserve_many(
            [Wish("k1", "p", "b", 1), Wish("k2", "p", "c", 1)]
        )
        for name in ("p~1", "q~1", "p~2"):
            await client.confirm(name, "pay")
    assert first.id == "p~2"
    assert isinstance(second, SoldOut)
    assert second.extra == {"available": 0}
    assert json.loads(service.bodies[1]) == {
        "items": [
            {"idempotency_key": "k1", "pool": "p", "buyer": "b", "quantity": 1},
            {"idempotency_key": "k2", "pool": "p", "buyer": "c", "quantity": 1},
        ]
    }
    assert [shown(body) for body in service.bodies[2:]] == [
        "receipt of p~1",
        "receipt of q~1",
        "receipt of p~2",
    ]
