"""Orders over HTTP: what is answered is held against what the document says."""

from __future__ import annotations

from typing import Any

import pytest

from flashstock.api import documents_orders as documents
from flashstock.bootstrap_stock import build_stock_services
from tests.campaigns.site import now_ms
from tests.stock_api import Caller, calling, held_against
from tests.unit.api.fakes import Fakes

ORDER = documents.OrderDocument


@pytest.fixture
async def api(yard):
    """Five caps at east, three at west, in pool ``sale``; a few orders."""
    await yard.set_aside("sale", "cap", east=5, west=3)
    for number, quantity, buyer in (("101", 2, "ann"), ("102", 1, "ann"), ("103", 6, "bob")):
        await yard.sell(number, "sale", quantity, buyer=buyer)
    async with calling(yard.engine, yard.clock) as caller:
        yield caller


async def ship(api, order_no, body=None, key="k1"):
    path = f"/v1/orders/{order_no}/ship"
    return await api.send("POST", path, body, role="ops", idempotency_key=key)


async def test_an_order_is_seen_from_payment_to_completion(api):
    page = await api.get("/v1/orders", documents.OrderPage, state="paid", limit=2)
    assert [row["order_no"] for row in page["items"]] == ["101", "102"]
    rest = await api.get("/v1/orders", documents.OrderPage, after=page["next_after"])
    assert [row["order_no"] for row in rest["items"]] == ["103"]
    await api.refused(
        await api.send("POST", "/v1/orders/101/complete", role="ops"), 409, "not_shipped"
    )
    response = await ship(api, "101", {"tracking": "T-1", "carrier": "post"})
    order = held_against(response, ORDER)
    assert (order["state"], order["to_ship"]) == ("shipped", 0)
    assert [parcel["tracking"] for parcel in order["parcels"]] == ["T-1"]
    again = await ship(api, "101", {"tracking": "T-1", "carrier": "post"})
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == order
    response = await ship(api, "101", key="k2")
    assert (await api.refused(response, 409, "not_shippable"))["state"] == "shipped"
    done = await api.send("POST", "/v1/orders/101/complete", role="ops")
    assert held_against(done, ORDER)["state"] == "completed"
    shown = await api.get("/v1/orders/101", ORDER)
    assert shown["completed_at"] is not None
    assert [row["order_no"] for row in (await _listed(api, "completed"))] == ["101"]
    assert [row["order_no"] for row in (await _listed(api, "paid"))] == ["102", "103"]


async def _listed(api, state):
    return (await api.get("/v1/orders", documents.OrderPage, state=state))["items"]


async def test_an_order_that_no_location_has_alone_is_split_or_refused(api):
    response = await ship(api, "103", {"allow_split": False})
    await api.refused(response, 409, "split_needed")
    response = await ship(api, "103", {"location": "east"}, "k2")
    problem = await api.refused(response, 409, "insufficient_stock")
    assert problem["missing"] == [{"sku": "cap", "missing": 1}]
    parcels = [
        {"location": "west", "lines": [{"sku": "cap", "quantity": 3}], "tracking": "W"},
        {"location": "east", "lines": [{"sku": "cap", "quantity": 3}]},
    ]
    order = (await ship(api, "103", {"parcels": parcels}, "k3")).json()
    assert {parcel["location"]: parcel["tracking"] for parcel in order["parcels"]} == {
        "west": "W",
        "east": "",
    }


