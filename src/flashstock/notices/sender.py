"""One attempt to deliver: an HTTP POST that follows nobody anywhere and reads no answer.

Whoever may create a webhook chooses an address that this service calls. So that nobody can make
it knock at what only this machine's network can see (server-side request forgery), the addresses
a name stands for are looked at when they are looked up, for each connection anew; redirections
are not followed; of the answer only the status and ``Retry-After`` are kept.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from flashstock import __version__

TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_MS: Final = 5_000
RETRY_AFTER_SECONDS_MAX: Final = 86_400
URL_LENGTH_MAX: Final = 2_000
PROBLEM_LENGTH_MAX: Final = 300
_TRANSLATED: Final = tuple(
    ipaddress.IPv6Network(block) for block in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")
)
"""IPv6 addresses that a gateway turns into the IPv4 ones in their last 32 bits."""
_LOCALLY_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
"""The same for a network's own use; where in it the IPv4 address stands is the network's choice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. ``status`` is ``None`` where there was no answer."""

    status: int | None
    problem: str = ""
    retry_after_ms: int = 0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Sender(Protocol):
    """Sends one webhook. Never raises for what the receiver does."""

    async def send(self, url: str, headers: Mapping[str, str], body: str) -> Outcome: ...

    async def close(self) -> None: ...


class ForbiddenAddress(OSError):
    """A name stands for an address that webhooks do not go to."""


def is_public(address: str) -> bool:
    """Whether everybody's internet has this address: not this machine's, not its network's."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _LOCALLY_TRANSLATED:
            return False
        if any(parsed in block for block in _TRANSLATED):
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if inner is not None:
            parsed = inner
    return parsed.is_global and not parsed.is_multicast


def url_problem(url: str, *, private_allowed: bool) -> str | None:
    """Why webhooks can't go there, or ``None``. Names are looked up only when one is sent."""
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"must be at most {URL_LENGTH_MAX} printable ASCII characters without spaces"
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        return "is not a URL"
    schemes = ("https", "http") if private_allowed else ("https",)
    if parsed.scheme not in schemes or not parsed.host or port is None:
        return f"must be an absolute URL that begins with {' or '.join(schemes)}"
    if parsed.user is not None or parsed.password is not None:
        return "must not hold a user name or a password: webhooks are signed"
    if parsed.fragment:
        return "must not have a fragment"
    if not private_allowed and _is_literal(parsed.host):
        return None if is_public(parsed.host) else "must not be a private address"
    if parsed.host.replace(".", "").isdigit() and not _is_literal(parsed.host):
        return "must name a host, or an address in full: 127.1 and 2130706433 are neither"
    return None


class HttpSender:
    """Sends over HTTP. Opens nothing before the first webhook.

    Args:
        private_allowed: also to loopback and private addresses, and without TLS: for development,
            and where receivers are in the same network on purpose.
    """

    def __init__(self, *, private_allowed: bool, timeout_ms: int = TIMEOUT_MS) -> None:
        self._private_allowed = private_allowed
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_ms / 1_000, sock_connect=min(timeout_ms, CONNECT_TIMEOUT_MS) / 1_000
        )
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, headers: Mapping[str, str], body: str) -> Outcome:
        """One POST. What can go wrong on the way is an outcome, never an exception."""
        problem = url_problem(url, private_allowed=self._private_allowed)
        if problem is not None:
            return Outcome(None, f"the URL {problem}")
        sent = {
            "content-type": "application/json",
            "user-agent": f"flashstock/{__version__}",
            **headers,
        }
        try:
            async with self._opened().post(
                url, data=body.encode(), headers=sent, allow_redirects=False, timeout=self._timeout
            ) as response:
                return _outcome(response)
        except TimeoutError:
            return Outcome(None, "no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return Outcome(None, _words(failure))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self._private_allowed else PublicResolver()
            connector = aiohttp.TCPConnector(
                resolver=resolver,
                use_dns_cache=self._private_allowed,
                limit_per_host=4,
                keepalive_timeout=30,
            )
            # trust_env is off: a proxy would look names up where nobody checks them.
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


class PublicResolver(AbstractResolver):
    """Looks names up, and answers only with addresses that everybody's internet has."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ``ForbiddenAddress`` where nothing is left."""
        found = await self._resolver.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise ForbiddenAddress(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _words(failure: Exception) -> str:
    """What went wrong below, without the address around it, which the reader knows."""
    below = failure.os_error if isinstance(failure, aiohttp.ClientConnectorError) else failure
    return f"{type(below).__name__}: {below}"[:PROBLEM_LENGTH_MAX]


def _outcome(response: Any) -> Outcome:
    status = int(response.status)
    if 200 <= status < 300:
        return Outcome(status)
    asked = response.headers.get("retry-after", "").strip()
    seconds = int(asked) if asked.isdigit() and len(asked) < 9 else 0
    problem = "redirections are not followed" if 300 <= status < 400 else "refused"
    return Outcome(status, problem, min(seconds, RETRY_AFTER_SECONDS_MAX) * 1_000)
