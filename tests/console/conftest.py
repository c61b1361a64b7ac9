"""A service with keys and a sale in it, and one without either: real processes both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import Service, eventually, serving
from tests.console.visitor import Visitor

ADMIN_KEY = "an-admin-key-of-the-tests"
SKU = "<script>alert(1)</script>"
SUPER: dict[str, Any] = {
    "type": "super",
    "tiers": [{"seats": 1, "price_minor": 1_990}, {"seats": 3, "price_minor": 1_490}],
}
BUYER = '"><img src=x onerror=alert(1)>'


def moment(seconds: float) -> str:
    """From now, as the API takes it."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Shop:
    """The service, its keys, and what is in it."""

    service: Service
    url: str
    keys: dict[str, str] = field(default_factory=dict)
    hold: str = ""
    group: str = ""
    campaign: str = ""
    draft: str = ""
    webhook: str = ""

    def api(self, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> Any:
        """Ask the API, as the admin."""
        sent = {"authorization": f"Bearer {ADMIN_KEY}", **headers}
        if key:
            sent["idempotency-key"] = key
        response = httpx.request(method, f"{self.url}{path}", json=body, headers=sent, timeout=60)
        assert response.status_code < 300, (path, response.text)
        return response.json()

    def pool(self, pool: str) -> Any:
        return self.api("GET", f"/v1/pools/{pool}")

    def visitor(self, role: str = "") -> Visitor:
        """A browser; signed in with the key of a role, or as nobody."""
        visitor = Visitor(self.url)
        if role:
            assert visitor.sign_in(self.keys[role]).status_code == 303
        return visitor


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("console") / "data"
    with serving(directory, settings={"FLASHSTOCK_ADMIN_KEY": ADMIN_KEY}) as service:
        made = Shop(service, service.url, {"admin": ADMIN_KEY})
        for role in ("storefront", "ops", "ops-2"):
            body = {"name": role, "role": role.removesuffix("-2")}
            made.keys[role] = made.api("POST", "/v1/keys", body)["key"]
        _fill(made)
        yield made


@pytest.fixture(scope="session")
def empty_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Without keys, and with nothing in it."""
    with serving(tmp_path_factory.mktemp("console") / "empty") as service:
        yield service


def _fill(shop: Shop) -> None:
    """A pool whose SKU and buyer would be a script, a campaign in force, one that is not, …"""
    shop.api("POST", "/v1/pools", {"id": "mugs", "sku": SKU, "quantity": 20, "hold_seconds": 3_600})
    hold = {"pool": "mugs", "buyer": BUYER, "quantity": 2}
    shop.hold = shop.api("POST", "/v1/reservations", hold, key="hold-1")["id"]
    tea = {"id": "tea", "sku": SKU, "quantity": 90, "group_buy": {"size": 3, **SUPER}}
    shop.api("POST", "/v1/pools", tea)
    opened = {"pool": "tea", "buyer": BUYER}
    shop.group = shop.api("POST", "/v1/groups", opened, key="group-1")["group"]
    shop.api("PUT", "/v1/locations/east", {"name": "East"})
    shop.api("PUT", "/v1/skus/SKU-1", {"title": "A <b>mug</b>"})
    line = {"sku": "SKU-1", "location": "east", "quantity": 500}
    lines = [{**line, "source": "supplier", "target": "available"}]
    shop.api("POST", "/v1/stock/movements", {"kind": "receive", "lines": lines}, key="receive-1")
    terms = {"starts_at": moment(-60), "ends_at": moment(7_200)}
    items = [{"sku": "SKU-1", "quantity": 100, "waves": [{"at": moment(3_600), "quantity": 40}]}]
    written = {"name": "<b>Winter</b>", **terms, "items": items}
    shop.campaign = shop.api("POST", "/v1/campaigns", written, key="campaign-1")["code"]
    shop.api("POST", f"/v1/campaigns/{shop.campaign}/submit", {"revision": 1})
    shop.api("POST", f"/v1/campaigns/{shop.campaign}/approve", {"revision": 1})
    draft = {**written, "name": "Spring", "items": [{"sku": "SKU-1", "quantity": 10}]}
    shop.draft = shop.api("POST", "/v1/campaigns", draft, key="campaign-2")["code"]
    hook = {"url": "https://shop.example/hook", "topics": ["reservation.confirmed"]}
    shop.webhook = shop.api("POST", "/v1/webhooks", hook)["id"]
    eventually(
        lambda: shop.api("GET", f"/v1/campaigns/{shop.campaign}")["state"] == "live",
        "the campaign's pool is filled",
    )
