"""What every call goes through: sent, sent again while that helps, and read.

It is written once, for clients that wait and for clients that block; they differ in what carries
the requests and in how they sleep.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import Final, Self

import msgspec

from flashstock.client.problems import RETRIED_STATUSES, error_of
from flashstock.client.receipts import Receipts
from flashstock.client.retry import RetryPolicy, retry_after_ms
from flashstock.client.transport import (
    CONNECTIONS_MAX,
    TIMEOUT_MS,
    HttpxTransport,
    NoAnswer,
    Transport,
)
from flashstock.client.wire import Received
from flashstock.errors import ConfigurationError, FlashstockError, Unavailable

Observer = Callable[[str, int | None, float], None]
"""Told of every send: what it was for, the status (``None``: no answer), the seconds it took."""

NO_POLICY: Final = RetryPolicy(attempts_max=1)
RECEIPTS_MAX: Final = 10_000

_encode: Final = msgspec.json.Encoder().encode


class Core:
    """Sends what the calls ask for; an async context manager."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        connections_max: int = CONNECTIONS_MAX,
        timeout_ms: int = TIMEOUT_MS,
        retry: RetryPolicy | None = None,
        receipts_max: int = RECEIPTS_MAX,
        observe: Observer | None = None,
        transport: Transport | None = None,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"not an http address: {base_url!r}")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._transport = transport or HttpxTransport(
            connections_max=connections_max, timeout_ms=timeout_ms
        )
        self._retry = retry or RetryPolicy()
        self._receipts = Receipts(receipts_max)
        self._observe = observe
        self._random = random or Random()
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def _send(
        self,
        purpose: str,
        method: str,
        path: str,
        body: object = None,
        key: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> Received:
        """Send, and send again while the policy lets and the answer asks for it.

        Bytes are a CSV file; any other body becomes JSON, once: every repetition is the same to
        the letter, its key included.
        """
        policy = retry or self._retry
        headers = dict(self._headers)
        if key is not None:
            headers["Idempotency-Key"] = key
        data = None
        if isinstance(body, bytes):
            data = body
            headers["Content-Type"] = "text/csv"
        elif body is not None:
            data = _encode(body)
            headers["Content-Type"] = "application/json"
        attempt = waited_ms = 0
        while True:
            attempt += 1
            outcome, after_ms = await self._send_once(purpose, method, path, headers, data)
            if isinstance(outcome, Received):
                return outcome
            if not isinstance(outcome, Unavailable):
                raise outcome
            wait_ms = policy.wait_ms(attempt, waited_ms, after_ms, self._random)
            if wait_ms is None:
                raise outcome
            waited_ms += wait_ms
            await self._sleep(wait_ms / 1000)

    async def _send_once(
        self, purpose: str, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> tuple[Received | FlashstockError, int | None]:
        status: int | None = None
        started = time.perf_counter()
        try:
            answered = await self._transport.send(method, self.base_url + path, headers, data)
            status = answered.status
        except NoAnswer as problem:
            return Unavailable(f"no answer from {self.base_url}: {problem}"), None
        finally:
            if self._observe is not None:
                self._observe(purpose, status, time.perf_counter() - started)
        if status < 300:
            replayed = answered.headers.get("Idempotency-Replayed") == "true"
            return Received(answered.payload, replayed), None
        error = error_of(status, answered.payload)
        after_ms = None
        if status in RETRIED_STATUSES:
            after_ms = retry_after_ms(answered.headers.get("Retry-After"), datetime.now(UTC))
            if after_ms is not None:
                error.extra.setdefault("retry_after_ms", after_ms)
        return error, after_ms
