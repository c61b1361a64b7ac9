"""What arrives covers what was sold ahead of it first; the rest becomes available."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.model.stock import Posting, StockState
from flashstock.stockbook.posting import balances_of


@dataclass(frozen=True, slots=True)
class Arrival:
    """Units of a SKU that have come to a location, some of them damaged."""

    sku: str
    location: str
    quantity: int
    damaged: int = 0


async def arriving(
    connection: AsyncConnection, source: StockState, arrivals: Iterable[Arrival]
) -> list[Posting]:
    """The postings of what arrived. To be called under the lock.

    Sound units go to ``virtual`` as far as there is any: they are there now, and stay wherever
    they were sold or set aside. Damaged units are unsellable.
    """
    rows = list(arrivals)
    balances = await balances_of(connection, [(row.sku, row.location) for row in rows])
    ahead = {cell: row["virtual"] for cell, row in balances.items()}
    postings = []
    for row in rows:
        cell = (row.sku, row.location)
        covering = min(row.quantity, ahead.get(cell, 0))
        ahead[cell] = ahead.get(cell, 0) - covering
        shares = (
            (StockState.VIRTUAL, covering),
            (StockState.AVAILABLE, row.quantity - covering),
            (StockState.UNSELLABLE, row.damaged),
        )
        postings += [
            Posting(row.sku, row.location, source, target, quantity)
            for target, quantity in shares
            if quantity
        ]
    return postings
