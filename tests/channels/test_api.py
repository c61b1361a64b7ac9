"""Shops over HTTP: what is answered is held against what the document says."""

from __future__ import annotations

from typing import Any

import pytest

from flashstock.api import documents_channels as documents
from tests.stock_api import calling, held_against


@pytest.fixture
async def api(engine, mall):
    await mall.receive("cap", 100)
    async with calling(engine, mall.clock) as caller:
        yield caller


async def put(api, path, body, status=200, role="ops"):
    response = await api.send("PUT", path, body, role=role)
    assert response.status_code == status, response.text
    return response


async def test_a_hundred_units_are_divided_by_weight(api):
    for name, weight in {"a": 40, "b1": 20, "b2": 20, "c1": 10, "c2": 10}.items():
        response = await put(api, f"/v1/channels/{name}", {"name": name, "weight": weight}, 201)
        held_against(response, documents.ChannelDocument)
    found = await api.get("/v1/publication/skus/cap", documents.SkuPublicationDocument)
    assert found["channels"] == {"a": 40, "b1": 20, "b2": 20, "c1": 10, "c2": 10}
    page = await api.get("/v1/channels", documents.ChannelPage, limit=2)
    assert [row["id"] for row in page["items"]] == ["a", "b1"]
    rest = await api.get("/v1/channels", documents.ChannelPage, after=page["next_after"])
    assert [row["id"] for row in rest["items"]] == ["b2", "c1", "c2"]
    one = await api.get("/v1/channels/a", documents.ChannelDocument)
    assert (one["weight"], one["mode"], one["locations"]) == (40, "weight", [])
    await put(api, "/v1/channels/a", {"name": "a", "weight": 40})


async def test_a_shop_follows_its_cursor_through_policies_and_a_safety_stock(api, mall):
    await put(api, "/v1/channels/app", {"name": "App", "mode": "shared"}, 201)
    await put(api, "/v1/channels/web", {"name": "Web", "mode": "shared"}, 201)
    path, document = "/v1/channels/app/publication", documents.PublicationDocument
    first = await api.get(path, document)
    assert first["items"] == [{"sku": "cap", "quantity": 100}]
    assert first["more"] is False
    assert (await api.get(path, document, since=first["cursor"]))["items"] == []
    await put(api, "/v1/skus/cap", {"title": "Cap", "safety_stock": 30})
    second = await api.get(path, document, since=first["cursor"])
    assert second["items"] == [{"sku": "cap", "quantity": 70}]
    await put(api, "/v1/skus/cap", {"title": "A cap", "safety_stock": 30})
    assert (await api.get(path, document, since=second["cursor"]))["items"] == []
    policy = {"low_water": 80, "low_water_channel": "web"}
    response = await put(api, "/v1/publication/policies/cap", policy)
    assert held_against(response, documents.PolicyDocument)["weights"] == {}
    third = await api.get(path, document, since=second["cursor"])
    assert third["items"] == [{"sku": "cap", "quantity": 0}]
    page = await api.get("/v1/publication/policies", documents.PolicyPage)
    assert [row["sku"] for row in page["items"]] == ["cap"]
    dropped = await api.send("DELETE", "/v1/publication/policies/cap", role="ops")
    assert held_against(dropped, documents.DroppedPolicyDocument)["dropped"] is True
    await api.refused(await api.send("GET", "/v1/publication/policies/cap"), 404, "unknown_sku")
    await put(api, "/v1/publication/policy", {"mode": "weight", "weights": {"web": 3}})
    company = await api.get("/v1/publication/policy", documents.PolicyDocument)
    assert (company["sku"], company["mode"], company["weights"]) == (None, "weight", {"web": 3})
    last = await api.get(path, document, since=third["cursor"])
    assert last["items"] == [{"sku": "cap", "quantity": 18}]


