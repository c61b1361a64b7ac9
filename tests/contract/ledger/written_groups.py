"""Events of groups as the scripts would write them."""

from __future__ import annotations

from flashstock.model import events
from flashstock.model.group_records import cart_of_group
from flashstock.model.group_rules import GroupDeduct, GroupRules
from flashstock.model.rules import PoolRules
from flashstock.model.states import FailReason, ReservationState
from tests.contract.ledger.written_log import DEADLINE_MS, NOW_MS, POOL, digest

PAY = GroupRules(3, 600_000)
FORM = GroupRules(3, 600_000, deduct=GroupDeduct.FORM)
SEATS_END_MS = NOW_MS + 300_000
HELD, ORDERED = ReservationState.HELD, ReservationState.ORDERED


def pool_of_groups(total: int = 100, rules: GroupRules = PAY) -> events.Configured:
    pool_rules = PoolRules("sku-1", group_buy=rules.text)
    return events.Configured(POOL, NOW_MS, pool_rules, True, total, 0)


def opened(*groups: int, rules: GroupRules = PAY) -> events.GroupsOpened:
    return events.GroupsOpened(POOL, NOW_MS, DEADLINE_MS, rules.text, tuple(map(digest, groups)))


def seats(
    group: int, *numbers: int, state: ReservationState = HELD, at_ms: int = NOW_MS
) -> events.Held:
    """Seats of one group, one a number, of the buyer of that number."""
    cart = cart_of_group(digest(group))
    holds = tuple(events.Hold(digest(n), f"buyer-{n}", 1, cart) for n in numbers)
    return events.Held(POOL, at_ms, SEATS_END_MS, holds, state)


def seat_paid(number: int, before: ReservationState = ORDERED) -> events.SeatPaid:
    sale = (f"buyer-{number}", f"payment-{number}", number)
    return events.SeatPaid(POOL, NOW_MS, digest(number), before, 1, *sale)


def served(group: int, *numbers: int) -> events.SeatsServed:
    parts = tuple(events.Release(digest(n), 1) for n in numbers)
    return events.SeatsServed(POOL, NOW_MS, digest(group), parts)


def formed(group: int, paid: int, house: int = 0, at_ms: int = NOW_MS) -> events.GroupFormed:
    return events.GroupFormed(POOL, at_ms, digest(group), paid, house)


def failed(
    group: int, paid: int, reason: FailReason = FailReason.DEADLINE, at_ms: int = NOW_MS
) -> events.GroupFailed:
    return events.GroupFailed(POOL, at_ms, digest(group), reason, paid)


def refunded(
    group: int,
    *numbers: int,
    before: ReservationState = ReservationState.CONFIRMED,
    at_ms: int = NOW_MS,
) -> events.SeatsRefunded:
    parts = tuple(
        events.RefundedSeat(digest(n), before, 1, f"buyer-{n}", f"payment-{n}") for n in numbers
    )
    return events.SeatsRefunded(POOL, at_ms, digest(group), parts)


def passed(group: int, number: int) -> events.OpenerPassed:
    return events.OpenerPassed(POOL, NOW_MS, digest(group), digest(number))
