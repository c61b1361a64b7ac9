"""Which states an order draws on, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.errors import InsufficientStock
from flashstock.ledger.tables import settings
from flashstock.model.stock import DRAWABLE, Posting, StockState
from flashstock.stockbook.posting import balances_of, lock_book

_SETTING: Final = "stock_draw_order"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Units of a SKU that an order takes at a location."""

    sku: str
    location: str
    quantity: int


async def draw_order(connection: AsyncConnection) -> tuple[StockState, ...]:
    """The states that orders draw on, first to last."""
    statement = select(settings.c.value).where(settings.c.name == _SETTING)
    value = await connection.scalar(statement)
    return tuple(StockState(name) for name in value.split(",")) if value else DRAWABLE


async def put_draw_order(connection: AsyncConnection, states: Sequence[StockState]) -> None:
    """From now on draw on these states only, in this order."""
    await lock_book(connection)
    row = {"name": _SETTING, "value": ",".join(states)}
    changed = await connection.execute(
        update(settings).where(settings.c.name == _SETTING).values(row)
    )
    if not changed.rowcount:
        await connection.execute(insert(settings), row)


async def drawing(
    connection: AsyncConnection, wanted: Iterable[Wanted], target: StockState
) -> list[Posting]:
    """The postings that take what is wanted, state by state. To be called under the lock.

    Virtual stock is what the allowance still has: units that nobody has counted in yet.

    Raises:
        InsufficientStock: all these states together have too little; ``balance`` says how much.
    """
    rows = list(wanted)
    order = await draw_order(connection)
    balances = await balances_of(connection, [(row.sku, row.location) for row in rows])
    left: dict[tuple[str, str, StockState], int] = {}
    for (sku, location), balance in balances.items():
        for state in order:
            ahead = balance["virtual_allowance"] - balance["virtual"]
            units = ahead if state is StockState.VIRTUAL else balance[state.value]
            left[sku, location, state] = units
    postings = []
    for row in rows:
        missing = row.quantity
        for state in order:
            key = (row.sku, row.location, state)
            taken = min(missing, left.get(key, 0))
            if taken:
                left[key] -= taken
                missing -= taken
                postings.append(Posting(row.sku, row.location, state, target, taken))
        if missing:
            there = row.quantity - missing
            raise InsufficientStock(
                f"{row.sku!r} at {row.location!r} has {there} units to draw on, not {row.quantity}",
                sku=row.sku,
                location=row.location,
                stock_state=order[0].value,
                balance=there,
            )
    return postings
