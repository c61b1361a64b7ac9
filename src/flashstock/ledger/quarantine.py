"""Set aside the events that contradict SQL, apply the others, in order, within one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.batch import Step, single_events, storable
from flashstock.ledger.failures import driver_error, is_violation
from flashstock.ledger.tables import pools, quarantine
from flashstock.model.events import MalformedEntry
from flashstock.model.states import PoolState

ERROR_LENGTH_MAX: Final = 1_000

Change = Callable[[AsyncConnection, Sequence[Step]], Awaitable[None]]
"""Writes what some steps say, or raises a violation."""


async def change_all_but_violations(
    connection: AsyncConnection, steps: Sequence[Step], change: Change, now_ms: int
) -> tuple[int, ...]:
    """Apply every event that can be applied and put every other one on record.

    Runs are halved until the culprits stand alone: about ``2 k log2 n`` attempts for k culprits
    among n events, each in a savepoint. A culprit's followers (a payment of a hold that was
    refused) are culprits themselves. The pool of a culprit is paused.

    Returns:
        The seqs that went to quarantine, in order.

    Raises:
        Exception: whatever is not a violation; the caller's transaction must not commit then.
    """
    singles = single_events(steps)
    rows: list[dict[str, Any]] = []
    runs = [(0, len(singles))]
    while runs:
        start, end = runs.pop()
        try:
            async with connection.begin_nested():
                await change(connection, singles[start:end])
        except Exception as error:
            if not is_violation(error):
                raise
            if end - start == 1:
                rows.append(_row(singles[start], error, now_ms))
            else:
                middle = (start + end) // 2
                runs += [(middle, end), (start, middle)]
    if rows:
        await connection.execute(insert(quarantine), rows)
        await _pause(connection, {row["pool"] for row in rows}, now_ms)
    return tuple(row["seq"] for row in rows)


def _row(step: Step, error: BaseException, now_ms: int) -> dict[str, Any]:
    return {
        "shard": step.entry.shard,
        "generation": step.entry.generation,
        "seq": step.seq,
        "kind": storable(step.entry.kind),
        "pool": step.pool,
        "payload": step.payload,
        "error": storable(_reason(error))[:ERROR_LENGTH_MAX],
        "recorded_at_ms": now_ms,
        "pool_paused": False,
    }


def _reason(error: BaseException) -> str:
    if isinstance(error, MalformedEntry):
        return f"malformed: {error}"
    return str(driver_error(error))


async def _pause(connection: AsyncConnection, names: set[str], now_ms: int) -> None:
    statement = (
        update(pools)
        .where(pools.c.id.in_(sorted(names)), pools.c.state == PoolState.OPEN.value)
        .values(state=PoolState.PAUSED.value, updated_at_ms=now_ms)
    )
    await connection.execute(statement)
