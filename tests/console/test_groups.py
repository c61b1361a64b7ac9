"""Group-buys at the console: opened by forms, watched live, seats taken back by the house."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from flashstock.console.group_subjects import GROUPS_SHOWN
from tests.acceptance.processes import eventually
from tests.console.conftest import BUYER, Shop, moment
from tests.console.visitor import Visitor, events

LEFT = re.compile(r'data-testid="time-left">([^<]+) left<')
STATE = re.compile(r'data-testid="group-state">\s*<span class="chip[^"]*">(\w+)<')


def tile(picture: str, name: str) -> str:
    found = re.search(rf'data-testid="{name}">.*?<strong>([^<]*)</strong>', picture, re.DOTALL)
    assert found, name
    return found[1]


def newest(visitor: Visitor, topic: str) -> str:
    """What is shown to somebody who watches from now on."""
    with visitor.client.stream("GET", f"/console/live/{topic}") as response:
        return events(response, 1)[0]


def opened(shop: Shop, pool: str, buyer: str) -> str:
    """The group that a buyer opened."""
    body = {"pool": pool, "buyer": buyer}
    group: str = shop.api("POST", "/v1/groups", body, key=f"open-{pool}-{buyer}")["group"]
    return group


def joined(shop: Shop, group: str, buyer: str) -> str:
    path = f"/v1/groups/{group}/join"
    seat: str = shop.api("POST", path, {"buyer": buyer}, key=f"join-{group}-{buyer}")["id"]
    return seat


def pay(shop: Shop, seat: str) -> Any:
    path = f"/v1/reservations/{seat}/confirm"
    return shop.api("POST", path, {"payment_ref": f"pay-{seat}"})


def made_pool(visitor: Visitor, pool: str, **fields: str) -> None:
    usual = {"id": pool, "sku": "TEA", "quantity": "90", "hold_seconds": "600"}
    said = visitor.do("/console/pools", "/console/new-pool", **usual, **fields)
    assert said == f"Pool {pool} was created."


def test_a_pool_sells_to_groups_as_its_form_says(shop: Shop):
    visitor = shop.visitor("ops")
    fields = {
        "group_size": "3",
        "group_life_seconds": "3600",
        "group_type": "super",
        "group_deduct": "form",
        "group_seats_per_buyer": "2",
        "group_groups_per_buyer": "4",
        "group_open_max": "5",
        "group_house_max": "1",
        "group_tiers": "1 1990\r\n3 1490\r\n",
    }
    made_pool(visitor, "matcha", **fields)
    assert shop.pool("matcha")["group_buy"] == {
        "size": 3,
        "life_seconds": 3_600,
        "type": "super",
        "deduct": "form",
        "seats_per_buyer": 2,
        "groups_per_buyer": 4,
        "open_max": 5,
        "house_max": 1,
        "tiers": [{"seats": 1, "price_minor": 1_990}, {"seats": 3, "price_minor": 1_490}],
    }
    assert "from 3 seats 1,490 minor units" in visitor.get("/console/pools/matcha")
    assert "/console/groups/of/matcha" in visitor.get("/console/groups")
    assert "/console/groups/of/mugs" not in visitor.get("/console/groups")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"group_size": "1"}, "group_buy.size"),
        ({"group_size": "x"}, "group_size"),
        ({"group_life_seconds": "60"}, "group_size"),
        ({"group_tiers": "2 10"}, "group_size"),
        ({"group_size": "3", "group_tiers": "two 10"}, "group_tiers"),
        ({"group_size": "3", "group_tiers": "2 10"}, "super"),
        ({"group_size": "3", "group_type": "secret"}, "group_buy.type"),
    ],
)
def test_group_rules_that_can_not_be_are_told(shop: Shop, fields: dict[str, str], named: str):
    usual = {"id": "wrong", "sku": "TEA", "quantity": "9"}
    said = shop.visitor("ops").do("/console/pools", "/console/new-pool", **usual, **fields)
    assert said.startswith("Not done")
    assert named in said


def test_an_item_of_a_campaign_keeps_its_groups_through_an_edit(shop: Shop):
    visitor = shop.visitor("ops")
    item = {"sku-0": "SKU-1", "quantity-0": "9", "group_size-0": "2", "group_life_seconds-0": "60"}
    fields = {"name": "Together", "starts_at": moment(600), "ends_at": moment(3_600), **item}
    sent = visitor.send(
        "/console/campaigns", "/console/new-campaign", idempotency_key="together", **fields
    )
    page = sent.headers["location"]
    form = visitor.get(f"{page}/edit")
    assert (
        'name="group_size-0" type="number" inputmode="numeric" min="2" max="1000" value="2"' in form
    )
    assert "to groups:" in visitor.get(page)
    edited = {**fields, "group_size-0": "4", "revision": "1", "number-0": "1"}
    visitor.do(f"{page}/edit", f"{page}/edit", **edited)
    code = page.rpartition("/")[2]
    rules = shop.api("GET", f"/v1/campaigns/{code}")["latest"]["items"][0]["group_buy"]
    assert (rules["size"], rules["life_seconds"]) == (4, 60)


def test_open_groups_are_listed_live_nearest_to_full_first_and_counted(shop: Shop):
    visitor = shop.visitor("ops")
    made_pool(visitor, "oolong", group_size="3")
    far, near = opened(shop, "oolong", "ann"), opened(shop, "oolong", "bea")
    joined(shop, near, "cid")
    page = visitor.get("/console/groups/of/oolong")
    assert page.index(f"/console/groups/{near}") < page.index(f"/console/groups/{far}")
    assert f"/console/groups/{far}" in newest(visitor, "groups/oolong")
    seats = [near, joined(shop, near, "dan")]
    members = shop.api("GET", f"/v1/groups/{near}")["members"]
    seats += [member["reservation"] for member in members if member["buyer"] == "cid"]
    assert [pay(shop, seat)["group_now"]["state"] for seat in seats] == ["open", "open", "formed"]
    shop.api("POST", f"/v1/reservations/{far}/cancel")

    def counted() -> list[str]:
        picture = newest(visitor, "groups/oolong")
        return [tile(picture, name) for name in ("open", "formed", "failed")]

    eventually(lambda: counted() == ["0", "1", "1"], "one has formed, one has failed")

    def row() -> list[str]:
        listed = visitor.get("/console/groups")
        line = listed[listed.index("/console/groups/of/oolong") :].partition("</tr>")[0]
        return re.findall(r'<td class="n">([\d,]+)</td>', line)

    eventually(lambda: row() == ["0", "1", "1", "87", "3"], "the list follows")


def test_open_groups_come_in_pages(shop: Shop):
    visitor = shop.visitor("ops")
    made_pool(visitor, "bancha", group_size="3")
    for number in range(GROUPS_SHOWN + 1):
        opened(shop, "bancha", f"buyer-{number}")
    link = re.compile(r"/console/groups/(bancha~[A-Za-z0-9_-]{16})")
    page = "/console/groups/of/bancha"
    first = visitor.get(page)
    found = re.search(r'href="(\?after=[^"]+)" rel="next"', first)
    assert found
    second = visitor.get(page + unescape(found[1]))
    assert (len(link.findall(first)), len(link.findall(second))) == (GROUPS_SHOWN, 1)
    assert not set(link.findall(first)) & set(link.findall(second))
    assert 'rel="next"' not in second


def test_one_group_is_shown_live_with_its_members_and_what_happened(shop: Shop):
    visitor = shop.visitor("ops")
    page = visitor.get(f"/console/groups/{shop.group}")
    assert BUYER not in page
    with visitor.client.stream("GET", f"/console/live/group/{shop.group}") as response:
        first, _, later = events(response, 3)
    assert STATE.findall(first) == ["open"]
    assert [tile(first, name) for name in ("missing", "paid", "pending")] == ["3", "0", "1"]
    assert LEFT.search(first)
    assert LEFT.findall(first) != LEFT.findall(later), "it ticks"
    pay(shop, shop.group)
    joined(shop, shop.group, "eve")

    def both() -> str:
        picture = newest(visitor, f"group/{shop.group}")
        counted = [tile(picture, name) for name in ("missing", "paid", "pending")]
        return picture if counted == ["2", "1", "1"] and "eve took a seat" in picture else ""

    picture = eventually(both, "the picture follows")
    assert "1,990 minor units; 1,490 minor units with 2 more" in re.sub(r"\s+", " ", picture)
    assert "leads it" in picture
    assert "opened it" in picture
    assert "the group was opened" in picture
    assert re.search(r"has (\d+ min \d+ s|1[45] min) to pay", picture)


@pytest.mark.parametrize("deduct", ["pay", "form"])
def test_the_house_takes_a_paid_seat_back_and_the_refund_is_due(shop: Shop, deduct: str):
    visitor = shop.visitor("ops")
    pool = f"sencha-{deduct}"
    made_pool(visitor, pool, group_size="3", group_deduct=deduct)
    group = opened(shop, pool, "fay")
    seat = joined(shop, group, "gus")
    pay(shop, seat)
    page = f"/console/reservations/{seat}"
    shown = visitor.get(page)
    assert f"/console/groups/{group}" in shown
    assert "to be paid back" in shown
    said = visitor.do(f"{page}/release", page)
    assert said == "Released: the seat is free again, and a refund is due."
    assert shop.api("GET", f"/v1/reservations/{seat}")["state"] == "refunded"
    assert seat in visitor.get("/console/refunds")
    assert f"{page}/release" not in visitor.get(page)
    told = visitor.get(f"/console/groups/{group}")
    assert "gus is due a refund" in told
    assert "gus is out, and to be paid back" in told
    opener = f"/console/reservations/{group}"
    assert visitor.do(f"{opener}/release", opener) == "Released: the seat is free again."
    ended = visitor.get(f"/console/groups/{group}")
    assert STATE.findall(ended) == ["failed"]
    assert "the group failed: abandoned" in ended
    assert "Nobody has a seat in it" in ended


def test_a_formed_groups_seat_is_not_taken_back(shop: Shop):
    visitor = shop.visitor("ops")
    made_pool(visitor, "gyokuro", group_size="2")
    group = opened(shop, "gyokuro", "hal")
    pay(shop, group)
    pay(shop, joined(shop, group, "ida"))
    page = f"/console/reservations/{group}"
    assert f"{page}/release" not in visitor.get(page)
    assert visitor.do(f"{page}/release", "/console/groups").startswith("Not done")
    assert STATE.findall(visitor.get(f"/console/groups/{group}")) == ["formed"]
