"""The SQL state is the fold of the log: this is that fold, pure.

``fold`` turns a run of events of one shard into the rows to insert, the rows to change (each with
the state it must be found in) and one delta per pool. The ledger writes them; the property
tests replay whole histories through the same function.
"""

from __future__ import annotations

from collections.abc import Iterable

from flashstock.model import events
from flashstock.model.changes import (
    Changes,
    FoldViolation,
    GroupChange,
    GroupRow,
    PoolChange,
    Postponement,
    Refund,
    ReservationChange,
    ReservationRow,
    Sale,
)
from flashstock.model.group_fold import fold_group, fold_new_seat, moves_a_seat
from flashstock.model.rules import NO_DEADLINE_MS
from flashstock.model.states import ReservationState

__all__ = [
    "Changes",
    "FoldViolation",
    "GroupChange",
    "GroupRow",
    "PoolChange",
    "Postponement",
    "Refund",
    "ReservationChange",
    "ReservationRow",
    "Sale",
    "fold",
]


def fold(entries: Iterable[tuple[events.LogEntry, events.Event]]) -> Changes:
    """Fold entries of one shard, in order of seq.

    Raises:
        FoldViolation: two events of the run contradict each other. Contradictions with what is
            in SQL already show up when the changes are applied.
    """
    changes = Changes()
    for entry, event in entries:
        _fold_one(changes, entry, event)
    return changes


def _fold_one(changes: Changes, entry: events.LogEntry, event: events.Event) -> None:
    known = event.pool in changes.pools
    pool = changes.pool(event.pool, event.at_ms)
    match event:
        case events.Held():
            _fold_held(changes, pool, entry, event)
        case events.Released() | events.Withdrawn():
            _fold_unpaid(changes, pool, entry, event)
        case events.Confirmed() | events.SeatPaid():
            _fold_paid(changes, pool, entry, event)
        case events.SeatsServed() | events.SeatsRefunded():
            _fold_settled(changes, pool, entry, event)
            fold_group(changes, entry, event)
        case events.RefundDue():
            changes.refunds.append(
                Refund(
                    f"{event.pool}~{event.digest}",
                    event.pool,
                    event.buyer,
                    event.quantity,
                    event.payment_ref,
                    event.at_ms,
                )
            )
        case events.Extended():
            _fold_extended(changes, entry, event)
        case events.Postponed():
            _fold_postponed(changes, entry, event)
        case events.Returned():
            after = ReservationState.RETURNED if event.complete else ReservationState.CONFIRMED
            reservation_id = f"{event.pool}~{event.digest}"
            confirmed = ReservationState.CONFIRMED
            row = _move(changes, entry.seq, reservation_id, confirmed, after, event.at_ms)
            _return(row, entry.seq, event)
            pool.sold -= event.quantity
            if not event.restock:
                pool.total -= event.quantity
        case events.Adjusted() | events.WaveReleased() | events.Configured():
            _fold_pool(pool, entry, event, known)
        case _:
            fold_group(changes, entry, event)


def _fold_held(
    changes: Changes, pool: PoolChange, entry: events.LogEntry, event: events.Held
) -> None:
    for hold in event.holds:
        reservation_id = f"{event.pool}~{hold.digest}"
        if reservation_id in changes.inserted or reservation_id in changes.changed:
            raise FoldViolation(entry.seq, f"{reservation_id} is held twice")
        changes.inserted[reservation_id] = ReservationRow(
            id=reservation_id,
            pool=event.pool,
            buyer=hold.buyer,
            quantity=hold.quantity,
            cart=hold.cart,
            state=event.state,
            deadline_ms=event.deadline_ms,
            created_at_ms=event.at_ms,
            updated_at_ms=event.at_ms,
            generation=entry.generation,
            seq=entry.seq,
        )
        if event.state is ReservationState.HELD:
            pool.held += hold.quantity
        if hold.cart:
            fold_new_seat(changes, entry.seq, changes.inserted[reservation_id])


def _fold_unpaid(
    changes: Changes,
    pool: PoolChange,
    entry: events.LogEntry,
    event: events.Released | events.Withdrawn,
) -> None:
    if isinstance(event, events.Withdrawn):
        before, parts = ReservationState.ORDERED, [(event.digest, event.quantity)]
    else:
        before, parts = ReservationState.HELD, [*event.releases]
    for digest, quantity in parts:
        reservation_id = f"{event.pool}~{digest}"
        row = _move(changes, entry.seq, reservation_id, before, event.state, event.at_ms)
        _same_quantity(row, entry.seq, quantity)
        if before is ReservationState.HELD:
            pool.held -= quantity


def _fold_paid(
    changes: Changes,
    pool: PoolChange,
    entry: events.LogEntry,
    event: events.Confirmed | events.SeatPaid,
) -> None:
    reservation_id = f"{event.pool}~{event.digest}"
    sells = isinstance(event, events.Confirmed)
    after = ReservationState.CONFIRMED if sells else ReservationState.PAID
    row = _move(changes, entry.seq, reservation_id, event.before, after, event.at_ms)
    _same_quantity(row, entry.seq, event.quantity)
    row.payment_ref = event.payment_ref
    row.order_index = event.order_index
    if event.before is ReservationState.HELD:
        pool.held -= event.quantity
    if sells:
        pool.sold += event.quantity
    changes.sales.append(
        Sale(
            reservation_id,
            event.pool,
            event.buyer,
            event.quantity,
            event.payment_ref,
            event.order_index,
            event.at_ms,
        )
    )


