"""Who is at the console: a signed cookie, as long as its key is valid, and no longer.

The cookie names the key and proves with a digest that the key is still the same one; the key
itself is nowhere in it. It is signed with a secret that all API processes share, so any of them
knows any session, and it is looked up in the keyring at every request: a revoked key ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.auth import Keyring, Principal, Role, key_hash
from flashstock.errors import Forbidden, Unauthorized

COOKIE: Final = "flashstock_console"
PATH: Final = "/console"
IDLE_SECONDS: Final = 30 * 60
"""A session that nobody used for this long is over."""
LIFE_SECONDS: Final = 12 * 3_600
"""And so is one that began this long ago, however busy it was."""
RENEW_SECONDS: Final = 60
KEY_LENGTH_MAX: Final = 512

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie says, and who that is.

    Args:
        nonce: random, and the same as long as the session lasts: form tokens hang on it.
        since_s: when it began, in seconds since the epoch.
        principal: ``None`` where nobody is signed in.
    """

    nonce: str
    since_s: int
    principal: Principal | None = None
    fingerprint: str = ""
    over_tls: bool = False
    """The browser spoke TLS when it began: its cookie must never travel without."""


class Sessions:
    """Makes and reads sessions.

    Args:
        secret: signs; the same in every process of the service.
        clock: seconds since the epoch.
    """

    def __init__(
        self, keyring: Keyring, secret: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self._keyring = keyring
        self._secret = secret
        self._clock = clock
        self._signer = URLSafeTimedSerializer(secret, salt="console session")

    @property
    def open(self) -> bool:
        """Whether nobody needs a key: then everybody is the built-in admin."""
        return self._keyring.open

    def of(self, request: Request) -> Session:
        """The session of a request; a new one, of nobody, where there is none that is valid.

        Raises:
            Forbidden: the service runs without keys, and was asked by a name that is not this
                machine's: a page elsewhere may have turned its own name into our address.
        """
        if self._keyring.open:
            if (request.url.hostname or "") not in _LOOPBACK:
                raise Forbidden("without API keys the console answers to localhost only")
            principal = self._keyring.principal(None)
            return replace(self._read(request) or self._new(), principal=principal)
        found = self._read(request)
        if found is None:
            return self._new()
        return found

    def sign_in(self, key: str) -> Session:
        """A session of its own for whoever has this key.

        Raises:
            Unauthorized: no such key. Forbidden: it is a shop's. Unavailable: ask again soon.
        """
        key = key.strip()
        if not key.isascii() or not 0 < len(key) <= KEY_LENGTH_MAX:
            raise Unauthorized("this API key is not known, or was revoked")
        principal = self._keyring.authorize(f"Bearer {key}".encode(), Role.OPS)
        fingerprint = self._fingerprint(key_hash(key))
        return replace(self._new(), principal=principal, fingerprint=fingerprint)

    def write(self, session: Session, request: Request, response: Response) -> None:
        """Set the cookie. Nothing but this site's own pages ever send it."""
        name = session.principal.name if session.principal and session.fingerprint else ""
        over_tls = session.over_tls or came_over_tls(request)
        said = [session.nonce, session.since_s, name, session.fingerprint, over_tls]
        value = self._signer.dumps(said)
        response.set_cookie(
            COOKIE,
            str(value),
            max_age=IDLE_SECONDS,
            path=PATH,
            secure=over_tls,
            httponly=True,
            samesite="strict",
        )

    def renew(self, session: Session, request: Request, response: Response) -> None:
        """Let the session last on: called for every page that somebody asked for."""
        cookie = request.cookies.get(COOKIE)
        if cookie is not None and self._age_seconds(cookie) < RENEW_SECONDS:
            return
        self.write(session, request, response)

    def form_token(self, session: Session) -> str:
        """What every form of the session must send back."""
        return self._digest("form", session.nonce, session.fingerprint)

    def is_form_token(self, session: Session, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())

    def _read(self, request: Request) -> Session | None:
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            return None
        try:
            said: Any = self._signer.loads(cookie, max_age=IDLE_SECONDS)
        except BadSignature:
            return None
        nonce, since_s, name, fingerprint, over_tls = said
        if self._clock() - since_s > LIFE_SECONDS:
            return None
        if not fingerprint:
            return Session(nonce, since_s, over_tls=over_tls)
        principal = self._holder(name, fingerprint)
        if principal is None:
            return None
        return Session(nonce, since_s, principal, fingerprint, over_tls)

    def _holder(self, name: str, fingerprint: str) -> Principal | None:
        """Who has the key of this name, if it is still the one that was signed in with."""
        known: Mapping[str, Principal] = self._keyring.known
        for hashed, principal in known.items():
            if principal.name == name:
                is_same = hmac.compare_digest(self._fingerprint(hashed), fingerprint)
                return principal if is_same and Role.OPS in principal.may else None
        return None

    def _new(self) -> Session:
        return Session(secrets.token_urlsafe(18), int(self._clock()))

    def _fingerprint(self, hashed: str) -> str:
        return self._digest("key", hashed)

    def _digest(self, *parts: str) -> str:
        text = "\0".join(parts).encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def _age_seconds(self, cookie: str) -> float:
        try:
            _, signed_at = self._signer.loads(cookie, max_age=IDLE_SECONDS, return_timestamp=True)
        except BadSignature:
            return IDLE_SECONDS
        return self._clock() - float(signed_at.timestamp())


def came_from_here(request: Request) -> bool:
    """Whether a browser says that one of our own pages sent this request.

    The ``Origin`` must be the address that was asked; a browser too old to send one must at least
    say by ``Sec-Fetch-Site`` that it is the same site.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""


def came_over_tls(request: Request) -> bool:
    """Whether the browser spoke TLS, to us or to a proxy in front of us: the browser says so."""
    told = request.headers.get("origin") or request.headers.get("referer") or ""
    return request.url.scheme == "https" or urlsplit(told).scheme == "https"
