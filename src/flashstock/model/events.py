"""What the scripts decided, as the log tells it.

A log entry is one decision of one script: ``kind``, ``generation``, ``seq`` (the number of its
first event), ``count`` (how many events, so how many numbers it takes) and a ``payload`` of
tab-separated fields that always begins with the pool and the time. This module is the only
reader and writer of payloads on the Python side; ``lua/README.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.records import LETTER_OF, STATE_LETTERS
from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import Durability, PoolState, ReservationState


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


@dataclass(frozen=True, slots=True)
class Released:
    """Holds that ended unpaid: ``state`` is cancelled, expired or revoked."""

    pool: str
    at_ms: int
    state: ReservationState
    releases: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A payment made a sale. ``before`` is held, or expired where a late payment found stock."""

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
class Returned:
    """``quantity`` units of a sale came back; ``returned`` is how many have in all.

    ``command`` and ``requested`` are what a repetition of the call is recognised by.
    """

    pool: str
    at_ms: int
    digest: str
    quantity: int
    returned: int
    complete: bool
    command: str
    requested: int


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


Event = (
    Held
    | Released
    | Confirmed
    | RefundDue
    | Extended
    | Returned
    | Adjusted
    | WaveReleased
    | Configured
    | Repaired
)


class MalformedEntry(ValueError):
    """A log entry that no script of ours wrote. It goes to quarantine, never past it."""


def decode_waves(text: str) -> tuple[Wave, ...]:
    """``at_ms:quantity,…`` in order of time; empty text is no waves."""
    pairs = (part.split(":") for part in text.split(",") if part)
    return tuple(Wave(int(at_ms), int(quantity)) for at_ms, quantity in pairs)


def encode_waves(waves: tuple[Wave, ...]) -> str:
    """The inverse of ``decode_waves``; the scripts rely on the order of time."""
    ordered = sorted(waves, key=lambda wave: wave.at_ms)
    return ",".join(f"{wave.at_ms}:{wave.quantity}" for wave in ordered)


def encode_rules(rules: PoolRules) -> dict[str, str]:
    """The rules as the fields of the pool hash."""
    return {
        "sku": rules.sku,
        "state": rules.state.value,
        "per_buyer_limit": str(rules.per_buyer_limit),
        "hold_ms": str(rules.hold_ms),
        "starts_at_ms": str(rules.starts_at_ms),
        "ends_at_ms": str(rules.ends_at_ms),
        "durability": rules.durability.value,
        "waves": encode_waves(rules.waves),
    }


def decode_rules(fields: Mapping[str, str]) -> PoolRules:
    """The inverse of ``encode_rules``. Raises ``KeyError`` or ``ValueError`` on bad fields."""
    return PoolRules(
        sku=fields["sku"],
        state=PoolState(fields["state"]),
        per_buyer_limit=int(fields["per_buyer_limit"]),
        hold_ms=int(fields["hold_ms"]),
        starts_at_ms=int(fields["starts_at_ms"]),
        ends_at_ms=int(fields["ends_at_ms"]),
        durability=Durability(fields["durability"]),
        waves=decode_waves(fields["waves"]),
    )


def _held(pool: str, at_ms: int, rest: list[str]) -> Held:
    digests, buyers, quantities, carts = (rest[1 + i :: 4] for i in range(4))
    holds = tuple(
        Hold(digest, buyer, int(quantity), cart)
        for digest, buyer, quantity, cart in zip(digests, buyers, quantities, carts, strict=True)
    )
    return Held(pool, at_ms, int(rest[0]), holds)


def _released(state: ReservationState) -> Callable[[str, int, list[str]], Released]:
    def decode(pool: str, at_ms: int, rest: list[str]) -> Released:
        pairs = zip(rest[0::2], rest[1::2], strict=True)
        releases = tuple(Release(digest, int(quantity)) for digest, quantity in pairs)
        return Released(pool, at_ms, state, releases)

    return decode


def _confirmed(pool: str, at_ms: int, rest: list[str]) -> Confirmed:
    digest, before, quantity, buyer, payment_ref, order_index = rest
    return Confirmed(
        pool,
        at_ms,
        digest,
        STATE_LETTERS[before],
        int(quantity),
        buyer,
        payment_ref,
        int(order_index),
    )


def _refund_due(pool: str, at_ms: int, rest: list[str]) -> RefundDue:
    digest, quantity, buyer, payment_ref = rest
    return RefundDue(pool, at_ms, digest, int(quantity), buyer, payment_ref)


def _extended(pool: str, at_ms: int, rest: list[str]) -> Extended:
    digest, deadline_ms = rest
    return Extended(pool, at_ms, digest, int(deadline_ms))


