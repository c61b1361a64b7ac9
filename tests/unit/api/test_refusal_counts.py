"""Refusals are counted by pool and reason, within bounds, and handed over once."""

from __future__ import annotations

from flashstock.api import counters as module
from flashstock.api.counters import HotCounters
from flashstock.hotpath.asking import Verdicted
from flashstock.hotpath.scripts import Verdict
from tests.unit.api.fakes import batch_reply

RESERVATION = {"pool": "campaign-1", "buyer": "b", "quantity": 1}


async def test_every_refusal_is_counted_and_no_hold(fakes):
    async with fakes.client("storefront") as client:
        for number, verdict in enumerate(
            (Verdict.HELD, Verdict.SOLD_OUT, Verdict.SOLD_OUT, Verdict.PAUSED)
        ):
            fakes.lanes.outcome = Verdicted(int(verdict), batch_reply(), None)
            key = {"idempotency-key": str(number)}
            await client.post("/v1/reservations", json=RESERVATION, headers=key)
        items = [{**RESERVATION, "idempotency_key": "in-a-batch"}]
        await client.post("/v1/reservations/batch", json={"items": items})
    taken = fakes.services.counters.take_refusals()
    assert taken == {("campaign-1", "sold_out"): 2, ("campaign-1", "paused"): 2}
    assert fakes.services.counters.take_refusals() == {}


def test_strangers_can_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "POOLS_COUNTED_MAX", 2)
    counters = HotCounters()
    for pool in "abcab":
        counters.refused(pool, int(Verdict.SOLD_OUT))
    counters.refused("nowhere", int(Verdict.UNKNOWN_POOL))
    assert counters.take_refusals() == {("a", "sold_out"): 2, ("b", "sold_out"): 2}
