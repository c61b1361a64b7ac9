"""Writing down how far an order is, in the transaction in which it gets there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.orders import sale_of
from flashstock.dispatch.tables import order_dispatch
from flashstock.ledger.tables import orders


async def advance(
    connection: AsyncConnection,
    order_no: str,
    at_ms: int,
    *,
    shipped: int = 0,
    returned: int = 0,
    withdrawn: int = 0,
    through_pool: int = 0,
    **noted: Any,
) -> None:
    """Count units, and note whatever else has a column. The book must be locked."""
    here = order_dispatch.c.order_no == order_no
    row = (await connection.execute(select(order_dispatch).where(here))).first()
    counts = {
        "shipped": shipped,
        "returned": returned,
        "withdrawn": withdrawn,
        "through_pool": through_pool,
    }
    values = {
        name: units + (getattr(row, name) if row is not None else 0)
        for name, units in counts.items()
    }
    values = {**values, **noted, "updated_at_ms": at_ms}
    if row is None:
        await connection.execute(insert(order_dispatch), {"order_no": order_no, **values})
    else:
        await connection.execute(update(order_dispatch).where(here).values(values))
    await _finish(connection, order_no, at_ms)


async def _finish(connection: AsyncConnection, order_no: str, at_ms: int) -> None:
    """Take an order of which nothing is left to be sent from those that are to be packed."""
    if (await sale_of(connection, order_no)).to_ship:
        return
    unfinished = (orders.c.order_no == order_no) & orders.c.finished_at_ms.is_(None)
    await connection.execute(update(orders).where(unfinished).values(finished_at_ms=at_ms))
