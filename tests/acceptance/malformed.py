"""Requests that are wrong, or nearly: drawn at random, every route, every part of a request."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.acceptance.test_bad_input import BODIES, RESERVATION, STRANGE_IDS, TEXTS, VALUES

ADMIN_KEY: Final = "the-key-of-these-tests"
POOL, OTHER = "target", "other"
"""What is reserved, and what is paused, closed and changed."""
SHORT_CUTS: Final = ("/v1/reservations", "/v1/reservations/batch")
DEAR: Final = ("/v1/ops/rebuild", "/v1/ops/reconciliation/repair")
"""Are sent nothing they could obey: while the first runs, everything else is a 503, and the second
reads every reservation there is."""
RECONCILIATION: Final = "/v1/ops/reconciliation"
"""The same: it is only asked for what it does not do."""
SETTLE: Final = "/v1/ops/refunds/1/settle"
EXAMPLES: Final[dict[str, Any]] = {
    path.replace("/target/", f"/{OTHER}/"): body
    for path, (_, body) in BODIES.items()
    if path not in DEAR
} | {SETTLE: {"reference": "bank-1"}}
LOOKS: Final = (
    "/v1/pools",
    f"/v1/pools/{POOL}",
    f"/v1/reservations/{RESERVATION}",
    "/v1/reservations/batch",
    "/v1/ops/shards",
    "/v1/ops/quarantine",
    "/v1/ops/refunds",
    "/v1/keys",
    "/healthz",
    "/readyz",
    "/metrics",
    "/version",
    "/openapi.json",
    "/docs",
)
METHODS: Final = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "M-SEARCH")
QUERIES: Final = (
    "?limit=-1",
    "?limit=99999999999999999999999",
    "?limit=1&limit=2",
    "?limit=%00",
    "?after=%ff%fe",
    "?after=" + "a" * 3_000,
    "?after_id=x",
    "?state=%F0%9F%98%80",
    "?limit",
    "?=&=&;",
    "?limit=1e3",
    "?pool=%00",
)
CRLF: Final = b"\r\n"
LAST: Final = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Sent behind what may or may not be HTTP: whatever becomes of that, the connection ends."""
BROKEN: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    b"NONSENSE\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/pools/a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/pools/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nX-A: a\x00b\r\n\r\n",
    b"POST /v1/reservations HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
    b"POST /v1/reservations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/reservations HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /v1/reservations HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/reservations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /v1/pools HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n\r\n",
    b"POST /v1/reservations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST /v1/pools HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
)
"""Each is refused as it is read, or is an ordinary request that is refused."""


@dataclass(frozen=True)
class Case:
    """What to send, and what is known of the answers.

    ``is_whole``: HTTP as it should be, so one answer comes and the connection goes on; ``twin``
    is then the same request for uvicorn's own way. Otherwise everything is read until the
    connection ends; at least ``granted`` answers come, and that many first ones say yes.
    """

    what: str
    raw: bytes
    is_whole: bool = False
    head_only: bool = False
    twin: bytes | None = None
    granted: int = 0
    half_close: bool = False
    in_pieces: bool = False
    """It holds nothing, so it does not matter if the connection is cut while we still send."""
    is_last: bool = False
    """Nobody promises to read what comes behind it."""


@dataclass
class Request:
    """A request in parts, all of them changeable."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    version: bytes = b"HTTP/1.1"

    def raw(self, target: str = "") -> bytes:
        line = b"%s %s %s" % (self.method.encode(), (target or self.target).encode(), self.version)
        lines = [line, *(b"%s: %s" % pair for pair in self.headers)]
        return CRLF.join([*lines, b"", self.body])

    def replace(self, name: bytes, *values: bytes) -> None:
        """Send a header with these values, as often as there are some."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        self.headers += [(name, value) for value in values]


