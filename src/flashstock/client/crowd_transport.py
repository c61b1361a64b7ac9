"""A transport for those who play a crowd.

The demo's crowd shares two cores with the service it measures. On such a machine aiohttp sends
6,500 requests a second over kept-alive connections, httpx 370 (one shared pool) to 1,800 (a
client per connection).
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from flashstock.client.transport import CONNECTIONS_MAX, TIMEOUT_MS, Answered, NoAnswer


class CrowdTransport:
    """Carries requests by aiohttp, as ``HttpxTransport`` does by httpx.

    Args:
        timeout_ms: for all of one request, a wait for a free connection included.
    """

    def __init__(
        self, *, connections_max: int = CONNECTIONS_MAX, timeout_ms: int = TIMEOUT_MS
    ) -> None:
        self._connections_max = connections_max
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections_max), timeout=self._timeout
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answered:
        if self._session is None:
            raise RuntimeError("the client is used outside `async with`")
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                return Answered(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise NoAnswer(str(problem) or type(problem).__name__) from problem
