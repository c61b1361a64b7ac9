"""Set aside the events that contradict SQL, apply the others, in order, within one transaction.

A hold whose reservation has long ended is set aside too, but is nobody's mistake: its key was used
again after Redis had forgotten it. The reservation stays what it is, and the pool goes on selling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.batch import Step, single_events, storable
from flashstock.ledger.failures import driver_error, is_violation
from flashstock.ledger.tables import UNSETTLED, groups, pools, quarantine, reservations
from flashstock.model.events import (
    Extended,
    GroupFailed,
    GroupsOpened,
    Held,
    MalformedEntry,
    OpenerPassed,
    Released,
    Withdrawn,
)
from flashstock.model.ids import parse_reservation_id
from flashstock.model.states import PoolState, ReservationState
from flashstock.model.subjects import subject_of

ERROR_LENGTH_MAX: Final = 1_000

_OF_A_HOLD: Final = (
    Held,
    Released,
    Withdrawn,
    Extended,
    GroupsOpened,
    GroupFailed,
    OpenerPassed,
)
"""What may be of a second hold alone, or of a group that was opened with it."""

Change = Callable[[AsyncConnection, Sequence[Step]], Awaitable[None]]
"""Writes what some steps say, or raises a violation."""


async def change_all_but_violations(
    connection: AsyncConnection, steps: Sequence[Step], change: Change, now_ms: int
) -> tuple[int, ...]:
    """Apply every event that can be applied and put every other one on record.

    Runs are halved until the culprits stand alone: about ``2 k log2 n`` attempts for k culprits
    among n events, each in a savepoint. A culprit's followers (a payment of a hold that was
    refused) are culprits themselves. The pool of a culprit is paused, unless a key was used again.

    Returns:
        The seqs that went to quarantine, in order.

    Raises:
        Exception: whatever is not a violation; the caller's transaction must not commit then.
    """
    singles = single_events(steps)
    rows: list[dict[str, Any]] = []
    reused: set[str] = set()
    paused: set[str] = set()
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
                step = singles[start]
                rows.append(_row(step, error, now_ms))
                reservation_id = await _reservation_of_reused_key(connection, step, reused)
                if reservation_id is None:
                    paused.add(step.pool)
                else:
                    rows[-1]["reused_reservation_id"] = reservation_id
                    reused.add(reservation_id)
            else:
                middle = (start + end) // 2
                runs += [(middle, end), (start, middle)]
    if rows:
        await connection.execute(insert(quarantine), rows)
    if paused:
        await _pause(connection, paused, now_ms)
    return tuple(row["seq"] for row in rows)


async def _reservation_of_reused_key(
    connection: AsyncConnection, step: Step, reused: Collection[str]
) -> str | None:
    """The reservation that is over, where this is a second hold of it or that one's unpaid end.

    Args:
        reused: what was found in this transaction already.
    """
    if not isinstance(step.event, _OF_A_HOLD):
        return None
    reservation_id = f"{step.pool}~{subject_of(step.event)}"
    if parse_reservation_id(reservation_id) is None:
        return None  # nor could a database be asked for whatever that is
    if reservation_id in reused:
        return reservation_id
    if isinstance(step.event, Held):
        statement = select(reservations.c.id).where(
            reservations.c.id == reservation_id,
            reservations.c.state != ReservationState.HELD.value,
            # Redis never forgets a record before its deadline.
            reservations.c.deadline_ms < step.event.at_ms,
        )
    elif isinstance(step.event, GroupsOpened):
        statement = select(groups.c.id).where(
            groups.c.id == reservation_id,
            text(f"NOT ({UNSETTLED})"),
            groups.c.updated_at_ms < step.event.at_ms,
        )
    else:
        statement = select(quarantine.c.id).where(
            quarantine.c.reused_reservation_id == reservation_id
        )
    found = (await connection.execute(statement)).first()
    return None if found is None else reservation_id


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
        "reused_reservation_id": None,
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
