"""What the service answers about groups, as plain values that ``orjson`` writes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from flashstock.api.bodies import format_time, refusal_of
from flashstock.errors import (
    FlashstockError,
    GroupFull,
    GroupOver,
    GroupsLimit,
    OpenLimit,
    SeatsLimit,
    UnknownGroup,
)
from flashstock.hotpath.group_replies import SeatsReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model.group_records import GroupRecord
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.states import GroupState
from flashstock.service.groups import GroupView, MemberView

_LIMITS: Final = {
    Verdict.SEATS_LIMIT: SeatsLimit,
    Verdict.GROUPS_LIMIT: GroupsLimit,
    Verdict.OPEN_LIMIT: OpenLimit,
}
_CLOSED: Final = {Verdict.GROUP_FULL: GroupFull, Verdict.GROUP_OVER: GroupOver}
_rules: Final = lru_cache(maxsize=1_024)(parse_group_rules)


def progress_body(record: GroupRecord, now_ms: int) -> dict[str, Any]:
    """How far a group is, and what a page needs to show urgency."""
    rules = _rules(record.rules_text)
    counted = record.paid + record.house
    tier, better = rules.tier_at(counted), rules.tier_after(counted)
    next_price = None
    if better is not None:
        next_price = {**better._asdict(), "missing": better.seats - counted}
    is_open = record.state is GroupState.OPEN
    free = rules.size - counted - record.pending if is_open else 0
    return {
        "state": record.state.value,
        "size": rules.size,
        "paid": record.paid,
        "pending": record.pending,
        "house": record.house,
        "missing": max(0, rules.size - counted),
        "free_seats": max(0, free),
        "ends_at": format_time(record.deadline_ms),
        "time_left_ms": max(0, record.deadline_ms - now_ms) if is_open else 0,
        "price_minor": tier.price_minor if tier is not None else None,
        "next_price": next_price if is_open else None,
    }


def group_line_body(view: GroupView) -> dict[str, Any]:
    """A group in a list."""
    record = view.record
    return {
        "id": view.id,
        "pool": record.pool,
        "type": _rules(record.rules_text).type.value,
        **progress_body(record, view.now_ms),
        "opener": f"{record.pool}~{record.opener}" if record.opener else None,
    }


def group_body(view: GroupView) -> dict[str, Any]:
    """A group and its members, those who have paid first."""
    return {
        **group_line_body(view),
        "reason": view.reason or None,
        "members": [_member_body(member) for member in view.members],
    }


def _member_body(member: MemberView) -> dict[str, Any]:
    return {
        "reservation": member.reservation,
        "buyer": member.buyer,
        "quantity": member.quantity,
        "state": member.state.value,
        "opener": member.is_opener,
    }


def seat_refusal_of(
    verdict: int, pool: str, group: str | None, batch: SeatsReply, attests: str
) -> FlashstockError:
    """What to tell who was refused a seat: with what a shop's page needs.

    Args:
        group: the digest of the group that was asked for, where it was one.
    """
    kind = Verdict(verdict)
    shown = f"{pool}~{group}" if group else None
    if kind is Verdict.GROUP_UNKNOWN:
        return UnknownGroup(f"there is no group {shown}", group=shown)
    if kind in _CLOSED:
        record = batch.group(group) if group else None
        progress = progress_body(record, batch.now_ms) if record is not None else {}
        return _CLOSED[kind](pool=pool, group=shown, available=batch.available, **progress)
    if kind in _LIMITS:
        return _LIMITS[kind](pool=pool, group=shown, available=batch.available)
    return refusal_of(verdict, pool, batch, attests)
