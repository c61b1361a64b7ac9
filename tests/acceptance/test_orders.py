"""From a sale to its buyer and back, on real processes; the writer is killed between."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Service, eventually, serving
from tests.acceptance.test_campaigns import ADMIN_KEY, Desk

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("orders") / "data"
    with serving(directory, settings={"FLASHSTOCK_ADMIN_KEY": ADMIN_KEY}, hasty=True) as running:
        yield running


@pytest.fixture
def desk(service: Service) -> Iterator[Desk]:
    with service.client() as client:
        yield Desk(client, ADMIN_KEY)


def time_in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def stock_up(desk: Desk) -> None:
    """Mugs at two locations, one of which serves the north; two shops."""
    for location, region in (("hall", "north"), ("yard", "south")):
        body = {"name": location, "regions": [{"region": region, "level": 1}]}
        desk.done("PUT", f"/v1/locations/{location}", body)
    for sku in ("mug", "pin"):
        desk.done("PUT", f"/v1/skus/{sku}", {"title": sku, "price_minor": 900, "currency": "EUR"})
    for sku, location, quantity in (("mug", "hall", 60), ("mug", "yard", 60), ("pin", "hall", 5)):
        line = {"sku": sku, "location": location, "quantity": quantity}
        desk.done("POST", "/v1/stock/movements", {"kind": "receive", "lines": [line]})
    for shop, weight in (("app", 3), ("web", 1)):
        desk.done("PUT", f"/v1/channels/{shop}", {"name": shop, "weight": weight})


def campaign(desk: Desk) -> str:
    """The pool of a campaign that takes mugs from both locations, with a pin as a gift."""
    item = {"sku": "mug", "quantity": 80, "gifts": [{"sku": "pin", "quantity": 5}]}
    terms = {"name": "Mugs", "starts_at": time_in(0.5), "ends_at": time_in(3_600), "items": [item]}
    boss = desk.done("POST", "/v1/keys", {"name": "boss", "role": "ops"})["key"]
    path = f"/v1/campaigns/{desk.done('POST', '/v1/campaigns', terms)['code']}"
    desk.done("POST", f"{path}/submit", {"revision": 1})
    Desk(desk._client, boss).done("POST", f"{path}/approve", {"revision": 1})
    eventually(lambda: desk.done("GET", path)["state"] == "live", "the campaign is live")
    pool: str = desk.done("GET", path)["items"][0]["pool"]
    return pool


def buy(desk: Desk, pool: str, buyer: str, quantity: int) -> str:
    """Returns the order's number, once its gift is decided."""
    wanted = {"pool": pool, "buyer": buyer, "quantity": quantity}
    held = desk.done("POST", "/v1/reservations", wanted)
    payment = {"payment_ref": f"pay-{buyer}"}
    paid = desk.done("POST", f"/v1/reservations/{held['id']}/confirm", payment)
    order_no: str = paid["order_no"]
    eventually(lambda: desk.done("GET", f"/v1/orders/{order_no}")["gifts"], "it has its gift")
    return order_no


def published(desk: Desk, shop: str, since: str = "") -> tuple[dict[str, int], str]:
    found = desk.done("GET", f"/v1/channels/{shop}/publication?since={since}")
    return {item["sku"]: item["quantity"] for item in found["items"]}, found["cursor"]


def test_from_a_sale_to_its_buyer_and_back(service: Service, desk: Desk) -> None:
    stock_up(desk)
    shown, cursor = published(desk, "app")
    assert shown == {"mug": 90, "pin": 4}
    pool = campaign(desk)
    shown, cursor = published(desk, "app", cursor)
    assert shown == {"mug": 30, "pin": 0}

    order_no = buy(desk, pool, "ann", 2)
    waiting = desk.done("GET", "/v1/orders?state=paid")["items"]
    assert order_no in [order["order_no"] for order in waiting]
    path = f"/v1/orders/{order_no}"
    shipped = desk.done("POST", f"{path}/ship", {"region": "north", "tracking": "T"}, key="ship")
    assert (shipped["state"], shipped["snapshot"]["price_minor"]) == ("shipped", 900)
    assert [parcel["location"] for parcel in shipped["parcels"]] == ["hall"]
    gift = desk.done("GET", f"/v1/orders/{shipped['gifts'][0]}")
    assert (gift["state"], gift["parcels"][0]["tracking"]) == ("shipped", "T")
    assert desk.call("POST", f"{path}/ship", {}).json()["code"] == "not_shippable"

    writer = service.running["writer_pid"]
    os.kill(writer, signal.SIGSTOP)
    back: dict[str, Any] = {"quantity": 1, "location": "yard", "reason": "too many"}
    answer = desk.call("POST", f"{path}/return", back, key="return")
    assert answer.status_code == 503, answer.text
    assert desk.done("GET", path)["state"] == "refunding"
    os.kill(writer, signal.SIGKILL)

    def is_finished() -> bool:
        return [row["state"] for row in desk.done("GET", path)["returns"]] == ["done"]

    eventually(is_finished, "the resumer finished the return by itself")
    again = desk.asked("POST", f"{path}/return", back, key="return")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    shown, cursor = published(desk, "app", cursor)
    assert shown == {"mug": 31, "pin": 0}, "three quarters of 41, rounded"
    proof = desk.done("GET", "/v1/ops/stock/identity?deep=true")
    assert proof["ok"], proof
    report = desk.done("GET", "/v1/ops/reconciliation")
    assert report["ok"], report
