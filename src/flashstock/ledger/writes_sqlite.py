"""SQLite: one prepared statement per table, run over all rows within one call."""

from __future__ import annotations

import json
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
UPDATE cursors SET
    seq = ?, log_id = ?, updated_at_ms = ?, alive_at_ms = MAX(alive_at_ms, ?)
WHERE shard = ? AND generation = ? AND seq = ?
"""

_RECORD_JOURNAL: Final = """
INSERT INTO journal (shard, generation, seq, count, kind, pool, at_ms, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_INSERT_RESERVATIONS: Final = f"""
INSERT INTO reservations ({", ".join(RESERVATION_COLUMNS)})
VALUES ({", ".join("?" * len(RESERVATION_COLUMNS))})
"""

_MOVE_RESERVATIONS: Final = f"""
UPDATE reservations SET
    state = ?5,
    updated_at_ms = ?6,
    deadline_ms = COALESCE(
        ?7, CASE WHEN deadline_ms = {NO_DEADLINE_MS} THEN ?12 END, deadline_ms
    ),
    payment_ref = COALESCE(?8, payment_ref),
    order_index = COALESCE(?9, order_index),
    order_no = COALESCE(?10, order_no),
    returned = COALESCE(?11, returned)
WHERE id = ?1 AND state = ?2
    AND quantity = COALESCE(?3, quantity) AND returned = COALESCE(?4, returned)
"""

_POSTPONE: Final = f"""
UPDATE reservations SET deadline_ms = MIN(deadline_ms + ?, {NO_DEADLINE_MS - 1})
WHERE shard = ? AND {MAY_RUN_OUT} AND deadline_ms > ?
    AND pool IN (SELECT value FROM json_each(?))
"""

_MOVE_POOLS: Final = """
UPDATE pools SET
    total = total + ?2,
    held = held + ?3,
    sold = sold + ?4,
    locked = locked + ?5,
    sku = COALESCE(?6, sku),
    state = COALESCE(?7, state),
    per_buyer_limit = COALESCE(?8, per_buyer_limit),
    hold_ms = COALESCE(?9, hold_ms),
    starts_at_ms = COALESCE(?10, starts_at_ms),
    ends_at_ms = COALESCE(?11, ends_at_ms),
    durability = COALESCE(?12, durability),
    waves = COALESCE(?13, waves),
    audience = COALESCE(?14, audience),
    channels = COALESCE(?15, channels),
    deduct = COALESCE(?16, deduct),
    group_buy = COALESCE(?17, group_buy),
    updated_at_ms = ?18
WHERE id = ?1 AND shard = ?19
"""

_RECORD_ORDERS: Final = """
INSERT INTO orders (
    order_no, reservation_id, pool, buyer, quantity, payment_ref, confirmed_at_ms
)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""

_RECORD_REFUNDS: Final = """
INSERT INTO refunds (shard, reservation_id, pool, buyer, quantity, payment_ref, recorded_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (payment_ref) DO UPDATE SET payment_ref = excluded.payment_ref
    WHERE refunds.reservation_id = excluded.reservation_id
"""

_CARTS_OF_SEATS: Final = f"""
SELECT id, cart FROM reservations WHERE id IN (SELECT value FROM json_each(?)) AND {IS_SEAT}
"""

_MOVE_GROUPS: Final = """
UPDATE groups SET
    state = COALESCE(?3, state),
    pending = pending + ?4,
    paid = paid + ?5,
    house = COALESCE(?7, house),
    reason = COALESCE(?8, reason),
    opener = COALESCE(?9, opener),
    settled_at_ms = COALESCE(?10, settled_at_ms),
    updated_at_ms = MAX(?11, updated_at_ms)
WHERE id = ?1 AND state = COALESCE(?2, state) AND paid + ?5 = COALESCE(?6, paid + ?5)
"""

_FINISH_ORDERS: Final = "UPDATE orders SET finished_at_ms = ?2 WHERE reservation_id = ?1"


class SqliteWrites:
    """``LedgerWrites`` on SQLite."""

    async def advance(
        self,
        connection: AsyncConnection,
        before: Cursor,
        after: Cursor,
        rows: Sequence[JournalRow],
        now_ms: int,
    ) -> bool:
        alive_at_ms = max(row.at_ms for row in rows)
        fence = (before.shard, before.generation, before.seq)
        moved = (after.seq, after.log_id, now_ms, alive_at_ms, *fence)
        if await _run(connection, _ADVANCE, [moved]) != 1:
            return False
        await _run(connection, _RECORD_JOURNAL, [(before.shard, *row) for row in rows])
        return True

    async def change(
        self,
        connection: AsyncConnection,
        shard: int,
        changes: Changes,
        order_numbers: Mapping[str, str],
    ) -> None:
        await create_pools(connection, shard, changes)
        if changes.postponed:
            put_off = [
                (by_ms, shard, after_ms, json.dumps(names))
                for (after_ms, by_ms), names in postponed_pools(changes).items()
            ]
            expect_postponed(await _run(connection, _POSTPONE, put_off), changes)
        if inserted := inserted_reservations(shard, changes, order_numbers):
            await _run(connection, _INSERT_RESERVATIONS, inserted)
        if moved := moved_reservations(changes, order_numbers):
            expect_reservations(await _run(connection, _MOVE_RESERVATIONS, moved), moved)
        carts = await _carts_of_seats(connection, possible_seats(changes))
        if known := moved_pools(changes):
            rows = [(*row, shard) for row in known]
            expect_pools(await _run(connection, _MOVE_POOLS, rows), known)
        if orders := order_rows(changes, order_numbers):
            await _run(connection, _RECORD_ORDERS, orders)
        if refunds := refund_rows(shard, changes):
            expect_refunds(await _run(connection, _RECORD_REFUNDS, refunds), refunds)
        if carts or has_groups(changes):
            seats = seats_moved(changes, carts)
            await open_groups(connection, shard, changes, seats)
            if groups := moved_groups(changes, seats):
                expect_groups(await _run(connection, _MOVE_GROUPS, groups), groups)
        if changes.unsold:
            await _run(connection, _FINISH_ORDERS, [*changes.unsold.items()])


async def _carts_of_seats(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """Those of the reservations that are seats, and what names their group."""
    if not ids:
        return {}
    found = await driver_connection(connection).execute(_CARTS_OF_SEATS, (json.dumps(ids),))
    return dict(await found.fetchall())


async def _run(connection: AsyncConnection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Run a statement once per row; how many rows of the table it hit in all.

    Straight on the driver: each layer between costs a change of threads, a fifth of a batch.
    """
    cursor = await driver_connection(connection).executemany(statement, rows)
    found: int = cursor.rowcount
    return found
