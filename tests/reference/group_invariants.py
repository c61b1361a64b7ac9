"""What must hold of groups after every step, told from the log and the records alone."""

from __future__ import annotations

from collections import Counter

from flashstock.model import events
from flashstock.model.group_records import group_of_cart
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.states import GroupState, ReservationState
from tests.reference.group_subjects import Groups
from tests.reference.subjects import ShardState

PENDING = (ReservationState.HELD, ReservationState.ORDERED)
SOLD = (ReservationState.CONFIRMED, ReservationState.RETURNED)
PAID = (ReservationState.PAID, *SOLD)


def check_groups(state: ShardState, known: Groups) -> None:
    """Never more paid than ``size``; formed or failed once; a failed one's payments all go back."""
    _check_seats(state, known)
    _check_ends(state, known)
    _check_refunds(state)


def _check_seats(state: ShardState, known: Groups) -> None:
    pending, paid = Counter[str](), Counter[str]()
    for record in state.records.values():
        if seat_of := group_of_cart(record.cart):
            pending[seat_of] += record.state in PENDING
            paid[seat_of] += record.state in PAID
    for digest, group in known.groups.items():
        assert (group.pending, group.paid) == (pending[digest], paid[digest]), digest
        assert 0 <= group.pending + group.paid <= group.rules.size, (digest, group)
        assert group.state is not GroupState.OPEN or group.pending + group.paid > 0, digest
    for digest, record in state.records.items():
        found = known.groups.get(group_of_cart(record.cart))
        assert found is not None or record.state not in (*PENDING, ReservationState.PAID), digest
        if found is not None and record.state in PENDING:
            assert record.deadline_ms <= found.deadline_ms


def _check_ends(state: ShardState, known: Groups) -> None:
    sizes = dict[str, int]()
    formed, failed = Counter[str](), Counter[str]()
    for _, event in state.log:
        match event:
            case events.GroupsOpened():
                for opened in event.groups:
                    assert opened not in sizes, opened
                    sizes[opened] = parse_group_rules(event.rules_text).size
            case events.GroupFormed():
                formed[event.group] += 1
                assert event.paid + event.house == sizes[event.group]
            case events.GroupFailed():
                failed[event.group] += 1
            case _:
                continue
    assert not formed.keys() & failed.keys()
    assert max([*formed.values(), *failed.values()], default=1) == 1
    for digest, group in known.groups.items():
        states = {GroupState.FORMED: formed, GroupState.FAILED: failed}
        for end, counted in states.items():
            assert (group.state is end) == (digest in counted), (digest, group)


def _check_refunds(state: ShardState) -> None:
    """A seat is paid, and then served or refunded: one of them, once."""
    paid, refunded, failed = dict[str, str](), Counter[str](), set[str]()
    group_of: dict[str, str] = {}
    for _, event in state.log:
        match event:
            case events.Held():
                group_of |= {hold.digest: group_of_cart(hold.cart) for hold in event.holds}
            case events.Confirmed() | events.SeatPaid():
                assert event.digest not in paid, event.digest
                paid[event.digest] = event.payment_ref
            case events.SeatsRefunded():
                for seat in event.seats:
                    assert paid[seat.digest] == seat.payment_ref
                    refunded[seat.digest] += 1
            case events.GroupFailed():
                failed.add(event.group)
            case _:
                continue
    assert max(refunded.values(), default=1) == 1
    for digest in paid:
        record = state.records.get(digest)
        back = digest in refunded
        assert record is None or (record.state is ReservationState.REFUNDED) == back, digest
        if group_of[digest] in failed:
            assert back, f"{digest} paid for a seat of a group that failed"
