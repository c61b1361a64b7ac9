"""Webhooks, warnings and hints over HTTP."""

from __future__ import annotations

from sqlalchemy import insert

from flashstock.api.documents_notices import (
    DeliveryDocument,
    DeliveryPage,
    ForecastDocument,
    NewWebhookDocument,
    PurchaseHintDocument,
    PurchaseHintPage,
    WarningDocument,
    WarningPage,
    WebhookDocument,
    WebhookList,
)
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import pools
from flashstock.notices.courier import Courier
from flashstock.notices.sender import HttpSender
from flashstock.notices.watcher import Watcher
from flashstock.stockbook.tables import skus
from tests.notices.receiver import answering
from tests.notices.test_warnings import pool, sku
from tests.stock_api import caller, held_against

__all__ = ["caller"]


async def test_the_life_of_a_webhook(caller, receiver, engine, clock):
    body = {"url": receiver.url, "topics": ["*", "warning.raised"]}
    made = await caller.send("POST", "/v1/webhooks", body)
    assert made.status_code == 201
    new = held_against(made, NewWebhookDocument)
    assert new["secret"].startswith("whsec_")
    path = f"/v1/webhooks/{new['id']}"
    shown = await caller.get(path, WebhookDocument)
    assert shown == {name: value for name, value in new.items() if name != "secret"}
    assert (await caller.get("/v1/webhooks", WebhookList))["items"] == [shown]

    rotated = held_against(await caller.send("POST", f"{path}/rotate"), NewWebhookDocument)
    assert rotated["secret"] != new["secret"]
    tested = await caller.send("POST", f"{path}/test", role="ops")
    assert tested.status_code == 202
    delivery = held_against(tested, DeliveryDocument)
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)

    receiver.behaviours = [answering(500)]
    sender = HttpSender(private_allowed=True)
    courier = Courier(engine, sender, "tests", clock)
    await courier.round()
    log = await caller.get("/v1/webhooks/deliveries", DeliveryPage, state="pending")
    assert [row["status_code"] for row in log["items"]] == [500]
    retry = f"/v1/webhooks/deliveries/{delivery['id']}/retry"
    held_against(await caller.send("POST", retry, role="ops"), DeliveryDocument)
    await courier.round()
    await sender.close()
    log = await caller.get("/v1/webhooks/deliveries", DeliveryPage, webhook=new["id"], limit=1)
    assert [row["state"] for row in log["items"]] == ["delivered"]
    assert log["next_after"] == delivery["id"]

    assert held_against(await caller.send("POST", f"{path}/enable"), WebhookDocument)["enabled"]
    assert (await caller.send("DELETE", path)).status_code == 200
    for method, gone in (("GET", path), ("DELETE", path), ("POST", f"{path}/test")):
        await caller.refused(await caller.send(method, gone), 404, "unknown_webhook")
    await caller.refused(await caller.send("POST", retry), 404, "unknown_webhook")
    unknown = "/v1/webhooks/deliveries/99/retry"
    await caller.refused(await caller.send("POST", unknown), 404, "unknown_delivery")


async def test_what_can_not_be_a_webhook(caller):
    for body in (
        {"url": "https://user@shop.example/", "topics": ["*"]},
        {"url": "https://shop.example/", "topics": []},
        {"url": "https://shop.example/", "topics": ["Not A Topic"]},
        {"url": "https://shop.example/"},
    ):
        response = await caller.send("POST", "/v1/webhooks", body)
        await caller.refused(response, 422, "invalid_request")
    response = await caller.send("GET", "/v1/webhooks/not-an-id")
    await caller.refused(response, 404, "unknown_webhook")


async def test_only_admins_change_webhooks(caller):
    body = {"url": "https://shop.example/", "topics": ["*"]}
    response = await caller.send("POST", "/v1/webhooks", body, role="ops")
    await caller.refused(response, 403, "forbidden")
    response = await caller.send("GET", "/v1/webhooks", role="storefront")
    await caller.refused(response, 403, "forbidden")


async def test_warnings(caller, engine, clock):
    async with writing(engine) as connection:
        await connection.execute(insert(pools), [pool(name, 1, sold=1) for name in "ab"])
        await connection.execute(insert(skus), [sku("S", 1)])
    await Watcher(engine, clock).round()
    page = await caller.get("/v1/warnings", WarningPage)
    for item in page["items"]:
        WarningDocument.model_validate(item)
    assert len(page["items"]) == 3
    page = await caller.get("/v1/warnings", WarningPage, kind="nearly_sold_out", limit=1)
    assert [item["subject"] for item in page["items"]] == ["a"]
    assert page["next_after"] == page["items"][0]["id"]
    assert (await caller.get("/v1/warnings", WarningPage, state="cleared"))["items"] == []
    response = await caller.send("GET", "/v1/warnings?kind=boredom")
    await caller.refused(response, 422, "invalid_request")


async def test_hints(caller, engine):
    async with writing(engine) as connection:
        await connection.execute(insert(pools), [pool("a", 5)])
        await connection.execute(insert(skus), [sku("A", 7), sku("B", 0)])
    page = await caller.get("/v1/hints/purchases", PurchaseHintPage, limit=1)
    [hint] = page["items"]
    PurchaseHintDocument.model_validate(hint)
    assert (hint["sku"], hint["suggested"], page["next_after"]) == ("A", 7, "A")
    forecast = await caller.get("/v1/hints/forecast", ForecastDocument, pool="a")
    assert (forecast["left"], forecast["sold_out_at"]) == (5, None)
    response = await caller.send("GET", "/v1/hints/forecast?pool=none")
    await caller.refused(response, 404, "unknown_pool")
    response = await caller.send("GET", "/v1/hints/forecast")
    await caller.refused(response, 422, "invalid_request")
