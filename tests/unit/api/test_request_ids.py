"""The id of a request: on every answer to who sent one, and on what is logged because of it."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from flashstock.errors import Unavailable
from flashstock.supervisor.logs import configure_logging
from tests.unit.api.routes import RESERVATION, send

RESERVE = {"pool": "campaign-1", "buyer": "b", "quantity": 1}


@pytest.fixture
def logged(monkeypatch):
    """What a process prints, line by line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []  # those of pytest are not to be closed
    configure_logging("api-worker", "warning")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = before
    root.setLevel(level)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/reservations", RESERVE),
        ("/v1/reservations/batch", {"items": [{**RESERVE, "idempotency_key": "k"}]}),
        (f"/v1/reservations/{RESERVATION}/confirm", {"payment_ref": "p"}),
        (f"/v1/reservations/{RESERVATION}/cancel", {}),
    ],
)
async def test_a_lean_route_answers_with_the_id_it_was_sent(fakes, path, body):
    async with fakes.client("storefront") as client:
        answer = await send(client, "POST", path, body, **{"x-request-id": "cart-17"})
        silent = await send(client, "POST", path, body)
        strange = await send(client, "POST", path, body, **{"x-request-id": "a b"})
    assert answer.headers["x-request-id"] == "cart-17"
    assert "x-request-id" not in silent.headers
    assert "x-request-id" not in strange.headers


async def test_a_refusal_carries_it_too(fakes):
    async with fakes.client(None) as client:
        answer = await send(client, "POST", "/v1/reservations", {}, **{"x-request-id": "cart-17"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "cart-17")


async def test_what_is_logged_because_of_a_request_names_it(fakes, logged):
    fakes.pools.failure = Unavailable("no store")
    async with fakes.client() as client:
        one = await client.get("/v1/pools/campaign-1", headers={"x-request-id": "look-1"})
        other = await client.get("/v1/pools/campaign-1")
    assert one.status_code == other.status_code == 503
    ids = [line["request_id"] for line in logged()]
    assert ids == ["look-1", other.headers["x-request-id"]]
    logging.getLogger("flashstock").warning("nobody asked")
    assert "request_id" not in logged()[-1]


async def test_a_lean_request_that_breaks_something_is_found_by_its_id(fakes, logged):
    fakes.lanes.outcome = RuntimeError("a bug")
    async with fakes.client("storefront") as client:
        sent = {"x-request-id": "cart-18"}
        answer = await send(client, "POST", "/v1/reservations", RESERVE, **sent)
    assert answer.status_code == 500
    assert "a bug" in logged()[0]["exception"]
    assert logged()[1]["request_id"] == "cart-18"
