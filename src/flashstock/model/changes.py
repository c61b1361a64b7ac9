"""What a run of events does to SQL, as rows to insert and rows to change (``fold`` makes them)."""

from __future__ import annotations

from dataclasses import dataclass, field

from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import GroupState, ReservationState


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
    seat_at_ms: int = field(default=0, compare=False)
    """When it last became, or ceased to be, pending or paid: what matters to a group."""


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
    seat_at_ms: int = field(default=0, compare=False)
    """As of a row to insert; 0 where the run changes nothing that matters to a group."""


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


@dataclass(frozen=True, slots=True)
class Postponement:
    """The deadlines of a pool's holds in SQL, put off. Before anything else that the run changes.

    Whatever is held (no seat), and ends after ``after_ms`` but not never.
    """

    pool: str
    after_ms: int
    by_ms: int
    holds: int
    """How many there must be."""


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
class GroupRow:
    """A group to insert. Its seats are counted from the rows of their reservations."""

    id: str
    pool: str
    rules_text: str
    deadline_ms: int
    opener: str
    """A reservation: the last one, where nobody is left."""
    opened_at_ms: int
    generation: int
    seq: int
    """The first event number of the log entry that opened it."""
    state: GroupState = GroupState.OPEN
    house: int = 0
    reason: str = ""
    settled_at_ms: int | None = None
    paid: int | None = None
    """What its paid seats must come to, where the run says."""


@dataclass(slots=True)
class GroupChange:
    """A group that is in SQL already. ``None`` keeps what is there."""

    id: str
    expected: GroupState | None = None
    """The state it must be found in; ``None``: no matter."""
    state: GroupState | None = None
    house: int | None = None
    reason: str | None = None
    opener: str | None = None
    settled_at_ms: int | None = None
    paid: int | None = None
    """What its paid seats must come to, where the run says."""


@dataclass(slots=True)
class Changes:
    """Everything one run of events does to SQL."""

    inserted: dict[str, ReservationRow] = field(default_factory=dict)
    changed: dict[str, ReservationChange] = field(default_factory=dict)
    pools: dict[str, PoolChange] = field(default_factory=dict)
    postponed: list[Postponement] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    unsold: dict[str, int] = field(default_factory=dict)
    """Reservation → when its sale was undone: nothing of its order is left to be sent."""
    seats: list[str] = field(default_factory=list)
    """Those of ``inserted`` that are seats of a group."""
    groups_opened: dict[str, GroupRow] = field(default_factory=dict)
    groups_changed: dict[str, GroupChange] = field(default_factory=dict)

    def pool(self, pool: str, at_ms: int) -> PoolChange:
        change = self.pools.get(pool)
        if change is None:
            change = self.pools[pool] = PoolChange()
        change.updated_at_ms = at_ms
        return change
