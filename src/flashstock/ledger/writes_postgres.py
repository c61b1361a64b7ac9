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
from flashstock.ledger.group_writes import (
    expect_groups,
    has_groups,
    moved_groups,
    open_groups,
    possible_seats,
)
from flashstock.ledger.tables import IS_SEAT, MAY_RUN_OUT
from flashstock.ledger.writes import (
    RESERVATION_COLUMNS,
    ReservationMove,
    create_pools,
    expect_pools,
    expect_postponed,
    expect_refunds,
    expect_reservations,
    inserted_reservations,
    moved_pools,
    moved_reservations,
    order_rows,
    postponed_pools,
    refund_rows,
)
from flashstock.model.fold import Changes
from flashstock.model.group_fold import seats_moved
from flashstock.model.rules import NO_DEADLINE_MS

_ADVANCE: Final = """
WITH moved AS (
    UPDATE cursors SET
        seq = $1, log_id = $2, updated_at_ms = $3, alive_at_ms = GREATEST(alive_at_ms, $4)
    WHERE shard = $5 AND generation = $6 AND seq = $7
    RETURNING shard
)
INSERT INTO journal (shard, generation, seq, count, kind, pool, at_ms, payload)
SELECT moved.shard, entry.* FROM moved, unnest(
    $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::text[]
) AS entry
"""

_MOVE_RESERVATIONS: Final = f"""
WITH moved AS (
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
RETURNING r.id, r.cart
)
SELECT count(*), array_agg(id) FILTER (WHERE {IS_SEAT}), array_agg(cart) FILTER (WHERE {IS_SEAT})
FROM moved
"""
"""How many there were, and those of them that are seats with what names their group."""

_POSTPONE: Final = f"""
UPDATE reservations SET deadline_ms = LEAST(deadline_ms + $1, {NO_DEADLINE_MS - 1})
WHERE shard = $2 AND {MAY_RUN_OUT} AND deadline_ms > $3 AND pool = ANY($4::text[])
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
    group_buy = COALESCE(u.group_buy, p.group_buy),
    updated_at_ms = u.updated_at_ms
FROM unnest(
    $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[],
    $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[]
) AS u (
    id, total, held, sold, locked, sku, state, per_buyer_limit, hold_ms, starts_at_ms,
    ends_at_ms, durability, waves, audience, channels, deduct, group_buy, updated_at_ms
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

_MOVE_GROUPS: Final = """
UPDATE groups AS g SET
    state = COALESCE(u.state, g.state),
    pending = g.pending + u.pending,
    paid = g.paid + u.paid,
    house = COALESCE(u.house, g.house),
    reason = COALESCE(u.reason, g.reason),
    opener = COALESCE(u.opener, g.opener),
    settled_at_ms = COALESCE(u.settled_at_ms, g.settled_at_ms),
    updated_at_ms = GREATEST(u.updated_at_ms, g.updated_at_ms)
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::integer[],
    $7::integer[], $8::text[], $9::text[], $10::bigint[], $11::bigint[]
) AS u (
    id, expected, state, pending, paid, paid_after, house, reason, opener, settled_at_ms,
    updated_at_ms
)
WHERE g.id = u.id AND g.state = COALESCE(u.expected, g.state)
    AND g.paid + u.paid = COALESCE(u.paid_after, g.paid + u.paid)
"""

_FINISH_ORDERS: Final = """
UPDATE orders AS o SET finished_at_ms = u.finished_at_ms
FROM unnest($1::text[], $2::bigint[]) AS u (reservation_id, finished_at_ms)
WHERE o.reservation_id = u.reservation_id
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
        alive_at_ms = max(row.at_ms for row in rows)
        moved = (after.seq, after.log_id, now_ms, alive_at_ms)
        fence = (before.shard, before.generation, before.seq)
        found = await _run(connection, _ADVANCE, (*moved, *fence), rows)
        return found == len(rows)

    async def change(
        self,
        connection: AsyncConnection,
        shard: int,
        changes: Changes,
        order_numbers: Mapping[str, str],
    ) -> None:
        await create_pools(connection, shard, changes)
        if changes.postponed:
            found = 0
            for (after_ms, by_ms), names in postponed_pools(changes).items():
                values = (by_ms, shard, after_ms, names)
                found += (await connection.exec_driver_sql(_POSTPONE, values)).rowcount
            expect_postponed(found, changes)
        if changes.inserted:
            await driver_connection(connection).copy_records_to_table(
                "reservations",
                columns=RESERVATION_COLUMNS,
                records=inserted_reservations(shard, changes, order_numbers),
            )
        carts: dict[str, str] = {}
        if moved := moved_reservations(changes, order_numbers):
            carts = await _move_reservations(connection, moved, changes)
        if known := moved_pools(changes):
            expect_pools(await _run(connection, _MOVE_POOLS, (shard,), known), known)
        if changes.sales:
            await _run(connection, _RECORD_ORDERS, (), order_rows(changes, order_numbers))
        if changes.refunds:
            refunds = refund_rows(shard, changes)
            expect_refunds(await _run(connection, _RECORD_REFUNDS, (), refunds), refunds)
        if carts or has_groups(changes):
            seats = seats_moved(changes, carts)
            await open_groups(connection, shard, changes, seats)
            if groups := moved_groups(changes, seats):
                expect_groups(await _run(connection, _MOVE_GROUPS, (), groups), groups)
        if changes.unsold:
            await _run(connection, _FINISH_ORDERS, (), [*changes.unsold.items()])


async def _move_reservations(
    connection: AsyncConnection, moved: Sequence[ReservationMove], changes: Changes
) -> dict[str, str]:
    """Write them; those that are seats of which a group must hear, and what names their group."""
    result = await connection.exec_driver_sql(_MOVE_RESERVATIONS, tuple(zip(*moved, strict=True)))
    row: Any = result.one()
    expect_reservations(row[0], moved)
    if row[1] is None:
        return {}
    seats = set(possible_seats(changes))
    pairs = zip(row[1], row[2], strict=True)
    return {reservation_id: cart for reservation_id, cart in pairs if reservation_id in seats}


async def _run(
    connection: AsyncConnection,
    statement: str,
    values: tuple[object, ...],
    rows: Sequence[tuple[Any, ...]],
) -> int:
    """Run a statement over single values followed by one array per column; how many rows hit."""
    result = await connection.exec_driver_sql(statement, (*values, *zip(*rows, strict=True)))
    return result.rowcount
