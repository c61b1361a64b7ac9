"""Posting a movement: the one place that changes a balance.

Commands are posted one at a time (SQLite has one writer; PostgreSQL takes an advisory lock), so the
numbers of commands are in the order of their commits: whoever has seen number n has seen all
before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.errors import (
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    UnknownLocation,
    UnknownSku,
)
from flashstock.model.ids import digest_of
from flashstock.model.stock import (
    MOVEMENT_QUANTITY_MAX,
    ON_HAND,
    POSTINGS_MAX,
    Posting,
    StockCommand,
    balance_deltas,
)
from flashstock.stockbook.tables import (
    BALANCE_COLUMNS,
    locations,
    skus,
    stock_balances,
    stock_commands,
    stock_movements,
)

_BOOK_LOCK: Final = 4_611_686_018_427_387_905
"""An arbitrary number that nobody else locks."""

Cell = tuple[str, str]
"""A SKU at a location."""


async def lock_book(connection: AsyncConnection) -> None:
    """Until the end of the transaction nobody else moves stock: what is read now stays true."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_BOOK_LOCK})"))


async def post(connection: AsyncConnection, command: StockCommand, at_ms: int) -> bool:
    """Move what the command says inside the caller's transaction: all of it, or nothing.

    Returns:
        True, or False where the same command was posted before, and nothing moves.

    Raises:
        InsufficientStock: a balance would go negative, or virtual stock beyond its allowance; the
            caller's transaction must be rolled back.
        IdempotencyMismatch: another movement has this id.
        UnknownSku, UnknownLocation: nobody has told us of it.
        InvalidRequest: there is nothing to move, or too much.
    """
    _check(command)
    await lock_book(connection)
    digest = digest_of("movement", orjson.dumps(_payload(command)).decode())
    found = await connection.execute(
        select(stock_commands.c.payload_digest).where(stock_commands.c.id == command.id)
    )
    earlier = found.scalar_one_or_none()
    if earlier is not None:
        if earlier != digest:
            raise IdempotencyMismatch("this Idempotency-Key made another movement")
        return False
    number = await _record(connection, command, digest, at_ms)
    for cell, deltas in sorted(_by_cell(command.postings).items()):
        await _move(connection, cell, deltas, number)
    return True


def _check(command: StockCommand) -> None:
    if not 0 < len(command.postings) <= POSTINGS_MAX:
        raise InvalidRequest(f"a movement has 1 to {POSTINGS_MAX} postings")
    for posting in command.postings:
        if not 0 < posting.quantity <= MOVEMENT_QUANTITY_MAX:
            raise InvalidRequest(f"a posting moves 1 to {MOVEMENT_QUANTITY_MAX} units")
        if posting.source is posting.target:
            raise InvalidRequest(f"{posting.source} to {posting.target} moves nothing")


def _payload(command: StockCommand) -> list[Any]:
    rows = [(p.sku, p.location, p.source, p.target, p.quantity) for p in command.postings]
    return [command.kind, command.reason, command.reference, rows]


async def _record(
    connection: AsyncConnection, command: StockCommand, digest: str, at_ms: int
) -> int:
    row = {
        "id": command.id,
        "payload_digest": digest,
        "kind": command.kind.value,
        "reason": command.reason,
        "reference": command.reference,
        "actor": command.actor,
        "at_ms": at_ms,
    }
    written = await connection.execute(
        insert(stock_commands).returning(stock_commands.c.number), row
    )
    number = int(written.scalar_one())
    await connection.execute(
        insert(stock_movements),
        [
            {
                "command": number,
                "sku": posting.sku,
                "location": posting.location,
                "source": posting.source.value,
                "target": posting.target.value,
                "quantity": posting.quantity,
            }
            for posting in command.postings
        ],
    )
    return number


def _by_cell(postings: Iterable[Posting]) -> dict[Cell, dict[str, int]]:
    cells: dict[Cell, dict[str, int]] = defaultdict(dict)
    for posting in postings:
        deltas = cells[posting.sku, posting.location]
        for column, delta in balance_deltas(posting).items():
            deltas[column] = deltas.get(column, 0) + delta
    return cells


async def _move(
    connection: AsyncConnection, cell: Cell, deltas: Mapping[str, int], number: int
) -> None:
    sku, location = cell
    here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
    found = await connection.execute(select(stock_balances).where(here))
    row = found.one_or_none()
    before = row._asdict() if row is not None else {}
    after = {name: before.get(name, 0) + deltas.get(name, 0) for name in BALANCE_COLUMNS}
    _refuse_shortage(cell, before, after)
    values = {**after, "changed_seq": number}
    if row is None:
        await _must_exist(connection, cell)
        values |= {"sku": sku, "location": location}
        await connection.execute(insert(stock_balances), values)
    else:
        await connection.execute(update(stock_balances).where(here).values(values))


def _refuse_shortage(cell: Cell, before: Mapping[str, Any], after: Mapping[str, int]) -> None:
    sku, location = cell
    allowance = before.get("virtual_allowance", 0)
    if after["virtual"] > allowance:
        raise InsufficientStock(
            f"{sku!r} at {location!r} may have {allowance} virtual units, not {after['virtual']}",
            sku=sku,
            location=location,
            stock_state="virtual",
            balance=before.get("virtual", 0),
        )
    short = [name for name in (*BALANCE_COLUMNS[1:], ON_HAND) if after[name] < 0]
    if short:
        balance = before.get(short[0], 0)
        raise InsufficientStock(
            f"{sku!r} at {location!r} has {balance} units {short[0].replace('_', ' ')},"
            f" {balance - after[short[0]]} would leave",
            sku=sku,
            location=location,
            stock_state=short[0],
            balance=balance,
        )


async def _must_exist(connection: AsyncConnection, cell: Cell) -> None:
    sku, location = cell
    found = await connection.execute(select(skus.c.sku).where(skus.c.sku == sku))
    if found.first() is None:
        raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
    found = await connection.execute(select(locations.c.code).where(locations.c.code == location))
    if found.first() is None:
        raise UnknownLocation(f"there is no location {location!r}", location=location)
