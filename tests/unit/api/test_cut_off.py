"""A request that a server gives up on when it goes down is told to come back: nothing is known."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.unit.api.routes import RESERVATION

ONE = f"/v1/reservations/{RESERVATION}"
HOLD = {"pool": "campaign-1", "buyer": "b", "quantity": 1}
REQUESTS = [
    ("POST", "/v1/reservations", HOLD),
    ("POST", f"{ONE}/confirm", {"payment_ref": "pay-1"}),
    ("POST", f"{ONE}/cancel", {}),
    ("GET", ONE, None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=lambda one: str(one)[:40])
async def test_it_is_a_503(fakes, monkeypatch, method: str, path: str, body: Any):
    begun = asyncio.Event()

    async def take_long(*_: Any, **__: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    def never(*_: Any) -> None:
        begun.set()

    monkeypatch.setattr(fakes.services.lanes, "ask", never)
    for verb in ("confirm", "cancel", "get"):
        monkeypatch.setattr(fakes.services.reservations, verb, take_long)
    sent: list[dict[str, Any]] = []
    payload = b"" if body is None else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": payload, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = {"idempotency-key": "key-1", "content-type": "application/json"}
    headers |= dict(fakes.client("admin").headers)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asking = asyncio.create_task(fakes.app(scope, receive, send))
    async with asyncio.timeout(60):
        await begun.wait()
    asking.cancel()
    await asyncio.wait({asking})
    start, rest = sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"]
    assert json.loads(rest["body"])["code"] == "unavailable"
