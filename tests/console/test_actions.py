"""What operators do at the console: done as the API does it, once, and on record."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import eventually
from tests.console.conftest import Shop, moment
from tests.console.visitor import KEY


def last_change(shop: Shop) -> dict[str, object]:
    """The newest one of the console."""
    found: dict[str, object] = shop.api("GET", "/v1/ops/audit?via=console&limit=1")["items"][0]
    return found


def test_a_pool_is_opened_paused_and_closed(shop: Shop):
    visitor = shop.visitor("ops")
    said = visitor.do(
        "/console/pools",
        "/console/new-pool",
        id="lamps",
        sku="LMP",
        quantity="30",
        per_buyer_limit="",
        hold_seconds="60",
        starts_at="2026-01-02T03:04",
        ends_at="",
        durability="ledger",
    )
    assert said == "Pool lamps was created."
    pool = shop.pool("lamps")
    assert (pool["total"], pool["hold_seconds"]) == (30, 60)
    assert pool["starts_at"] == "2026-01-02T03:04:00.000Z"
    for step, state in (("pause", "paused"), ("resume", "open"), ("close", "closed")):
        visitor.do(f"/console/pools/lamps/{step}", "/console/pools/lamps")
        assert shop.pool("lamps")["state"] == state
    assert visitor.do("/console/pools/lamps/resume", "/console/pools/lamps").startswith("Not done")
    assert shop.pool("lamps")["state"] == "closed"


def test_units_are_changed_once_however_often_the_form_is_sent(shop: Shop):
    visitor = shop.visitor("ops")
    page = "/console/pools/mugs"
    total = shop.pool("mugs")["total"]
    found = KEY.search(visitor.get(page))
    assert found
    fields = {"what": "add", "units": "7", "idempotency_key": found[1]}
    assert "7 units added" in visitor.do(f"{page}/adjust", page, **fields)
    assert "sent twice" in visitor.do(f"{page}/adjust", page, **fields)
    assert shop.pool("mugs")["total"] == total + 7
    other = {**fields, "units": "8"}
    assert "Not done" in visitor.do(f"{page}/adjust", page, **other)
    take = {"what": "take", "units": "7", "idempotency_key": "abc123"}
    visitor.do(f"{page}/adjust", page, **take)
    assert shop.pool("mugs")["total"] == total


@pytest.mark.parametrize(
    ("what", "units"), [("take", "999"), ("add", "0"), ("add", "-3"), ("add", "x"), ("steal", "1")]
)
def test_what_can_not_be_is_told_on_the_page_it_came_from(shop: Shop, what: str, units: str):
    before = shop.pool("mugs")
    page = "/console/pools/mugs"
    fields = {"what": what, "units": units, "idempotency_key": f"k{what}{units.strip('-')}"}
    response = shop.visitor("ops").send(f"{page}/adjust", page, **fields)
    assert (response.status_code, response.headers["location"]) == (303, page)
    assert shop.pool("mugs") == before
    change = last_change(shop)
    assert change["code"] in ("insufficient_stock", "invalid_request")
    assert change["subject"] == f"{page}/adjust"


def test_a_pool_of_the_book_is_changed_in_the_book(shop: Shop):
    visitor = shop.visitor("ops")
    page = f"/console/pools/{shop.campaign}-1"
    shown = visitor.get(page)
    assert f"/console/campaigns/{shop.campaign}" in shown
    assert f"{page}/adjust" not in shown
    fields = {"what": "add", "units": "1", "idempotency_key": "ofbook"}
    assert "Not done" in visitor.do(f"{page}/adjust", page, **fields)
    assert "Not done" in visitor.do(f"{page}/close", page)


def test_a_hold_is_found_given_time_and_released(shop: Shop):
    hold = {"pool": "mugs", "buyer": "ada", "quantity": 3}
    reservation = shop.api("POST", "/v1/reservations", hold, key="hold-ada")
    visitor = shop.visitor("ops")
    page = f"/console/reservations/{reservation['id']}"
    eventually(
        lambda: page in visitor.get("/console/reservations?q=ada"), "the buyer's hold is listed"
    )
    assert page in visitor.get("/console/reservations?q=ada&pool=mugs")
    found = visitor.client.get("/console/reservations", params={"q": reservation["id"]})
    assert found.headers["location"] == page
    visitor.do(f"{page}/extend", page, seconds="86400")
    longer = shop.api("GET", f"/v1/reservations/{reservation['id']}")
    assert longer["expires_at"] > reservation["expires_at"]
    available = shop.pool("mugs")["available"]
    assert "3 units are back" in visitor.do(f"{page}/release", page)
    assert shop.api("GET", f"/v1/reservations/{reservation['id']}")["state"] == "revoked"
    assert shop.pool("mugs")["available"] == available + 3
    assert f"{page}/release" not in visitor.get(page)


def test_a_sale_is_found_by_its_payment_and_its_order_number(shop: Shop):
    hold = {"pool": "mugs", "buyer": "grace", "quantity": 1}
    reservation = shop.api("POST", "/v1/reservations", hold, key="hold-grace")["id"]
    paid = {"payment_ref": "pay-grace"}
    order = shop.api("POST", f"/v1/reservations/{reservation}/confirm", paid)["order_no"]
    visitor = shop.visitor("ops")
    for wanted in ("pay-grace", order):
        found = visitor.client.get("/console/reservations", params={"q": wanted})
        assert found.headers["location"] == f"/console/reservations/{reservation}", wanted
    assert reservation in visitor.get("/console/reservations?q=grace")


def test_a_refund_is_noted_once(shop: Shop):
    hold = {"pool": "mugs", "buyer": "joan", "quantity": 1}
    reservation = shop.api("POST", "/v1/reservations", hold, key="hold-joan")["id"]
    shop.api("POST", f"/v1/reservations/{reservation}/cancel")
    late = httpx.post(
        f"{shop.url}/v1/reservations/{reservation}/confirm",
        json={"payment_ref": "pay-joan"},
        headers={"authorization": f"Bearer {shop.keys['admin']}"},
        timeout=60,
    )
    assert late.json()["code"] == "already_cancelled"
    visitor = shop.visitor("ops")
    found = re.search(r"/console/refunds/(\d+)/settle", visitor.get("/console/refunds"))
    assert found
    path = found[0]
    assert "given back" in visitor.do(path, "/console/refunds", reference="bank-1")
    assert "nothing changed" in visitor.do(path, "/console/refunds", reference="bank-1")
    assert "Not done" in visitor.do(path, "/console/refunds", reference="bank-2")
    assert "bank-1" in visitor.get("/console/refunds?show=settled")
    assert "Not done" in visitor.do(
        "/console/refunds/999999/settle", "/console/refunds", reference="bank-3"
    )


def test_a_campaign_goes_from_the_draft_to_its_end(shop: Shop):
    writer, approver = shop.visitor("ops"), shop.visitor("ops-2")
    item = {"sku-0": "SKU-1", "quantity-0": "50", "waves-0": f"{moment(1_800)} 20\n"}
    fields = {"name": "Autumn", "starts_at": moment(-5), "ends_at": moment(3_600), **item}
    response = writer.send(
        "/console/campaigns", "/console/new-campaign", idempotency_key="autumn", **fields
    )
    page = response.headers["location"]
    code = page.rpartition("/")[2]

    def state() -> Any:
        return shop.api("GET", f"/v1/campaigns/{code}")

    def is_now(wanted: str) -> bool:
        return bool(state()["state"] == wanted)

    writer.do(f"{page}/submit", page, revision="1")
    assert "Not done" in writer.do(f"{page}/approve", page, revision="1")
    assert state()["state"] == "submitted"
    assert "in force" in approver.do(f"{page}/approve", page, revision="1")
    eventually(lambda: state()["state"] == "live", "the pools are filled")

    edited = {**fields, "name": "Late autumn", "quantity-0": "60", "revision": "1", "number-0": "1"}
    assert "Revision 2" in writer.do(f"{page}/edit", f"{page}/edit", **edited)
    in_force, latest = state()["in_force"], state()["latest"]
    assert (in_force["name"], latest["name"]) == ("Autumn", "Late autumn")
    assert latest["items"][0]["waves"][0]["quantity"] == 20
    assert "Not done" in writer.do(f"{page}/edit", f"{page}/edit", **edited)
    writer.do(f"{page}/submit", page, revision="2")
    approver.do(f"{page}/reject", page, revision="2", reason="too late")
    assert state()["latest"]["state"] == "rejected"

    added = {"quantity": "5", "idempotency_key": "five"}
    writer.do(f"{page}/items/1/add", page, **added)
    writer.do(f"{page}/items/1/add", page, **added)
    eventually(lambda: shop.pool(f"{code}-1")["total"] == 55, "the added units arrive, once")
    for step, wanted in (("pause", "paused"), ("resume", "live"), ("end", "ended")):
        writer.do(f"{page}/{step}", page)
        eventually(partial(is_now, wanted), f"it is {wanted}")


def test_a_form_of_a_campaign_that_can_not_be_says_what_is_wrong(shop: Shop):
    visitor = shop.visitor("ops")
    page = "/console/new-campaign"
    good = {"name": "x", "idempotency_key": "bad"}
    good |= {"starts_at": moment(3_600), "ends_at": moment(7_200)}
    for wrong, named in (
        ({}, "items"),
        ({"sku-0": "SKU-1", "quantity-0": "1", "waves-0": "tomorrow"}, "waves-0"),
        ({"sku-0": "SKU-1", "quantity-0": "many"}, "quantity-0"),
        ({"sku-0": "SKU-1", "quantity-0": "1", "ends_at": moment(1)}, "ends_at"),
    ):
        said = visitor.do("/console/campaigns", page, **{**good, **wrong})
        assert said.startswith("Not done"), wrong
        assert named in said


def test_a_repair_is_shown_before_it_is_done(shop: Shop):
    visitor = shop.visitor("ops")
    shown = visitor.get("/console/reconciliation/preview")
    assert 'data-testid="repair-nothing"' in shown
    assert "the books balance" in visitor.get("/console/reconciliation?compare=now")
    said = visitor.do("/console/reconciliation/repair", "/console/reconciliation/preview")
    assert said == "Repaired 0 of 0 pools that differed."


def test_who_did_what_is_on_record_for_the_console_and_the_api(shop: Shop):
    visitor = shop.visitor("ops-2")
    visitor.do("/console/pools/mugs/pause", "/console/pools/mugs")
    shop.api("POST", "/v1/pools/mugs/resume")
    api, console = shop.api("GET", "/v1/ops/audit?limit=2")["items"]
    assert console["actor"] == "ops-2"
    assert (console["via"], console["role"], console["status"]) == ("console", "ops", 303)
    assert console["action"] == "POST /console/pools/{pool}/pause"
    assert console["subject"] == "/console/pools/mugs/pause"
    assert console["address"] == "127.0.0.1"
    assert console["code"] is None
    assert (api["actor"], api["via"], api["status"]) == ("admin", "api", 200)
    assert api["action"] == "POST /v1/pools/{pool}/resume"
    shown = visitor.get("/console/audit?actor=ops-2")
    assert "/console/pools/mugs/pause" in shown
    assert "/v1/pools/mugs/resume" not in shown
    page = shop.api("GET", f"/v1/ops/audit?after={console['id']}&limit=1000")["items"]
    assert all(row["id"] < console["id"] for row in page)


def test_no_token_and_no_key_is_on_record(shop: Shop):
    visitor = shop.visitor("ops")
    token = visitor.token()
    visitor.do("/console/pools/mugs/resume", "/console/pools/mugs")
    rows = shop.api("GET", "/v1/ops/audit?limit=1000")["items"]
    text = repr(rows)
    assert token not in text
    assert all(key not in text for key in shop.keys.values())
    assert "shop.example" not in text


def test_what_shops_do_and_what_is_only_read_is_not_on_record(shop: Shop):
    count = len(shop.api("GET", "/v1/ops/audit?limit=1000")["items"])
    shop.api("POST", "/v1/reservations", {"pool": "mugs", "buyer": "eve", "quantity": 1}, key="eve")
    shop.api("GET", "/v1/pools")
    shop.visitor("ops").get("/console/pools/mugs")
    assert len(shop.api("GET", "/v1/ops/audit?limit=1000")["items"]) == count