class Malformed:
    """Draws one case after the other. The name keeps its keys apart from everybody else's."""

    def __init__(self, random: Random, name: str, reservation: str) -> None:
        self._random = random
        self._name = name
        self._reservation = reservation
        self._count = 0
        self._kinds: dict[str, tuple[int, Callable[[], Case]]] = {
            "body": (45, self._body),
            "header": (20, self._header),
            "path": (12, self._path),
            "chunks": (8, self._chunks),
            "broken": (8, self._broken),
            "behind": (4, self._behind),
            "incomplete": (2, self._incomplete),
        }

    def draw(self) -> Case:
        weights = [weight for weight, _ in self._kinds.values()]
        (kind,) = self._random.choices(list(self._kinds), weights)
        self._count += 1
        return self._kinds[kind][1]()

    def _request(self, path: str, body: bytes) -> Request:
        headers = [
            (b"Host", b"x"),
            (b"Authorization", b"Bearer " + ADMIN_KEY.encode()),
            (b"Content-Type", b"application/json"),
            (b"Idempotency-Key", f"{self._name}-{self._count}".encode()),
            (b"Content-Length", b"%d" % len(body)),
        ]
        return Request("POST", path.replace(RESERVATION, self._reservation), headers, body)

    def _example(self) -> tuple[str, Any]:
        """A path and a body it takes; half of the time one of the short cuts."""
        path = self._random.choice(SHORT_CUTS if self._random.random() < 0.5 else list(EXAMPLES))
        return path, EXAMPLES[path]

    def _whole(self, what: str, request: Request) -> Case:
        is_short = request.target in SHORT_CUTS
        twin = request.raw(request.target + "?") if is_short else None
        head_only = request.method == "HEAD"
        return Case(what, request.raw(), is_whole=True, head_only=head_only, twin=twin)

    def _body(self) -> Case:
        path, body = self._example()
        if self._random.random() < 0.02:
            path = self._random.choice(DEAR)
            content = self._random.choice([text for text in TEXTS if text])
        elif self._random.random() < 0.5:
            content = json.dumps(self._with_wrong_value(body)).encode()
        else:
            content = self._wrong_text(json.dumps(body).encode())
        return self._whole(f"body of {path}", self._request(path, content))

    def _with_wrong_value(self, body: Any) -> Any:
        random = self._random
        changed = copy.deepcopy(body)
        inner = changed
        while isinstance(inner, dict | list) and inner:
            place = random.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            inside = inner[place]
            if not isinstance(inside, dict | list) or random.random() < 0.3:
                if isinstance(inner, dict) and random.random() < 0.2:
                    del inner[place]
                elif isinstance(inner, dict) and random.random() < 0.2:
                    inner[random.choice(["Pool", "", "état", "__proto__", "items"])] = inside
                else:
                    inner[place] = random.choice(VALUES)
                return changed
            inner = inside
        return random.choice(VALUES)

    def _wrong_text(self, good: bytes) -> bytes:
        random = self._random
        at = random.randrange(len(good) + 1)
        match random.randrange(9):
            case 0:
                return random.choice([text for text in TEXTS if len(text) < 1_000])
            case 1:
                return good[:at]
            case 2:
                return good[:at] + random.randbytes(random.randrange(1, 5)) + good[at:]
            case 3:
                return good + random.choice([b"{}", b",", b"\x00", b" x", good])
            case 4:  # a member twice
                return b'{"pool":"target","pool":"other",' + good[1:]
            case 5:
                number = random.choice([b"1e999", b"9" * 400, b"1.0", b"01", b"-0", b"+1", b"0x1"])
                return good.replace(b"1", number, 1)
            case 6:
                return good.replace(b'": "', b'": "' + random.choice(_ESCAPES), 1)
            case 7:
                return good.decode().encode(random.choice(["utf-16", "utf-32", "utf-8-sig"]))
            case _:
                if random.random() < 0.9:
                    return b"\n\t " + good + b" \r\n"
                return random.choice([b" " * 70_000, b"[" * 60_000, good[:-1] + b" " * 2**20])

    def _header(self) -> Case:
        random = self._random
        path, body = self._example()
        content = json.dumps(body if random.random() < 0.3 else self._with_wrong_value(body))
        request = self._request(path, content.encode())
        if random.random() < 0.02:
            request.replace(b"Connection", b"Upgrade")
            request.replace(b"Upgrade", random.choice([b"websocket", b"h2c"]))
            return Case("an upgrade", request.raw(), is_whole=True, is_last=True)
        name, values = random.choice(_HEADERS)
        value = random.choice(values)
        match random.randrange(4):
            case 0:
                request.replace(name)
            case 1:
                request.replace(name, value, random.choice(values))
            case _:
                request.replace(name, value)
        raw = request.raw()
        return Case(f"header {name.decode()}", raw + LAST)

    def _path(self) -> Case:
        random = self._random
        if random.random() < 0.4:
            path, body = self._example()
            if random.random() < 0.1:
                path = random.choice([*DEAR, RECONCILIATION])
            request = self._request(path, json.dumps(body).encode())
            request.method = random.choice([*METHODS, "post", "GETT"])
            if path == RECONCILIATION:
                request.method = "PUT"
            if request.method in ("post", "GETT"):
                return Case(f"method {request.method}", request.raw())
            return self._whole(f"method {request.method}", request)
        request = self._request(random.choice(LOOKS), b"")
        request.method = random.choice(["GET", "GET", "HEAD", "POST", "DELETE"])
        match random.randrange(4):
            case 0:
                request.target = request.target.split("?")[0] + random.choice(QUERIES)
            case 1:
                verb = random.choice(["", "/confirm", "/pause", "/settle", "/x/y"])
                start = random.choice(["/v1/pools/", "/v1/reservations/", "/v1/keys/", "/"])
                request.target = start + random.choice(STRANGE_IDS) + verb
            case 2:
                request.target = random.choice(_TARGETS)(request.target)
            case _:
                request.headers.append((b"X-Request-Id", random.choice(_STRANGE)))
        head_only = request.method == "HEAD"
        return Case(f"path {request.target[:40]}", request.raw() + LAST, head_only=head_only)

    def _chunks(self) -> Case:
        """A good or bad body in chunks, also such as no client would send."""
        random = self._random
        path, body = self._example()
        good = json.dumps(body if random.random() < 0.2 else self._with_wrong_value(body)).encode()
        request = self._request(path, b"")
        request.replace(b"Content-Length")
        coding = random.choice([b"chunked"] * 6 + [b"Chunked", b"gzip, chunked", b"gzip", b"x"])
        request.replace(b"Transfer-Encoding", coding)
        parts, rest = [], good
        while rest:
            size = random.randrange(1, 40)
            extension = random.choice([b"", b"", b";a=b", b';a="\x01"', b" "])
            parts.append(b"%x%s\r\n%s\r\n" % (len(rest[:size]), extension, rest[:size]))
            rest = rest[size:]
        end = random.choice(
            [b"0\r\n\r\n"] * 6 + [b"0\r\nX-Trailer: a\r\n\r\n", b"0\r\n\x00\r\n\r\n"]
        )
        request.body = b"".join(parts) + end
        return Case("chunks", request.raw() + LAST)

    def _broken(self) -> Case:
        return Case("broken", self._random.choice(BROKEN) + LAST, in_pieces=True)

    def _good(self) -> bytes:
        """A reservation that is granted, by the short cut or not."""
        self._count += 1
        request = self._request(
            "/v1/reservations", json.dumps(EXAMPLES["/v1/reservations"]).encode()
        )
        if self._random.random() < 0.3:
            request.target += "?"
        return request.raw()

    def _behind(self) -> Case:
        """What is broken behind what is not: the answers in front of it must be the true ones."""
        count = self._random.randrange(1, 4)
        good = b"".join(self._good() for _ in range(count))
        return Case("broken, behind", good + self._random.choice(BROKEN) + LAST, granted=count)

    def _incomplete(self) -> Case:
        path, body = self._example()
        raw = self._request(path, json.dumps(body).encode()).raw()
        cut = self._random.randrange(1, len(raw))
        return Case("incomplete", raw[:cut], half_close=True, in_pieces=True)


