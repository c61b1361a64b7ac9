"""Posting a movement: the one place that changes a balance.

Commands are posted one at a time (SQLite has one writer; PostgreSQL takes an advisory lock), so the
numbers of commands are in the order of their commits: whoever has seen number n has seen all
before it. Balances are changed by what is added to them, never set, so that even a writer who
forgot the lock could lose no unit: the CHECKs would refuse what does not add up.

Whoever writes rows of his own beside a movement takes ``lock_book`` first and then his rows, always
in this order: two who did it the other way round would wait for each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, insert, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
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
    StockState,
    balance_deltas,
    may_move,
)
from flashstock.stockbook.tables import (
    BALANCE_COLUMNS,
    locations,
    skus,
    stock_balances,
    stock_commands,
    stock_flows,
    stock_movements,
)

BOOK_TIMEOUT_MS: Final = 5_000
"""For a transaction that moves stock: it may have to wait for others that do."""
_BOOK_LOCK: Final = 4_611_686_018_427_387_905
"""An arbitrary number that nobody else locks."""

Cell = tuple[str, str]
"""A SKU at a location."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The number of a movement, and whether this call made it."""

    number: int
    moved: bool


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
        InvalidRequest: there is nothing to move, or too much, or not in this way.
    """
    return (await post_numbered(connection, command, at_ms)).moved


async def post_numbered(connection: AsyncConnection, command: StockCommand, at_ms: int) -> Posted:
    """As ``post``, and tell the movement's number."""
    _check(command)
    await lock_book(connection)
    earlier = await earlier_number(connection, command)
    if earlier is not None:
        return Posted(earlier, moved=False)
    number = await _record(connection, command, at_ms)
    await _move(connection, _by_cell(command.postings), number)
    await _add_flows(connection, command.postings)
    return Posted(number, moved=True)


async def earlier_number(connection: AsyncConnection, command: StockCommand) -> int | None:
    """The number of the movement that this command has made already, if it has.

    Its postings need not be worked out where ``asked`` says what was asked for.

    Raises:
        IdempotencyMismatch: another movement has this id.
    """
    columns = (stock_commands.c.number, stock_commands.c.payload_digest)
    found = await connection.execute(select(*columns).where(stock_commands.c.id == command.id))
    row = found.one_or_none()
    if row is None:
        return None
    if row.payload_digest != _digest(command):
        raise IdempotencyMismatch("this Idempotency-Key made another movement")
    return int(row.number)


async def balances_of(
    connection: AsyncConnection, cells: Iterable[Cell]
) -> dict[Cell, dict[str, Any]]:
    """The rows of these SKUs at these locations, where there are any.

    After ``lock_book`` they stay as they are until the transaction ends.
    """
    wanted = sorted(set(cells))
    if not wanted:
        return {}
    cell = tuple_(stock_balances.c.sku, stock_balances.c.location)
    found = await connection.execute(select(stock_balances).where(cell.in_(wanted)))
    return {(row.sku, row.location): row._asdict() for row in found}


def _check(command: StockCommand) -> None:
    if not 0 < len(command.postings) <= POSTINGS_MAX:
        raise InvalidRequest(f"a movement has 1 to {POSTINGS_MAX} postings")
    between: dict[str, int] = defaultdict(int)
    for posting in command.postings:
        if not 0 < posting.quantity <= MOVEMENT_QUANTITY_MAX:
            raise InvalidRequest(f"a posting moves 1 to {MOVEMENT_QUANTITY_MAX} units")
        if not may_move(command.kind, posting.source, posting.target):
            raise InvalidRequest(
                f"a movement of kind {command.kind} takes nothing"
                f" from {posting.source} to {posting.target}"
            )
        between[posting.sku] += posting.quantity * (
            (posting.target is StockState.TRANSFER) - (posting.source is StockState.TRANSFER)
        )
    lost = sorted(sku for sku, quantity in between.items() if quantity)
    if lost:
        raise InvalidRequest(f"{lost[0]!r} leaves one location and does not set out for another")


def _digest(command: StockCommand) -> str:
    if command.asked:
        return digest_of("asked", command.kind, command.asked)
    rows = [(p.sku, p.location, p.source, p.target, p.quantity) for p in command.postings]
    payload = [command.kind, command.reason, command.reference, rows]
    return digest_of("movement", orjson.dumps(payload).decode())


async def _record(connection: AsyncConnection, command: StockCommand, at_ms: int) -> int:
    row = {
        "id": command.id,
        "payload_digest": _digest(command),
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
    connection: AsyncConnection, cells: Mapping[Cell, Mapping[str, int]], number: int
) -> None:
    before = await balances_of(connection, cells)
    await must_exist(connection, [cell for cell in cells if cell not in before])
    changed: list[dict[str, Any]] = []
    added: list[dict[str, Any]] = []
    for cell, deltas in sorted(cells.items()):
        _refuse_shortage(cell, before.get(cell, {}), deltas)
        names = {"sku": cell[0], "location": cell[1]}
        if cell in before:
            which = {f"of_{name}": value for name, value in names.items()}
            by = {f"by_{name}": deltas.get(name, 0) for name in BALANCE_COLUMNS}
            changed.append({**which, **by, "by_number": number})
        else:
            values = {name: deltas.get(name, 0) for name in BALANCE_COLUMNS}
            added.append({**names, **values, "changed_seq": number})
    if changed:
        await connection.execute(_CHANGE, changed)
    if added:
        await connection.execute(insert(stock_balances), added)


_CHANGE: Final = (
    update(stock_balances)
    .where(
        stock_balances.c.sku == bindparam("of_sku"),
        stock_balances.c.location == bindparam("of_location"),
    )
    .values(
        {
            **{name: stock_balances.c[name] + bindparam(f"by_{name}") for name in BALANCE_COLUMNS},
            "changed_seq": bindparam("by_number"),
        }
    )
)


def _refuse_shortage(cell: Cell, before: Mapping[str, Any], deltas: Mapping[str, int]) -> None:
    sku, location = cell
    after = {name: before.get(name, 0) + deltas.get(name, 0) for name in BALANCE_COLUMNS}
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


async def must_exist(connection: AsyncConnection, cells: Sequence[Cell]) -> None:
    """Rows of balances are only made for what is known; no SKU or location ever goes away."""
    if not cells:
        return
    named = {sku for sku, _ in cells}
    found = await connection.execute(select(skus.c.sku).where(skus.c.sku.in_(sorted(named))))
    for sku in sorted(named - set(found.scalars())):
        raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
    named = {location for _, location in cells}
    found = await connection.execute(
        select(locations.c.code).where(locations.c.code.in_(sorted(named)))
    )
    for location in sorted(named - set(found.scalars())):
        raise UnknownLocation(f"there is no location {location!r}", location=location)


async def _add_flows(connection: AsyncConnection, postings: Iterable[Posting]) -> None:
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for posting in postings:
        sums[posting.location, posting.source.value, posting.target.value] += posting.quantity
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(stock_flows)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["location", "source", "target"],
            set_={"quantity": stock_flows.c.quantity + statement.excluded.quantity},
        ),
        [
            {"location": location, "source": source, "target": target, "quantity": quantity}
            for (location, source, target), quantity in sorted(sums.items())
        ],
    )
