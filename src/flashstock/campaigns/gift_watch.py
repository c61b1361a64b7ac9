"""Finding the paid orders that a gift is due for: each once, in the order they were paid."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.campaigns.records import item_of
from flashstock.campaigns.tables import (
    campaign_gift_cursors,
    campaign_gifts,
    campaign_items,
    campaigns,
)
from flashstock.campaigns.terms import gift_pool_of
from flashstock.ledger.engine import insert_if_absent, reading, writing
from flashstock.ledger.tables import cursors, journal, orders
from flashstock.model.events import Confirmed, LogEntry, decode
from flashstock.stockbook.pool_commands import shard_in_sql

ENTRIES_MAX: Final = 500
GENERATIONS_DRAINED_MAX: Final = 16


async def watch_payments(connection: AsyncConnection, pool: str) -> None:
    """From now on every payment in the pool's shard is looked at, in the caller's transaction."""
    shard = await shard_in_sql(connection, pool)
    known = select(campaign_gift_cursors.c.shard).where(campaign_gift_cursors.c.shard == shard)
    if (await connection.execute(known)).first() is not None:
        return
    found = await connection.execute(select(cursors).where(cursors.c.shard == shard))
    at = found.first()
    row = {
        "shard": shard or 0,
        "generation": at.generation if at is not None else 0,
        "seq": at.seq if at is not None else 0,
    }
    await connection.execute(insert(campaign_gift_cursors), row)


async def find_paid_orders(engine: AsyncEngine, now_ms: int) -> int:
    """Write down which new orders a gift is due for. Returns how many log entries were read.

    The cursor moves in the same transaction, so every payment is looked at once.
    """
    count = 0
    async with reading(engine) as connection:
        starts = (await connection.execute(select(campaign_gift_cursors))).all()
    for start in starts:
        async with reading(engine) as connection:
            applied = (
                await connection.execute(select(cursors).where(cursors.c.shard == start.shard))
            ).first()
            if applied is None or applied.seq <= start.seq:
                continue
            rows = await _confirmations(connection, start, applied)
            due = await _due(connection, rows, now_ms)
        full = len(rows) == ENTRIES_MAX
        generation, seq = (
            (rows[-1].generation, rows[-1].seq) if full else (applied.generation, applied.seq)
        )
        async with writing(engine) as connection:
            moved = await connection.execute(
                update(campaign_gift_cursors)
                .where(
                    campaign_gift_cursors.c.shard == start.shard,
                    campaign_gift_cursors.c.seq == start.seq,
                )
                .values(generation=generation, seq=seq)
            )
            if moved.rowcount == 1 and due:
                await connection.execute(insert_if_absent(engine, campaign_gifts), due)
        count += len(rows)
    return count


async def _confirmations(connection: AsyncConnection, start: Any, until: Any) -> list[Any]:
    # A drained entry may be of an older generation than the cursor had when it was last looked at.
    # The number decides; the generations are named so that the primary key is of use.
    first = max(0, start.generation - GENERATIONS_DRAINED_MAX)
    statement = (
        select(journal)
        .where(
            journal.c.shard == start.shard,
            journal.c.generation.in_(range(first, until.generation + 1)),
            journal.c.seq > start.seq,
            journal.c.seq <= until.seq,
            journal.c.kind == "confirmed",
        )
        .order_by(journal.c.seq)
        .limit(ENTRIES_MAX)
    )
    return list((await connection.execute(statement)).all())


async def _due(connection: AsyncConnection, rows: list[Any], now_ms: int) -> list[dict[str, Any]]:
    """The first tier for each order of an item with gifts, in order of payment."""
    items = await _items_with_gifts(connection, {row.pool for row in rows})
    due = []
    for row in rows:
        item = items.get(row.pool)
        if item is None:
            continue
        event = decode(LogEntry(row.shard, row.generation, row.seq, 1, row.kind, row.payload))
        assert isinstance(event, Confirmed), "the journal calls it confirmed"
        reservation = f"{event.pool}~{event.digest}"
        order = (
            await connection.execute(select(orders).where(orders.c.reservation_id == reservation))
        ).first()
        if order is None:  # SQL refused the sale: it went to quarantine
            continue
        first = min(item_of(item).gifts, key=lambda gift: gift.tier)
        due.append(
            {
                "order_no": order.order_no,
                "code": item.code,
                "item": item.item,
                "state": "deciding",
                "tier": first.tier,
                "pool": gift_pool_of(item.code, item.item, first.tier),
                "sku": first.sku,
                "buyer": order.buyer,
                "paid_seq": row.seq,
                "decided_at_ms": now_ms,
            }
        )
    return due


async def _items_with_gifts(connection: AsyncConnection, names: set[str]) -> dict[str, Any]:
    statement = (
        select(campaign_items)
        .join(
            campaigns,
            (campaigns.c.code == campaign_items.c.code)
            & (campaigns.c.live_revision == campaign_items.c.revision),
        )
        .where(campaign_items.c.pool.in_(names), campaign_items.c.gifts != "[]")
    )
    return {row.pool: row for row in await connection.execute(statement)}
