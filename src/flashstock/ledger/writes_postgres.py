"""PostgreSQL: one statement per table, whatever the number of rows: COPY and array parameters.

A batch of holds is six round trips: BEGIN, cursor with journal, COPY, pools, COMMIT, and one that
COPY takes for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.batch import JournalRow
from flashstock.ledger.cursor import Cursor
from flashstock.ledger.engine import driver_connection
from flashstock.ledger.writes import (
    RESERVATION_COLUMNS,
    create_pools,
    expect_pools,
    expect_refunds,
    expect_reservations,
    inserted_reservations,
    moved_pools,
    moved_reservations,
    order_rows,
    refund_rows,
)
from flashstock.model.fold import Changes
from flashstock.model.rules import NO_DEADLINE_MS

_ADVANCE: Final = """
WITH moved AS (
    UPDATE cursors SET seq = $1, log_id = $2, updated_at_ms = $3
    WHERE shard = $4 AND generation = $5 AND seq = $6
    RETURNING shard
)
INSERT INTO journal (shard, generation, seq, count, kind, pool, at_ms, payload)
SELECT moved.shard, entry.* FROM moved, unnest(
    $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::text[]
) AS entry
"""

_MOVE_RESERVATIONS: Final = f"""
UPDATE reservations AS r SET
    state = u.state,
    updated_at_ms = u.updated_at_ms,
    deadline_ms = COALESCE(
        u.deadline_ms,
        CASE WHEN r.deadline_ms = {NO_DEADLINE_MS} THEN u.ended_at_ms END,
        r.deadline_ms
    ),
    payment_ref = COALESCE(u.payment_ref, r.payment_ref),
    order_index = COALESCE(u.order_index, r.order_index),
    order_no = COALESCE(u.order_no, r.order_no),
    returned = COALESCE(u.returned, r.returned)
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[], $9::bigint[], $10::text[], $11::bigint[], $12::bigint[]
) AS u (
    id, expected, quantity, returned_before, state, updated_at_ms, deadline_ms,
    payment_ref, order_index, order_no, returned, ended_at_ms
)
WHERE r.id = u.id AND r.state = u.expected
    AND r.quantity = COALESCE(u.quantity, r.quantity)
    AND r.returned = COALESCE(u.returned_before, r.returned)
"""

_MOVE_POOLS: Final = """
UPDATE pools AS p SET
    total = p.total + u.total,
    held = p.held + u.held,
    sold = p.sold + u.sold,
    locked = p.locked + u.locked,
    sku = COALESCE(u.sku, p.sku),
    state = COALESCE(u.state, p.state),
    per_buyer_limit = COALESCE(u.per_buyer_limit, p.per_buyer_limit),
    hold_ms = COALESCE(u.hold_ms, p.hold_ms),
    starts_at_ms = COALESCE(u.starts_at_ms, p.starts_at_ms),
    ends_at_ms = COALESCE(u.ends_at_ms, p.ends_at_ms),
    durability = COALESCE(u.durability, p.durability),
    waves = COALESCE(u.waves, p.waves),
    audience = COALESCE(u.audience, p.audience),
    channels = COALESCE(u.channels, p.channels),
    deduct = COALESCE(u.deduct, p.deduct),
    updated_at_ms = u.updated_at_ms
FROM unnest(
    $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[],
    $15::text[], $16::text[], $17::text[], $18::bigint[]
) AS u (
    id, total, held, sold, locked, sku, state, per_buyer_limit, hold_ms, starts_at_ms,
    ends_at_ms, durability, waves, audience, channels, deduct, updated_at_ms
)
WHERE p.id = u.id AND p.shard = $1
"""

_RECORD_ORDERS: Final = """
INSERT INTO orders (
    order_no, reservation_id, pool, buyer, quantity, payment_ref, confirmed_at_ms
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[]
)
"""

_RECORD_REFUNDS: Final = """
INSERT INTO refunds AS known (
    shard, reservation_id, pool, buyer, quantity, payment_ref, recorded_at_ms
)
SELECT * FROM unnest(
    $1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[]
)
ON CONFLICT (payment_ref) DO UPDATE SET payment_ref = excluded.payment_ref
    WHERE known.reservation_id = excluded.reservation_id
"""


class PostgresWrites:
    """``LedgerWrites`` on PostgreSQL."""

    async def advance(
        self,
        connection: AsyncConnection,
        before: Cursor,
        after: Cursor,
        rows: Sequence[JournalRow],
        now_ms: int,
    ) -> bool:
        fence = (before.shard, before.generation, before.seq)
        found = await _run(connection, _ADVANCE, (after.seq, after.log_id, now_ms, *fence), rows)
        return found == len(rows)

    async def change(
        self,
        connection: AsyncConnection,
        shard: int,
        changes: Changes,
        order_numbers: Mapping[str, str],
    ) -> None:
        await create_pools(connection, shard, changes)
        if changes.inserted:
            await driver_connection(connection).copy_records_to_table(
                "reservations",
                columns=RESERVATION_COLUMNS,
                records=inserted_reservations(shard, changes, order_numbers),
            )
        if moved := moved_reservations(changes, order_numbers):
            expect_reservations(await _run(connection, _MOVE_RESERVATIONS, (), moved), moved)
        if known := moved_pools(changes):
            expect_pools(await _run(connection, _MOVE_POOLS, (shard,), known), known)
        if changes.sales:
            await _run(connection, _RECORD_ORDERS, (), order_rows(changes, order_numbers))
        if changes.refunds:
            refunds = refund_rows(shard, changes)
            expect_refunds(await _run(connection, _RECORD_REFUNDS, (), refunds), refunds)


async def _run(
    connection: AsyncConnection,
    statement: str,
    values: tuple[object, ...],
    rows: Sequence[tuple[Any, ...]],
) -> int:
    """Run a statement over single values followed by one array per column; how many rows hit."""
    result = await connection.exec_driver_sql(statement, (*values, *zip(*rows, strict=True)))
    return result.rowcount