def _returned(pool: str, at_ms: int, rest: list[str]) -> Returned:
    digest, quantity, returned, complete, command, requested = rest
    return Returned(
        pool,
        at_ms,
        digest,
        int(quantity),
        int(returned),
        complete == "1",
        command,
        int(requested),
    )


def _adjusted(pool: str, at_ms: int, rest: list[str]) -> Adjusted:
    total_delta, locked_delta, command = rest
    return Adjusted(pool, at_ms, int(total_delta), int(locked_delta), command)


def _wave_released(pool: str, at_ms: int, rest: list[str]) -> WaveReleased:
    quantity, waves = rest
    return WaveReleased(pool, at_ms, int(quantity), decode_waves(waves))


def _configured(pool: str, at_ms: int, rest: list[str]) -> Configured:
    created, total, locked, *pairs = rest
    fields = dict(zip(pairs[0::2], pairs[1::2], strict=True))
    rules = decode_rules(fields)
    reason = fields.get("reason", "")
    return Configured(pool, at_ms, rules, created == "1", int(total), int(locked), reason)


def _repaired(pool: str, at_ms: int, rest: list[str]) -> Repaired:
    (reason,) = rest
    return Repaired(pool, at_ms, reason)


_DECODERS: Final[dict[str, Callable[[str, int, list[str]], Event]]] = {
    "held": _held,
    "cancelled": _released(ReservationState.CANCELLED),
    "expired": _released(ReservationState.EXPIRED),
    "revoked": _released(ReservationState.REVOKED),
    "confirmed": _confirmed,
    "refund_due": _refund_due,
    "extended": _extended,
    "returned": _returned,
    "adjusted": _adjusted,
    "wave_released": _wave_released,
    "configured": _configured,
    "repaired": _repaired,
}

EVENT_KINDS: Final = frozenset(_DECODERS)


def decode(entry: LogEntry) -> Event:
    """Read an entry's payload.

    Raises:
        MalformedEntry: the kind is unknown, a field is missing or not what it should be, or
            ``count`` does not fit the payload.
    """
    try:
        pool, at_ms, *rest = entry.payload.split(FIELD_SEPARATOR)
        event = _DECODERS[entry.kind](pool, int(at_ms), rest)
    except (KeyError, ValueError, IndexError) as problem:
        raise MalformedEntry(f"{entry.kind} at seq {entry.seq}: {problem!r}") from problem
    if entry.count != events_in(event) or entry.count == 0:
        raise MalformedEntry(f"{entry.kind} at seq {entry.seq}: count {entry.count} is wrong")
    return event


def events_in(event: Event) -> int:
    """How many numbers of the sequence the event takes."""
    if isinstance(event, Held):
        return len(event.holds)
    if isinstance(event, Released):
        return len(event.releases)
    return 1


def split(event: Event) -> tuple[Event, ...]:
    """The same event, one number at a time: how a bisect isolates the one that is bad."""
    if isinstance(event, Held):
        return tuple(Held(event.pool, event.at_ms, event.deadline_ms, (h,)) for h in event.holds)
    if isinstance(event, Released):
        parts = event.releases
        return tuple(Released(event.pool, event.at_ms, event.state, (r,)) for r in parts)
    return (event,)


def encode(event: Event) -> tuple[str, str]:
    """The kind and the payload a script would log for the event: the inverse of ``decode``."""
    kind, fields = _encoded(event)
    values = (event.pool, event.at_ms, *fields)
    return kind, FIELD_SEPARATOR.join(str(value) for value in values)


def _encoded(event: Event) -> tuple[str, tuple[object, ...]]:
    match event:
        case Held():
            return "held", (event.deadline_ms, *(field for hold in event.holds for field in hold))
        case Released():
            return event.state.value, tuple(field for part in event.releases for field in part)
        case Confirmed():
            letter = LETTER_OF[event.before]
            sale = (event.quantity, event.buyer, event.payment_ref, event.order_index)
            return "confirmed", (event.digest, letter, *sale)
        case RefundDue():
            return "refund_due", (event.digest, event.quantity, event.buyer, event.payment_ref)
        case Extended():
            return "extended", (event.digest, event.deadline_ms)
        case Returned():
            counts = (event.quantity, event.returned, int(event.complete))
            return "returned", (event.digest, *counts, event.command, event.requested)
        case Adjusted():
            return "adjusted", (event.total_delta, event.locked_delta, event.command)
        case WaveReleased():
            return "wave_released", (event.quantity, encode_waves(event.waves))
        case Configured():
            pairs = [field for pair in encode_rules(event.rules).items() for field in pair]
            reason = ("reason", event.reason) if event.reason else ()
            return "configured", (int(event.created), event.total, event.locked, *pairs, *reason)
        case Repaired():
            return "repaired", (event.reason,)
