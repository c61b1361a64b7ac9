"""What is asked of the services, and what is answered when they agree, refuse, fail or are away."""

from __future__ import annotations

import logging

import pytest

from flashstock.api.shards import Outages
from flashstock.errors import Overloaded, SoldOut, Unavailable
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.ledger.stored import GivenBack
from flashstock.model.eligibility import Attests
from flashstock.model.states import PoolState
from tests.unit.api.fake_sql import NOW_MS
from tests.unit.api.fakes import pool_view
from tests.unit.api.routes import CART, RESERVATION, assert_problem, send


async def test_what_is_asked_of_the_services(fakes):
    async with fakes.client("admin") as client:
        await client.post("/v1/ops/rebuild")
        await send(client, "POST", "/v1/ops/rebuild", {"dry_run": False})
    async with fakes.client("ops") as client:
        await send(client, "POST", "/v1/pools/campaign-1/adjust", {"delta": -2, "lock_delta": 3})
        await client.post("/v1/pools/campaign-1/pause")
        await client.post("/v1/pools/campaign-1/resume")
        await client.post("/v1/pools/campaign-1/close")
        some = {"quantity": 2, "restock": False}
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/return", some)
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/return", None)
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/extend", {"seconds": 30})
        await send(client, "POST", "/v1/carts", CART)
        attests = {"named": True, "channel": "app"}
        await send(client, "POST", "/v1/carts", {**CART, "attests": attests})
        await client.post("/v1/ops/reconciliation/repair")
        await send(client, "POST", "/v1/ops/reconciliation/repair", {"dry_run": False})
    assert fakes.pools.calls == [
        ("adjust", "campaign-1", "ops", "key-1", -2, 3),
        ("set_state", "campaign-1", PoolState.PAUSED),
        ("set_state", "campaign-1", PoolState.OPEN),
        ("set_state", "campaign-1", PoolState.CLOSED),
    ]
    assert fakes.reservations.calls == [
        ("return", "ops", "key-1", RESERVATION, 2, False),
        ("return", "ops", "key-1", RESERVATION, 0, True),
        ("extend", RESERVATION, 30),
    ]
    cart = ("ops", "key-1", "b", [("campaign-1", 1)])
    said = Attests(named=True, channel="app")
    assert fakes.carts.calls == [(*cart, None), (*cart, said)]
    assert fakes.reconciliation.repairs == [True, False]
    assert fakes.rebuild.runs == [True, False]


async def test_a_replay_says_so(fakes):
    async with fakes.client() as client:
        response = await send(client, "POST", "/v1/pools/campaign-1/adjust", {"delta": 1})
    assert response.headers["idempotency-replayed"] == "true"


async def test_a_refused_cart_names_every_line(fakes):
    lines = [{"pool": "campaign-1", "code": "sold_out", "available": 0}]
    fakes.carts.failure = SoldOut(lines=lines)
    async with fakes.client() as client:
        response = await send(client, "POST", "/v1/carts", CART)
    assert assert_problem(response, 409, "sold_out")["lines"] == lines


@pytest.mark.parametrize("error", [Unavailable("redis://user:pw@host"), Overloaded()])
async def test_a_503_says_when_to_come_back_and_nothing_else(fakes, error):
    fakes.pools.failure = error
    async with fakes.client() as client:
        response = await client.get("/v1/pools/campaign-1")
    assert_problem(response, 503, error.code)
    assert response.headers["retry-after"] == "1"
    assert "pw" not in response.text


async def test_a_failure_nobody_expected_shows_nothing_and_is_logged_with_the_id(fakes, caplog):
    fakes.pools.failure = RuntimeError("the secret is 42")
    with caplog.at_level(logging.ERROR):
        async with fakes.client() as client:
            response = await client.get(
                "/v1/pools/campaign-1", headers={"x-request-id": "trace-17"}
            )
    assert_problem(response, 500, "internal_error")
    assert "42" not in response.text
    assert response.headers["x-request-id"] == "trace-17"
    assert "trace-17" in caplog.text
    assert "the secret is 42" in caplog.text


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>", "\xe9"])
async def test_a_request_id_that_is_not_sane_is_replaced(fakes, sent):
    async with fakes.client() as client:
        headers = {"x-request-id": sent.encode("latin-1")}
        first = await client.get("/healthz", headers=headers)
        second = await client.get("/healthz", headers=headers)
    assert first.headers["x-request-id"] not in {sent, second.headers["x-request-id"]}


async def test_answers_are_not_to_be_kept_or_guessed_at(fakes):
    async with fakes.client() as client:
        for path in ("/v1/pools/campaign-1", "/v1/pools/nope", "/v1/ops/shards"):
            response = await client.get(path)
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "after=%00", "x=1", "limit=1.5", "after=" + "a" * 65],
)
async def test_a_bad_page_is_refused(fakes, query):
    async with fakes.client() as client:
        assert_problem(await client.get(f"/v1/pools?{query}"), 422, "invalid_request")


