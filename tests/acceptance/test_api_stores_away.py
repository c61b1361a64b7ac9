"""A store that is away is a 503 that says when to come back; the same key works afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import (
    Service,
    document_at,
    eventually,
    open_pool,
    reserve,
    reserve_eventually,
    serving,
    settled,
)

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("away") / "data", hasty=True) as running:
        with running.client() as client:
            open_pool(client, "target", 20)
        yield running


@pytest.fixture
def client(service):
    with service.client() as client:
        yield client


@contextmanager
def frozen_valkey(service: Service) -> Iterator[None]:
    """It keeps its connections and answers nobody."""
    process_id = service.running["valkey_pid"]
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


@contextmanager
def locked_ledger(service: Service) -> Iterator[None]:
    """Somebody else writes to SQL and does not come to an end."""
    [database] = service.data_dir.rglob("*.db")
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.rollback()
        connection.close()


def assert_come_back(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] in {"unavailable", "recovering", "overloaded"}
    assert ".sock" not in response.text
    assert "sqlite" not in response.text.lower()


def units(client: httpx.Client) -> tuple[int, int, int]:
    pool = document_at(client, "/v1/pools/target")
    return pool["available"], pool["held"], pool["sold"]


def answered(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    return settled(lambda: client.request(method, path, **request), f"{path} is answered")


def test_without_redis_every_route_that_needs_it_says_come_back(service, client):
    hold = reserve_eventually(client, "redis-hold", "target").json()["id"]
    before = units(client)
    line = {"pool": "target", "quantity": 1}
    item = {**line, "buyer": "b"}
    requests: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/v1/reservations", item),
        ("POST", f"/v1/reservations/{hold}/confirm", {"payment_ref": "redis-pay"}),
        ("POST", f"/v1/reservations/{hold}/extend", {"seconds": 60}),
        ("POST", "/v1/carts", {"buyer": "b", "lines": [line]}),
        ("POST", "/v1/pools/target/adjust", {"delta": 1}),
        ("GET", f"/v1/reservations/{hold}", None),
        ("GET", "/v1/pools/target", None),
        ("GET", "/v1/ops/reconciliation", None),
    ]
    with frozen_valkey(service):
        for method, path, body in requests:
            key = {"Idempotency-Key": f"redis-{path.rpartition('/')[2]}"}
            assert_come_back(client.request(method, path, json=body, headers=key))
        assert client.get("/healthz").status_code == 200
        batch = {"items": [{"idempotency_key": "redis-batch", **item}]}
        [answer] = client.post("/v1/reservations/batch", json=batch).json()["items"]
        assert answer["status"] == 503

    key = {"Idempotency-Key": "redis-reservations"}
    first = answered(client, "POST", "/v1/reservations", json=item, headers=key)
    again = answered(client, "POST", "/v1/reservations", json=item, headers=key)
    assert first.json() == again.json()
    key = {"Idempotency-Key": "redis-carts"}
    cart = {"buyer": "b", "lines": [line]}
    answered(client, "POST", "/v1/carts", json=cart, headers=key)
    key = {"Idempotency-Key": "redis-adjust"}
    answered(client, "POST", "/v1/pools/target/adjust", json={"delta": 1}, headers=key)

    def batch_is_held() -> bool:
        [answer] = answered(client, "POST", "/v1/reservations/batch", json=batch).json()["items"]
        return int(answer["status"]) < 300

    eventually(batch_is_held, "the batch is held")
    sale = answered(
        client, "POST", f"/v1/reservations/{hold}/confirm", json={"payment_ref": "redis-pay"}
    )
    assert sale.json()["state"] == "confirmed"
    eventually(
        lambda: client.get("/v1/ops/reconciliation").json().get("ok"), "the stores agree again"
    )
    # One unit each for the reservation, the cart and the batch; one more unit; one hold sold.
    available, held, sold = before
    assert units(client) == (available - 3 + 1, held - 1 + 3, sold + 1)


def test_without_sql_nothing_is_acknowledged_and_nothing_is_lost(service, client):
    hold = answered(
        client,
        "POST",
        "/v1/reservations",
        json={"pool": "target", "buyer": "b", "quantity": 1},
        headers={"Idempotency-Key": "sql-hold"},
    ).json()["id"]
    before = units(client)
    with locked_ledger(service):
        assert_come_back(reserve(client, "sql-1", "target"))
        assert_come_back(reserve(client, "sql-1", "target"))
        paying = {"payment_ref": "sql-pay"}
        assert_come_back(client.post(f"/v1/reservations/{hold}/confirm", json=paying))
        line = {"pool": "target", "quantity": 1}
        cart = {"buyer": "b", "lines": [line]}
        key = {"Idempotency-Key": "sql-cart"}
        assert_come_back(client.post("/v1/carts", json=cart, headers=key))

    item = {"pool": "target", "buyer": "buyer-sql-1", "quantity": 1}
    key = {"Idempotency-Key": "sql-1"}
    assert answered(client, "POST", "/v1/reservations", json=item, headers=key).status_code == 200
    key = {"Idempotency-Key": "sql-cart"}
    answered(client, "POST", "/v1/carts", json=cart, headers=key)
    sale = answered(client, "POST", f"/v1/reservations/{hold}/confirm", json=paying)
    assert sale.json()["state"] == "confirmed"
    available, held, sold = before
    assert units(client) == (available - 2, held - 1 + 2, sold + 1)
    report = document_at(client, "/v1/ops/reconciliation")
    assert report["ok"], report