async def test_orders_of_a_buyer_may_be_merged_until_they_are_audited(api):
    page = await api.get("/v1/orders/mergeable", documents.MergeablePage)
    [group] = page["items"]
    assert (group["buyer"], len(group["orders"])) == ("ann", 2)
    audited = held_against(await api.send("POST", "/v1/orders/102/audit", role="ops"), ORDER)
    assert audited["audited_by"] == "ops"
    assert (await api.get("/v1/orders/mergeable", documents.MergeablePage))["items"] == []
    await api.refused(await ship(api, "101", {"merge": ["102"]}), 409, "not_shippable")


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/orders/999", None, 404, "unknown_order"),
    ("GET", "/v1/orders/abc", None, 404, "unknown_order"),
    ("GET", "/v1/orders?state=lost", None, 422, "invalid_request"),
    ("GET", "/v1/orders?after=x", None, 422, "invalid_request"),
    ("POST", "/v1/orders/101/ship", {}, 400, "idempotency_key_required"),
    ("POST", "/v1/orders/101/return", {}, 400, "idempotency_key_required"),
    ("POST", "/v1/orders/999/audit", None, 404, "unknown_order"),
    ("POST", "/v1/orders/999/complete", None, 404, "unknown_order"),
]
NOT_SENT: list[tuple[Any, int, str]] = [
    ({"quantity": 3}, 422, "invalid_request"),
    ({"location": "moon"}, 404, "unknown_location"),
    ({"channel": "nowhere"}, 404, "unknown_channel"),
    ({"merge": ["999"]}, 404, "unknown_order"),
    ({"merge": ["103"]}, 422, "invalid_request"),
    ({"parcels": [], "tracking": "x"}, 422, "invalid_request"),
    (
        {
            "region": "r",
            "parcels": [{"location": "east", "lines": [{"sku": "cap", "quantity": 2}]}],
        },
        422,
        "invalid_request",
    ),
]


async def test_what_can_not_be_done_is_refused(api):
    for method, path, body, status, code in REFUSED:
        await api.refused(await api.send(method, path, body, role="ops"), status, code)
    for body, status, code in NOT_SENT:
        await api.refused(await ship(api, "101", body), status, code)
    assert (await api.get("/v1/orders/101", ORDER))["state"] == "paid"


async def test_a_shop_may_look_at_an_order_and_do_nothing(api):
    shown = await api.send("GET", "/v1/orders/101", role="storefront")
    assert shown.status_code == 200
    for path in ("/v1/orders", "/v1/orders/returns"):
        await api.refused(await api.send("GET", path, role="storefront"), 403, "forbidden")


@pytest.fixture
async def returning(counter):
    """The API over a hot path that takes sales back."""
    hot = counter.site.node.stores.store
    stock = build_stock_services(counter.site.engine, now_ms, lambda _: 0, hot=hot)
    fakes = Fakes(stock=stock)
    await fakes.services.keyring.refresh(fakes.queries)
    return Caller(fakes)


async def test_a_sale_of_the_book_is_not_given_back_behind_its_back(counter, returning):
    api, order_no = returning, await counter.sell("a", 2)
    path = f"/v1/reservations/{counter.site.reservation('sale', 'a')}/return"

    async def give_back(body, key):
        return await api.send("POST", path, body, role="storefront", idempotency_key=key)

    await api.refused(await give_back({"restock": False}, "k0"), 409, "not_returnable")
    for replayed in (None, "true"):
        response = await give_back({"quantity": 1}, "k1")
        assert response.status_code == 200, response.text
        assert response.headers.get("idempotency-replayed") == replayed
    assert await counter.rows(order_no) == [("done", "unshipped", 1)]
    assert await counter.site.counters("sale") == (10, 9, 0, 1, 0)
    await ship(api, order_no)
    await api.refused(await give_back({}, "k2"), 409, "not_returnable")
    await counter.site.adds_up()


async def test_goods_come_back_over_http(counter, returning):
    api = returning
    order_no = await counter.sell("a", 2)
    path = f"/v1/orders/{order_no}/return"
    await ship(api, order_no)
    refused = await api.send("POST", path, {"quantity": 1}, role="ops", idempotency_key="r0")
    problem = await api.refused(refused, 409, "not_returnable")
    assert (problem["shipped"], problem["unshipped"]) == (2, 0)
    body = {"quantity": 1, "location": "west", "disposition": "inspect", "reason": "torn"}
    response = await api.send("POST", path, body, role="ops", idempotency_key="r1")
    returned = held_against(response, documents.ReturnDocument)
    assert (returned["state"], returned["kind"], returned["through_pool"]) == (
        "done",
        "shipped",
        True,
    )
    again = await api.send("POST", path, body, role="ops", idempotency_key="r1")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == returned
    listed = await api.get("/v1/orders/returns", documents.ReturnPage, state="done")
    assert listed["items"] == [returned]
    assert (await api.get(f"/v1/orders/{order_no}", ORDER))["returns"] == [returned]
    assert await counter.site.stock("sku", "west") == {"on_hand": 1, "unsellable": 1}
