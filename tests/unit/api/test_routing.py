"""What every route does alike: keys, sizes, types, methods, ids, problems."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from flashstock.api.auth import Role
from flashstock.errors import Overloaded, SoldOut, Unavailable
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.model.states import PoolState
from tests.unit.api.fakes import KEYS, pool_view

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
    ("POST", "/v1/carts", Role.STOREFRONT, CART, 201),
    ("GET", "/v1/ops/reconciliation", Role.OPS, None, 200),
    ("POST", "/v1/ops/reconciliation/repair", Role.OPS, {"dry_run": True}, 200),
    ("POST", "/v1/ops/rebuild", Role.ADMIN, {"dry_run": True}, 200),
    ("GET", "/v1/ops/shards", Role.OPS, None, 200),
    ("GET", "/v1/ops/quarantine", Role.OPS, None, 200),
    ("GET", "/v1/ops/refunds", Role.OPS, None, 200),
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


@each_route
async def test_every_route_answers(fakes, method, path, role, body, status):
    async with fakes.client() as client:
        response = await send(client, method, path, body)
    assert response.status_code == status, response.text


@each_route
async def test_every_route_wants_its_role(fakes, method, path, role, body, status):
    for has in (None, *Role):
        async with fakes.client(has) as client:
            response = await send(client, method, path, body)
        if role is None or (has is not None and has.includes(role)):
            assert response.status_code < 400, (has, response.text)
        elif has is None:
            assert_problem(response, 401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        else:
            assert_problem(response, 403, "forbidden")


async def test_the_routes_above_are_all_there_are(fakes):
    async with fakes.client() as client:
        document = (await client.get("/openapi.json")).json()
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    tested = {
        (
            method,
            path.replace(RESERVATION, "{reservation_id}")
            .replace("/campaign-1", "/{pool}")
            .replace("/keys/storefront", "/keys/{name}"),
        )
        for method, path, *_ in ROUTES
    }
    assert tested - described == {("GET", "/openapi.json"), ("GET", "/docs")}
    assert described - tested == set()


@each_route
async def test_other_methods_are_refused_and_the_right_ones_named(
    fakes, method, path, role, body, status
):
    allowed = {one for one, at, *_ in ROUTES if at == path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    async with fakes.client() as client:
        for other in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"} - allowed:
            response = await client.request(other, path)
            assert response.status_code == 405, other
            assert set(response.headers["allow"].split(", ")) == allowed
            if other != "HEAD":
                assert_problem(response, 405, "wrong_method")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/pools",
        "/v1/pools/",
        "/v1/pools/a/b",
        "/v1/pools/a/adjust/",
        "/v1/reservations/",
        "/v1/reservations/a/b/c",
        "/v1/reservations/a/refund",
        "/V1/pools",
        "/v1//pools",
        "/v1/pools/%2e%2e/adjust/x",
        "/favicon.ico",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_paths(fakes, method, path):
    async with fakes.client() as client:
        response = await client.request(method, path)
    assert_problem(response, 404, "unknown_path")


@pytest.mark.parametrize("path", ["/healthz", "/v1/pools/campaign-1", "/v1/ops/shards", "/metrics"])
async def test_head_is_get_without_a_body(fakes, path):
    async with fakes.client() as client:
        head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@each_body
async def test_a_body_must_call_itself_json(fakes, method, path, role, body, status):
    content = json.dumps(body).encode()
    async with fakes.client() as client:
        for media_type in ("text/plain", "application/x-www-form-urlencoded", None):
            headers = {"idempotency-key": "k"}
            headers |= {"content-type": media_type} if media_type else {}
            response = await client.request(method, path, content=content, headers=headers)
            assert_problem(response, 415, "unsupported_media_type")
        response = await send(
            client, method, path, body, **{"content-type": "application/json; charset=utf-8"}
        )
    assert response.status_code == status


@each_body
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{}x",
        b"[" * 50_000,
        b'{"a":NaN}',
        b'{"a":1,"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b'"text"',
        b"7",
        b'{"surely_unknown":1}',
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_a_body_must_be_strict_json(fakes, method, path, role, body, status, content):
    async with fakes.client() as client:
        headers = {**JSON, "idempotency-key": "k"}
        response = await client.request(method, path, content=content, headers=headers)
    document = assert_problem(response, 422, "invalid_request")
    assert document["errors"]


@each_body
async def test_a_body_has_a_size(fakes, method, path, role, body, status):
    limit = 1024 * 1024 if path.endswith("/batch") else 64 * 1024
    async with fakes.client() as client:
        for content in (b" " * (limit + 1), _in_pieces(limit + 1)):
            response = await client.request(
                method, path, content=content, headers={**JSON, "idempotency-key": "k"}
            )
            assert_problem(response, 413, "body_too_large")
        padded = json.dumps(body).encode().ljust(limit)
        for content in (padded, _pieces_of(padded)):
            response = await client.request(
                method, path, content=content, headers={**JSON, "idempotency-key": "k"}
            )
            assert response.status_code == status, response.text
            fakes.queries.keys.pop("new", None)


async def _in_pieces(size):
    for _ in range(size // 1_024 + 1):
        yield b" " * 1_024


async def _pieces_of(content):
    for start in range(0, len(content), 10_000):
        yield content[start : start + 10_000]


@each_route
async def test_an_announced_size_is_enough_to_refuse(fakes, method, path, role, body, status):
    async with fakes.client() as client:
        for announced in ("1048577", "9" * 40):
            response = await client.request(method, path, headers={"content-length": announced})
            assert_problem(response, 413, "body_too_large")


@pytest.mark.parametrize("announced", ["-1", "1.5", "0x10", "many", "", "\u0661"])
async def test_a_size_is_a_number(fakes, announced):
    """Real servers refuse such a request before we see it."""
    async with fakes.client() as client:
        headers = {"content-length": announced.encode()}
        response = await client.post("/v1/carts", headers=headers)
    assert_problem(response, 422, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/reservations",
        "/v1/carts",
        "/v1/pools/campaign-1/adjust",
        f"/v1/reservations/{RESERVATION}/return",
    ],
)
async def test_what_moves_stock_wants_an_idempotency_key(fakes, path):
    body = next(body for _, at, _, body, _ in WITH_BODY if at == path)
    async with fakes.client() as client:
        response = await client.post(path, json=body)
        assert_problem(response, 400, "idempotency_key_required")
        response = await client.post(path, json=body, headers={"idempotency-key": " "})
        assert_problem(response, 400, "idempotency_key_required")
        for bad in ("k" * 256, "k\xe9"):
            headers = {"idempotency-key": bad.encode("latin-1")}
            response = await client.post(path, json=body, headers=headers)
            assert_problem(response, 422, "invalid_request")
        twice = [("idempotency-key", "a"), ("idempotency-key", "b")]
        response = await client.post(path, json=body, headers=twice)
        assert_problem(response, 422, "invalid_request")
    assert fakes.carts.calls == []
    assert fakes.pools.calls == []
    assert fakes.reservations.calls == []
    assert fakes.lanes.one.submitted == []


@each_route
async def test_two_keys_are_one_too_many(fakes, method, path, role, body, status):
    twice = [("authorization", f"Bearer {KEYS['admin']}"), ("authorization", "Bearer fsk_x")]
    if role is not None:
        async with fakes.client(None) as client:
            response = await client.request(method, path, headers=twice)
        assert_problem(response, 422, "invalid_request")


@pytest.mark.parametrize(
    ("pool", "code"),
    [("nope", "unknown_pool"), ("a%20b", "unknown_pool"), ("a" * 65, "unknown_pool")],
)
@pytest.mark.parametrize("verb", ["", "/adjust", "/pause", "/resume", "/close"])
async def test_unknown_pools(fakes, pool, code, verb):
    body = {"delta": 1} if verb == "/adjust" else {}
    async with fakes.client() as client:
        path = f"/v1/pools/{pool}{verb}"
        response = await send(client, "POST", path, body) if verb else await client.get(path)
    assert_problem(response, 404, code)


async def test_what_is_asked_of_the_services(fakes):
    async with fakes.client("admin") as client:
        await client.post("/v1/ops/rebuild")
        await send(client, "POST", "/v1/ops/rebuild", {"dry_run": False})
    async with fakes.client("ops") as client:
        await send(client, "POST", "/v1/pools/campaign-1/adjust", {"delta": -2, "lock_delta": 3})
        await client.post("/v1/pools/campaign-1/pause")
        await client.post("/v1/pools/campaign-1/resume")
        await client.post("/v1/pools/campaign-1/close")
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/return", {"quantity": 2})
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/return", None)
        await send(client, "POST", f"/v1/reservations/{RESERVATION}/extend", {"seconds": 30})
        await send(client, "POST", "/v1/carts", CART)
        await client.post("/v1/ops/reconciliation/repair")
        await send(client, "POST", "/v1/ops/reconciliation/repair", {"dry_run": False})
    assert fakes.pools.calls == [
        ("adjust", "campaign-1", "ops", "key-1", -2, 3),
        ("set_state", "campaign-1", PoolState.PAUSED),
        ("set_state", "campaign-1", PoolState.OPEN),
        ("set_state", "campaign-1", PoolState.CLOSED),
    ]
    assert fakes.reservations.calls == [
        ("return", "ops", "key-1", RESERVATION, 2),
        ("return", "ops", "key-1", RESERVATION, 0),
        ("extend", RESERVATION, 30),
    ]
    assert fakes.carts.calls == [("ops", "key-1", "b", [("campaign-1", 1)])]
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
        assert_problem(again, 409, "refused")
        listed = await client.get("/v1/keys")
        assert made["key"] not in listed.text
        assert {"name": "kiosk", "role": "ops"}.items() <= listed.json()["items"][-1].items()
        header = {"authorization": f"Bearer {made['key']}"}
        assert (await client.get("/v1/ops/shards", headers=header)).status_code == 200
        revoked = await client.delete("/v1/keys/kiosk")
        assert revoked.json()["revoked_at"] is not None
        assert (await client.delete("/v1/keys/kiosk")).json() == revoked.json()
        assert_problem(await client.get("/v1/ops/shards", headers=header), 401, "unauthorized")
        assert_problem(await client.delete("/v1/keys/nobody"), 404, "not_found")
        assert_problem(await client.delete("/v1/keys/a%20b"), 404, "not_found")


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
    async with fakes.client() as client:
        shards = (await client.get("/v1/ops/shards")).json()["shards"]
    assert shards == [
        {
            "shard": 0,
            "state": "open",
            "generation": 3,
            "seq": 12,
            "applied_seq": 4,
            "lag_events": 8,
        },
        {
            "shard": 1,
            "state": "recovering",
            "generation": 3,
            "seq": None,
            "applied_seq": 4,
            "lag_events": None,
        },
    ]


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
    assert fakes.lanes.one.submitted == []


async def test_a_ledger_that_is_away_is_a_503(fakes):
    fakes.pools.failure = LedgerUnavailable("asyncpg: 10.0.0.1")
    async with fakes.client() as client:
        response = await client.get("/v1/pools/campaign-1")
    assert_problem(response, 503, "unavailable")
