"""Publication policies: the company's own, and those of single SKUs that replace it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.channels.marks import EVERYTHING, mark
from flashstock.channels.registry import known_channel
from flashstock.channels.shares import ChannelMode, Policy
from flashstock.channels.tables import publication_policies
from flashstock.errors import UnknownSku
from flashstock.ledger.engine import reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import skus

COMPANY: Final = EVERYTHING
"""Under this SKU stands what holds for all that have no policy of their own."""


class Policies:
    """Reads and changes policies.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def get(self, sku: str) -> Policy | None:
        """The policy of a SKU's own, if it has one; that of ``COMPANY`` is there always."""
        async with reading(self._engine) as connection:
            found = await policies_of(connection, [sku])
        return found.get(sku, Policy() if sku == COMPANY else None)

    async def page(self, after: str, limit: int) -> list[tuple[str, Policy]]:
        """SKUs with a policy of their own, in order."""
        statement = (
            select(publication_policies)
            .where(publication_policies.c.sku > after, publication_policies.c.sku != COMPANY)
            .order_by(publication_policies.c.sku)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            return [(row.sku, _policy(row)) for row in await connection.execute(statement)]

    async def put(self, sku: str, policy: Policy) -> None:
        """Set a policy; what it concerns is published again. Repeating it changes nothing.

        Raises:
            UnknownSku, UnknownChannel: it names what is not there.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            named = {*policy.weights, *filter(None, [policy.low_water_channel])}
            for channel in sorted(named):
                await known_channel(connection, channel)
            await _check_sku(connection, sku)
            if (await policies_of(connection, [sku])).get(sku) == policy:
                return
            await _write(connection, sku, policy, self._clock())
            await mark(connection, [sku], self._clock())

    async def drop(self, sku: str) -> bool:
        """Let the company's policy hold for a SKU again. Returns whether it had one of its own."""
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            its_own = publication_policies.c.sku == sku
            if (await connection.execute(delete(publication_policies).where(its_own))).rowcount:
                await mark(connection, [sku], self._clock())
                return True
        return False


async def policies_of(connection: AsyncConnection, wanted: Sequence[str]) -> dict[str, Policy]:
    """Those of these SKUs that have a policy, with it."""
    statement = select(publication_policies).where(publication_policies.c.sku.in_(wanted))
    return {row.sku: _policy(row) for row in await connection.execute(statement)}


async def _check_sku(connection: AsyncConnection, sku: str) -> None:
    if sku == COMPANY:
        return
    found = await connection.execute(select(skus.c.sku).where(skus.c.sku == sku))
    if found.first() is None:
        raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)


async def _write(connection: AsyncConnection, sku: str, policy: Policy, now_ms: int) -> None:
    values = {
        "mode": policy.mode.value if policy.mode is not None else None,
        "low_water": policy.low_water,
        "low_water_channel": policy.low_water_channel,
        "weights": orjson.dumps(dict(policy.weights), option=orjson.OPT_SORT_KEYS).decode(),
        "updated_at_ms": now_ms,
    }
    its_own = publication_policies.c.sku == sku
    change = update(publication_policies).where(its_own).values(values)
    if (await connection.execute(change)).rowcount == 0:
        await connection.execute(insert(publication_policies), {"sku": sku, **values})


def _policy(row: Any) -> Policy:
    return Policy(
        ChannelMode(row.mode) if row.mode is not None else None,
        row.low_water,
        row.low_water_channel,
        orjson.loads(row.weights),
    )
