"""What can be decided, by scripts but for one: a type for each kind of log entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import FailReason, ReservationState


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a shard's log. Its events are ``seq … seq + count - 1``."""

    shard: int
    generation: int
    seq: int
    count: int
    kind: str
    payload: str
    stream_id: str = ""
    patient: bool = False
    """Nobody waits for its commit."""
    continues: bool = False
    """It was decided in one step with the entry before, and is committed with it."""

    @property
    def last_seq(self) -> int:
        return self.seq + self.count - 1


class Hold(NamedTuple):
    """One granted hold of a batch."""

    digest: str
    buyer: str
    quantity: int
    cart: str


class Release(NamedTuple):
    """One reservation that gave its units back before it was paid."""

    digest: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Held:
    pool: str
    at_ms: int
    deadline_ms: int
    holds: tuple[Hold, ...]
    state: ReservationState = ReservationState.HELD
    """Or ordered: they take no units before they are paid."""


@dataclass(frozen=True, slots=True)
class Released:
    """Holds that ended unpaid: ``state`` is cancelled, expired or revoked."""

    pool: str
    at_ms: int
    state: ReservationState
    releases: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An ordered reservation ended unpaid: ``state`` is cancelled or revoked, or expired where it
    was a seat. No units move."""

    pool: str
    at_ms: int
    digest: str
    quantity: int
    state: ReservationState


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A payment made a sale. ``before`` is held, or ordered or expired where it found stock."""

    pool: str
    at_ms: int
    digest: str
    before: ReservationState
    quantity: int
    buyer: str
    payment_ref: str
    order_index: int


@dataclass(frozen=True, slots=True)
class RefundDue:
    """A payment reached a reservation that had ended, and there was no stock to serve it."""

    pool: str
    at_ms: int
    digest: str
    quantity: int
    buyer: str
    payment_ref: str


@dataclass(frozen=True, slots=True)
class Extended:
    pool: str
    at_ms: int
    digest: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Postponed:
    """The pool's holds get back the time of an outage, from ``began_ms`` to ``at_ms``.

    Those whose deadline was still to come when it began, ``holds`` of them; the endless have no
    deadline, and seats end with their group. No script decides this: a recovery does, in SQL.
    """

    pool: str
    at_ms: int
    began_ms: int
    holds: int

    @property
    def by_ms(self) -> int:
        return self.at_ms - self.began_ms


@dataclass(frozen=True, slots=True)
class Returned:
    """``quantity`` units of a sale came back; ``returned`` is how many have in all.

    They can be sold again, or left the pool where ``restock`` is false. ``command`` and
    ``requested`` are what a repetition of the call is recognised by.
    """

    pool: str
    at_ms: int
    digest: str
    quantity: int
    returned: int
    complete: bool
    command: str
    requested: int
    restock: bool = True


@dataclass(frozen=True, slots=True)
class Adjusted:
    pool: str
    at_ms: int
    total_delta: int
    locked_delta: int
    command: str


@dataclass(frozen=True, slots=True)
class WaveReleased:
    pool: str
    at_ms: int
    quantity: int
    waves: tuple[Wave, ...]
    """What is still to come."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The rules of a pool from now on. ``created`` carries the first stock of a new pool.

    ``reason`` is why, where someone said.
    """

    pool: str
    at_ms: int
    rules: PoolRules
    created: bool
    total: int
    locked: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Redis was brought back to what SQL says; SQL itself does not change."""

    pool: str
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class GroupsOpened:
    """Groups of one pool that were opened together. The openers' seats are granted next."""

    pool: str
    at_ms: int
    deadline_ms: int
    rules_text: str
    groups: tuple[str, ...]
    """Their digests, which are those of the openers' reservations."""


@dataclass(frozen=True, slots=True)
class SeatPaid:
    """A seat was paid whose units are taken when its group forms: ``before → paid``."""

    pool: str
    at_ms: int
    digest: str
    before: ReservationState
    quantity: int
    buyer: str
    payment_ref: str
    order_index: int


@dataclass(frozen=True, slots=True)
class SeatsServed:
    """Paid seats of a group that forms are sold, in the step that forms it: ``paid → confirmed``,
    and their units leave what is available.
    """

    pool: str
    at_ms: int
    group: str
    seats: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class GroupFormed:
    pool: str
    at_ms: int
    group: str
    paid: int
    house: int
    """Seats that the house completed."""


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """From here on nobody gets in; its seats are given back in the events that follow."""

    pool: str
    at_ms: int
    group: str
    reason: FailReason
    paid: int
    """Seats that were paid, and are to be refunded."""


class RefundedSeat(NamedTuple):
    """One paid seat that was given back. ``before`` is confirmed (its units return) or paid."""

    digest: str
    before: ReservationState
    quantity: int
    buyer: str
    payment_ref: str


@dataclass(frozen=True, slots=True)
class SeatsRefunded:
    """Paid seats of a group that failed, or that their buyers left: each refund is due."""

    pool: str
    at_ms: int
    group: str
    seats: tuple[RefundedSeat, ...]


@dataclass(frozen=True, slots=True)
class OpenerPassed:
    """The opener left an open group; ``opener`` is the digest of the seat that follows."""

    pool: str
    at_ms: int
    group: str
    opener: str


Event = (
    Held
    | Released
    | Withdrawn
    | Confirmed
    | RefundDue
    | Extended
    | Postponed
    | Returned
    | Adjusted
    | WaveReleased
    | Configured
    | Repaired
    | GroupsOpened
    | SeatPaid
    | SeatsServed
    | GroupFormed
    | GroupFailed
    | SeatsRefunded
    | OpenerPassed
)


class MalformedEntry(ValueError):
    """A log entry that no script of ours wrote. It goes to quarantine, never past it."""
