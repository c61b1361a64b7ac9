"""What every route is strict about: keys, sizes, types, methods."""

from __future__ import annotations

import json

import pytest

from flashstock.api.auth import Role
from tests.unit.api.fakes import KEYS
from tests.unit.api.routes import (
    JSON,
    RESERVATION,
    ROUTES,
    WITH_BODY,
    assert_problem,
    each_body,
    each_route,
    send,
)


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
            path.partition("?")[0]
            .replace(f"groups/{RESERVATION}", "groups/{group_id}")
            .replace(RESERVATION, "{reservation_id}")
            .replace("/campaign-1", "/{pool}")
            .replace("/keys/storefront", "/keys/{name}")
            .replace("/quarantine/1/", "/quarantine/{event_id}/")
            .replace("/refunds/1", "/refunds/{refund_id}"),
        )
        for method, path, *_ in ROUTES
    }
    assert tested - described == {("GET", "/openapi.json"), ("GET", "/docs")}
    assert described - tested == set()


@each_route
async def test_other_methods_are_refused_and_the_right_ones_named(
    fakes, method, path, role, body, status
):
    path = path.partition("?")[0]
    allowed = {one for one, at, *_ in ROUTES if at.partition("?")[0] == path}
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


async def test_head_sends_no_body_whatever_the_server_would_do_with_it(fakes):
    sent = []

    async def nothing_more():
        return {"type": "http.disconnect"}

    async def remember(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "HEAD",
        "path": "/version",
        "raw_path": b"/version",
        "query_string": b"",
        "headers": [],
    }
    await fakes.app(scope, nothing_more, remember)
    assert [message.get("body", b"") for message in sent] == [b"", b""]
    assert int(dict(sent[0]["headers"])[b"content-length"]) > 0


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
        b'{"\\ud800":1}',
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
    assert fakes.lanes.asked == []


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
