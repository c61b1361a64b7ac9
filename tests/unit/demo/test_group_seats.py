"""What the crowd of a group-buy believes, and what it catches a shop at."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flashstock.client import Group, GroupProgress
from flashstock.demo.group_seats import FAILED, FORMED, CrowdSeat, Register, SeatFate
from flashstock.model.states import ReservationState

ENDS_AT = datetime.fromtimestamp(1_000, UTC)
ENDS_MS = 1_000_000


def progress(state: str = "open", paid: int = 0, pending: int = 0, house: int = 0) -> GroupProgress:
    return GroupProgress(
        state=state,
        size=3,
        paid=paid,
        pending=pending,
        house=house,
        missing=3 - paid - house,
        free_seats=0,
        ends_at=ENDS_AT,
        time_left_ms=0,
    )


def seat(number: int, **changes: object) -> CrowdSeat:
    fields: dict[str, object] = {
        "reservation": f"p~{number}",
        "pool": "p",
        "group": "p~g",
        "buyer": f"b{number}",
        "quantity": 2,
        "expires_ms": ENDS_MS,
        "payment_ref": f"pay-{number}",
    }
    return CrowdSeat(**{**fields, **changes})  # type: ignore[arg-type]


def register(*seats: CrowdSeat) -> Register:
    made = Register({one.reservation: one for one in seats})
    made.note("p~g", "p", progress(pending=1))
    return made


def full(fate: SeatFate = SeatFate.PAID, count: int = 3) -> Register:
    return register(*(seat(number, fate=fate) for number in range(count)))


def test_a_formed_group_has_sold_its_seats():
    made = full()
    made.note("p~g", "p", progress(FORMED, paid=3))
    made.check_ends()
    assert made.broken_promises == []
    assert made.sold_units("p") == 6
    [first, *_] = made.seats.values()
    assert first.acknowledged(FORMED).states == {ReservationState.CONFIRMED}
    assert not first.is_refunded(FORMED)


def test_of_a_failed_group_every_paid_seat_is_refunded():
    made = full(count=2)
    made.note("p~g", "p", progress(FAILED))
    made.check_ends()
    assert made.broken_promises == []
    assert made.sold_units("p") == 0
    for one in made.seats.values():
        assert one.is_refunded(FAILED)
        assert one.acknowledged(FAILED).states == {ReservationState.REFUNDED}


def test_the_house_may_take_a_seat():
    made = full(count=2)
    made.note("p~g", "p", progress(FORMED, paid=2, house=1))
    made.check_ends()
    assert made.broken_promises == []


@pytest.mark.parametrize(("count", "house"), [(2, 0), (4, 0), (3, 1)])
def test_a_group_that_formed_with_other_seats_is_caught(count, house):
    made = full(count=count)
    made.note("p~g", "p", progress(FORMED, paid=3 - house, house=house))
    made.check_ends()
    assert any("formed with" in what for what in made.broken_promises)


def test_a_seat_of_which_nothing_was_told_may_have_been_paid():
    made = full(count=2)
    made.seats["p~9"] = seat(9, fate=SeatFate.UNTOLD)
    made.note("p~g", "p", progress(FORMED, paid=3))
    made.check_ends()
    assert made.broken_promises == []


def test_an_overfull_group_is_caught():
    made = full()
    made.note("p~g", "p", progress(paid=2, pending=2))
    assert any("of 3" in what for what in made.broken_promises)


def test_an_end_that_changes_is_caught():
    made = full()
    made.note("p~g", "p", progress(FORMED, paid=3))
    made.note("p~g", "p", progress(FAILED))
    assert any("was formed, and is failed" in what for what in made.broken_promises)


def test_an_answer_that_comes_late_may_show_the_group_open():
    made = full()
    made.note("p~g", "p", progress(FORMED, paid=3))
    made.note("p~g", "p", progress(pending=1, paid=2))
    assert made.broken_promises == []
    assert made.groups["p~g"].state == FORMED


def test_a_group_is_asked_for_of_which_only_a_seat_was_shown():
    made = Register()
    made.expect("p~g", "p", ENDS_MS)
    assert made.undecided(ENDS_MS) == ["p~g"]
    made.note("p~g", "p", progress(FORMED, paid=3))
    assert (made.undecided(ENDS_MS), made.groups["p~g"].size) == ([], 3)


def test_a_group_that_does_not_end_is_caught():
    made = full()
    assert made.undecided(ENDS_MS - 1) == []
    assert made.undecided(ENDS_MS) == ["p~g"]
    made.check_ends()
    assert any("neither formed nor failed" in what for what in made.broken_promises)


def test_a_look_at_a_group_settles_it():
    made = full()
    shown = progress(FORMED, paid=3)
    fields = {name: getattr(shown, name) for name in GroupProgress.__struct_fields__}
    made.settled(Group(id="p~g", pool="p", type="ordinary", **fields))
    assert (made.undecided(ENDS_MS), made.groups["p~g"].paid) == ([], 3)


@pytest.mark.parametrize(
    ("fate", "ended_as", "states"),
    [
        (SeatFate.OPEN, None, {ReservationState.EXPIRED, ReservationState.REVOKED}),
        (
            SeatFate.REFUND_DUE,
            None,
            {ReservationState.EXPIRED, ReservationState.REVOKED, ReservationState.REFUNDED},
        ),
        (SeatFate.GIVEN_UP, ReservationState.CANCELLED, {ReservationState.CANCELLED}),
        (SeatFate.LEFT, ReservationState.REFUNDED, {ReservationState.REFUNDED}),
        (SeatFate.UNTOLD, None, set(ReservationState)),
    ],
)
def test_what_must_be_found_of_a_seat(fate, ended_as, states):
    one = seat(1, fate=fate, ended_as=ended_as)
    assert one.acknowledged(FORMED).states == states
    assert one.is_refunded(FORMED) == (fate in (SeatFate.LEFT, SeatFate.REFUND_DUE))
