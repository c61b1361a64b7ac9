"""The outbox between the book and the pools: what a pool has still to be told.

A command is inserted in the transaction that moves the book (into a pool), or before the book
moves (out of a pool). The commands of one pool are carried out one after the other, in the order
of their insertion; ``pool_relay`` does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import exists, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.tables import cursors, settings
from flashstock.model.ids import digest_of, shard_of_pool
from flashstock.stockbook.posting import lock_book
from flashstock.stockbook.tables import pool_commands


class PoolCommandKind(StrEnum):
    """What a pool is told."""

    CREATE = "create"
    """Come into being: empty, and paused until ``RULES`` opens it."""
    ADD = "add"
    """Take these units, which the book has set aside already."""
    RULES = "rules"
    """Sell by these rules from now on."""
    TAKE = "take"
    """Give this many units back, or as many as are available."""
    WIND_DOWN = "wind_down"
    """Close, and give back whatever is left, also what holds release later."""


class PoolCommandState(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class PoolCommand:
    """One row of the outbox.

    ``step`` counts what was already booked of it: a command that takes units back may need
    several turns. ``after_seq`` is a number of the shard's log that every event of the current step
    comes after. ``attempt`` changes only where a person asks for another one.
    """

    id: str
    pool: str
    kind: PoolCommandKind
    quantity: int
    state: PoolCommandState = PoolCommandState.PENDING
    problem: str = ""
    actor: str = ""
    created_at_ms: int = 0
    updated_at_ms: int = 0
    rules: Mapping[str, str] = field(default_factory=dict)
    locked: int = 0
    """Of the units to add, those that are withheld until their waves."""
    virtual: bool = False
    """The units were sold ahead: what comes back is withdrawn from virtual stock first."""
    early: bool = False
    """Close even though the pool's own time is not over."""
    step: int = 0
    taken: int = 0
    after_seq: int = 0
    attempt: int = 0
    blocked: bool = False
    """It can't go on before a person has looked; ``problem`` says why."""

    @property
    def digest(self) -> str:
        """What the pool's event of the current step carries, whoever calls for it."""
        return digest_of("book", self.id, str(self.step), str(self.attempt))

    def payload(self) -> str:
        """Everything that has no column."""
        return orjson.dumps({name: getattr(self, name) for name in _IN_PAYLOAD}).decode()


_IN_PAYLOAD = (
    "rules",
    "locked",
    "virtual",
    "early",
    "step",
    "taken",
    "after_seq",
    "attempt",
    "blocked",
)
_PENDING = pool_commands.c.state == PoolCommandState.PENDING.value


def command_of(row: Any) -> PoolCommand:
    """Read a row of ``pool_commands``."""
    return PoolCommand(
        id=row.id,
        pool=row.pool,
        kind=PoolCommandKind(row.kind),
        quantity=row.quantity,
        state=PoolCommandState(row.state),
        problem=row.problem,
        actor=row.actor,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        **orjson.loads(row.payload),
    )


async def enqueue(
    connection: AsyncConnection, commands: Sequence[PoolCommand], at_ms: int
) -> list[str]:
    """Put commands into the outbox, in this order, in the caller's transaction.

    A command whose id is there already is left as it is. Returns the ids that are new.
    """
    await lock_book(connection)
    added = []
    for command in commands:
        known = select(pool_commands.c.id).where(pool_commands.c.id == command.id)
        if (await connection.execute(known)).first() is not None:
            continue
        latest = select(func.max(pool_commands.c.created_at_ms)).where(
            pool_commands.c.pool == command.pool
        )
        newest_ms = (await connection.execute(latest)).scalar()
        # Strictly rising within a pool, whatever clocks say: it is the order they are done in.
        created_at_ms = at_ms if newest_ms is None else max(at_ms, int(newest_ms) + 1)
        after_seq = await _cursor_seq(connection, command.pool)
        await connection.execute(
            insert(pool_commands),
            {
                "id": command.id,
                "pool": command.pool,
                "kind": command.kind.value,
                "quantity": command.quantity,
                "payload": replace(command, after_seq=after_seq).payload(),
                "state": PoolCommandState.PENDING.value,
                "problem": "",
                "actor": command.actor,
                "created_at_ms": created_at_ms,
                "updated_at_ms": at_ms,
            },
        )
        added.append(command.id)
    return added


