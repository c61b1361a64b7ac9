"""What is counted and what is shown of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flashstock.api import metrics_stores
from flashstock.api.counters import Buckets
from flashstock.api.proof_watch import INTERVAL_SECONDS, ProofWatch
from flashstock.errors import Unavailable
from flashstock.hotpath.scripts import Verdict
from flashstock.ledger.stored import GivenBack, OpenMatters
from tests.unit.api.fakes import FakeServer, pool_view


async def scrape(fakes):
    """(sample name, labels without the worker) → value."""
    async with fakes.client(None) as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (
            sample.name,
            *sorted((k, v) for k, v in sample.labels.items() if k != "worker"),
        ): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_not_by_path(fakes):
    async with fakes.client() as client:
        for pool in ("campaign-1", "campaign-1", "nope"):
            await client.get(f"/v1/pools/{pool}")
        for path in ("/made/up/1", "/made/up/2"):
            await client.get(path)
        await client.head("/healthz")
        await client.request("BREW", "/healthz")
    seen = {
        (labels["method"], labels["route"], labels["status"], labels["code"]): value
        for name, *pairs in (await scrape(fakes)).items()
        if name[0] == "flashstock_http_requests_total"
        for labels, value in [(dict(name[1:]), pairs[0])]
    }
    assert seen == {
        ("GET", "/v1/pools/{pool}", "200", ""): 2,
        ("GET", "/v1/pools/{pool}", "404", "unknown_pool"): 1,
        ("GET", "other", "404", "unknown_path"): 2,
        ("HEAD", "/healthz", "200", ""): 1,
        ("other", "/healthz", "405", "wrong_method"): 1,
    }


async def test_what_the_hot_path_counted(fakes):
    counters = fakes.services.counters
    counters.verdicts[Verdict.HELD] += 3
    counters.verdicts[Verdict.SOLD_OUT] += 40
    fakes.services.lanes.sold_out_from_memory += 38
    counters.decided("p", range(5), 0.003)
    counters.decided("p", range(128), 2.0)
    counters.committed("p", 0.004)
    fakes.services.lanes.waiting = 12
    shown = await scrape(fakes)
    assert shown["flashstock_reservation_verdicts_total", ("verdict", "held")] == 3
    assert shown["flashstock_reservation_verdicts_total", ("verdict", "sold_out")] == 40
    assert shown["flashstock_sold_out_from_memory_total",] == 38
    assert shown["flashstock_lane_batch_size_bucket", ("le", "4")] == 0
    assert shown["flashstock_lane_batch_size_bucket", ("le", "8")] == 1
    assert shown["flashstock_lane_batch_size_count",] == 2
    assert shown["flashstock_lane_batch_size_sum",] == 133
    assert shown["flashstock_reserve_script_seconds_bucket", ("le", "1.0")] == 1
    assert shown["flashstock_reserve_script_seconds_bucket", ("le", "+Inf")] == 2
    assert shown["flashstock_commit_wait_seconds_bucket", ("le", "0.0025")] == 0
    assert shown["flashstock_commit_wait_seconds_bucket", ("le", "0.005")] == 1
    assert shown["flashstock_lane_waiting_requests",] == 12
    assert shown["flashstock_waiting_commits",] == 5


async def test_what_the_stores_say(fakes):
    fakes.queries.pool_rows = [pool_view("campaign-1")]
    fakes.store.generations = {0: "3"}
    shown = await scrape(fakes)
    assert shown["flashstock_stores_answered",] == 1
    assert shown["flashstock_shard_open", ("shard", "0")] == 1
    assert shown["flashstock_shard_open", ("shard", "1")] == 0
    assert shown["flashstock_applied_lag_events", ("shard", "0")] == 8
    assert ("flashstock_applied_lag_events", ("shard", "1")) not in shown
    assert shown["flashstock_applied_seq", ("shard", "1")] == 4
    units = {
        state: shown["flashstock_pool_units", ("pool", "campaign-1"), ("state", state)]
        for state in ("available", "held", "sold", "locked")
    }
    assert units == {"available": 6, "held": 2, "sold": 1, "locked": 1}


async def test_the_last_outage_that_was_given_back(fakes):
    fakes.queries.outages = {1: GivenBack(1_795_316_400_000, 1_795_316_412_500, 6)}
    shown = await scrape(fakes)
    assert shown["flashstock_outage_last_timestamp_seconds", ("shard", "1")] == 1_795_316_412.5
    assert shown["flashstock_outage_last_given_back_seconds", ("shard", "1")] == 12.5
    assert shown["flashstock_outage_last_holds", ("shard", "1")] == 6
    assert not [key for key in shown if "outage" in key[0] and ("shard", "0") in key]


@pytest.mark.parametrize("trouble", ["away", "slow"])
async def test_a_ledger_that_is_away_does_not_silence_the_rest(fakes, trouble, monkeypatch):
    monkeypatch.setattr(metrics_stores, "STORE_TIMEOUT_SECONDS", 0.01)
    setattr(fakes.queries, trouble, True)
    shown = await scrape(fakes)
    assert shown["flashstock_stores_answered",] == 0
    assert shown["flashstock_shard_open", ("shard", "0")] == 1
    assert not [key for key in shown if key[0] == "flashstock_applied_seq"]


async def test_what_waits_for_a_person(fakes, monkeypatch):
    fakes.queries.matters = OpenMatters(2, 3, 1_795_316_400_000)
    monkeypatch.setattr("flashstock.api.metrics.time.time", lambda: 1_795_316_460.5)
    shown = await scrape(fakes)
    assert shown["flashstock_quarantined_events",] == 2
    assert shown["flashstock_refunds_due",] == 3
    assert shown["flashstock_refund_oldest_seconds",] == 60.5


async def test_memory_is_told_once_for_each_server_and_no_limit_is_none(fakes):
    shown = await scrape(fakes)
    assert shown["flashstock_redis_memory_used_bytes", ("shard", "0")] == 900
    assert shown["flashstock_redis_memory_limit_bytes", ("shard", "0")] == 1_000
    assert ("flashstock_redis_memory_used_bytes", ("shard", "1")) not in shown
    other = FakeServer({"used_memory": 7, "maxmemory": 0})
    fakes.store.clients = [fakes.store.clients[0], other]
    shown = await scrape(fakes)
    assert shown["flashstock_redis_memory_used_bytes", ("shard", "1")] == 7
    assert ("flashstock_redis_memory_limit_bytes", ("shard", "1")) not in shown


async def test_redis_that_is_away_does_not_silence_sql(fakes):
    fakes.store.clients[0].away = True
    shown = await scrape(fakes)
    assert shown["flashstock_stores_answered",] == 1
    assert shown["flashstock_quarantined_events",] == 0
    assert ("flashstock_redis_memory_used_bytes", ("shard", "0")) not in shown


async def test_a_scrape_asks_for_proof_and_the_next_one_shows_it(fakes):
    assert not [key for key in await scrape(fakes) if key[0] == "flashstock_invariant_ok"]
    await asyncio.sleep(0)
    shown = await scrape(fakes)
    assert shown["flashstock_invariant_ok", ("invariant", "nothing_lost")] == 1
    assert shown["flashstock_reconciliation_oversold",] == 0
    assert fakes.reconciliation.reports == 1


async def test_a_broken_invariant_is_shown_as_such(fakes):
    fakes.services.proof_watch.found({"invariants": {"nothing_oversold": False}, "oversold": 3})
    shown = await scrape(fakes)
    assert shown["flashstock_invariant_ok", ("invariant", "nothing_oversold")] == 0
    assert shown["flashstock_reconciliation_oversold",] == 3


async def test_proof_is_sought_once_at_a_time_and_once_a_minute(monkeypatch):
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr("flashstock.api.proof_watch.time.monotonic", lambda: clock.now)
    release = asyncio.Event()
    asked = []

    async def report():
        asked.append(clock.now)
        await release.wait()
        return {"invariants": {}}

    watch = ProofWatch(report)
    watch.wanted()
    await asyncio.sleep(0)
    clock.now += INTERVAL_SECONDS + 1
    watch.wanted()
    await asyncio.sleep(0)
    assert asked == [1_000.0]
    release.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert watch.last is not None
    watch.wanted()
    watch.wanted()
    await asyncio.sleep(0)
    assert asked == [1_000.0, clock.now]
    clock.now += INTERVAL_SECONDS - 1
    watch.wanted()
    await asyncio.sleep(0)
    assert len(asked) == 2
    await watch.stop()


async def test_a_proof_that_fails_leaves_the_last_one():
    async def report():
        raise Unavailable

    watch = ProofWatch(report)
    watch.found({"invariants": {"nothing_lost": True}})
    watch.wanted()
    await asyncio.sleep(0)
    assert watch.last is not None
    assert watch.last.invariants == {"nothing_lost": True}


def test_buckets_hold_what_is_at_most_their_bound():
    buckets = Buckets((1, 2, 4))
    for value in (1, 2, 3, 4, 5):
        buckets.observe(value)
    assert buckets.cumulative() == [("1", 1.0), ("2", 2.0), ("4", 4.0), ("+Inf", 5.0)]
    assert buckets.total == 15


async def test_what_the_watch_found_is_shown_as_of_its_time(fakes):
    fakes.reconciliation.round = {
        "at": "2026-11-22T03:00:00.123Z",
        "invariants": {"nothing_lost": False},
        "oversold": 0,
    }
    watch = fakes.services.proof_watch
    watch.follow(fakes.reconciliation.last_round)
    await asyncio.sleep(0)
    assert watch.last is not None
    shown = await scrape(fakes)
    assert shown["flashstock_invariant_ok", ("invariant", "nothing_lost")] == 0
    assert shown["flashstock_reconciliation_timestamp_seconds",] == pytest.approx(1795316400.123)
    await asyncio.sleep(0)
    assert fakes.reconciliation.reports == 0, "nobody reads everything where a watch runs"
    await watch.stop()


async def test_a_round_older_than_what_is_known_changes_nothing(fakes):
    fakes.reconciliation.round = {"at": "2020-01-01T00:00:00.000Z", "invariants": {"x": False}}
    watch = fakes.services.proof_watch
    watch.found({"invariants": {"x": True}})
    watch.follow(fakes.reconciliation.last_round)
    await asyncio.sleep(0)
    assert watch.last.invariants == {"x": True}
    await watch.stop()
