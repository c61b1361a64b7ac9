"""The simulated SQL database: rows in dictionaries, transactions that happen whole or not at all.

What the real ledger would write comes from the product's own fold; what the real tables would
refuse (keys, CHECKs, rows that are not as expected) is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flashstock.ledger.batch import JournalRow, Step, single_events
from flashstock.ledger.cursor import Cursor
from flashstock.ledger.failures import CursorMoved, Violation, is_violation
from flashstock.ledger.group_queries import StoredGroup
from flashstock.ledger.stored import (
    CursorStatus,
    QuarantinedEvent,
    StoredPool,
    StoredRefund,
    StoredReservation,
)
from flashstock.ledger.writes import (
    OrderRow,
    ReservationMove,
    moved_reservations,
    order_rows,
    refund_rows,
)
from flashstock.model.events import MalformedEntry
from flashstock.model.fold import Changes, PoolChange, fold
from flashstock.model.group_records import SEAT_MARK
from flashstock.model.orders import order_number
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters
from flashstock.model.states import PoolState, ReservationState
from tests.simulation.sql_groups import change_groups

ORDER_SECRET = b"simulated"


@dataclass
class Tables:
    """All rows. Rows are never changed, only replaced, so a copy costs little."""

    cursors: dict[int, CursorStatus] = field(default_factory=dict)
    pools: dict[str, StoredPool] = field(default_factory=dict)
    reservations: dict[str, StoredReservation] = field(default_factory=dict)
    journal: dict[int, list[JournalRow]] = field(default_factory=dict)
    """By shard."""
    orders: dict[str, OrderRow] = field(default_factory=dict)
    """By payment reference."""
    refunds: dict[str, StoredRefund] = field(default_factory=dict)
    """By payment reference."""
    quarantine: list[QuarantinedEvent] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    groups: dict[str, StoredGroup] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    """Reservation → when nothing of its order was left to be sent."""

    def copy(self) -> Tables:
        """What a transaction works on."""
        journal = {shard: list(rows) for shard, rows in self.journal.items()}
        return Tables(
            dict(self.cursors),
            dict(self.pools),
            dict(self.reservations),
            journal,
            dict(self.orders),
            dict(self.refunds),
            list(self.quarantine),
            dict(self.settings),
            dict(self.groups),
            dict(self.finished),
        )

    def advance(self, before: Cursor, after: Cursor, steps: Sequence[Step], now_ms: int) -> None:
        """Move the cursor and keep the journal. Raises ``CursorMoved``."""
        row = self.cursors.get(before.shard)
        if row is None or (row.generation, row.seq) != (before.generation, before.seq):
            raise CursorMoved(f"shard {before.shard} is no longer at seq {before.seq}")
        rows = [step.journal_row() for step in steps]
        self.cursors[before.shard] = replace(
            row,
            seq=after.seq,
            log_id=after.log_id,
            updated_at_ms=now_ms,
            alive_at_ms=max(row.alive_at_ms, *(one.at_ms for one in rows)),
        )
        self.journal.setdefault(before.shard, []).extend(rows)

    def change(self, steps: Sequence[Step]) -> None:
        """Write what some steps say, or raise what ``is_violation`` knows."""
        readable = []
        for step in steps:
            if step.event is None:
                raise MalformedEntry(step.problem)
            readable.append((step.entry, step.event))
        shard = steps[0].entry.shard
        changes = fold(readable)
        numbers = {
            sale.reservation_id: order_number(ORDER_SECRET, shard, sale.order_index, sale.buyer)
            for sale in changes.sales
        }
        self._postpone(shard, changes)
        self._insert_reservations(shard, changes, numbers)
        for move in moved_reservations(changes, numbers):
            self._move_reservation(move)
        for name, change in changes.pools.items():
            self._move_pool(shard, name, change)
        for order in order_rows(changes, numbers):
            self._insert_order(order)
        for refund in refund_rows(shard, changes):
            self.insert_refund(StoredRefund(len(self.refunds) + 1, *refund, settled_at_ms=None))
        change_groups(self, shard, changes)

    def interrupted(self, shard: int, began_ms: int) -> list[StoredReservation]:
        """The holds that an outage which began then kept from being paid."""
        return [
            row
            for row in self.reservations.values()
            if row.shard == shard
            and row.state is ReservationState.HELD
            and began_ms < row.deadline_ms < NO_DEADLINE_MS
            and not row.cart.startswith(SEAT_MARK)
        ]

    def _postpone(self, shard: int, changes: Changes) -> None:
        for one in changes.postponed:
            rows = [row for row in self.interrupted(shard, one.after_ms) if row.pool == one.pool]
            if len(rows) != one.holds:
                raise Violation(f"{one.pool} has {len(rows)} holds to put off, not {one.holds}")
            for row in rows:
                deadline_ms = min(row.deadline_ms + one.by_ms, NO_DEADLINE_MS - 1)
                self.reservations[row.id] = replace(row, deadline_ms=deadline_ms)

    def _insert_reservations(self, shard: int, changes: Changes, numbers: dict[str, str]) -> None:
        for row in changes.inserted.values():
            if row.id in self.reservations:
                raise Violation(f"{row.id} is in SQL already")
            self.reservations[row.id] = StoredReservation(
                row.id,
                shard,
                row.pool,
                row.buyer,
                row.quantity,
                row.cart,
                row.state,
                row.deadline_ms,
                row.created_at_ms,
                row.updated_at_ms,
                row.generation,
                row.seq,
                row.payment_ref,
                row.order_index,
                numbers.get(row.id),
                row.returned,
            )

    def _move_reservation(self, move: ReservationMove) -> None:
        row = self.reservations.get(move.id)
        expected = (
            row is not None
            and row.state.value == move.expected
            and move.quantity in (None, row.quantity)
            and move.returned_before in (None, row.returned)
        )
        if row is None or not expected:
            raise Violation(f"{move.id} is not {move.expected} in SQL")
        names = ("deadline_ms", "payment_ref", "order_index", "order_no", "returned")
        given: dict[str, Any] = {
            name: value for name in names if (value := getattr(move, name)) is not None
        }
        if row.deadline_ms == NO_DEADLINE_MS and move.ended_at_ms is not None:
            given.setdefault("deadline_ms", move.ended_at_ms)
        self.reservations[move.id] = replace(
            row, state=ReservationState(move.state), updated_at_ms=move.updated_at_ms, **given
        )

    def _move_pool(self, shard: int, name: str, change: PoolChange) -> None:
        row = self.pools.get(name)
        if change.created_at_ms is not None:
            if row is not None or change.rules is None:
                raise Violation(f"pool {name} is in SQL already")
            created = change.created_at_ms
            row = StoredPool(name, shard, change.rules, PoolCounters(), 0, created, created)
        elif row is None or row.shard != shard:
            raise Violation(f"pool {name} is not in this shard")
        old = row.counters
        total = old.total + change.total
        held, sold = old.held + change.held, old.sold + change.sold
        locked = old.locked + change.locked
        if min(held, sold, locked) < 0 or held + sold + locked > total:
            raise Violation(f"pool {name}: CHECK failed: {held} + {sold} + {locked} of {total}")
        rules = row.rules if change.rules is None else change.rules
        if change.waves is not None:
            rules = replace(rules, waves=change.waves)
        counters = PoolCounters(total, total - held - sold - locked, held, sold, locked)
        self.pools[name] = replace(
            row, rules=rules, counters=counters, updated_at_ms=change.updated_at_ms
        )

    def _insert_order(self, order: OrderRow) -> None:
        taken = {row.reservation_id for row in self.orders.values()}
        if order.payment_ref in self.orders or order.reservation_id in taken:
            raise Violation(f"{order.payment_ref} or {order.reservation_id} has an order already")
        self.orders[order.payment_ref] = order

    def insert_refund(self, refund: StoredRefund) -> None:
        """Once per payment. Raises ``Violation`` where it is due back for another one."""
        first = self.refunds.setdefault(refund.payment_ref, refund)
        if first.reservation_id != refund.reservation_id:
            raise Violation(f"payment {refund.payment_ref!r} is due back for two reservations")

    def change_all_but_violations(self, steps: Sequence[Step], now_ms: int) -> Tables:
        """The tables with every event that can be applied, the others in quarantine."""
        tables = self
        for step in single_events(steps):
            attempt = tables.copy()
            try:
                attempt.change([step])
            except Exception as error:
                if not is_violation(error):
                    raise
                tables.quarantine.append(_quarantined(tables, step, error, now_ms))
                tables._pause(step.pool)
            else:
                tables = attempt
        return tables

    def _pause(self, name: str) -> None:
        row = self.pools.get(name)
        if row is not None and row.rules.state is PoolState.OPEN:
            self.pools[name] = replace(row, rules=replace(row.rules, state=PoolState.PAUSED))


def _quarantined(tables: Tables, step: Step, error: Exception, now_ms: int) -> QuarantinedEvent:
    return QuarantinedEvent(
        len(tables.quarantine) + 1,
        step.entry.shard,
        step.entry.generation,
        step.seq,
        step.entry.kind,
        step.pool,
        step.payload,
        str(error),
        now_ms,
        pool_paused=False,
        resolved_at_ms=None,
    )
