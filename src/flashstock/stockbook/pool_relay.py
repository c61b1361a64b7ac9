"""The relay: carries the commands of the outbox to the pools, until SQL has seen them arrive.

Every command is one of two kinds of thing. Units (add, take): the pool's script does them once per
digest, and the relay looks for the digest in the journal before it calls and after, so that
neither a lost reply, nor a lost tail of Redis, nor a record that Redis has forgotten makes them
happen twice or not at all. Rules: what is wanted is written down, and writing it again changes
nothing.

Nothing here depends on there being one relay. What two of them do at once is decided by the
digest in the pool, and by ``still_at`` in the book. A relay that finds that another one has gone on
without it may have written rules that were older: then it has the newest written again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import FlashstockError, Unavailable
from flashstock.hotpath.replies import PoolSnapshot
from flashstock.hotpath.scripts import AdjustStatus, ConfigureStatus
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import UNSETTLED, groups, pools
from flashstock.model.events import decode_waves, encode_waves
from flashstock.model.states import PoolState
from flashstock.rounds import costs_one_round
from flashstock.stockbook.pool_commands import (
    PoolCommand,
    PoolCommandKind,
    PoolCommandState,
    change,
    latest_rules,
    pending_heads,
    still_at,
)
from flashstock.stockbook.pool_journal import Trace, position, trace_of
from flashstock.stockbook.pool_transfers import book_taken

logger = logging.getLogger(__name__)

PAGE: Final = 100
STEPS_AT_ONCE: Final = 5
"""Each may use a connection; the ledger's writer needs some, too."""
BUSY_INTERVAL_S: Final = 0.02
IDLE_INTERVAL_S: Final = 0.2
NEVER_CALLED: Final = ("", 0)


class HotPools(Protocol):
    """What the relay needs of the hot path: ``HotStore`` has it."""

    def shard_of(self, pool_id: str) -> int: ...

    def generation(self, shard: int) -> str | None: ...

    async def seq(self, shard: int) -> int: ...

    async def snapshot(self, pool_id: str) -> PoolSnapshot: ...

    async def adjust(
        self, pool_id: str, total_delta: int, locked_delta: int, command_digest: str
    ) -> tuple[AdjustStatus, str, int, int]: ...

    async def configure(
        self,
        pool_id: str,
        rules: dict[str, str],
        *,
        created: tuple[int, int] | None,
        reason: str = "",
    ) -> tuple[ConfigureStatus, PoolSnapshot]: ...


