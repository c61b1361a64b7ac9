"""Moving units between the book and a pool: the book's half of each journey.

Into a pool the book moves first, and the command that tells the pool stands in the outbox in the
same transaction. Out of a pool the command comes first; the book moves when the pool's event is in
SQL (``book_taken``). So a unit is never in two places; while it is in neither, it is visible as in
flight.

One unit of a bundle takes ``per_unit`` units of each component. Whole bundles are taken from one
location as far as they go; only what is left over is put together from several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.errors import InsufficientStock, InvalidRequest, PoolExists
from flashstock.ledger.tables import pools
from flashstock.model.rules import POOL_QUANTITY_MAX
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.pool_commands import PoolCommand, PoolCommandKind, enqueue
from flashstock.stockbook.posting import balances_of, lock_book, post
from flashstock.stockbook.tables import allocations, locations, stock_balances

NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Allotment:
    """``quantity`` units of a SKU at one location, set aside for one pool."""

    sku: str
    location: str
    per_unit: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Units of one pool to set aside.

    Args:
        needs: how many units of which SKU one unit of the pool takes.
        places: where from, in this order; empty: everywhere, by the priority of locations.
        virtual: sold ahead: taken from what virtual stock is allowed, not from what is there. What
            of it nobody may sell yet is taken first, then what is available.
        locked: of the units, those that the pool withholds until their waves.
    """

    pool: str
    units: int
    needs: Mapping[str, int]
    places: tuple[str, ...] = ()
    virtual: bool = False
    locked: int = 0


async def allocate(
    connection: AsyncConnection,
    command_id: str,
    wish: Wish,
    at_ms: int,
    *,
    actor: str = "",
    reference: str = "",
) -> bool:
    """Set units aside for a pool and put the command that tells the pool into the outbox.

    All in the caller's transaction, which must be rolled back where this raises. The pool must
    have been created, or its creation must be in the outbox before.

    Returns:
        False where the same command was done before; nothing moves.

    Raises:
        InsufficientStock: the places do not have it all; a bundle is all or nothing.
        InvalidRequest: there is nothing to set aside, or more than a pool may hold.
        PoolExists: the pool has units that did not come from the book.
        UnknownSku, UnknownLocation: nobody has told us of it.
    """
    if not 0 < wish.units <= POOL_QUANTITY_MAX or not 0 <= wish.locked <= wish.units:
        raise InvalidRequest(f"a pool takes 1 to {POOL_QUANTITY_MAX} units")
    await lock_book(connection)
    command = PoolCommand(
        command_id,
        wish.pool,
        PoolCommandKind.ADD,
        wish.units,
        actor=actor,
        locked=wish.locked,
        virtual=wish.virtual,
    )
    if not await enqueue(connection, [command], at_ms):
        return False
    await _refuse_foreign_units(connection, wish)
    parts = await plan(connection, wish)
    ahead = await _not_granted(connection, parts) if wish.virtual else {}
    postings = tuple(
        Posting(part.sku, part.location, source, StockState.CAMPAIGN, units)
        for part in parts
        for source, units in _sources(part, ahead.get((part.sku, part.location), 0))
        if units
    )
    movement = StockCommand(
        command_id, MovementKind.ALLOCATE, postings, f"for pool {wish.pool}", reference, actor
    )
    await post(connection, movement, at_ms)
    for part in parts:
        await _add(connection, wish.pool, part)
    return True


