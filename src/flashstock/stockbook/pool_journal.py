"""What SQL knows of a pool's side of a command: whether its event has come back through the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.tables import cursors, journal, quarantine
from flashstock.model.events import Adjusted, LogEntry, decode

_KINDS: Final[list[ColumnElement[str]]] = [
    literal_column("'adjusted'"),
    literal_column("'returned'"),
]
"""Written out as the partial index has them: SQLite uses it only for a condition it can read."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a shard's log is in SQL."""

    generation: int
    seq: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A pool's event that SQL has. ``refused``: it contradicted SQL and does not count."""

    seq: int
    total_delta: int
    locked_delta: int
    refused: bool


async def position(connection: AsyncConnection, shard: int) -> Position:
    """How far the shard is applied."""
    statement = select(cursors.c.generation, cursors.c.seq).where(cursors.c.shard == shard)
    row = (await connection.execute(statement)).first()
    return Position(0, 0) if row is None else Position(row.generation, row.seq)


async def trace_of(
    connection: AsyncConnection, shard: int, pool: str, digest: str, after_seq: int
) -> Trace | None:
    """The adjustment of this digest, if SQL has it; looked for above ``after_seq``.

    The record that Redis keeps of a command is forgotten after a day; the journal never forgets.
    """
    statement = (
        select(journal)
        .where(
            journal.c.shard == shard,
            journal.c.seq > after_seq,
            journal.c.kind.in_(_KINDS),
            journal.c.pool == pool,
            journal.c.payload.contains(digest, autoescape=True),
        )
        .order_by(journal.c.seq)
    )
    for row in (await connection.execute(statement)).all():
        entry = LogEntry(shard, row.generation, row.seq, 1, row.kind, row.payload)
        event = decode(entry)
        if isinstance(event, Adjusted) and event.command == digest:
            found = await connection.execute(
                select(quarantine.c.id).where(
                    quarantine.c.shard == shard,
                    quarantine.c.generation == row.generation,
                    quarantine.c.seq == row.seq,
                )
            )
            refused = found.first() is not None
            return Trace(row.seq, event.total_delta, event.locked_delta, refused)
    return None
