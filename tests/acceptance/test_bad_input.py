"""Whatever is sent, the answer is a problem with a stable code, and nothing is held."""

from __future__ import annotations

import copy
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from flashstock.api import schemas, schemas_pools
from tests.acceptance.processes import open_pool, reserve, serving

pytestmark = pytest.mark.acceptance

RESERVATION = "{reservation}"
ITEM = {"pool": "target", "buyer": "b", "quantity": 1}
BODIES: dict[str, tuple[type[schemas.Body], dict[str, Any]]] = {
    "/v1/reservations": (schemas.ReservationRequest, ITEM),
    "/v1/reservations/batch": (
        schemas.BatchRequest,
        {"items": [{"idempotency_key": "good", **ITEM}]},
    ),
    f"/v1/reservations/{RESERVATION}/confirm": (schemas.ConfirmRequest, {"payment_ref": "p"}),
    f"/v1/reservations/{RESERVATION}/cancel": (schemas.NothingBody, {}),
    f"/v1/reservations/{RESERVATION}/extend": (schemas.ExtendRequest, {"seconds": 60}),
    f"/v1/reservations/{RESERVATION}/return": (schemas.ReturnRequest, {"quantity": 1}),
    "/v1/carts": (
        schemas.CartRequest,
        {"buyer": "b", "lines": [{"pool": "target", "quantity": 1}]},
    ),
    "/v1/pools": (
        schemas_pools.PoolRequest,
        {
            "id": "fresh",
            "sku": "s",
            "quantity": 5,
            "per_buyer_limit": 1,
            "hold_seconds": 60,
            "starts_at": "2026-11-22T03:00:00Z",
            "ends_at": "2027-11-22T03:00:00Z",
            "durability": "fast",
            "waves": [{"at": "2026-11-23T03:00:00Z", "quantity": 1}],
        },
    ),
    "/v1/pools/target/adjust": (schemas_pools.AdjustRequest, {"delta": 1, "lock_delta": 1}),
    "/v1/pools/target/pause": (schemas.NothingBody, {}),
    "/v1/pools/target/resume": (schemas.NothingBody, {}),
    "/v1/pools/target/close": (schemas.NothingBody, {}),
    "/v1/ops/reconciliation/repair": (schemas.RepairRequest, {"dry_run": True}),
    "/v1/keys": (schemas.KeyRequest, {"name": "fresh", "role": "ops"}),
}
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.0,
    0.5,
    -0.0,
    2**53,
    2**63,
    2**64,
    10**30,
    "",
    " ",
    "1",
    "a\x00b",
    "a\tb",
    "a\nb",
    "\x7f",
    "\x85",
    "a" * 129,
    "ä" * 65,
    "' OR 1=1 --",
    "../../etc/passwd",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    [],
    [[]],
    [None],
    {},
    {"a": 1},
    [{}],
]
TEXTS = [
    b"",
    b"{",
    b"{}{}",
    b"[",
    b"nul",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b'{"a":1e400}',
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b'{"a":1,"a":1}',
    b'{"\x00":1}',
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"a":' + b"1" * 60_000 + b"}",
    b"// no comment\n{}",
    b"{'a':1}",
    "{}".encode("utf-16"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """An open service with one pool, ``target``, and one hold in it."""
    with serving(tmp_path_factory.mktemp("bad") / "data") as running:
        with running.client() as client:
            open_pool(client, "target", 10)
            assert reserve(client, "target-1", "target").status_code == 201
        yield running


@pytest.fixture
def client(service):
    with service.client() as client:
        yield client


@pytest.fixture
def reservation(client):
    return reserve(client, "target-1", "target").json()["id"]


@pytest.fixture(autouse=True)
def nothing_happens(client):
    """No event in the log and no unit moved: not even for a moment."""
    before = _everything(client)
    yield
    assert _everything(client) == before


def _everything(client):
    shards = client.get("/v1/ops/shards").json()["shards"]
    return (
        [(shard["generation"], shard["seq"]) for shard in shards],
        client.get("/v1/pools/target").json(),
        client.get("/v1/pools").json(),
        client.get("/v1/keys").json(),
        client.get("/v1/ops/refunds").json(),
    )


def assert_refused(response, *codes: str) -> None:
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["code"] in codes, problem


def _places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something could stand in a body, the body itself included."""
    yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*at, index))


def _replaced(body: Any, at: tuple[str | int, ...], value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(body)
    inner = changed
    for part in at[:-1]:
        inner = inner[part]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return changed


def _bad_bodies(model: type[schemas.Body], body: dict[str, Any]) -> Iterator[Any]:
    """The good body with each of its places holding each of the values, and what is left out or
    put in: all that the model does not take."""
    candidates = [_replaced(body, at, value) for at in _places(body) for value in VALUES]
    candidates += [_replaced(body, at, ...) for at in _places(body) if at]
    for at in _places(body):
        inner = body
        for part in at:
            inner = inner[part]  # type: ignore[index]
        if isinstance(inner, dict):
            candidates += [_replaced(body, at, {**inner, name: 1}) for name in ("Pool", "", "état")]
    for candidate in candidates:
        try:
            model.model_validate(candidate)
        except ValidationError:
            # A body of none at all is as good as an empty one where a body is optional.
            if candidate is not None or model in (schemas.ReservationRequest, schemas.BatchRequest):
                yield candidate


@pytest.mark.parametrize("path", BODIES)
def test_every_wrong_value_in_every_place_is_refused(client, reservation, path):
    model, body = BODIES[path]
    at = path.replace(RESERVATION, reservation)
    count = 0
    for count, bad in enumerate(_bad_bodies(model, body), start=1):  # noqa: B007 (counted)
        content = json.dumps(bad).encode()
        headers = {"content-type": "application/json", "idempotency-key": "bad"}
        response = client.post(at, content=content, headers=headers)
        assert_refused(response, "invalid_request")
        assert response.json()["errors"], bad
    assert count >= 20


@pytest.mark.parametrize("path", BODIES)
def test_every_text_that_is_not_strict_json_is_refused(client, reservation, path):
    at = path.replace(RESERVATION, reservation)
    needs_none = BODIES[path][0] in (
        schemas.NothingBody,
        schemas.RepairRequest,
        schemas.ReturnRequest,
    )
    for text in TEXTS:
        if not text and needs_none:
            continue
        headers = {"content-type": "application/json", "idempotency-key": "bad"}
        assert_refused(client.post(at, content=text, headers=headers), "invalid_request")


@pytest.mark.parametrize("path", BODIES)
def test_every_other_kind_of_body_is_refused(client, reservation, path):
    at = path.replace(RESERVATION, reservation)
    content = json.dumps(BODIES[path][1]).encode()
    for media_type in ("", "text/json", "application/xml", "multipart/form-data; boundary=x", "é"):
        headers = {"content-type": media_type.encode(), "idempotency-key": b"bad"}
        response = client.post(at, content=content, headers=headers)
        assert_refused(response, "unsupported_media_type")
    limit = 2**20 if path.endswith("/batch") else 2**16
    for too_much in (b" " * (limit + 1), _chunks(limit + 1)):
        headers = {"content-type": b"application/json", "idempotency-key": b"bad"}
        response = client.post(at, content=too_much, headers=headers)
        assert_refused(response, "body_too_large")


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1_000 + 1):
        yield b" " * 1_000


STRANGE_IDS = [
    "%00",
    "%0a",
    "a%0a",
    "%20",
    "%25",
    "%ff",
    "%e2%82%ac",
    "a%20b",
    "'%20OR%201=1",
    "~",
    "~~",
    "target~",
    "target~short",
    "target~0123456789abcdefX",
    "target~0123456789abcde!",
    "a" * 65 + "~0123456789abcdef",
    "a" * 5_000,
    "{fs:00}:meta",
    "-",
    "*",
    "1e3",
]


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda text: text[:20])
def test_a_strange_id_is_nobody(client, strange):
    asked: list[tuple[str, str, dict[str, Any] | None]] = [
        ("unknown_pool", f"/v1/pools/{strange}", None),
        ("unknown_pool", f"/v1/pools/{strange}/pause", {}),
        ("unknown_pool", f"/v1/pools/{strange}/adjust", {"delta": 1}),
        ("unknown_reservation", f"/v1/reservations/{strange}", None),
        ("unknown_reservation", f"/v1/reservations/{strange}/confirm", {"payment_ref": "p"}),
        ("unknown_reservation", f"/v1/reservations/{strange}/cancel", {}),
        ("unknown_reservation", f"/v1/reservations/{strange}/extend", {"seconds": 1}),
        ("unknown_reservation", f"/v1/reservations/{strange}/return", {}),
    ]
    for code, path, body in asked:
        method = "GET" if body is None else "POST"
        response = client.request(method, path, json=body, headers={"idempotency-key": "bad"})
        assert_refused(response, code)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (b"", "idempotency_key_required"),
        (b"k" * 256, "invalid_request"),
        (b"k" * 20_000, "invalid_request"),
        (b"k\xc3\xa9", "invalid_request"),
        (b"a\tb", "invalid_request"),
        (b"\x80", "invalid_request"),
        (None, "idempotency_key_required"),
    ],
    ids=lambda part: repr(part)[:20],
)
def test_a_bad_idempotency_key_is_refused(client, reservation, key, code):
    for path in ("/v1/reservations", "/v1/carts", "/v1/pools/target/adjust", "return"):
        full = f"/v1/reservations/{reservation}/return" if path == "return" else path
        body = next(body for at, (_, body) in BODIES.items() if at.endswith(path))
        headers = {} if key is None else {"idempotency-key": key}
        assert_refused(client.post(full, json=body, headers=headers), code)


def test_two_idempotency_keys_are_one_too_many(client):
    for path in ("/v1/reservations", "/v1/carts"):
        twice = [("idempotency-key", "a"), ("idempotency-key", "b")]
        response = client.post(path, json=BODIES[path][1], headers=twice)
        assert_refused(response, "invalid_request")


RESERVE = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nIdempotency-Key: raw\r\n"
JSON = b"Content-Type: application/json\r\n"
BODY = json.dumps(ITEM).encode()
WIRE = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00",
    "no version": b"POST /v1/reservations\r\n\r\n",
    "a method that is none": b"RESERVE /v1/reservations HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /v1/pools/a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length that is no number": RESERVE + JSON + b"Content-Length: ten\r\n\r\n" + BODY,
    "a negative length": RESERVE + JSON + b"Content-Length: -5\r\n\r\n" + BODY,
    "a length beyond all": RESERVE + JSON + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "two lengths": RESERVE + JSON + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY,
    "a length and chunks": RESERVE
    + JSON
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": RESERVE
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "one huge chunk": RESERVE
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n"
    + b" " * 2**17,
    "a header without a colon": RESERVE + b"nonsense\r\n\r\n",
    "a nul in a header": RESERVE + b"X-A: a\x00b\r\n\r\n",
    "a header that never ends": RESERVE + b"X-A: " + b"a" * 2**20,
    "no length, no body": RESERVE + JSON + b"\r\n",
    "less body than announced": RESERVE
    + JSON
    + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 1)
    + BODY,
}


@pytest.mark.parametrize("what", WIRE)
def test_what_is_hardly_http_is_refused_or_cut_off(service, what):
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        try:
            connection.sendall(WIRE[what])
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while received := connection.recv(65_536):
                answer += received
        except (ConnectionResetError, BrokenPipeError):
            return
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
