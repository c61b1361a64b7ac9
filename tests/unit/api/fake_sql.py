"""SQL that knows three keys, two cursors and little else. No truth about stock here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from flashstock.api.auth import key_hash
from flashstock.errors import Unavailable
from flashstock.ledger.stored import ApiKey, GivenBack, OpenMatters, StoredRefund

NOW_MS = 1_795_311_438_974
KEYS = {"storefront": "fsk_shop", "ops": "fsk_ops", "admin": "fsk_admin"}


def refund(number: int, **changes: Any) -> StoredRefund:
    """A payment that is due back."""
    row = StoredRefund(
        number, 0, f"campaign-1~{number:016d}", "campaign-1", "b", 1, f"pay-{number}", NOW_MS, None
    )
    return replace(row, **changes)


@dataclass(frozen=True)
class FakeCursor:
    """Of a row of ``cursors``, what the API looks at."""

    shard: int
    generation: int = 3
    seq: int = 4
    opened_generation: int = 3


@dataclass
class FakeQueries:
    """SQL that knows three keys, two cursors and nothing else, and can be away or slow."""

    away: bool = False
    slow: bool = False
    keys: dict[str, ApiKey] = field(
        default_factory=lambda: {
            role: ApiKey(role, role, key_hash(key), NOW_MS, None) for role, key in KEYS.items()
        }
    )
    refund_rows: list[Any] = field(default_factory=lambda: [refund(1)])
    quarantine_rows: list[Any] = field(default_factory=list)
    pool_rows: list[Any] = field(default_factory=list)
    matters: OpenMatters = field(default_factory=lambda: OpenMatters(0, 0, None))
    outages: dict[int, GivenBack] = field(default_factory=dict)
    outages_read: int = 0

    async def open_matters(self) -> Any:
        return await self._answer(self.matters)

    async def _answer(self, rows: Any) -> Any:
        if self.away:
            raise Unavailable("connect to 10.0.0.1 failed: password of user shop")
        if self.slow:
            await asyncio.sleep(60)
        return rows

    async def api_keys(self) -> Any:
        return await self._answer(list(self.keys.values()))

    async def add_api_key(self, name: str, role: str, hashed: str, at_ms: int) -> bool:
        if name in self.keys:
            return False
        self.keys[name] = ApiKey(name, role, hashed, at_ms, None)
        return True

    async def revoke_api_key(self, name: str, at_ms: int) -> bool:
        row = self.keys.get(name)
        if row is None or row.revoked_at_ms is not None:
            return False
        self.keys[name] = ApiKey(row.name, row.role, row.key_hash, row.created_at_ms, at_ms)
        return True

    async def cursors(self) -> Any:
        rows = [FakeCursor(shard) for shard in (0, 1)]
        return await self._answer(rows)

    async def last_given_back(self, shard: int, _generation: int) -> Any:
        self.outages_read += 1
        return await self._answer(self.outages.get(shard))

    async def pools(self, after: str, limit: int) -> Any:
        return await self._answer([row for row in self.pool_rows if row.id > after][:limit])

    async def refunds(self, after: int, limit: int, *, settled: bool | None = None) -> Any:
        wanted = [
            row
            for row in self.refund_rows
            if row.id > after and settled in (None, row.settled_at_ms is not None)
        ]
        return await self._answer(wanted[:limit])

    async def settle_refund(self, refund_id: int, reference: str, settled_by: str) -> Any:
        for number, row in enumerate(self.refund_rows):
            if row.id == refund_id and row.settled_at_ms is None:
                settled = {"settled_by": settled_by, "settled_reference": reference}
                self.refund_rows[number] = replace(row, settled_at_ms=NOW_MS, **settled)
                return self.refund_rows[number], True
            if row.id == refund_id:
                return row, False
        return None

    async def quarantined(self, after: int, limit: int) -> Any:
        return await self._answer([row for row in self.quarantine_rows if row.id > after][:limit])
