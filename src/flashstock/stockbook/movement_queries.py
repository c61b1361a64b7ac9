"""Reading movements, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.model.stock import MovementKind, Posting, StockState
from flashstock.stockbook.stored import REVERSAL, StoredMovement
from flashstock.stockbook.tables import stock_commands, stock_movements


@dataclass(frozen=True, slots=True)
class MovementFilter:
    """Which movements: those that have all of what is named."""

    sku: str | None = None
    location: str | None = None
    kind: MovementKind | None = None
    reference: str | None = None


async def movement_page(
    connection: AsyncConnection, which: MovementFilter, after: int, limit: int, *, newest: bool
) -> list[StoredMovement]:
    """Movements by number, from ``after`` on; ``newest`` first begins at the end, with 0."""
    found = await connection.execute(_numbers(which, after, newest).limit(limit))
    return await movements_by_number(connection, list(found.scalars()))


async def movements_by_number(
    connection: AsyncConnection, numbers: Sequence[int]
) -> list[StoredMovement]:
    """The movements of these numbers, in the same order; numbers of none are left out."""
    if not numbers:
        return []
    commands = await connection.execute(
        select(stock_commands).where(stock_commands.c.number.in_(numbers))
    )
    rows = {row.number: row for row in commands}
    postings: dict[int, list[Posting]] = defaultdict(list)
    lines = (
        select(stock_movements)
        .where(stock_movements.c.command.in_(numbers))
        .order_by(stock_movements.c.number)
    )
    for line in await connection.execute(lines):
        source, target = StockState(line.source), StockState(line.target)
        posting = Posting(line.sku, line.location, source, target, line.quantity)
        postings[line.command].append(posting)
    reversals = await connection.execute(
        select(stock_commands.c.id, stock_commands.c.number).where(
            stock_commands.c.id.in_([f"{REVERSAL}{number}" for number in numbers])
        )
    )
    reversed_by = {row.id: row.number for row in reversals}
    return [
        _stored(rows[number], postings[number], reversed_by.get(f"{REVERSAL}{number}"))
        for number in numbers
        if number in rows
    ]


def _stored(row: Any, lines: Sequence[Posting], reversed_by: int | None) -> StoredMovement:
    return StoredMovement(
        number=row.number,
        id=row.id,
        kind=MovementKind(row.kind),
        reason=row.reason,
        reference=row.reference,
        actor=row.actor,
        at_ms=row.at_ms,
        lines=tuple(lines),
        reversed_by=reversed_by,
    )


def _numbers(which: MovementFilter, after: int, newest: bool) -> Select[Any]:
    """Numbers in order, read from the index of whatever names fewest movements."""
    by_document = which.reference is not None or (which.sku is None and which.location is None)
    number = stock_commands.c.number if by_document else stock_movements.c.command
    statement = select(number).distinct() if not by_document else select(number)
    if after:
        statement = statement.where(number < after if newest else number > after)
    of_command = _of_command(which)
    of_line = _of_line(which)
    if by_document:
        statement = statement.where(*of_command)
        if of_line:
            has = exists().where(stock_movements.c.command == number, *of_line)
            statement = statement.where(has)
    else:
        statement = statement.where(*of_line)
        if of_command:
            is_of = exists().where(stock_commands.c.number == number, *of_command)
            statement = statement.where(is_of)
    return statement.order_by(number.desc() if newest else number)


def _of_command(which: MovementFilter) -> list[ColumnElement[bool]]:
    wanted = []
    if which.kind is not None:
        wanted.append(stock_commands.c.kind == which.kind.value)
    if which.reference is not None:
        wanted.append(stock_commands.c.reference == which.reference)
    return wanted


def _of_line(which: MovementFilter) -> list[ColumnElement[bool]]:
    wanted = []
    if which.sku is not None:
        wanted.append(stock_movements.c.sku == which.sku)
    if which.location is not None:
        wanted.append(stock_movements.c.location == which.location)
    return wanted