async def test_what_a_shop_sells_is_told_in_its_own_words(api, mall):
    await put(api, "/v1/channels/tb", {"name": "T"}, 201)
    words = {"WAIT_SELLER_SEND_GOODS": "paid", "TRADE_CLOSED": "closed"}
    await put(api, "/v1/channels/tb/states", {"states": words})
    mapping = await api.get("/v1/channels/tb/states", documents.StatesDocument)
    assert mapping["states"] == words
    path = "/v1/channels/tb/orders/T-1"
    body = {"state": "WAIT_SELLER_SEND_GOODS", "lines": [{"sku": "cap", "quantity": 4}]}
    response = await api.send("POST", path, body, role="ops", idempotency_key="k1")
    order = held_against(response, documents.OutsideOrderDocument)
    assert (order["state"], order["stock"]) == ("paid", "committed")
    assert order["lines"] == [{"sku": "cap", "quantity": 4, "location": "east"}]
    again = await api.send("POST", path, body, role="ops", idempotency_key="k1")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == order
    assert await mall.balance("cap") == {"on_hand": 100, "available": 96, "committed": 4}
    other = {**body, "state": "TRADE_CLOSED"}
    response = await api.send("POST", path, other, role="ops", idempotency_key="k1")
    await api.refused(response, 422, "idempotency_mismatch")
    response = await api.send("POST", path, other, role="ops", idempotency_key="k2")
    assert response.json()["stock"] == "released"
    shown = await api.get(path, documents.OutsideOrderDocument)
    assert (shown["state"], shown["foreign_state"]) == ("closed", "TRADE_CLOSED")
    too_many = {"state": "paid", "lines": [{"sku": "cap", "quantity": 101}]}
    response = await api.send("POST", f"{path}0", too_many, role="ops", idempotency_key="k3")
    problem = await api.refused(response, 409, "insufficient_stock")
    assert problem["missing"] == [{"sku": "cap", "missing": 1}]


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/channels/nowhere", None, 404, "unknown_channel"),
    ("GET", "/v1/channels/no%20id", None, 404, "unknown_channel"),
    ("PUT", "/v1/channels/a", {"name": "A", "locations": ["moon"]}, 404, "unknown_location"),
    ("PUT", "/v1/channels/a", {"name": "A", "weight": -1}, 422, "invalid_request"),
    ("PUT", "/v1/channels/a", {"name": "A", "mode": "most"}, 422, "invalid_request"),
    ("PUT", "/v1/channels/a/states", {"states": {}}, 404, "unknown_channel"),
    ("GET", "/v1/channels/a/publication", None, 404, "unknown_channel"),
    ("GET", "/v1/channels/a/publication?since=x", None, 422, "invalid_request"),
    ("POST", "/v1/channels/a/orders/1", {"state": "paid"}, 400, "idempotency_key_required"),
    ("GET", "/v1/channels/a/orders/1", None, 404, "unknown_channel"),
    ("PUT", "/v1/publication/policy", {"low_water": 3}, 422, "invalid_request"),
    ("PUT", "/v1/publication/policies/pen", {}, 404, "unknown_sku"),
    ("PUT", "/v1/publication/policies/cap", {"weights": {"x": 1}}, 404, "unknown_channel"),
    ("GET", "/v1/publication/skus/pen", None, 404, "unknown_sku"),
]


async def test_what_can_not_be_done_is_refused(api):
    for method, path, body, status, code in REFUSED:
        await api.refused(await api.send(method, path, body, role="ops"), status, code)


async def test_a_shop_may_see_its_numbers_and_nothing_else(api):
    await put(api, "/v1/channels/app", {"name": "App"}, 201)
    shown = await api.send("GET", "/v1/channels/app/publication", role="storefront")
    assert shown.status_code == 200
    for method, path, body in (
        ("GET", "/v1/channels/app", None),
        ("PUT", "/v1/publication/policy", {}),
    ):
        await api.refused(await api.send(method, path, body, role="storefront"), 403, "forbidden")
