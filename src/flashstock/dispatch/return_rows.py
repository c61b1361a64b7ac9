"""The rows of returns: what is asked for, what is read, and what the journal says of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.orders import ReturnKind, ReturnState
from flashstock.dispatch.tables import order_returns
from flashstock.ledger.tables import cursors, journal, quarantine, reservations
from flashstock.model.events import LogEntry, Returned, decode


class Disposition(StrEnum):
    """What becomes of goods that came back."""

    AVAILABLE = "available"
    UNSELLABLE = "unsellable"
    INSPECT = "inspect"
    """Unsellable until somebody has looked at them."""


@dataclass(frozen=True, slots=True)
class Return:
    """Units of an order that come back, and how far that is."""

    number: int
    command_id: str
    order_no: str
    reservation_id: str
    pool: str
    quantity: int
    kind: ReturnKind
    location: str
    disposition: str
    reason: str
    state: ReturnState
    problem: str
    through_pool: bool
    after_seq: int
    actor: str
    created_at_ms: int
    updated_at_ms: int


PAGE: Final = 100
_ROWS: Final = select(*(order_returns.c[name] for name in Return.__slots__))
_RETURNED: Final[ColumnElement[str]] = literal_column("'returned'")
_PENDING: Final[ColumnElement[str]] = literal_column("'pending'")
_ADJUSTED: Final[ColumnElement[str]] = literal_column("'adjusted'")
"""Written out, all of them: only so can SQLite tell that a partial index holds every row."""


def _return_of(row: Any) -> Return:
    fields = row._asdict()
    kind, state = ReturnKind(fields.pop("kind")), ReturnState(fields.pop("state"))
    return Return(kind=kind, state=state, **fields)


async def return_of(connection: AsyncConnection, number: int) -> Return:
    """One return that is known to exist."""
    statement = _ROWS.where(order_returns.c.number == number)
    return _return_of((await connection.execute(statement)).one())


async def returns_of(connection: AsyncConnection, order_no: str) -> list[Return]:
    """All returns of an order, the oldest first."""
    statement = _ROWS.where(order_returns.c.order_no == order_no).order_by(order_returns.c.number)
    return [_return_of(row) for row in await connection.execute(statement)]


async def returns_page(
    connection: AsyncConnection, state: ReturnState | None, after: int, limit: int
) -> list[Return]:
    """Returns, the oldest first."""
    statement = _ROWS.where(order_returns.c.number > after)
    if state is ReturnState.PENDING:
        statement = statement.where(order_returns.c.state == _PENDING)
    elif state is not None:
        statement = statement.where(order_returns.c.state == state.value)
    statement = statement.order_by(order_returns.c.number).limit(limit)
    return [_return_of(row) for row in await connection.execute(statement)]


async def in_flight(connection: AsyncConnection) -> dict[str, int]:
    """Units by pool that have left it with a return, and that the book still counts as shipped."""
    flying: dict[str, int] = {}
    after = 0
    while True:
        page = await returns_page(connection, ReturnState.PENDING, after, PAGE)
        for asked in page:
            if asked.kind is ReturnKind.SHIPPED and await _has_left_pool(connection, asked):
                flying[asked.pool] = flying.get(asked.pool, 0) + asked.quantity
        if len(page) < PAGE:
            return flying
        after = page[-1].number


async def _has_left_pool(connection: AsyncConnection, asked: Return) -> bool:
    shard = select(reservations.c.shard).where(reservations.c.id == asked.reservation_id)
    found = (await connection.execute(shard)).scalar_one()
    return bool(await event_of(connection, found, asked))


async def change(connection: AsyncConnection, number: int, **values: Any) -> None:
    """Write what became of a return."""
    here = order_returns.c.number == number
    await connection.execute(update(order_returns).where(here).values(values))


async def cursor_seq(connection: AsyncConnection, shard: int) -> int:
    """How far the log of a shard is applied: whatever is decided later has a higher number."""
    found = await connection.execute(select(cursors.c.seq).where(cursors.c.shard == shard))
    return int(found.scalar() or 0)


async def event_of(connection: AsyncConnection, shard: int, asked: Return) -> bool | None:
    """Whether the pool took the units out of its sales, as SQL has it.

    Returns:
        ``None`` where the journal has no event of this return, ``False`` where SQL refused it.
    """
    statement = (
        select(journal)
        .where(
            journal.c.shard == shard,
            journal.c.seq > asked.after_seq,
            journal.c.kind.in_([_ADJUSTED, _RETURNED]),
            journal.c.pool == asked.pool,
            journal.c.payload.contains(asked.command_id, autoescape=True),
        )
        .order_by(journal.c.seq)
    )
    for row in (await connection.execute(statement)).all():
        entry = LogEntry(shard, row.generation, row.seq, 1, row.kind, row.payload)
        event = decode(entry)
        if isinstance(event, Returned) and event.command == asked.command_id:
            return not await _was_refused(connection, shard, row.generation, row.seq)
    return None


async def _was_refused(connection: AsyncConnection, shard: int, generation: int, seq: int) -> bool:
    statement = select(quarantine.c.id).where(
        quarantine.c.shard == shard,
        quarantine.c.generation == generation,
        quarantine.c.seq == seq,
    )
    return (await connection.execute(statement)).first() is not None
