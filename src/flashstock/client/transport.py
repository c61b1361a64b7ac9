"""What carries the client's requests: httpx, waiting or not, or whatever else the caller has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import httpx

CONNECTIONS_MAX: Final = 64
TIMEOUT_MS: Final = 10_000


class AnswerHeaders(Protocol):
    """Headers by name, whatever the case of its letters."""

    def get(self, key: str, /) -> str | None: ...


class Answered(NamedTuple):
    """An answer as it came, whatever its status."""

    status: int
    headers: AnswerHeaders
    payload: bytes


class NoAnswer(Exception):
    """The request was not answered, or not in full. It may have taken effect."""


class Transport(Protocol):
    """Sends one request once: it neither repeats it nor follows a redirect."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answered:
        """The answer, read to its end.

        Raises:
            NoAnswer: none came, or none in time.
        """
        ...


class HttpxTransport:
    """Carries requests by ``httpx.AsyncClient``.

    Args:
        timeout_ms: for all of one request, a wait for a free connection included.
        client: one of the caller's own (with a proxy, with certificates …), which he closes;
            ``connections_max`` is then his business.
    """

    def __init__(
        self,
        *,
        connections_max: int = CONNECTIONS_MAX,
        timeout_ms: int = TIMEOUT_MS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._connections_max = connections_max
        self._timeout_seconds = timeout_ms / 1000
        self._lent = client
        self._client = client

    async def open(self) -> None:
        if self._lent is None:
            self._client = httpx.AsyncClient(
                limits=_limits(self._connections_max), timeout=None, trust_env=False
            )

    async def close(self) -> None:
        if self._client is not None and self._lent is None:
            await self._client.aclose()
            self._client = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answered:
        if self._client is None:
            raise RuntimeError("the client is used outside `async with`")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._client.request(
                    method, url, content=data, headers=headers, follow_redirects=False
                )
        except (httpx.HTTPError, TimeoutError) as problem:
            raise NoAnswer(_reason(problem)) from problem
        return Answered(answer.status_code, answer.headers, answer.content)


class BlockingHttpxTransport:
    """Carries requests by ``httpx.Client``: its coroutines never wait, they block.

    Args:
        timeout_ms: for each step of a request (to connect, to send, to wait for more of the
            answer); a thread that blocks can't be called back in between.
        client: one of the caller's own, which he closes.
    """

    def __init__(
        self,
        *,
        connections_max: int = CONNECTIONS_MAX,
        timeout_ms: int = TIMEOUT_MS,
        client: httpx.Client | None = None,
    ) -> None:
        self._connections_max = connections_max
        self._timeout_seconds = timeout_ms / 1000
        self._lent = client
        self._client = client

    async def open(self) -> None:
        if self._lent is None:
            self._client = httpx.Client(
                limits=_limits(self._connections_max),
                timeout=self._timeout_seconds,
                trust_env=False,
            )

    async def close(self) -> None:
        if self._client is not None and self._lent is None:
            self._client.close()
            self._client = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answered:
        if self._client is None:
            raise RuntimeError("the client is used outside `with`")
        try:
            answer = self._client.request(
                method, url, content=data, headers=headers, follow_redirects=False
            )
        except httpx.HTTPError as problem:
            raise NoAnswer(_reason(problem)) from problem
        return Answered(answer.status_code, answer.headers, answer.content)


def _limits(connections_max: int) -> httpx.Limits:
    return httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max)


def _reason(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