class PoolRelay:
    """Runs beside the writer. Killed anywhere, it goes on where SQL says it was.

    Args:
        clock: ms since the epoch; stamps what is booked.
    """

    def __init__(self, engine: AsyncEngine, store: HotPools, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._slots = asyncio.Semaphore(STEPS_AT_ONCE)
        self._writes = asyncio.Lock()
        """The book is written by one at a time: others would only wait for it in the database, each
        with a connection of its own."""
        self._asked: dict[tuple[str, str], tuple[str, int]] = {}
        """By command and digest: the generation and number of the log that SQL must have reached
        before the journal's silence means anything."""

    async def run(self) -> None:
        """Carry commands until cancelled; a failure costs one round."""
        while True:
            progress = False
            with costs_one_round(logger, "commands of the book wait", logging.DEBUG):
                progress = await self.round()
            await asyncio.sleep(BUSY_INTERVAL_S if progress else IDLE_INTERVAL_S)

    async def round(self) -> bool:
        """One step for the oldest command of every pool; True where another round may do more."""
        progress, after = False, (-1, "")
        seen: set[str] = set()
        while True:
            async with reading(self._engine) as connection:
                heads = await pending_heads(connection, after, PAGE)
            seen.update(command.id for command in heads)
            progress |= await self._try_all(heads)
            if len(heads) < PAGE:
                break
            after = (heads[-1].created_at_ms, heads[-1].id)
        self._asked = {key: value for key, value in self._asked.items() if key[0] in seen}
        return progress

    async def _try_all(self, heads: Sequence[PoolCommand]) -> bool:
        """A step of each, some at once: they are of different pools. True where any moved on."""
        steps = [asyncio.ensure_future(self._try(command)) for command in heads]
        try:
            return any(await asyncio.gather(*steps))
        finally:
            # Where one failed for good, none goes on behind the back of the next round.
            for step in steps:
                step.cancel()
            await asyncio.gather(*steps, return_exceptions=True)

    async def _try(self, command: PoolCommand) -> bool:
        """A pool that can't be reached keeps no other pool waiting."""
        if command.blocked:
            return False
        try:
            async with self._slots:
                return await self.step(command)
        except Unavailable as failure:
            logger.debug("command %s of the book waits: %s", command.id, failure)
        except FlashstockError as failure:
            await self._note(command, f"{failure.code}: {failure.detail}")
        return False

    async def step(self, command: PoolCommand) -> bool:
        """Do what can be done of a command now; True where it moved on.

        Raises:
            Unavailable: a store did not answer; what was done is found out in another round.
        """
        match command.kind:
            case PoolCommandKind.CREATE:
                return await self._create(command)
            case PoolCommandKind.ADD:
                return await self._move(command, command.quantity, command.locked)
            case PoolCommandKind.RULES:
                return await self._rules(command)
            case PoolCommandKind.TAKE:
                return await self._take(command)
            case PoolCommandKind.WIND_DOWN:
                return await self._wind_down(command)

    async def _create(self, command: PoolCommand) -> bool:
        rules = {**command.rules, "state": PoolState.PAUSED.value, "waves": ""}
        _, snapshot = await self._store.configure(command.pool, rules, created=(0, 0))
        if snapshot.rules.sku != command.rules["sku"]:
            return await self._block(command, f"a pool of {snapshot.rules.sku!r} has this id")
        if not await self._is_in_sql(snapshot):
            return True
        return await self._applied(command)

    async def _rules(self, command: PoolCommand) -> bool:
        """Units are locked and unlocked while no wave can release any: none escapes."""
        snapshot = await self._store.snapshot(command.pool)
        if snapshot.rules.state is PoolState.CLOSED:
            return await self._applied(command, problem="the pool was closed already")
        wanted = dict(command.rules)
        if "waves" in wanted:
            ready, wanted["waves"] = await self._lock_for_waves(command, snapshot)
            if not ready:
                return True
        _, snapshot = await self._store.configure(command.pool, wanted, created=None)
        if not await self._is_in_sql(snapshot):
            return True
        return await self._applied(command)

    async def _lock_for_waves(
        self, command: PoolCommand, snapshot: PoolSnapshot
    ) -> tuple[bool, str]:
        """Whether the pool's locked units are those of the waves to come; and these waves."""
        waves = decode_waves(command.rules["waves"])
        # A pool that was just created has locked its waves with its units, those that are due
        # since included: the script will release them in their turn.
        fresh = snapshot.rules.state is PoolState.PAUSED and not snapshot.rules.waves
        to_come = tuple(w for w in waves if fresh or w.at_ms > snapshot.now_ms)
        if sum(wave.quantity for wave in waves) == snapshot.counters.locked:
            to_come = waves
        locked_delta = sum(wave.quantity for wave in to_come) - snapshot.counters.locked
        locked_delta = min(locked_delta, snapshot.counters.available)
        if locked_delta == 0:
            return True, encode_waves(to_come)
        if snapshot.rules.waves:
            await self._store.configure(command.pool, {"waves": ""}, created=None)
        await self._move(command, 0, locked_delta)
        return False, ""

    async def _take(self, command: PoolCommand) -> bool:
        counters = (await self._store.snapshot(command.pool)).counters
        return await self._move(command, -min(command.quantity, counters.available), 0)

    async def _wind_down(self, command: PoolCommand) -> bool:
        snapshot = await self._store.snapshot(command.pool)
        rules, counters = snapshot.rules, snapshot.counters
        if rules.state is not PoolState.CLOSED:
            if not command.early and snapshot.now_ms < rules.ends_at_ms:
                return False
            closed = {"state": PoolState.CLOSED.value}
            await self._store.configure(command.pool, closed, created=None)
            return True
        left = counters.available + counters.locked
        # Units of groups come back where these fail, and go where the house completes them.
        waits = bool(rules.group_buy) and not (command.early and left)
        if waits and await self._groups_have_ended(command.pool):
            waits = False
        if not waits and (left or await self._is_empty_in_sql(command.pool)):
            # Taking nothing is the last step. It has a digest too, so that no other relay can
            # take something in the same step, and have it forgotten.
            return await self._move(command, -left, -counters.locked)
        async with reading(self._engine) as connection:
            trace = await self._trace(connection, command)
        return trace is not None and await self._book(command, trace)

    async def _is_empty_in_sql(self, pool: str) -> bool:
        """Closed, nothing held, nothing left: what Redis says may still be lost, this can't."""
        statement = select(pools).where(pools.c.id == pool)
        async with reading(self._engine) as connection:
            row = (await connection.execute(statement)).first()
        if row is None or row.state != PoolState.CLOSED.value:
            return False
        return bool(row.total == row.sold and row.held == 0 and row.locked == 0)

    async def _groups_have_ended(self, pool: str) -> bool:
        """Closed, so that none is opened any more, and nobody's seat is left to be settled."""
        unsettled = select(groups.c.id).where(groups.c.pool == pool, text(f"({UNSETTLED})"))
        async with reading(self._engine) as connection:
            state = select(pools.c.state).where(pools.c.id == pool)
            closed = (await connection.execute(state)).scalar_one_or_none()
            left = (await connection.execute(unsettled.limit(1))).first()
        return closed == PoolState.CLOSED.value and left is None

    async def _trace(self, connection: AsyncConnection, command: PoolCommand) -> Trace | None:
        shard = self._store.shard_of(command.pool)
        return await trace_of(connection, shard, command.pool, command.digest, command.after_seq)

    async def _move(self, command: PoolCommand, total_delta: int, locked_delta: int) -> bool:
        """Have the pool change its units once, and book it when SQL has seen it.

        The amounts are proposals: where an earlier call with the same digest got through with
        others, those stand, and the journal tells them.
        """
        shard = self._store.shard_of(command.pool)
        generation = self._store.generation(shard) or ""
        key = (command.id, command.digest)
        asked = self._asked.get(key, NEVER_CALLED)
        if asked == NEVER_CALLED or asked[0] != generation:
            asked = self._asked[key] = (generation, await self._store.seq(shard))
        async with reading(self._engine) as connection:
            at = await position(connection, shard)
            trace = await self._trace(connection, command)
        if trace is not None:
            return await self._book(command, trace)
        if at.seq < asked[1]:
            return True
        status, generation, seq, available = await self._store.adjust(
            command.pool, total_delta, locked_delta, command.digest
        )
        if status is AdjustStatus.TOO_LARGE:
            return await self._block(command, "the pool would have more units than a pool may")
        if status is AdjustStatus.INSUFFICIENT:
            logger.info("pool %s has only %d units available", command.pool, available)
        self._asked[key] = (generation, seq)
        return True

    async def _book(self, command: PoolCommand, trace: Trace) -> bool:
        """Do in the book what the pool's event says, and go on to the next step: once."""
        if trace.refused:
            return await self._block(command, "the ledger refused the pool's event (quarantine)")
        async with self._writes, writing(self._engine) as connection:
            now = await still_at(connection, command)
            if now is None:
                return True
            at_ms = self._clock()
            units = max(0, -trace.total_delta)
            if units:
                await book_taken(
                    connection,
                    f"{command.id}/{command.step}",
                    command.pool,
                    units,
                    at_ms,
                    virtual=command.virtual,
                    actor=command.actor,
                )
            changes: dict[str, Any] = {
                "step": now.step + 1,
                "taken": now.taken + units,
                "after_seq": trace.seq,
                "problem": "",
            }
            if _is_done(now, trace):
                changes["state"] = PoolCommandState.APPLIED
            if command.kind is PoolCommandKind.TAKE and units < command.quantity:
                changes["problem"] = f"buyers hold the rest: {command.quantity - units} stay"
            await change(connection, now, at_ms, **changes)
        return True

    async def _is_in_sql(self, snapshot: PoolSnapshot) -> bool:
        """Whether everything this pool's shard had decided by then is in SQL to stay."""
        shard = self._store.shard_of(snapshot.pool)
        async with reading(self._engine) as connection:
            at = await position(connection, shard)
            found = await connection.execute(select(pools.c.id).where(pools.c.id == snapshot.pool))
            known = found.first() is not None
        return known and str(at.generation) == snapshot.generation and at.seq >= snapshot.seq

    async def _applied(self, command: PoolCommand, problem: str = "") -> bool:
        """Note that a command is done; where someone else has, look after what we overwrote."""
        async with self._writes, writing(self._engine) as connection:
            now = await still_at(connection, command)
            changes: Mapping[str, Any] = {"state": PoolCommandState.APPLIED, "problem": problem}
            if now is not None:
                await change(connection, now, self._clock(), **changes)
            elif command.kind is PoolCommandKind.RULES:
                newest = await latest_rules(connection, command.pool)
                if newest is not None and newest.id != command.id:
                    again = {"state": PoolCommandState.PENDING, "step": newest.step + 1}
                    await change(connection, newest, self._clock(), **again)
        return True

    async def _block(self, command: PoolCommand, problem: str) -> bool:
        logger.error("command %s for pool %s needs a person: %s", command.id, command.pool, problem)
        await self._write(command, problem=problem, blocked=True)
        return False

    async def _note(self, command: PoolCommand, problem: str) -> None:
        if problem != command.problem:
            logger.warning("command %s for pool %s waits: %s", command.id, command.pool, problem)
            await self._write(command, problem=problem)

    async def _write(self, command: PoolCommand, **changes: Any) -> None:
        async with self._writes, writing(self._engine) as connection:
            now = await still_at(connection, command)
            if now is not None:
                await change(connection, now, self._clock(), **changes)


def _is_done(command: PoolCommand, trace: Trace) -> bool:
    """Whether the step that the trace shows was the command's last."""
    match command.kind:
        case PoolCommandKind.ADD | PoolCommandKind.TAKE:
            return True
        case PoolCommandKind.WIND_DOWN:
            return trace.total_delta == 0
        case _:
            return False