_STRANGE: Final = (
    b"",
    b" ",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"a\tb",
    b"a" * 300,
    b"a" * 40_000,
    b"%00",
    b'"; DROP TABLE',
    b"1,2",
)
_HEADERS: Final = (
    (b"Content-Type", (*_STRANGE, b"text/json", b"application/json; charset=latin-1")),
    (b"Content-Type", (b"APPLICATION/JSON", b'application/json; charset="utf-8"', b"application")),
    (b"Idempotency-Key", (*_STRANGE, b"k" * 255, b"k" * 256)),
    (
        b"Authorization",
        (*_STRANGE, b"Bearer", b"Bearer x", b"Basic eDp5", b"bearer  " + b"x" * 600),
    ),
    (b"Expect", (b"100-continue", b"200-ok", b"")),
    (b"Upgrade", (b"websocket", b"h2c", b"TLS/1.0")),
    (b"Accept", (b"text/html", b"*/*;q=2", *_STRANGE)),
    (b"Host", (*_STRANGE, b"a:b:c")),
    (b"X-Request-Id", _STRANGE),
    (b"Connection", (b"close", b"upgrade", b"keep-alive, close", b"x")),
    (b"Cookie", (b"a" * 10_000,)),
)
_ESCAPES: Final = (b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\\x41", b"\\", b"\x07", b"\xff")
_TARGETS: Final[tuple[Callable[[str], str], ...]] = (
    lambda path: path + "/",
    lambda path: "/" + path,
    lambda path: path.upper(),
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("v1", "v%31"),
    lambda path: path.replace("v1", "./v1/../v1"),
    lambda path: "http://elsewhere.example" + path,
    lambda path: path + "#part",
    lambda path: path + ";a=b",
    lambda path: path + "?" + "a" * 20_000,
    lambda path: path + "%",
    lambda path: path + "%zz",
    lambda path: "*" + path,
    lambda path: path + "/a" * 500,
)
