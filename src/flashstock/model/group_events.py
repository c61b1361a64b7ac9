"""The payloads of what scripts decide about groups; ``events`` reads and writes all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from flashstock.model.event_types import (
    GroupFailed,
    GroupFormed,
    GroupsOpened,
    OpenerPassed,
    RefundedSeat,
    Release,
    SeatPaid,
    SeatsRefunded,
    SeatsServed,
)
from flashstock.model.records import LETTER_OF, STATE_LETTERS
from flashstock.model.states import FailReason

GroupEvent = (
    GroupsOpened | SeatPaid | SeatsServed | GroupFormed | GroupFailed | SeatsRefunded | OpenerPassed
)


def _groups_opened(pool: str, at_ms: int, rest: list[str]) -> GroupsOpened:
    deadline_ms, rules_text, *groups = rest
    return GroupsOpened(pool, at_ms, int(deadline_ms), rules_text, tuple(groups))


def _seat_paid(pool: str, at_ms: int, rest: list[str]) -> SeatPaid:
    digest, before, quantity, buyer, payment_ref, order_index = rest
    state = STATE_LETTERS[before]
    index = int(order_index)
    return SeatPaid(pool, at_ms, digest, state, int(quantity), buyer, payment_ref, index)


def _seats_served(pool: str, at_ms: int, rest: list[str]) -> SeatsServed:
    group, *pairs = rest
    columns = zip(pairs[0::2], pairs[1::2], strict=True)
    seats = tuple(Release(digest, int(quantity)) for digest, quantity in columns)
    return SeatsServed(pool, at_ms, group, seats)


def _group_formed(pool: str, at_ms: int, rest: list[str]) -> GroupFormed:
    group, paid, house = rest
    return GroupFormed(pool, at_ms, group, int(paid), int(house))


def _group_failed(pool: str, at_ms: int, rest: list[str]) -> GroupFailed:
    group, reason, paid = rest
    return GroupFailed(pool, at_ms, group, FailReason(reason), int(paid))


def _seats_refunded(pool: str, at_ms: int, rest: list[str]) -> SeatsRefunded:
    group, *fields = rest
    columns = zip(*(fields[start::5] for start in range(5)), strict=True)
    seats = tuple(
        RefundedSeat(digest, STATE_LETTERS[letter], int(quantity), buyer, payment_ref)
        for digest, letter, quantity, buyer, payment_ref in columns
    )
    return SeatsRefunded(pool, at_ms, group, seats)


def _opener_passed(pool: str, at_ms: int, rest: list[str]) -> OpenerPassed:
    group, opener = rest
    return OpenerPassed(pool, at_ms, group, opener)


GROUP_DECODERS: Final[dict[str, Callable[[str, int, list[str]], GroupEvent]]] = {
    "groups_opened": _groups_opened,
    "seat_paid": _seat_paid,
    "seats_served": _seats_served,
    "group_formed": _group_formed,
    "group_failed": _group_failed,
    "seats_refunded": _seats_refunded,
    "opener_passed": _opener_passed,
}


def encode_group_event(event: GroupEvent) -> tuple[str, tuple[object, ...]]:
    """The kind, and the fields after the pool and the time."""
    match event:
        case GroupsOpened():
            return "groups_opened", (event.deadline_ms, event.rules_text, *event.groups)
        case SeatPaid():
            sale = (event.quantity, event.buyer, event.payment_ref, event.order_index)
            return "seat_paid", (event.digest, LETTER_OF[event.before], *sale)
        case SeatsServed():
            return "seats_served", (event.group, *(part for seat in event.seats for part in seat))
        case GroupFormed():
            return "group_formed", (event.group, event.paid, event.house)
        case GroupFailed():
            return "group_failed", (event.group, event.reason, event.paid)
        case SeatsRefunded():
            seats = (seat._replace(before=LETTER_OF[seat.before]) for seat in event.seats)  # type: ignore[arg-type]
            return "seats_refunded", (event.group, *(part for seat in seats for part in seat))
        case OpenerPassed():
            return "opener_passed", (event.group, event.opener)


def parts_of(event: GroupEvent) -> tuple[GroupEvent, ...]:
    """The same event, one number of the sequence at a time."""
    match event:
        case GroupsOpened():
            return tuple(replace(event, groups=(group,)) for group in event.groups)
        case SeatsServed() | SeatsRefunded():
            return tuple(replace(event, seats=(seat,)) for seat in event.seats)  # type: ignore[arg-type]
        case _:
            return (event,)


def group_events_in(event: GroupEvent) -> int:
    """How many numbers of the sequence the event takes."""
    match event:
        case GroupsOpened():
            return len(event.groups)
        case SeatsServed() | SeatsRefunded():
            return len(event.seats)
        case _:
            return 1
