"""Every route there is, with a request it accepts."""

from __future__ import annotations

import json

import httpx
import pytest

from flashstock.api.auth import Role

RESERVATION = "campaign-1~0123456789abcdef"
JSON = {"content-type": "application/json"}
POOL = {"id": "campaign-1", "sku": "sku-1", "quantity": 5}
CART: dict[str, object] = {"buyer": "b", "lines": [{"pool": "campaign-1", "quantity": 1}]}

ROUTES: list[tuple[str, str, Role | None, dict[str, object] | None, int]] = [
    ("POST", "/v1/pools", Role.OPS, POOL, 201),
    ("GET", "/v1/pools", Role.OPS, None, 200),
    ("GET", "/v1/pools/campaign-1", Role.STOREFRONT, None, 200),
    ("POST", "/v1/pools/campaign-1/adjust", Role.OPS, {"delta": 1}, 200),
    ("POST", "/v1/pools/campaign-1/pause", Role.OPS, {}, 200),
    ("POST", "/v1/pools/campaign-1/resume", Role.OPS, {}, 200),
    ("POST", "/v1/pools/campaign-1/close", Role.OPS, {}, 200),
    (
        "POST",
        "/v1/reservations",
        Role.STOREFRONT,
        {"pool": "campaign-1", "buyer": "b", "quantity": 1},
        201,
    ),
    (
        "POST",
        "/v1/reservations/batch",
        Role.STOREFRONT,
        {"items": [{"idempotency_key": "k", "pool": "p", "buyer": "b", "quantity": 1}]},
        200,
    ),
    ("GET", f"/v1/reservations/{RESERVATION}", Role.STOREFRONT, None, 200),
    (
        "POST",
        f"/v1/reservations/{RESERVATION}/confirm",
        Role.STOREFRONT,
        {"payment_ref": "p"},
        200,
    ),
    ("POST", f"/v1/reservations/{RESERVATION}/cancel", Role.STOREFRONT, {}, 200),
    ("POST", f"/v1/reservations/{RESERVATION}/extend", Role.STOREFRONT, {"seconds": 60}, 200),
    ("POST", f"/v1/reservations/{RESERVATION}/return", Role.STOREFRONT, {"quantity": 1}, 200),
    ("GET", "/v1/groups?pool=campaign-1", Role.STOREFRONT, None, 200),
    ("POST", "/v1/groups", Role.STOREFRONT, {"pool": "campaign-1", "buyer": "b"}, 201),
    ("GET", f"/v1/groups/{RESERVATION}", Role.STOREFRONT, None, 200),
    ("POST", f"/v1/groups/{RESERVATION}/join", Role.STOREFRONT, {"buyer": "b"}, 201),
    ("POST", "/v1/carts", Role.STOREFRONT, CART, 201),
    ("GET", "/v1/ops/reconciliation", Role.OPS, None, 200),
    ("POST", "/v1/ops/reconciliation/repair", Role.OPS, {"dry_run": True}, 200),
    ("POST", "/v1/ops/rebuild", Role.ADMIN, {"dry_run": True}, 200),
    ("GET", "/v1/ops/shards", Role.OPS, None, 200),
    ("GET", "/v1/ops/quarantine", Role.OPS, None, 200),
    ("POST", "/v1/ops/quarantine/1/resolve", Role.OPS, {}, 200),
    ("GET", "/v1/ops/refunds", Role.OPS, None, 200),
    ("POST", "/v1/ops/refunds/1/settle", Role.OPS, {"reference": "r"}, 200),
    ("POST", "/v1/keys", Role.ADMIN, {"name": "new", "role": "ops"}, 201),
    ("GET", "/v1/keys", Role.ADMIN, None, 200),
    ("DELETE", "/v1/keys/storefront", Role.ADMIN, None, 200),
    ("GET", "/healthz", None, None, 200),
    ("GET", "/readyz", None, None, 200),
    ("GET", "/metrics", None, None, 200),
    ("GET", "/version", None, None, 200),
    ("GET", "/openapi.json", None, None, 200),
    ("GET", "/docs", None, None, 200),
]
WITH_BODY = [route for route in ROUTES if route[3] is not None]
each_route = pytest.mark.parametrize(
    ("method", "path", "role", "body", "status"), ROUTES, ids=lambda part: str(part)[:50]
)
each_body = pytest.mark.parametrize(
    ("method", "path", "role", "body", "status"), WITH_BODY, ids=lambda part: str(part)[:50]
)


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    """A problem document with that status and code, which says so in both places."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = response.json()
    assert (response.status_code, document["code"]) == (status, code), document
    assert document["status"] == status
    assert document["type"] == f"urn:flashstock:problem:{code}"
    return document


async def send(client, method, path, body, **headers):
    content = None if body is None else json.dumps(body).encode()
    sent = {"idempotency-key": "key-1", **(JSON if body is not None else {}), **headers}
    return await client.request(method, path, content=content, headers=sent)
