"""The client proper.

Built on aiohttp: the demo's crowd shares two cores with the service it measures, and on such a
machine aiohttp sends 6,500 requests a second over kept-alive connections, httpx 370 (one shared
pool) to 1,800 (a client per connection).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
import msgspec

from flashstock.client.answers import (
    Cart,
    Line,
    Pool,
    PoolOrder,
    Reconciliation,
    Refund,
    RefundPage,
    Reservation,
)
from flashstock.client.book_calls import BookCalls
from flashstock.client.problems import RETRIED_STATUSES, error_of
from flashstock.client.retry import RetryPolicy, retry_after_ms
from flashstock.client.wire import Received, decoder, segment
from flashstock.errors import ConfigurationError, FlashstockError, Unavailable

Observer = Callable[[str, int | None, float], None]
"""Told of every send: what it was for, the status (``None``: no answer), the seconds it took."""

NO_POLICY: Final = RetryPolicy(attempts_max=1)

_encode: Final = msgspec.json.Encoder().encode


class Granted(NamedTuple):
    """A hold that the service acknowledged; ``replayed`` where this key had it before."""

    reservation: Reservation
    replayed: bool


_pool: Final = decoder(Pool)
_reservation: Final = decoder(Reservation)
_cart: Final = decoder(Cart)
_reconciliation: Final = decoder(Reconciliation)
_refund_page: Final = decoder(RefundPage)


class Client(BookCalls):
    """Speaks to one flashstock service; an async context manager.

    Every call may be repeated by the caller with the same arguments, and is repeated by the
    client, with the same key, when the answer is a 503 or does not come.

    All calls raise the error that the answer's ``code`` stands for (``flashstock.errors``),
    ``Unavailable`` where no answer came within the policy (the request may have taken effect),
    and ``UnexpectedAnswer`` where the answer is none of the interface.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        connections_max: int = 64,
        timeout_ms: int = 10_000,
        retry: RetryPolicy | None = None,
        observe: Observer | None = None,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"not an http address: {base_url!r}")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connections_max = connections_max
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._retry = retry or RetryPolicy()
        self._observe = observe
        self._random = random or Random()
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections_max),
            timeout=self._timeout,
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def open_pool(self, order: PoolOrder) -> Pool:
        """Open a pool. The same settings again change nothing; others raise ``PoolExists``."""
        return _pool((await self._send("open_pool", "POST", "/v1/pools", order)).payload)

    async def pool(self, pool: str) -> Pool:
        return _pool((await self._send("pool", "GET", f"/v1/pools/{segment(pool)}")).payload)

    async def adjust(self, pool: str, delta: int, key: str) -> None:
        """Book ``delta`` units into (or out of) a pool, once per ``key``."""
        path = f"/v1/pools/{segment(pool)}/adjust"
        await self._send("adjust", "POST", path, {"delta": delta}, key)

    async def reserve(self, pool: str, buyer: str, quantity: int, key: str) -> Granted:
        body = {"pool": pool, "buyer": buyer, "quantity": quantity}
        received = await self._send("reserve", "POST", "/v1/reservations", body, key)
        return Granted(_reservation(received.payload), received.replayed)

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
        """Hold every line, or none of them."""
        body = {"buyer": buyer, "lines": lines}
        return _cart((await self._send("cart", "POST", "/v1/carts", body, key)).payload)

    async def reservation(self, reservation: str) -> Reservation:
        return await self._on_reservation("reservation", "GET", reservation, "")

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        body = {"payment_ref": payment_ref}
        return await self._on_reservation("confirm", "POST", reservation, "/confirm", body)

    async def cancel(self, reservation: str) -> Reservation:
        return await self._on_reservation("cancel", "POST", reservation, "/cancel", {})

    async def return_units(self, reservation: str, quantity: int, key: str) -> Reservation:
        """Take ``quantity`` sold units back, once per ``key``."""
        body = {"quantity": quantity}
        return await self._on_reservation("return", "POST", reservation, "/return", body, key)

    async def reconciliation(self) -> Reconciliation:
        """What the service finds when it compares its stores."""
        received = await self._send("reconciliation", "GET", "/v1/ops/reconciliation")
        return _reconciliation(received.payload)

    async def refunds(self) -> AsyncIterator[Refund]:
        """Every payment that is due back, oldest first, read page by page."""
        after: int | None = 0
        while after is not None:
            path = f"/v1/ops/refunds?after={after}"
            page = _refund_page((await self._send("refunds", "GET", path)).payload)
            for refund in page.items:
                yield refund
            after = page.next_after

    async def ready(self) -> bool:
        """Whether the service takes requests now. Never raises for a service that is away."""
        try:
            await self._send("ready", "GET", "/readyz", retry=NO_POLICY)
        except FlashstockError:
            return False
        return True

    async def _on_reservation(
        self,
        purpose: str,
        method: str,
        reservation: str,
        verb: str,
        body: object = None,
        key: str | None = None,
    ) -> Reservation:
        path = f"/v1/reservations/{segment(reservation)}{verb}"
        return _reservation((await self._send(purpose, method, path, body, key)).payload)

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

        Bytes are a CSV file; any other body becomes JSON.
        """
        policy = retry or self._retry
        headers = {"Idempotency-Key": key} if key is not None else {}
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
        self, purpose: str, method: str, path: str, headers: dict[str, str], data: bytes | None
    ) -> tuple[Received | FlashstockError, int | None]:
        if self._session is None:
            raise RuntimeError("the client is used outside `async with`")
        status: int | None = None
        started = time.perf_counter()
        try:
            async with self._session.request(
                method,
                self.base_url + path,
                data=data,
                headers=headers,
                allow_redirects=False,
            ) as response:
                payload = await response.read()
                answer_headers: Any = response.headers
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            reason = str(problem) or type(problem).__name__
            return Unavailable(f"no answer from {self.base_url}: {reason}"), None
        finally:
            if self._observe is not None:
                self._observe(purpose, status, time.perf_counter() - started)
        if status < 300:
            return Received(payload, answer_headers.get("Idempotency-Replayed") == "true"), None
        after_ms = None
        if status in RETRIED_STATUSES:
            after_ms = retry_after_ms(answer_headers.get("Retry-After"), datetime.now(UTC))
        return error_of(status, payload), after_ms
