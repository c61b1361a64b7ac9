"""What the ledger's queries answer: rows as they are in SQL. Times are ms since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from flashstock.model.records import ReservationRecord
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import ReservationState


@dataclass(frozen=True, slots=True)
class StoredPool:
    id: str
    shard: int
    rules: PoolRules
    counters: PoolCounters
    oversell_allowance: int
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class StoredReservation:
    """``seq`` is the first event number of the entry that granted it, as in its receipt."""

    id: str
    shard: int
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
    payment_ref: str | None
    order_index: int
    order_no: str | None
    returned: int

    def record(self) -> ReservationRecord:
        """The record that the scripts keep of it."""
        return ReservationRecord(
            state=self.state,
            deadline_ms=self.deadline_ms,
            generation=self.generation,
            seq=self.seq,
            quantity=self.quantity,
            pool=self.pool,
            buyer=self.buyer,
            cart=self.cart,
            payment_ref=self.payment_ref or "",
            order_index=self.order_index,
            returned=self.returned,
        )


class RetainedReservation(NamedTuple):
    """What a rebuild needs of a reservation; columns of the table, read as they are.

    A row of SQLAlchemy's has these names and this order, and is not made into anything else:
    there are a million of them.
    """

    id: str
    pool: str
    buyer: str
    quantity: int
    cart: str
    state: str
    deadline_ms: int
    updated_at_ms: int
    generation: int
    seq: int
    payment_ref: str | None
    order_index: int
    returned: int


@dataclass(frozen=True, slots=True)
class PoolSums:
    """One pool's ``held`` and ``sold``, as its row says and as its reservations add up."""

    pool: str
    held: int
    sold: int
    held_by_reservations: int
    sold_by_reservations: int

    def agree(self) -> bool:
        """The invariant: the row is the sum of what it counts."""
        return (self.held, self.sold) == (self.held_by_reservations, self.sold_by_reservations)


class BuyerTotal(NamedTuple):
    """The units a buyer has in a pool, held and confirmed together, less what came back.

    As a row of the query's, like ``RetainedReservation``.
    """

    buyer: str
    units: int


@dataclass(frozen=True, slots=True)
class ShardTotals:
    """A shard's pools added up. ``oversold`` is units held, sold and locked beyond the totals."""

    shard: int
    pools: int
    total: int
    held: int
    sold: int
    locked: int
    oversold: int


@dataclass(frozen=True, slots=True)
class CursorStatus:
    """A cursor and who recovers its shard, if anyone does."""

    shard: int
    generation: int
    seq: int
    log_id: str
    opened_generation: int
    recovery_owner: str | None
    recovery_until_ms: int
    updated_at_ms: int
    alive_at_ms: int


@dataclass(frozen=True, slots=True)
class GivenBack:
    """An outage whose time ``holds`` got back. By the clock of the shard's server."""

    began_ms: int
    ended_ms: int
    """When it was given back: the deadlines are put off by the time between the two."""
    holds: int

    @property
    def by_ms(self) -> int:
        return self.ended_ms - self.began_ms


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """``pool_paused``: the pool is paused in Redis as well (in SQL it is from the first).

    ``reused_reservation_id``: nothing is paused, but the key of this reservation was used again.
    """

    id: int
    shard: int
    generation: int
    seq: int
    kind: str
    pool: str
    payload: str
    error: str
    recorded_at_ms: int
    pool_paused: bool
    resolved_at_ms: int | None
    reused_reservation_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRefund:
    """A payment that is due back; ``settled_*`` are of the one time it was given back."""

    id: int
    shard: int
    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    recorded_at_ms: int
    settled_at_ms: int | None
    settled_by: str | None = None
    settled_reference: str | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    role: str
    key_hash: str
    created_at_ms: int
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class OpenMatters:
    """What waits for a person."""

    quarantined_events: int
    refunds_due: int
    oldest_refund_at_ms: int | None
    """When the oldest of them was recorded; ``None`` where none is due."""