def _fold_settled(
    changes: Changes,
    pool: PoolChange,
    entry: events.LogEntry,
    event: events.SeatsServed | events.SeatsRefunded,
) -> None:
    """Paid seats of a group that formed are sold, those of one that failed are owed for."""
    for seat in event.seats:
        reservation_id = f"{event.pool}~{seat.digest}"
        if isinstance(seat, events.RefundedSeat):
            before, after = seat.before, ReservationState.REFUNDED
            changes.unsold[reservation_id] = event.at_ms
            owed = (seat.buyer, seat.quantity, seat.payment_ref, event.at_ms)
            changes.refunds.append(Refund(reservation_id, event.pool, *owed))
        else:
            before, after = ReservationState.PAID, ReservationState.CONFIRMED
        row = _move(changes, entry.seq, reservation_id, before, after, event.at_ms)
        _same_quantity(row, entry.seq, seat.quantity)
        sold = after is ReservationState.CONFIRMED
        pool.sold += seat.quantity * (sold - (before is ReservationState.CONFIRMED))


def _fold_extended(changes: Changes, entry: events.LogEntry, event: events.Extended) -> None:
    held = ReservationState.HELD
    row = _move(changes, entry.seq, f"{event.pool}~{event.digest}", held, held, event.at_ms)
    row.deadline_ms = event.deadline_ms


def _fold_postponed(changes: Changes, entry: events.LogEntry, event: events.Postponed) -> None:
    """Put off the deadlines of the holds that the run granted; the others are left to SQL.

    Of a hold that the run found there and changed, nobody here knows until when it was.
    """
    if any(change.startswith(f"{event.pool}~") for change in changes.changed):
        raise FoldViolation(entry.seq, f"{event.pool} is postponed amid changes of its holds")
    in_sql = event.holds
    for row in changes.inserted.values():
        is_waiting = row.pool == event.pool and row.state is ReservationState.HELD
        if is_waiting and event.began_ms < row.deadline_ms < NO_DEADLINE_MS:
            row.deadline_ms = min(row.deadline_ms + event.by_ms, NO_DEADLINE_MS - 1)
            in_sql -= 1
    changes.postponed.append(Postponement(event.pool, event.began_ms, event.by_ms, in_sql))


def _fold_pool(
    pool: PoolChange,
    entry: events.LogEntry,
    event: events.Adjusted | events.WaveReleased | events.Configured,
    known: bool,
) -> None:
    if isinstance(event, events.Adjusted):
        pool.total += event.total_delta
        pool.locked += event.locked_delta
        return
    if isinstance(event, events.WaveReleased):
        pool.locked -= event.quantity
        pool.waves = event.waves
        return
    if event.created:
        if known:
            raise FoldViolation(entry.seq, f"{event.pool} is created, but it is known already")
        pool.created_at_ms = event.at_ms
        pool.total += event.total
        pool.locked += event.locked
    pool.rules = event.rules
    pool.waves = None


def _move(
    changes: Changes,
    seq: int,
    reservation_id: str,
    before: ReservationState,
    after: ReservationState,
    at_ms: int,
) -> ReservationRow | ReservationChange:
    """Take a reservation from one state to the next, wherever the run already has it."""
    row = changes.inserted.get(reservation_id) or changes.changed.get(reservation_id)
    if row is None:
        change = ReservationChange(reservation_id, before, after, at_ms)
        changes.changed[reservation_id] = change
        _end(change, before, after, at_ms)
        if moves_a_seat(before, after):
            change.seat_at_ms = at_ms
        return change
    if row.state is not before:
        raise FoldViolation(seq, f"{reservation_id} is {row.state}, not {before}")
    _end(row, before, after, at_ms)
    row.state = after
    row.updated_at_ms = at_ms
    if moves_a_seat(before, after):
        row.seat_at_ms = at_ms
    return row


def _end(
    row: ReservationRow | ReservationChange,
    before: ReservationState,
    after: ReservationState,
    at_ms: int,
) -> None:
    """A hold without a deadline gets one when it ends: that moment."""
    if before is not ReservationState.HELD or after is ReservationState.HELD:
        return
    if isinstance(row, ReservationChange):
        row.ended_at_ms = at_ms
    elif row.deadline_ms == NO_DEADLINE_MS:
        row.deadline_ms = at_ms


def _same_quantity(row: ReservationRow | ReservationChange, seq: int, quantity: int) -> None:
    """Every event of one reservation speaks of the same units."""
    if row.quantity is None:
        row.quantity = quantity
    elif row.quantity != quantity:
        raise FoldViolation(seq, f"{row.id} is of {row.quantity} units, not of {quantity}")


def _return(row: ReservationRow | ReservationChange, seq: int, event: events.Returned) -> None:
    before = event.returned - event.quantity
    if row.returned is None and isinstance(row, ReservationChange):
        row.returned_before = before
    elif row.returned != before:
        raise FoldViolation(seq, f"{row.id} has {row.returned} units returned, not {before}")
    row.returned = event.returned
