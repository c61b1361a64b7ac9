"""The simulated database as a server, and the ledger's interface on it: how writing goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeVar

from flashstock.ledger.apply import Applied, Cursor
from flashstock.ledger.batch import steps_of
from flashstock.ledger.cursor import LOG_START
from flashstock.ledger.failures import LedgerUnavailable, is_violation
from flashstock.ledger.stored import CursorStatus
from flashstock.model.events import LogEntry
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.sql_tables import Tables
from tests.simulation.weather import Weather

TIMEOUT_S: Final = 3.0
T = TypeVar("T")
AfterCommit = Callable[[Tables, Tables], None]


class Database:
    """The database server: it can be away, slow, or commit and not say so."""

    def __init__(
        self,
        loop: SimulatedLoop,
        random: Random,
        weather: Weather,
        trace: Callable[..., None],
        after_commit: AfterCommit,
    ) -> None:
        self._loop = loop
        self._random = random
        self.weather = weather
        self._trace = trace
        self._after_commit = after_commit
        self.tables = Tables()
        self.up = True
        self.commits = 0

    async def run(self, process: Process, name: str, work: Callable[[], T]) -> T:
        """One transaction, from the connection to the commit.

        Raises:
            LedgerUnavailable: nothing was done, or all of it was and the answer was lost.
        """
        random, weather = self._random, self.weather
        answer: asyncio.Future[T] = self._loop.create_future()
        lost_before = random.random() < weather.lost_before
        lost_after = random.random() < weather.lost_after

        def arrive() -> None:
            if not self.up or lost_before:
                self._settle(answer, LedgerUnavailable("the simulated database is away"))
                return
            result: Any
            try:
                result = work()
            except Exception as refusal:  # noqa: BLE001 (handed to whoever asked)
                result = refusal
            self._trace(process.name, name, result)
            if lost_after or not self.up:
                result = LedgerUnavailable("the answer was lost")
            self._loop.naturally(weather.delay(random), self._settle, answer, result)

        delay = weather.delay(random)
        if random.random() < weather.late:
            delay += TIMEOUT_S * 2 * random.random()
        self._loop.naturally(delay, arrive)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise LedgerUnavailable("the simulated database did not answer") from None

    def _settle(self, answer: asyncio.Future[Any], result: Any) -> None:
        if answer.done():
            return
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def commit(self, tables: Tables) -> None:
        """Make a transaction's rows everybody's."""
        before, self.tables = self.tables, tables
        self.commits += 1
        self._after_commit(before, tables)


class SimulatedLedger:
    """``ledger.apply.Ledger`` for one process."""

    def __init__(self, database: Database, process: Process, clock: Callable[[], int]) -> None:
        self._database = database
        self._process = process
        self._clock = clock

    async def _run(self, name: str, work: Callable[[], T]) -> T:
        return await self._database.run(self._process, name, work)

    async def cursor(self, shard: int) -> Cursor | None:
        return await self._run("cursor", lambda: _cursor(self._database.tables, shard))

    async def create_cursor(self, shard: int) -> Cursor:
        def work() -> Cursor:
            tables = self._database.tables.copy()
            if shard not in tables.cursors:
                row = CursorStatus(shard, 1, 0, LOG_START, 0, None, 0, self._clock(), 0)
                tables.cursors[shard] = row
                self._database.commit(tables)
            found = _cursor(tables, shard)
            assert found is not None
            return found

        return await self._run("create_cursor", work)

    async def apply(
        self, cursor: Cursor, entries: Sequence[LogEntry], generation: int | None = None
    ) -> Applied:
        steps = steps_of(cursor, entries, cursor.generation if generation is None else generation)
        if not steps:
            return Applied(cursor)
        last = steps[-1].entry
        after = replace(cursor, seq=last.last_seq, log_id=last.stream_id or cursor.log_id)

        def work() -> Applied:
            tables = self._database.tables.copy()
            tables.advance(cursor, after, steps, self._clock())
            known = len(tables.quarantine)
            attempt = tables.copy()
            try:
                attempt.change(steps)
            except Exception as error:
                if not is_violation(error):
                    raise
                attempt = tables.change_all_but_violations(steps, self._clock())
            self._database.commit(attempt)
            return Applied(after, tuple(row.seq for row in attempt.quarantine[known:]))

        return await self._run("apply", work)

    async def keep_alive(self, cursor: Cursor, at_ms: int) -> bool:
        def work() -> bool:
            tables = self._database.tables.copy()
            row = tables.cursors.get(cursor.shard)
            if row is None or _cursor(tables, cursor.shard) != cursor:
                return False
            alive_at_ms = max(row.alive_at_ms, at_ms)
            tables.cursors[cursor.shard] = replace(row, alive_at_ms=alive_at_ms)
            self._database.commit(tables)
            return True

        return await self._run("keep_alive", work)

    async def alive_at_ms(self, shard: int) -> int:
        return await self._run(
            "alive_at_ms", lambda: self._database.tables.cursors[shard].alive_at_ms
        )

    async def interrupted_holds(self, shard: int, began_ms: int) -> dict[str, int]:
        def work() -> dict[str, int]:
            found = self._database.tables.interrupted(shard, began_ms)
            return dict(sorted(Counter(row.pool for row in found).items()))

        return await self._run("interrupted_holds", work)

    async def postpone(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor:
        steps = steps_of(cursor, entries, cursor.generation)
        after = replace(cursor, seq=entries[-1].last_seq, log_id=entries[-1].stream_id)

        def work() -> Cursor:
            tables = self._database.tables.copy()
            tables.change(steps)
            tables.advance(cursor, after, steps, self._clock())
            self._database.commit(tables)
            return after

        return await self._run("postpone", work)

    async def bump_generation(
        self, shard: int, from_generation: int, opened: int, owner: str, lease_ms: int
    ) -> Cursor | None:
        def work() -> Cursor | None:
            now = self._clock()
            tables = self._database.tables.copy()
            row = tables.cursors.get(shard)
            if row is None:
                return None
            if (row.generation, row.opened_generation) != (from_generation, opened):
                return None
            if row.recovery_owner not in (None, owner) and row.recovery_until_ms > now:
                return None
            tables.cursors[shard] = replace(
                row,
                generation=from_generation + 1,
                recovery_owner=owner,
                recovery_until_ms=now + lease_ms,
            )
            self._database.commit(tables)
            return _cursor(tables, shard)

        return await self._run("bump_generation", work)

    async def renew_recovery(self, shard: int, generation: int, owner: str, lease_ms: int) -> bool:
        until = self._clock() + lease_ms
        return await self._change_lease(shard, generation, owner, recovery_until_ms=until)

    async def finish_recovery(self, shard: int, generation: int, owner: str) -> bool:
        return await self._change_lease(
            shard,
            generation,
            owner,
            opened_generation=generation,
            recovery_owner=None,
            recovery_until_ms=0,
        )

    async def opened_generation(self, shard: int) -> int:
        def work() -> int:
            row = self._database.tables.cursors.get(shard)
            return row.opened_generation if row else 0

        return await self._run("opened_generation", work)

    async def _change_lease(self, shard: int, generation: int, owner: str, **values: Any) -> bool:
        now = self._clock()

        def work() -> bool:
            tables = self._database.tables.copy()
            row = tables.cursors.get(shard)
            if row is None or (row.generation, row.recovery_owner) != (generation, owner):
                return False
            if row.recovery_until_ms <= now:
                return False
            tables.cursors[shard] = replace(row, **values)
            self._database.commit(tables)
            return True

        return await self._run("lease", work)


def _cursor(tables: Tables, shard: int) -> Cursor | None:
    row = tables.cursors.get(shard)
    return Cursor(row.shard, row.generation, row.seq, row.log_id) if row else None
