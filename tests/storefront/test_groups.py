"""Group-buys in the shop over HTTP, as the scripts of its pages ask, on a real service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.processes import Service, eventually

pytestmark = pytest.mark.acceptance

HTML = {"accept": "text/html"}


@pytest.fixture
def rival(service: Service) -> Iterator[httpx.Client]:
    with service.client() as rival:
        rival.get("/demo")
        yield rival


def sale_to_groups(visitor: httpx.Client, **rules: Any) -> str:
    """The pool."""
    pool = f"together-{uuid4().hex[:8]}"
    body = {"id": pool, "sku": "s", "quantity": 9, "group_buy": {"size": 2, **rules}}
    assert visitor.post("/v1/pools", json=body).status_code == 201
    return pool


def opened(visitor: httpx.Client, pool: str, *, match: bool = False) -> Any:
    """The seat of whoever asks for one in a group of his own."""
    wish = {"key": uuid4().hex, "match": match}
    answer = visitor.post(f"/demo/sales/{pool}/open-group", json=wish)
    assert answer.status_code == 201, answer.text
    return answer.json()


def join(visitor: httpx.Client, group: str, key: str = "") -> httpx.Response:
    return visitor.post(f"/demo/groups/{group}/join", json={"key": key or uuid4().hex})


def pay(visitor: httpx.Client, seat: Any) -> httpx.Response:
    return visitor.post(f"/demo/reservations/{seat['id']}/pay", json={"receipt": seat["receipt"]})


def state(visitor: httpx.Client, group: str) -> Any:
    return visitor.get(f"/demo/groups/{group}/state").json()


def test_the_form_starts_a_sale_to_groups(visitor):
    fields = {"units": 4, "opens_in_seconds": 0, "hold_seconds": 60, "per_buyer_limit": 1}
    groups = {"group_size": 3, "group_life_seconds": 90}
    made = visitor.post("/demo/sales", data={**fields, **groups})
    pool = made.headers["location"].rpartition("/")[2]
    rules = visitor.get(f"/v1/pools/{pool}").json()["group_buy"]
    assert (rules["size"], rules["life_seconds"]) == (3, 90)
    page = visitor.get(f"/demo/sales/{pool}", headers=HTML)
    assert "groups.js" in page.text
    assert "3 paid seats" in page.text
    assert f"{pool}</a> <span" in visitor.get("/demo", headers=HTML).text
    wrong = visitor.post("/demo/sales", data={**fields, "group_size": 1})
    assert wrong.status_code == 422
    alone = visitor.post("/demo/sales", data={**fields, "group_size": 0})
    page = visitor.get(alone.headers["location"], headers=HTML)
    assert "sale.js" in page.text


def test_two_buy_together_and_each_sees_only_his_own_seat(visitor, rival):
    pool = sale_to_groups(visitor)
    mine = opened(visitor, pool)
    group = mine["group"]
    listed = rival.get(f"/demo/sales/{pool}/groups").json()
    assert [(one["id"], one["missing"]) for one in listed["items"]] == [(group, 2)]
    assert visitor.get(f"/demo/groups/{group}", headers=HTML).status_code == 200
    his = join(rival, group).json()
    assert his["group"] == group
    assert pay(visitor, mine).json()["state"] == "confirmed"

    def both() -> Any:
        found = state(rival, group)
        return found if (found["paid"], found["pending"]) == (1, 1) else None

    found = eventually(both, "the page follows")
    assert found["yours"] == [his["id"]]
    assert found["members"] == [
        {"state": "confirmed", "opener": True, "yours": False},
        {"state": "held", "opener": False, "yours": True},
    ]
    names = [client.cookies["flashstock_buyer"] for client in (visitor, rival)]
    shown = rival.get(f"/demo/groups/{group}/state").text
    assert not any(name in shown for name in names)
    assert mine["id"] not in found["yours"]
    paid = pay(rival, his).json()
    assert (paid["state"], bool(paid["order_no"])) == ("confirmed", True)
    eventually(lambda: state(visitor, group)["state"] == "formed", "both see that it has formed")
    late = join(visitor, group)
    assert (late.status_code, late.json()["code"]) == (409, "group_over")


def test_a_seat_is_taken_once_per_key_and_nobody_has_a_hand_on_anothers(visitor, rival):
    pool = sale_to_groups(visitor, size=3)
    group = opened(visitor, pool)["group"]
    first, again = (join(rival, group, "the-very-same").json() for _ in range(2))
    assert first["id"] == again["id"]
    assert visitor.get(f"/v1/groups/{group}").json()["pending"] == 2
    limited = join(rival, group)
    assert (limited.status_code, limited.json()["code"]) == (409, "seats_limit")
    for answer in (
        visitor.post(f"/demo/reservations/{first['id']}/let-go", json={}),
        visitor.post(f"/demo/reservations/{first['id']}/pay", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_reservation")


def test_matched_into_the_group_that_is_nearest_to_full(visitor, rival):
    pool = sale_to_groups(visitor, size=3)
    group = opened(visitor, pool)["group"]
    assert opened(rival, pool, match=True)["group"] == group


def test_who_leaves_paid_is_paid_back(visitor, rival):
    pool = sale_to_groups(visitor)
    mine = opened(visitor, pool)
    pay(visitor, mine)
    left = visitor.post(f"/demo/reservations/{mine['id']}/let-go", json={}).json()
    assert left["state"] == "refunded"
    eventually(lambda: state(rival, mine["group"])["state"] == "failed", "nobody is left in it")
    assert state(rival, mine["group"])["reason"] == "abandoned"
    due = [one["reservation"] for one in visitor.get("/v1/ops/refunds").json()["items"]]
    assert mine["id"] in due


def test_prices_by_size_are_told(visitor):
    tiers = [{"seats": 1, "price_minor": 1_990}, {"seats": 2, "price_minor": 1_490}]
    pool = sale_to_groups(visitor, type="super", tiers=tiers)
    mine = opened(visitor, pool)
    pay(visitor, mine)
    eventually(lambda: state(visitor, mine["group"])["price_minor"] == 1_990, "the first price")
    next_price = {"seats": 2, "price_minor": 1_490, "missing": 1}
    assert state(visitor, mine["group"])["next_price"] == next_price
    assert "1,490 from 2 paid seats" in visitor.get(f"/demo/groups/{mine['group']}").text


@pytest.mark.parametrize("body", [{"key": "short"}, {"key": "long-enough", "more": 1}, {}])
def test_a_wish_for_a_seat_that_is_none_is_refused(visitor, body):
    for path in ("/demo/sales/any/open-group", "/demo/groups/any/join"):
        answer = visitor.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("path", ["/demo/sales/any/open-group", "/demo/groups/any/join"])
def test_another_site_takes_no_seats(visitor, path):
    answer = visitor.post(
        path, json={"key": "long-enough"}, headers={"origin": "http://evil.example"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_what_is_no_group_is_said_in_words(visitor):
    page = visitor.get("/demo/groups/none", headers=HTML)
    assert page.status_code == 404
    assert "There is no such group" in page.text
    assert visitor.get("/demo/groups/none/state").json()["code"] == "unknown_group"
    plain = f"plain-{uuid4().hex[:8]}"
    visitor.post("/v1/pools", json={"id": plain, "sku": "s", "quantity": 1})
    answer = visitor.get(f"/demo/sales/{plain}/groups")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_group_buy")
