"""The calls of those who run a sale."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from flashstock.client.answers import (
    Pool,
    PoolOrder,
    PoolPage,
    Reconciliation,
    Refund,
    RefundPage,
)
from flashstock.client.core import NO_POLICY, Core
from flashstock.client.wire import decoder, segment
from flashstock.errors import FlashstockError

_pool: Final = decoder(Pool)
_pool_page: Final = decoder(PoolPage)
_reconciliation: Final = decoder(Reconciliation)
_refund: Final = decoder(Refund)
_refund_page: Final = decoder(RefundPage)


class PoolCalls(Core):
    """Part of ``Client``: what is said of its calls there goes for these."""

    async def open_pool(self, order: PoolOrder) -> Pool:
        """Open a pool. The same settings again change nothing; others raise ``PoolExists``."""
        return _pool((await self._send("open_pool", "POST", "/v1/pools", order)).payload)

    async def pool(self, pool: str) -> Pool:
        """As of this instant."""
        return await self._on_pool("pool", "GET", pool, "")

    async def pools(self) -> AsyncIterator[Pool]:
        """Every pool as SQL has it, by id, read page by page."""
        after: str | None = ""
        while after is not None:
            path = "/v1/pools" + (f"?after={segment(after)}" if after else "")
            page = _pool_page((await self._send("pools", "GET", path)).payload)
            for pool in page.items:
                yield pool
            after = page.next_after

    async def adjust(self, pool: str, delta: int, key: str) -> Pool:
        """Book ``delta`` units into (or out of) a pool, once per ``key``."""
        return await self._on_pool("adjust", "POST", pool, "/adjust", {"delta": delta}, key)

    async def pause_pool(self, pool: str) -> Pool:
        """Stop selling for now. Holds stay, and can be paid."""
        return await self._on_pool("pause", "POST", pool, "/pause", {})

    async def resume_pool(self, pool: str) -> Pool:
        """Sell again."""
        return await self._on_pool("resume", "POST", pool, "/resume", {})

    async def close_pool(self, pool: str) -> Pool:
        """Stop selling for good. Holds stay, and can be paid."""
        return await self._on_pool("close", "POST", pool, "/close", {})

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

    async def settle_refund(self, refund: int, reference: str) -> Refund:
        """Note that a payment went back, and under which reference."""
        path = f"/v1/ops/refunds/{refund}/settle"
        body = {"reference": reference}
        return _refund((await self._send("settle", "POST", path, body)).payload)

    async def ready(self) -> bool:
        """Whether the service takes requests now. Never raises for a service that is away."""
        try:
            await self._send("ready", "GET", "/readyz", retry=NO_POLICY)
        except FlashstockError:
            return False
        return True

    async def _on_pool(
        self,
        purpose: str,
        method: str,
        pool: str,
        verb: str,
        body: object = None,
        key: str | None = None,
    ) -> Pool:
        path = f"/v1/pools/{segment(pool)}{verb}"
        return _pool((await self._send(purpose, method, path, body, key)).payload)
