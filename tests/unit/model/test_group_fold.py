"""The fold of groups: what a run says of them, and which runs contradict themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.model import events
from flashstock.model.events import LogEntry, encode, events_in
from flashstock.model.fold import Changes, FoldViolation, fold
from flashstock.model.group_fold import moves_a_seat, seats_moved
from flashstock.model.group_records import cart_of_group
from flashstock.model.group_rules import GroupRules
from flashstock.model.states import FailReason, GroupState, ReservationState

G, D1, D2 = "g" * 16, "1" * 16, "2" * 16
GROUP = f"p~{G}"
RULES = GroupRules(2, 1_000).text
HELD, CONFIRMED = ReservationState.HELD, ReservationState.CONFIRMED

opened = events.GroupsOpened("p", 10, 99, RULES, (G,))
seats = events.Held(
    "p", 10, 50, tuple(events.Hold(d, f"b{d[0]}", 1, cart_of_group(G)) for d in (D1, D2))
)
paid = events.Confirmed("p", 20, D1, HELD, 1, "b1", "pay-1", 1)
paid_too = events.Confirmed("p", 21, D2, HELD, 1, "b2", "pay-2", 2)
formed = events.GroupFormed("p", 21, G, 2, 0)
failed = events.GroupFailed("p", 30, G, FailReason.DEADLINE, 1)
refunded = events.SeatsRefunded("p", 31, G, (events.RefundedSeat(D1, CONFIRMED, 1, "b1", "pay-1"),))


def run(*written: events.Event) -> Changes:
    entries, seq = [], 1
    for event in written:
        kind, payload = encode(event)
        entries.append((LogEntry(0, 1, seq, events_in(event), kind, payload), event))
        seq += events_in(event)
    return fold(entries)


def test_seats_of_a_run_are_counted_from_their_reservations():
    changes = run(opened, seats, paid)
    (moved,) = seats_moved(changes, {}).values()
    assert (moved.pending, moved.paid, moved.at_ms) == (1, 1, 20)
    assert changes.groups_opened[GROUP].state is GroupState.OPEN
    assert changes.pools["p"].held == 1


def test_seats_that_are_in_sql_count_as_they_change():
    changes = run(paid, paid_too, formed)
    assert changes.groups_changed[GROUP].expected is GroupState.OPEN
    assert changes.groups_changed[GROUP].paid == 2
    carts = {f"p~{digest}": cart_of_group(G) for digest in (D1, D2)}
    (moved,) = seats_moved(changes, carts).values()
    assert (moved.pending, moved.paid) == (-2, 2)


def test_what_is_refunded_after_the_failure_is_no_longer_expected():
    changes = run(opened, seats, paid, failed, refunded)
    group = changes.groups_opened[GROUP]
    assert (group.state, group.paid, group.settled_at_ms) == (GroupState.FAILED, 0, 30)
    assert changes.unsold == {f"p~{D1}": 31}
    assert [refund.payment_ref for refund in changes.refunds] == ["pay-1"]
    assert changes.pools["p"].sold == 0


def test_a_seat_left_in_one_run_and_a_failure_in_the_next():
    changes = run(refunded)
    assert changes.groups_changed[GROUP].expected is None, "open or failed: both may be"
    assert changes.groups_changed[GROUP].paid is None


@pytest.mark.parametrize(
    "after",
    [
        seats,
        formed,
        failed,
        refunded,
        opened,
        events.OpenerPassed("p", 40, G, D2),
    ],
    ids=lambda event: encode(event)[0],
)
def test_nothing_follows_in_a_group_that_has_formed(after: events.Event):
    if isinstance(after, events.Held):
        after = replace(after, holds=(after.holds[0]._replace(digest="3" * 16),))
    with pytest.raises(FoldViolation):
        run(opened, seats, paid, paid_too, formed, after)


def test_only_some_changes_matter_to_a_group():
    assert moves_a_seat(HELD, CONFIRMED)
    assert moves_a_seat(ReservationState.EXPIRED, ReservationState.PAID)
    assert moves_a_seat(CONFIRMED, ReservationState.REFUNDED)
    assert not moves_a_seat(HELD, HELD)
    assert not moves_a_seat(CONFIRMED, ReservationState.RETURNED)
    assert not moves_a_seat(ReservationState.PAID, CONFIRMED)
