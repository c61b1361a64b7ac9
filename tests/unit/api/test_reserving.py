"""The lean routes: what is attested goes to the lanes, and what a lane decided comes back."""

from __future__ import annotations

from typing import Any

import pytest

from flashstock.hotpath.asking import Verdicted
from flashstock.hotpath.scripts import Verdict
from flashstock.model.rules import NO_DEADLINE_MS
from tests.unit.api.fakes import NOW_MS, batch_reply
from tests.unit.api.routes import assert_problem, send

PLAIN: dict[str, Any] = {"pool": "campaign-1", "buyer": "b", "quantity": 1}
ATTESTS = {"new_buyer": True, "level": 7, "channel": "app"}


async def test_what_is_attested_is_asked_with(fakes):
    items = [{"idempotency_key": f"k{n}", **PLAIN} for n in range(2)]
    items[1]["attests"] = {"named": True}
    async with fakes.client() as client:
        await send(client, "POST", "/v1/reservations", {**PLAIN, "attests": ATTESTS})
        await send(client, "POST", "/v1/reservations", PLAIN)
        await send(client, "POST", "/v1/reservations/batch", {"items": items})
    assert fakes.lanes.attested == ["1007app", "", "", "0100"]


@pytest.mark.parametrize(
    ("reply", "state", "expires_at"),
    [
        ({"deadline_ms": NO_DEADLINE_MS}, "held", None),
        ({"ordered": True, "deadline_ms": NOW_MS}, "ordered", "2026-11-22T01:37:18.974Z"),
    ],
)
async def test_a_reservation_of_another_deduct_mode(fakes, reply, state, expires_at):
    fakes.lanes.outcome = Verdicted(int(Verdict.HELD), batch_reply(**reply), None)
    async with fakes.client() as client:
        response = await send(client, "POST", "/v1/reservations", PLAIN)
    assert response.status_code == 201
    assert (response.json()["state"], response.json()["expires_at"]) == (state, expires_at)


async def test_who_is_not_eligible_hears_which_rule_it_is(fakes):
    reply = batch_reply(audience="level:8", channels="app", available=3)
    fakes.lanes.outcome = Verdicted(int(Verdict.NOT_ELIGIBLE), reply, None)
    items = [{"idempotency_key": "k", **PLAIN}]
    async with fakes.client() as client:
        alone = await send(client, "POST", "/v1/reservations", {**PLAIN, "attests": ATTESTS})
        batch = await send(client, "POST", "/v1/reservations/batch", {"items": items})
    problem = assert_problem(alone, 409, "not_eligible")
    assert (problem["audience"], problem["available"]) == ("level:8", 3)
    assert "channels" not in problem
    (item,) = batch.json()["items"]
    assert (item["status"], item["code"], item["channels"]) == (409, "not_eligible", ["app"])
