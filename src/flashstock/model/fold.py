"""The SQL state is the fold of the log: this is that fold, pure.

``fold`` turns a run of events of one shard into the rows to insert, the rows to change (each with
the state it must be found in) and one delta per pool. The ledger writes them; the property
tests replay whole histories through the same function.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flashstock.model import events
from flashstock.model.rules import NO_DEADLINE_MS, PoolRules, Wave
from flashstock.model.states import ReservationState


class FoldViolation(ValueError):
    """An event that contradicts an earlier one (an end after an end, a second hold)."""

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(f"seq {seq}: {message}")
        self.seq = seq


@dataclass(slots=True)
class ReservationRow:
    """A reservation to insert. Times are ms since the epoch."""

    id: str
    pool: str
    buyer: str
    quantity: int
    cart: str
    state: ReservationState
    deadline_ms: int
    created_at_ms: int
    updated_at_ms: int
    generation: int
    seq: int
    """The first event number of the log entry that granted it, as in its receipt."""
    payment_ref: str | None = None
    order_index: int = 0
    returned: int = 0


@dataclass(slots=True)
class ReservationChange:
    """A reservation that is in SQL already. ``None`` keeps what is there."""

    id: str
    expected: ReservationState
    """The state it must be found in; anything else is a violation."""
    state: ReservationState
    updated_at_ms: int
    deadline_ms: int | None = None
    payment_ref: str | None = None
    order_index: int | None = None
    returned: int | None = None
    quantity: int | None = None
    """What the run moved for it; SQL must say the same, else the sums would drift apart."""
    ended_at_ms: int | None = None
    """Where the run ends a hold: what becomes the deadline of one that had none."""
    returned_before: int | None = None
    """How many units must have come back already, where the run returns some."""


@dataclass(slots=True)
class PoolChange:
    """One pool's movement over the run: deltas, and new rules where they changed."""

    total: int = 0
    held: int = 0
    sold: int = 0
    locked: int = 0
    created_at_ms: int | None = None
    """Set where the pool is new: its row is inserted, not updated."""
    rules: PoolRules | None = None
    waves: tuple[Wave, ...] | None = None
    """Set where waves were released without a change of rules: what is still to come."""
    updated_at_ms: int = 0


@dataclass(slots=True)
class Sale:
    """A confirmation: it becomes an order with a number."""

    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    order_index: int
    confirmed_at_ms: int


@dataclass(slots=True)
class Refund:
    """A payment that could not be served."""

    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    recorded_at_ms: int


@dataclass(slots=True)
class Changes:
    """Everything one run of events does to SQL."""

    inserted: dict[str, ReservationRow] = field(default_factory=dict)
    changed: dict[str, ReservationChange] = field(default_factory=dict)
    pools: dict[str, PoolChange] = field(default_factory=dict)
    sales: list[Sale] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)

    def pool(self, pool: str, at_ms: int) -> PoolChange:
        change = self.pools.get(pool)
        if change is None:
            change = self.pools[pool] = PoolChange()
        change.updated_at_ms = at_ms
        return change


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
        case events.Confirmed():
            _fold_confirmed(changes, pool, entry, event)
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
            held = ReservationState.HELD
            reservation_id = f"{event.pool}~{event.digest}"
            row = _move(changes, entry.seq, reservation_id, held, held, event.at_ms)
            row.deadline_ms = event.deadline_ms
        case events.Returned():
            after = ReservationState.RETURNED if event.complete else ReservationState.CONFIRMED
            reservation_id = f"{event.pool}~{event.digest}"
            confirmed = ReservationState.CONFIRMED
            row = _move(changes, entry.seq, reservation_id, confirmed, after, event.at_ms)
            _return(row, entry.seq, event)
            pool.sold -= event.quantity
            if not event.restock:
                pool.total -= event.quantity
        case events.Adjusted():
            pool.total += event.total_delta
            pool.locked += event.locked_delta
        case events.WaveReleased():
            pool.locked -= event.quantity
            pool.waves = event.waves
        case events.Configured():
            _fold_configured(pool, entry, event, known)
        case events.Repaired():
            pass


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


def _fold_confirmed(
    changes: Changes, pool: PoolChange, entry: events.LogEntry, event: events.Confirmed
) -> None:
    reservation_id = f"{event.pool}~{event.digest}"
    confirmed = ReservationState.CONFIRMED
    row = _move(changes, entry.seq, reservation_id, event.before, confirmed, event.at_ms)
    _same_quantity(row, entry.seq, event.quantity)
    row.payment_ref = event.payment_ref
    row.order_index = event.order_index
    if event.before is ReservationState.HELD:
        pool.held -= event.quantity
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


def _fold_configured(
    pool: PoolChange, entry: events.LogEntry, event: events.Configured, known: bool
) -> None:
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
        return change
    if row.state is not before:
        raise FoldViolation(seq, f"{reservation_id} is {row.state}, not {before}")
    _end(row, before, after, at_ms)
    row.state = after
    row.updated_at_ms = at_ms
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