async def test_pages_follow_each_other(fakes):
    fakes.queries.pool_rows = [pool_view(name) for name in ("a", "b", "c")]
    async with fakes.client() as client:
        first = (await client.get("/v1/pools?limit=2")).json()
        second = (await client.get(f"/v1/pools?limit=2&after={first['next_after']}")).json()
    assert [pool["id"] for pool in first["items"]] == ["a", "b"]
    assert [pool["id"] for pool in second["items"]] == ["c"]
    assert second["next_after"] is None


async def test_a_key_is_shown_once_and_works_until_revoked(fakes):
    async with fakes.client() as client:
        made = (await send(client, "POST", "/v1/keys", {"name": "kiosk", "role": "ops"})).json()
        again = await send(client, "POST", "/v1/keys", {"name": "kiosk", "role": "ops"})
        assert_problem(again, 409, "key_exists")
        listed = await client.get("/v1/keys")
        assert made["key"] not in listed.text
        assert {"name": "kiosk", "role": "ops"}.items() <= listed.json()["items"][-1].items()
        header = {"authorization": f"Bearer {made['key']}"}
        assert (await client.get("/v1/ops/shards", headers=header)).status_code == 200
        revoked = await client.delete("/v1/keys/kiosk")
        assert revoked.json()["revoked_at"] is not None
        assert (await client.delete("/v1/keys/kiosk")).json() == revoked.json()
        assert_problem(await client.get("/v1/ops/shards", headers=header), 401, "unauthorized")
        assert_problem(await client.delete("/v1/keys/nobody"), 404, "unknown_key")
        assert_problem(await client.delete("/v1/keys/a%20b"), 404, "unknown_key")


async def test_ready_needs_every_shard_and_sql(fakes):
    async with fakes.client(None) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        fakes.store.generations = {0: "3"}
        assert_problem(await client.get("/readyz"), 503, "recovering")
        fakes.store.generations = {0: "3", 1: "3"}
        fakes.queries.away = True
        assert_problem(await client.get("/readyz"), 503, "unavailable")
        fakes.queries.away, fakes.queries.slow = False, True
        assert_problem(await client.get("/readyz"), 503, "unavailable")
        assert (await client.get("/healthz")).status_code == 200


async def test_shards_tell_open_from_recovering(fakes):
    fakes.store.generations = {0: "3", 1: "2"}
    fakes.queries.outages = {1: GivenBack(NOW_MS, NOW_MS + 12_345, 6)}
    async with fakes.client() as client:
        shards = (await client.get("/v1/ops/shards")).json()["shards"]
        assert (await client.get("/v1/ops/shards")).json()["shards"] == shards
    assert fakes.queries.outages_read == 2, "once for each shard and generation"
    assert shards == [
        {
            "shard": 0,
            "state": "open",
            "generation": 3,
            "outage": None,
            "seq": 12,
            "applied_seq": 4,
            "lag_events": 8,
        },
        {
            "shard": 1,
            "state": "recovering",
            "generation": 3,
            "outage": {
                "began_at": "2026-11-22T01:37:18.974Z",
                "ended_at": "2026-11-22T01:37:31.319Z",
                "given_back_seconds": 12.345,
                "holds": 6,
            },
            "seq": None,
            "applied_seq": 4,
            "lag_events": None,
        },
    ]


async def test_a_generation_that_is_opened_may_have_given_back(fakes):
    outages = Outages(fakes.queries)
    assert await outages.last(0, 3) is None
    given_back = fakes.queries.outages[0] = GivenBack(1, 2, 3)
    assert await outages.last(0, 3) is None, "what is opened gives nothing back any more"
    assert await outages.last(0, 4) == given_back


async def test_the_lifespan_starts_and_stops_the_services(fakes):
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def remember(message):
        sent.append(message["type"])

    await fakes.app({"type": "lifespan", "state": {}}, receive, remember)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert fakes.started == ["start", "stop"]


async def test_a_client_that_hangs_up_gets_no_answer_and_holds_nothing(fakes):
    for path in ("/v1/carts", "/v1/reservations"):
        sent: list[dict[str, int]] = []

        async def hang_up():
            return {"type": "http.disconnect"}

        async def remember(message, sent=sent):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (b"authorization", b"Bearer fsk_shop"),
                (b"content-type", b"application/json"),
                (b"idempotency-key", b"k"),
            ],
        }
        await fakes.app(scope, hang_up, remember)
        assert all(message.get("status", 499) == 499 for message in sent)
    assert fakes.carts.calls == []
    assert fakes.lanes.asked == []


async def test_a_ledger_that_is_away_is_a_503(fakes):
    fakes.pools.failure = LedgerUnavailable("asyncpg: 10.0.0.1")
    async with fakes.client() as client:
        response = await client.get("/v1/pools/campaign-1")
    assert_problem(response, 503, "unavailable")