async def shard_in_sql(connection: AsyncConnection, pool: str) -> int | None:
    """The shard a pool lives in, by the number of shards that SQL was made for."""
    named = select(settings.c.value).where(settings.c.name == "shard_count")
    shard_count = int((await connection.execute(named)).scalar() or 0)
    return shard_of_pool(pool, shard_count) if shard_count else None


async def _cursor_seq(connection: AsyncConnection, pool: str) -> int:
    """How far the log of the pool's shard is applied: nothing asked for later is below."""
    shard = await shard_in_sql(connection, pool)
    if shard is None:
        return 0
    found = await connection.execute(select(cursors.c.seq).where(cursors.c.shard == shard))
    return int(found.scalar() or 0)


async def pending_heads(
    connection: AsyncConnection, after: tuple[int, str], limit: int
) -> list[PoolCommand]:
    """The oldest pending command of each pool, in order of age."""
    older = pool_commands.alias("older")
    key = (pool_commands.c.created_at_ms, pool_commands.c.id)
    before = exists().where(
        older.c.pool == pool_commands.c.pool,
        older.c.state == PoolCommandState.PENDING.value,
        older.c.created_at_ms < pool_commands.c.created_at_ms,
    )
    statement = (
        select(pool_commands)
        .where(_PENDING, tuple_(*key) > tuple_(*after), ~before)
        .order_by(*key)
        .limit(limit)
    )
    return [command_of(row) for row in await connection.execute(statement)]


async def pending_of(connection: AsyncConnection, pools: Sequence[str]) -> list[PoolCommand]:
    """All pending commands of these pools, in the order they will be done in."""
    statement = (
        select(pool_commands)
        .where(_PENDING, pool_commands.c.pool.in_(pools))
        .order_by(pool_commands.c.created_at_ms, pool_commands.c.id)
    )
    return [command_of(row) for row in await connection.execute(statement)]


async def pending_page(
    connection: AsyncConnection, after: tuple[int, str], limit: int
) -> list[PoolCommand]:
    """A page of everything pending, oldest first."""
    key = (pool_commands.c.created_at_ms, pool_commands.c.id)
    statement = (
        select(pool_commands)
        .where(_PENDING, tuple_(*key) > tuple_(*after))
        .order_by(*key)
        .limit(limit)
    )
    return [command_of(row) for row in await connection.execute(statement)]


async def pending_command(connection: AsyncConnection, command_id: str) -> PoolCommand | None:
    """A command as it is now, if it is still pending.

    The book is locked from here to the end of the transaction, so it stays like that.
    """
    await lock_book(connection)
    statement = select(pool_commands).where(pool_commands.c.id == command_id, _PENDING)
    row = (await connection.execute(statement)).first()
    return None if row is None else command_of(row)


async def still_at(connection: AsyncConnection, command: PoolCommand) -> PoolCommand | None:
    """The command as it is now, if nobody has gone on with it since it was read.

    As ``pending_command``, nobody will before the transaction ends.
    """
    now = await pending_command(connection, command.id)
    if now is None or (now.step, now.attempt) != (command.step, command.attempt):
        return None
    return now


async def change(
    connection: AsyncConnection, command: PoolCommand, at_ms: int, **changes: Any
) -> None:
    """Write what has become of a command that ``still_at`` returned in this transaction."""
    after = replace(command, **changes)
    values = {
        "payload": after.payload(),
        "state": after.state.value,
        "problem": after.problem,
        "updated_at_ms": at_ms,
    }
    await connection.execute(
        update(pool_commands).where(pool_commands.c.id == command.id).values(values)
    )


async def latest_rules(connection: AsyncConnection, pool: str) -> PoolCommand | None:
    """What the pool was told last to sell by."""
    statement = (
        select(pool_commands)
        .where(pool_commands.c.pool == pool, pool_commands.c.kind == PoolCommandKind.RULES.value)
        .order_by(pool_commands.c.created_at_ms.desc())
        .limit(1)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else command_of(row)


async def asked_for(connection: AsyncConnection, command_id: str) -> tuple[str, int] | None:
    """The pool and the quantity of a command, whatever became of it; ``None``: there is none."""
    columns = (pool_commands.c.pool, pool_commands.c.quantity)
    found = await connection.execute(select(*columns).where(pool_commands.c.id == command_id))
    row = found.first()
    return None if row is None else (row.pool, row.quantity)
