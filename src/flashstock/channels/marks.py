"""Marks: SKUs that are to be published again although no unit of them moved.

Movements are numbered in the order of their commits. A mark stands between two of them, so a shop
that follows one cursor misses neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.channels.tables import publication_marks
from flashstock.stockbook.posting import lock_book
from flashstock.stockbook.tables import stock_commands

EVERYTHING: Final = ""
"""Marked when what changed concerns every SKU."""


async def mark(connection: AsyncConnection, skus: Iterable[str], at_ms: int) -> None:
    """Have every shop look again at these SKUs, or at ``EVERYTHING``.

    To be called in the transaction that changes a policy, a weight or a safety stock. It locks the
    book until the end of the transaction, so marks and movements have one order.
    """
    await lock_book(connection)
    stock_seq = await _number(connection, select(func.max(stock_commands.c.number)))
    number = await _number(connection, select(func.max(publication_marks.c.number)))
    for sku in skus:
        number += 1
        values = {"stock_seq": stock_seq, "number": number, "at_ms": at_ms}
        change = update(publication_marks).where(publication_marks.c.sku == sku).values(values)
        if (await connection.execute(change)).rowcount == 0:
            await connection.execute(insert(publication_marks), {"sku": sku, **values})


async def _number(connection: AsyncConnection, statement: Any) -> int:
    return int((await connection.execute(statement)).scalar() or 0)