async def plan(connection: AsyncConnection, wish: Wish) -> list[Allotment]:
    """Where the units would come from. Raises ``InsufficientStock`` where they can't all."""
    free = await _free(connection, wish)
    places = list(wish.places) or await _by_priority(connection)
    taken: dict[tuple[str, str], int] = {}
    whole_left = wish.units
    for place in places:
        whole = min(free.get((sku, place), 0) // per_unit for sku, per_unit in wish.needs.items())
        whole = min(whole, whole_left)
        whole_left -= whole
        for sku, per_unit in wish.needs.items():
            taken[sku, place] = whole * per_unit
    for sku, per_unit in wish.needs.items():
        wanted = whole_left * per_unit
        for place in places:
            more = min(wanted, max(0, free.get((sku, place), 0) - taken[sku, place]))
            taken[sku, place] += more
            wanted -= more
        if wanted:
            there = wish.units * per_unit - wanted
            raise InsufficientStock(
                f"{wish.units * per_unit} units of {sku!r} are to be set aside,"
                f" {there} are {'allowed' if wish.virtual else 'available'} at these locations",
                sku=sku,
                stock_state="virtual" if wish.virtual else "available",
                balance=there,
            )
    return [
        Allotment(sku, place, wish.needs[sku], quantity)
        for (sku, place), quantity in taken.items()
        if quantity
    ]


async def _free(connection: AsyncConnection, wish: Wish) -> dict[tuple[str, str], int]:
    statement = select(stock_balances).where(stock_balances.c.sku.in_(list(wish.needs)))
    if wish.places:
        statement = statement.where(stock_balances.c.location.in_(wish.places))
    free = {}
    for row in await connection.execute(statement):
        ahead = row.virtual_allowance - row.virtual + min(row.available, row.virtual)
        free[row.sku, row.location] = ahead if wish.virtual else row.available
    return free


async def _not_granted(
    connection: AsyncConnection, parts: Sequence[Allotment]
) -> dict[tuple[str, str], int]:
    """Of virtual stock that is allowed, what is not for sale yet."""
    rows = await balances_of(connection, [(part.sku, part.location) for part in parts])
    return {cell: row["virtual_allowance"] - row["virtual"] for cell, row in rows.items()}


def _sources(part: Allotment, ahead: int) -> Sequence[tuple[StockState, int]]:
    granted_now = min(part.quantity, ahead)
    available = part.quantity - granted_now
    return (StockState.VIRTUAL, granted_now), (StockState.AVAILABLE, available)


async def _by_priority(connection: AsyncConnection) -> list[str]:
    statement = select(locations.c.code).order_by(locations.c.priority, locations.c.code)
    return list((await connection.execute(statement)).scalars())


async def _refuse_foreign_units(connection: AsyncConnection, wish: Wish) -> None:
    """A pool has all its units from the book, or none: else nobody could tell what it owes."""
    kept = select(allocations.c.sku, allocations.c.per_unit).where(allocations.c.pool == wish.pool)
    known = {row.sku: row.per_unit for row in await connection.execute(kept)}
    if known:
        if known != dict(wish.needs):
            raise PoolExists(f"pool {wish.pool!r} is made of other units: {known}", pool=wish.pool)
        return
    total = select(pools.c.total).where(pools.c.id == wish.pool)
    if (await connection.execute(total)).scalar():
        raise PoolExists(f"pool {wish.pool!r} has units that the book does not know of")


async def _add(connection: AsyncConnection, pool: str, part: Allotment) -> None:
    here = _row_of(pool, part.sku, part.location)
    grown = await connection.execute(
        update(allocations).where(here).values(quantity=allocations.c.quantity + part.quantity)
    )
    if grown.rowcount == 0:
        row = {
            "pool": pool,
            "sku": part.sku,
            "location": part.location,
            "per_unit": part.per_unit,
            "quantity": part.quantity,
        }
        await connection.execute(insert(allocations), row)


def _row_of(pool: str, sku: str, location: str) -> Any:
    columns = allocations.c
    return (columns.pool == pool) & (columns.sku == sku) & (columns.location == location)


async def book_taken(
    connection: AsyncConnection,
    movement_id: str,
    pool: str,
    units: int,
    at_ms: int,
    *,
    virtual: bool = False,
    actor: str = "",
) -> None:
    """The pool has given units up, and SQL knows it: they are available again.

    They go back where most of the pool's units still are, so that what was sold stays spread as
    little as possible. To be called once for each step of a command (``still_at`` sees to it).

    Args:
        virtual: they were sold ahead. What no goods have come for yet is withdrawn from virtual
            stock; only the rest is available.
    """
    await lock_book(connection)
    rows = await connection.execute(
        select(allocations)
        .where(allocations.c.pool == pool)
        .order_by(allocations.c.quantity.desc(), allocations.c.location)
    )
    left: dict[str, int] = {}
    postings: list[Posting] = []
    shrunk: list[Allotment] = []
    for row in rows.all():
        wanted = left.setdefault(row.sku, row.per_unit * units)
        quantity = min(wanted, row.quantity)
        if not quantity:
            continue
        left[row.sku] = wanted - quantity
        shrunk.append(Allotment(row.sku, row.location, row.per_unit, quantity))
        ahead = await _virtual_at(connection, row.sku, row.location) if virtual else 0
        for target, part in (
            (StockState.VIRTUAL, min(quantity, ahead)),
            (StockState.AVAILABLE, quantity - min(quantity, ahead)),
        ):
            if part:
                source = StockState.CAMPAIGN
                postings.append(Posting(row.sku, row.location, source, target, part))
    if not left or any(left.values()):
        raise InsufficientStock(f"{units} units of pool {pool!r} are not all in the book: {left}")
    reason = f"from pool {pool}"
    movement = StockCommand(
        movement_id, MovementKind.DEALLOCATE, tuple(postings), reason, actor=actor
    )
    await post(connection, movement, at_ms)
    for part in shrunk:
        await connection.execute(
            update(allocations)
            .where(_row_of(pool, part.sku, part.location))
            .values(quantity=allocations.c.quantity - part.quantity)
        )


async def _virtual_at(connection: AsyncConnection, sku: str, location: str) -> int:
    columns = stock_balances.c
    found = await connection.execute(
        select(columns.virtual).where(columns.sku == sku, columns.location == location)
    )
    return int(found.scalar() or 0)


async def take_back(
    connection: AsyncConnection,
    command_id: str,
    pool: str,
    units: int,
    at_ms: int,
    *,
    virtual: bool = False,
    actor: str = "",
) -> bool:
    """Ask a pool for units: as many as are available then, never what buyers hold.

    Returns:
        False where the same command was given before.
    """
    if not 0 < units <= POOL_QUANTITY_MAX:
        raise InvalidRequest("there is nothing to take back")
    command = PoolCommand(
        command_id, pool, PoolCommandKind.TAKE, units, actor=actor, virtual=virtual
    )
    return bool(await enqueue(connection, [command], at_ms))


async def wind_down(
    connection: AsyncConnection,
    command_id: str,
    pool: str,
    at_ms: int,
    *,
    early: bool = False,
    virtual: bool = False,
    actor: str = "",
) -> bool:
    """Close a pool and take back all that is left, also what its holds release later.

    Args:
        early: close it now; else when its own time is over, by the clock that decides sales.

    Returns:
        False where the same command was given before.
    """
    kind = PoolCommandKind.WIND_DOWN
    command = PoolCommand(command_id, pool, kind, 0, actor=actor, virtual=virtual, early=early)
    return bool(await enqueue(connection, [command], at_ms))


async def create_pool(
    connection: AsyncConnection,
    command_id: str,
    pool: str,
    rules: Mapping[str, str],
    at_ms: int,
    *,
    actor: str = "",
) -> bool:
    """Have a pool made: empty and paused, until it is told its rules (``set_rules``)."""
    kind = PoolCommandKind.CREATE
    command = PoolCommand(command_id, pool, kind, 0, actor=actor, rules=dict(rules))
    return bool(await enqueue(connection, [command], at_ms))


async def set_rules(
    connection: AsyncConnection,
    command_id: str,
    pool: str,
    rules: Mapping[str, str],
    at_ms: int,
    *,
    actor: str = "",
) -> bool:
    """Have a pool sell by these rules from now on; those that are not named stay.

    With ``waves`` named, the units of the waves that are still to come are locked with them, and
    all others are released.
    """
    kind = PoolCommandKind.RULES
    command = PoolCommand(command_id, pool, kind, 0, actor=actor, rules=dict(rules))
    return bool(await enqueue(connection, [command], at_ms))


async def allocated_units(connection: AsyncConnection, pool: str) -> int:
    """How many units of the pool the book accounts for: still there, or shipped."""
    columns = allocations.c
    statement = (
        select(func.sum(columns.quantity + columns.shipped), columns.per_unit)
        .where(columns.pool == pool)
        .group_by(columns.sku, columns.per_unit)
    )
    rows: Sequence[Any] = (await connection.execute(statement)).all()
    return min((int(total) // per_unit for total, per_unit in rows), default=0)
