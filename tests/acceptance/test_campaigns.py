"""A campaign from draft to end, on real processes: waves, a bundle, two locations, gifts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import Service, eventually, run_flashstock, serving, settled

pytestmark = pytest.mark.acceptance

ADMIN_KEY = "admin-of-the-test"


def _time(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


class Desk:
    """One caller with a key of his own."""

    def __init__(self, client: httpx.Client, key: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"}
        self._count = 0

    def call(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        self._count += 1
        headers = {**self._headers, "Idempotency-Key": key or f"{method}-{path}-{self._count}"}
        return self._client.request(method, path, json=body, headers=headers)

    def asked(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        """The first answer that is no 503, as a caller gets it who asks again."""
        key = key or f"{method}-{path}-{self._count}-again"
        return settled(lambda: self.call(method, path, body, key), f"{method} {path} is answered")

    def done(self, method: str, path: str, body: Any = None, key: str = "") -> dict[str, Any]:
        answer = self.asked(method, path, body, key)
        assert answer.status_code in (200, 201), answer.text
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("campaigns") / "data"
    with serving(directory, settings={"FLASHSTOCK_ADMIN_KEY": ADMIN_KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def desks(service: Service) -> Iterator[dict[str, Desk]]:
    with service.client() as client:
        admin = Desk(client, ADMIN_KEY)
        keys = {
            name: admin.done("POST", "/v1/keys", {"name": name, "role": role})["key"]
            for name, role in (("ops", "ops"), ("boss", "ops"), ("shop", "storefront"))
        }
        yield {"admin": admin, **{name: Desk(client, key) for name, key in keys.items()}}


def stock_up(ops: Desk) -> None:
    for location, priority in (("north", 1), ("south", 2)):
        body = {"name": location, "kind": "warehouse", "priority": priority}
        ops.done("PUT", f"/v1/locations/{location}", body)
    for sku, price in (("mug", 900), ("cup", 500), ("set", 2_000), ("pin", 100)):
        ops.done("PUT", f"/v1/skus/{sku}", {"title": sku, "price_minor": price, "currency": "EUR"})
    for sku, location, quantity in (
        ("mug", "north", 30),
        ("mug", "south", 30),
        ("cup", "south", 40),
        ("pin", "north", 1),
    ):
        line = {"sku": sku, "location": location, "quantity": quantity}
        ops.done("POST", "/v1/stock/movements", {"kind": "receive", "lines": [line]})
    parts = [{"sku": "mug", "quantity": 1}, {"sku": "cup", "quantity": 2}]
    ops.done("POST", "/v1/bundles", {"sku": "set", "components": parts})


def available(ops: Desk) -> dict[tuple[str, str], int]:
    page = ops.done("GET", "/v1/stock")
    return {(row["sku"], row["location"]): row["available"] for row in page["items"]}


def offer() -> dict[str, Any]:
    """Mugs with a wave and one gift, and sets of which each takes a mug and two cups."""
    mugs = {
        "sku": "mug",
        "quantity": 40,
        "waves": [{"at": _time(3_000), "quantity": 10}],
        "gifts": [{"sku": "pin", "quantity": 1}],
    }
    return {
        "name": "Spring",
        "starts_at": _time(0.5),
        "ends_at": _time(3_600),
        "per_buyer_limit": 2,
        "hold_seconds": 600,
        "items": [mugs, {"sku": "set", "quantity": 10}],
    }


def approved(desks: dict[str, Desk]) -> str:
    """The path of a campaign that one drafted and another approved, and that is live."""
    ops, boss, shop = desks["ops"], desks["boss"], desks["shop"]
    body = offer()
    draft = ops.done("POST", "/v1/campaigns", body, key="spring")
    path = f"/v1/campaigns/{draft['code']}"
    assert (draft["state"], draft["latest"]["items"][1]["price_minor"]) == ("draft", 2_000)
    assert ops.done("POST", "/v1/campaigns", body, key="spring")["code"] == draft["code"]
    assert shop.call("GET", path).status_code == 403
    assert shop.call("GET", f"{path}/public").status_code == 404
    assert ops.done("POST", f"{path}/submit", {"revision": 1})["state"] == "submitted"
    refused = ops.call("POST", f"{path}/approve", {"revision": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "own_submission")
    boss.done("POST", f"{path}/approve", {"revision": 1})
    eventually(lambda: ops.done("GET", path)["state"] == "live", "the campaign is live")
    return path


def buy(shop: Desk, pool: str, buyer: str, quantity: int) -> None:
    wanted = {"pool": pool, "buyer": buyer, "quantity": quantity}
    held = shop.done("POST", "/v1/reservations", wanted)
    payment = {"payment_ref": f"pay-{buyer}"}
    shop.done("POST", f"/v1/reservations/{held['id']}/confirm", payment)


def test_from_draft_to_ended(service: Service, desks: dict[str, Desk]) -> None:
    ops, boss, shop, admin = (desks[name] for name in ("ops", "boss", "shop", "admin"))
    stock_up(ops)
    path = approved(desks)
    mugs, sets = ops.done("GET", path)["items"]
    assert mugs["counters"] == {"total": 40, "available": 30, "held": 0, "sold": 0, "locked": 10}
    assert sets["counters"]["available"] == 10
    assert available(ops)["cup", "south"] == 20
    shown = shop.done("GET", f"{path}/public")["items"]
    assert [item["available"] for item in shown] == [30, 10]
    buy(shop, shown[0]["pool"], "ann", 2)
    buy(shop, shown[0]["pool"], "bob", 1)
    buy(shop, shown[1]["pool"], "eve", 2)
    refused = ops.call("POST", f"/v1/pools/{mugs['pool']}/adjust", {"delta": 5})
    assert (refused.status_code, refused.json()["code"]) == (409, "pool_of_book")
    refused = ops.call("POST", f"/v1/pools/{mugs['pool']}/close")
    assert (refused.status_code, refused.json()["code"]) == (409, "pool_of_book")
    added = ops.done("POST", f"{path}/items/1/add", {"quantity": 5}, key="more")
    assert added["in_force"]["items"][0]["added"] == 5

    def gifts_decided() -> bool:
        states = [gift["state"] for gift in ops.done("GET", f"{path}/gifts")["items"]]
        return sorted(states) == ["given", "none"]

    eventually(gifts_decided, "one of two orders of mugs got the only pin")
    assert boss.done("POST", f"{path}/end")["state"] == "ended"

    def all_back() -> bool:
        left = [item["left"] for item in ops.done("GET", path)["items"]]
        return left == [0, 0] and not ops.done("GET", "/v1/ops/stock/in-flight")["items"]

    eventually(all_back, "nothing is left in the pools, and nothing in flight")
    stock = available(ops)
    assert stock["mug", "north"] + stock["mug", "south"] == 60 - 3 - 2
    assert stock["cup", "south"] == 40 - 4
    steps = [step["action"] for step in ops.done("GET", f"{path}/steps")["items"]]
    assert steps == ["draft", "submit", "approve", "add", "end"]
    code = path.rpartition("/")[2]
    on_the_line = run_flashstock("campaigns", "show", code, "--data-dir", str(service.data_dir))
    assert on_the_line.returncode == 0, on_the_line.stderr
    assert f"{code}  ended  Spring" in on_the_line.stdout
    listed = run_flashstock("campaigns", "list", "--json", "--data-dir", str(service.data_dir))
    assert [(line["code"], line["state"]) for line in json.loads(listed.stdout)] == [
        (code, "ended")
    ]
    identity = ops.done("GET", "/v1/ops/stock/identity")
    assert identity["ok"], identity
    report = admin.done("GET", "/v1/ops/reconciliation")
    assert report["ok"], report


def test_time_alone_ends_it_and_a_killed_writer_loses_nothing(
    service: Service, desks: dict[str, Desk]
) -> None:
    ops, boss = desks["ops"], desks["boss"]
    ops.done("PUT", "/v1/locations/west", {"name": "west", "kind": "store", "priority": 3})
    ops.done("PUT", "/v1/skus/hat", {"title": "hat", "price_minor": 100, "currency": "EUR"})
    line = {"sku": "hat", "location": "west", "quantity": 20}
    ops.done("POST", "/v1/stock/movements", {"kind": "receive", "lines": [line]})
    item = {"sku": "hat", "quantity": 15}
    body = {"name": "Brief", "starts_at": _time(-1), "ends_at": _time(15), "items": [item]}
    code = ops.done("POST", "/v1/campaigns", body)["code"]
    path = f"/v1/campaigns/{code}"
    ops.done("POST", f"{path}/submit", {"revision": 1})
    service.remember_family()
    writers = [
        process
        for process in service.survivors()
        if any(part.endswith("writer") for part in process.cmdline())
    ]
    boss.done("POST", f"{path}/approve", {"revision": 1})
    for writer in writers:
        writer.kill()
    assert writers, "there was a writer to kill"

    def given_back() -> bool:
        return ops.done("GET", path)["state"] == "ended" and (available(ops)["hat", "west"] == 20)

    eventually(given_back, "everything is back")
    shelf = ops.done("GET", path)["items"][0]
    assert shelf["counters"] == {"total": 0, "available": 0, "held": 0, "sold": 0, "locked": 0}
    assert ops.done("GET", "/v1/ops/stock/identity")["ok"]
