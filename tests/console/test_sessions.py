"""Sessions and what decides about them, without a service."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from itsdangerous import TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.auth import Keyring, Role, key_hash
from flashstock.console.routing import as_utc, is_own_path
from flashstock.console.sessions import (
    COOKIE,
    IDLE_SECONDS,
    LIFE_SECONDS,
    Sessions,
    came_from_here,
)
from flashstock.errors import Forbidden, Unauthorized
from flashstock.ledger.stored import ApiKey

NOW_S = 1_795_311_438


@dataclass
class Table:
    """Keys as SQL has them."""

    rows: list[ApiKey]

    async def api_keys(self) -> list[ApiKey]:
        return self.rows


@dataclass
class Clock:
    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


def asked(cookie: str = "", **headers: str) -> Request:
    """A request as a browser sends it."""
    sent = {"host": "shop.example", **{k.replace("_", "-"): v for k, v in headers.items()}}
    if cookie:
        sent["cookie"] = f"{COOKIE}={cookie}"
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    scope = {"type": "http", "method": "GET", "path": "/console", "headers": pairs}
    return Request({**scope, "query_string": b"", "scheme": "http", "server": ("x", 80)})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(made.now_s))
    return made


@pytest.fixture
async def keyring() -> Keyring:
    made = Keyring()
    await made.refresh(Table([ApiKey("night", "ops", key_hash("fsk_night"), NOW_S, None)]))
    return made


@pytest.fixture
def sessions(keyring: Keyring, clock: Clock) -> Sessions:
    return Sessions(keyring, b"secret", clock)


def cookie_of(sessions: Sessions) -> str:
    """The cookie of somebody who has just signed in."""
    response = Response()
    sessions.write(sessions.sign_in("fsk_night"), asked(), response)
    cookie: str = response.headers["set-cookie"].partition("=")[2].partition(";")[0]
    return cookie


def test_a_session_lasts_as_long_as_it_is_used(sessions: Sessions, clock: Clock):
    cookie = cookie_of(sessions)
    clock.now_s += IDLE_SECONDS - 1
    session = sessions.of(asked(cookie))
    assert session.principal
    response = Response()
    sessions.renew(session, asked(cookie), response)
    renewed = response.headers["set-cookie"].partition("=")[2].partition(";")[0]
    clock.now_s += 2
    assert sessions.of(asked(cookie)).principal is None
    assert sessions.of(asked(renewed)).principal
    assert sessions.of(asked(renewed)).nonce == session.nonce


def test_but_not_for_ever(sessions: Sessions, clock: Clock):
    cookie = cookie_of(sessions)
    for _ in range(LIFE_SECONDS // 1_000):
        clock.now_s += 1_000
        response = Response()
        session = sessions.of(asked(cookie))
        assert session.principal
        sessions.renew(session, asked(cookie), response)
        cookie = response.headers["set-cookie"].partition("=")[2].partition(";")[0]
    clock.now_s += 1_000
    assert sessions.of(asked(cookie)).principal is None


async def test_it_ends_with_its_key(sessions: Sessions, keyring: Keyring):
    cookie = cookie_of(sessions)
    row = ApiKey("night", "ops", key_hash("fsk_night"), NOW_S, None)
    other_key = replace(row, key_hash=key_hash("fsk_other"))
    for rows in (
        [],
        [replace(row, revoked_at_ms=1)],
        [other_key],
        [replace(row, role="storefront")],
    ):
        await keyring.refresh(Table(rows))
        assert sessions.of(asked(cookie)).principal is None, rows
    await keyring.refresh(Table([replace(row, role="admin")]))
    principal = sessions.of(asked(cookie)).principal
    assert principal
    assert principal.role is Role.ADMIN


def test_another_secret_makes_other_sessions(sessions: Sessions, keyring: Keyring, clock: Clock):
    other = Sessions(keyring, b"another secret", clock)
    assert other.of(asked(cookie_of(sessions))).principal is None
    session = sessions.sign_in("fsk_night")
    assert not other.is_form_token(session, sessions.form_token(session))


@pytest.mark.parametrize("key", ["fsk_nigh", "", " ", "fsk_night\nx", "fsk_nïght", "x" * 513])
def test_only_the_key_itself_signs_in(sessions: Sessions, key: str):
    with pytest.raises(Unauthorized):
        sessions.sign_in(key)
    assert sessions.sign_in(" fsk_night ").principal


async def test_without_keys_only_this_machines_own_names_are_answered(clock: Clock):
    keyring = Keyring(open_mode=True)
    await keyring.refresh(Table([]))
    sessions = Sessions(keyring, b"secret", clock)
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080"):
        assert sessions.of(asked(host=host)).principal
    for host in ("shop.example", "127.0.0.1.evil.example", "localhost.evil.example"):
        with pytest.raises(Forbidden):
            sessions.of(asked(host=host))


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"origin": "http://shop.example"}, True),
        ({"origin": "https://shop.example"}, True),
        ({"origin": "https://SHOP.example"}, True),
        ({"origin": "https://shop.example.evil.example"}, False),
        ({"origin": "https://shop.example:444"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({}, False),
        ({"origin": "https://evil.example", "sec_fetch_site": "same-origin"}, False),
    ],
)
def test_only_our_own_pages_send_forms(headers: dict[str, str], is_ours: bool):
    assert came_from_here(asked(**headers)) is is_ours


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("/console", True),
        ("/console/pools/a?x=1", True),
        ("/console?x", True),
        ("/consolation", False),
        ("//evil.example/console", False),
        ("https://evil.example/console", False),
        ("/console/\\\\evil", False),
        ("/console/\r\nset-cookie: x", False),
        ("", False),
    ],
)
def test_only_our_own_pages_are_led_to(path: str, is_ours: bool):
    assert is_own_path(path) is is_ours


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T03:00", "2026-11-22T03:00:00Z"),
        ("2026-11-22T03:00:01.500", "2026-11-22T03:00:01.500Z"),
        ("2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
        ("2026-11-22T03:00:00+01:00", "2026-11-22T03:00:00+01:00"),
        ("2026-11-22T03:00:00-05:00", "2026-11-22T03:00:00-05:00"),
    ],
)
def test_what_a_field_says_is_utc_unless_it_names_a_zone(text: str, time: str):
    assert as_utc(text) == time
