"""Negative controls: recoveries that take time from buyers, or give back more than was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flashstock.ledger.apply import Cursor
from flashstock.model.events import LogEntry
from flashstock.recovery.recover import Recoverer
from tests.simulation.controls import CONTROLS, control, parts
from tests.simulation.sql import SimulatedLedger

__all__ = ["CONTROLS"]


@control
def outages_forgotten() -> Any:
    """Deadlines run on while nobody can pay."""

    class Forgetful(Recoverer):
        async def _give_back(self, cursor: Cursor, now_ms: int) -> Cursor:
            return cursor

    return parts(recoverer=Forgetful)


@control
def outages_given_back_twice() -> Any:
    """Whoever takes a recovery over does not see that it was done."""

    class Blind(SimulatedLedger):
        async def postpone(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor:
            began_ms = await self.alive_at_ms(cursor.shard)
            after = await super().postpone(cursor, entries)
            tables = self._database.tables
            row = tables.cursors[cursor.shard]
            if row.seq == after.seq:
                tables.cursors[cursor.shard] = replace(row, alive_at_ms=began_ms)
            return after

    return parts(ledger=Blind)


@control
def what_expired_is_revived() -> Any:
    """Holds that were over when the outage began are put off as well."""

    class Generous(SimulatedLedger):
        async def alive_at_ms(self, shard: int) -> int:
            return max(0, await super().alive_at_ms(shard) - 5_000)

    return parts(ledger=Generous)
