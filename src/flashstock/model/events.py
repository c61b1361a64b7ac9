"""What the scripts decided, as the log tells it.

A log entry is one decision of one script: ``kind``, ``generation``, ``seq`` (the number of its
first event), ``count`` (how many events, so how many numbers it takes) and a ``payload`` of
tab-separated fields that always begins with the pool and the time. This module is the only
reader and writer of payloads on the Python side; ``lua/README.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from flashstock.model.event_types import (
    Adjusted,
    Configured,
    Confirmed,
    Event,
    Extended,
    GroupFailed,
    GroupFormed,
    GroupsOpened,
    Held,
    Hold,
    LogEntry,
    MalformedEntry,
    OpenerPassed,
    Postponed,
    RefundDue,
    RefundedSeat,
    Release,
    Released,
    Repaired,
    Returned,
    SeatPaid,
    SeatsRefunded,
    SeatsServed,
    WaveReleased,
    Withdrawn,
)
from flashstock.model.group_events import (
    GROUP_DECODERS,
    GroupEvent,
    encode_group_event,
    group_events_in,
    parts_of,
)
from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.records import LETTER_OF, STATE_LETTERS
from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import DeductMode, Durability, PoolState, ReservationState

__all__ = [
    "EVENT_KINDS",
    "Adjusted",
    "Configured",
    "Confirmed",
    "Event",
    "Extended",
    "GroupFailed",
    "GroupFormed",
    "GroupsOpened",
    "Held",
    "Hold",
    "LogEntry",
    "MalformedEntry",
    "OpenerPassed",
    "Postponed",
    "RefundDue",
    "RefundedSeat",
    "Release",
    "Released",
    "Repaired",
    "Returned",
    "SeatPaid",
    "SeatsRefunded",
    "SeatsServed",
    "WaveReleased",
    "Withdrawn",
    "decode",
    "decode_rules",
    "decode_waves",
    "encode",
    "encode_rules",
    "encode_waves",
    "events_in",
    "split",
]


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
        "audience": rules.audience,
        "channels": rules.channels,
        "deduct": rules.deduct.value,
        "group_buy": rules.group_buy,
    }


def decode_rules(fields: Mapping[str, str]) -> PoolRules:
    """The inverse of ``encode_rules``. Raises ``KeyError`` or ``ValueError`` on bad fields.

    The newer rules may be missing: whoever wrote down the older ones knew nothing of them.
    """
    return PoolRules(
        sku=fields["sku"],
        state=PoolState(fields["state"]),
        per_buyer_limit=int(fields["per_buyer_limit"]),
        hold_ms=int(fields["hold_ms"]),
        starts_at_ms=int(fields["starts_at_ms"]),
        ends_at_ms=int(fields["ends_at_ms"]),
        durability=Durability(fields["durability"]),
        waves=decode_waves(fields["waves"]),
        audience=fields.get("audience", ""),
        channels=fields.get("channels", ""),
        deduct=DeductMode(fields.get("deduct") or DeductMode.HOLD),
        group_buy=fields.get("group_buy", ""),
    )


def _held(state: ReservationState) -> Callable[[str, int, list[str]], Held]:
    def decode(pool: str, at_ms: int, rest: list[str]) -> Held:
        digests, buyers, quantities, carts = (rest[1 + i :: 4] for i in range(4))
        columns = zip(digests, buyers, quantities, carts, strict=True)
        holds = tuple(
            Hold(digest, buyer, int(quantity), cart) for digest, buyer, quantity, cart in columns
        )
        return Held(pool, at_ms, int(rest[0]), holds, state)

    return decode


def _withdrawn(pool: str, at_ms: int, rest: list[str]) -> Withdrawn:
    digest, quantity, letter = rest
    return Withdrawn(pool, at_ms, digest, int(quantity), STATE_LETTERS[letter])


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


def _postponed(pool: str, at_ms: int, rest: list[str]) -> Postponed:
    began_ms, holds = rest
    event = Postponed(pool, at_ms, int(began_ms), int(holds))
    if event.by_ms < 0 or event.holds < 0:
        raise ValueError("nothing is ever brought forward")
    return event


_RETURN_FLAGS: Final = {
    "0": (False, True),
    "1": (True, True),
    "2": (False, False),
    "3": (True, False),
}
"""As written: 1 if nothing is left of the sale, and 2 if the units left the pool."""


def _returned(pool: str, at_ms: int, rest: list[str]) -> Returned:
    digest, quantity, returned, flags, command, requested = rest
    complete, restock = _RETURN_FLAGS[flags]
    return Returned(
        pool,
        at_ms,
        digest,
        int(quantity),
        int(returned),
        complete,
        command,
        int(requested),
        restock,
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
    "held": _held(ReservationState.HELD),
    "ordered": _held(ReservationState.ORDERED),
    "cancelled": _released(ReservationState.CANCELLED),
    "expired": _released(ReservationState.EXPIRED),
    "revoked": _released(ReservationState.REVOKED),
    "withdrawn": _withdrawn,
    "confirmed": _confirmed,
    "refund_due": _refund_due,
    "extended": _extended,
    "postponed": _postponed,
    "returned": _returned,
    "adjusted": _adjusted,
    "wave_released": _wave_released,
    "configured": _configured,
    "repaired": _repaired,
    **GROUP_DECODERS,
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
    return group_events_in(event) if isinstance(event, GroupEvent) else 1


def split(event: Event) -> tuple[Event, ...]:
    """The same event, one number at a time: how a bisect isolates the one that is bad."""
    if isinstance(event, Held):
        return tuple(replace(event, holds=(hold,)) for hold in event.holds)
    if isinstance(event, Released):
        parts = event.releases
        return tuple(Released(event.pool, event.at_ms, event.state, (r,)) for r in parts)
    return parts_of(event) if isinstance(event, GroupEvent) else (event,)


def encode(event: Event) -> tuple[str, str]:
    """The kind and the payload a script would log for the event: the inverse of ``decode``."""
    kind, fields = _encoded(event)
    values = (event.pool, event.at_ms, *fields)
    return kind, FIELD_SEPARATOR.join(str(value) for value in values)


def _encoded(event: Event) -> tuple[str, tuple[object, ...]]:
    if isinstance(event, GroupEvent):
        return encode_group_event(event)
    match event:
        case Held():
            return event.state.value, (
                event.deadline_ms,
                *(field for hold in event.holds for field in hold),
            )
        case Released():
            return event.state.value, tuple(field for part in event.releases for field in part)
        case Withdrawn():
            return "withdrawn", (event.digest, event.quantity, LETTER_OF[event.state])
        case Confirmed():
            letter = LETTER_OF[event.before]
            sale = (event.quantity, event.buyer, event.payment_ref, event.order_index)
            return "confirmed", (event.digest, letter, *sale)
        case RefundDue():
            return "refund_due", (event.digest, event.quantity, event.buyer, event.payment_ref)
        case Extended() | Postponed():
            return _encoded_deadlines(event)
        case Returned():
            flags = int(event.complete) + 2 * (not event.restock)
            counts = (event.quantity, event.returned, flags)
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


def _encoded_deadlines(event: Extended | Postponed) -> tuple[str, tuple[object, ...]]:
    if isinstance(event, Extended):
        return "extended", (event.digest, event.deadline_ms)
    return "postponed", (event.began_ms, event.holds)
