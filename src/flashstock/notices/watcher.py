"""The watcher: raises each warning once, clears it once, and has both told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import (
    LONG_OPERATION_TIMEOUT_MS,
    insert_if_absent,
    reading,
    writing,
)
from flashstock.notices.outbox import announce
from flashstock.notices.tables import warnings
from flashstock.notices.topics import WARNING_CLEARED, WARNING_RAISED
from flashstock.notices.warnings import LOOKS, Findings, WarningKind
from flashstock.rounds import costs_one_round

INTERVAL_S: Final = 10.0

logger = logging.getLogger(__name__)


class Watcher:
    """Looks until cancelled. Several at once are harmless: a change of a warning's row is one's.

    Args:
        clock: ms since the epoch.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], int],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Round after round; what one does not reach, the next one does."""
        while True:
            with costs_one_round(logger, "no look at warnings this time"):
                await self.round()
            await self._sleep(INTERVAL_S)

    async def round(self) -> int:
        """Look at everything once; how many warnings were raised or cleared.

        Raises:
            LedgerUnavailable: the kinds that come later were not looked at.
        """
        changed = 0
        for kind, look in LOOKS.items():
            now_ms = self._clock()
            async with reading(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
                found = await look(connection, now_ms)
                opened = await connection.execute(
                    select(warnings.c.subject).where(
                        warnings.c.kind == kind.value, warnings.c.cleared_at_ms.is_(None)
                    )
                )
                before = set(opened.scalars())
            changed += await self._note(kind, before, found, now_ms)
        return changed

    async def _note(self, kind: WarningKind, before: set[str], found: Findings, now_ms: int) -> int:
        raised = sorted(found.wrong.keys() - before)
        cleared = sorted(before - found.wrong.keys() - found.lingering) if found.complete else []
        changed = 0
        for subject in raised:
            changed += await self._raise(kind, subject, found.wrong[subject], now_ms)
        for subject in cleared:
            changed += await self._clear(kind, subject, now_ms)
        return changed

    async def _raise(
        self, kind: WarningKind, subject: str, detail: dict[str, Any], now_ms: int
    ) -> bool:
        """One transaction: the row, and what tells of it. False: somebody else has raised it."""
        values = {
            "detail": orjson.dumps(detail).decode(),
            "raised_at_ms": now_ms,
            "cleared_at_ms": None,
        }
        again = (
            update(warnings)
            .where(
                warnings.c.kind == kind.value,
                warnings.c.subject == subject,
                warnings.c.cleared_at_ms.is_not(None),
            )
            .values(values)
        )
        async with writing(self._engine) as connection:
            changed = (await connection.execute(again)).rowcount == 1
            if not changed:
                row = {"kind": kind.value, "subject": subject, **values}
                first = insert_if_absent(self._engine, warnings).values(row)
                changed = (await connection.execute(first)).rowcount == 1
            if changed:
                await _tell(connection, WARNING_RAISED, kind, subject, detail, now_ms)
            return changed

    async def _clear(self, kind: WarningKind, subject: str, now_ms: int) -> bool:
        clear = (
            update(warnings)
            .where(
                warnings.c.kind == kind.value,
                warnings.c.subject == subject,
                warnings.c.cleared_at_ms.is_(None),
            )
            .values(cleared_at_ms=now_ms)
        )
        async with writing(self._engine) as connection:
            changed = (await connection.execute(clear)).rowcount == 1
            if changed:
                await _tell(connection, WARNING_CLEARED, kind, subject, {}, now_ms)
            return changed


async def _tell(
    connection: AsyncConnection,
    topic: str,
    kind: WarningKind,
    subject: str,
    detail: dict[str, Any],
    now_ms: int,
) -> None:
    payload = {"kind": kind.value, "subject": subject, "detail": detail}
    await announce(connection, topic, payload, now_ms)
