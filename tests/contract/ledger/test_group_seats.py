"""What events of groups do to SQL, and what SQL never lets them do."""

from __future__ import annotations

from typing import Any

import pytest

from flashstock.model import events
from flashstock.model.states import FailReason, ReservationState
from tests.contract.ledger.written_groups import (
    FORM,
    ORDERED,
    PAY,
    failed,
    formed,
    opened,
    passed,
    pool_of_groups,
    refunded,
    seat_paid,
    seats,
    served,
)
from tests.contract.ledger.written_log import (
    DEADLINE_MS,
    NOW_MS,
    POOL,
    Book,
    cancelled,
    confirmed,
    digest,
    held,
    released,
    reservation_id,
    returned,
)

PAID, EXPIRED = ReservationState.PAID, ReservationState.EXPIRED


async def write(book: Book, together: bool, *written: events.Event) -> None:
    """In one batch, or each in one of its own; nothing of it may contradict SQL."""
    for batch in [written] if together else [(event,) for event in written]:
        applied = await book.write(*batch)
        assert applied.quarantined == (), await book.rows("quarantine")


async def group(book: Book, number: int = 1) -> Any:
    (found,) = [row for row in await book.rows("groups") if row.id == reservation_id(number)]
    return found


async def counts(book: Book, number: int = 1) -> tuple[str, int, int, int]:
    """(state, pending, paid, house)"""
    found = await group(book, number)
    return found.state, found.pending, found.paid, found.house


TOGETHER = pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])


@TOGETHER
async def test_a_group_is_opened_with_its_rules_and_its_first_seat(book: Book, together: bool):
    await write(book, together, pool_of_groups(), opened(1), seats(1, 1))
    stored = await book.queries.pool(POOL)
    assert stored is not None
    assert stored.rules.group_buy == PAY.text
    row = await group(book)
    assert row._asdict() == {
        "id": reservation_id(1),
        "shard": 0,
        "pool": POOL,
        "rules": PAY.text,
        "state": "open",
        "size": 3,
        "deadline_ms": DEADLINE_MS,
        "opener": reservation_id(1),
        "pending": 1,
        "paid": 0,
        "house": 0,
        "reason": "",
        "opened_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
        "settled_at_ms": None,
        "generation": 1,
        "seq": 2,
    }
    assert await book.units() == (100, 1, 0, 0)


@TOGETHER
async def test_seats_are_paid_until_the_group_forms(book: Book, together: bool):
    await write(book, together, pool_of_groups(), opened(1), seats(1, 1), seats(1, 2, 3))
    await write(book, together, confirmed(2), confirmed(1))
    assert await counts(book) == ("open", 1, 2, 0)
    await write(book, together, confirmed(3), formed(1, 3, at_ms=NOW_MS + 7))
    assert await counts(book) == ("formed", 0, 3, 0)
    assert (await group(book)).settled_at_ms == NOW_MS + 7
    assert await book.states() == dict.fromkeys("123", "confirmed")
    assert await book.units() == (100, 0, 3, 0)
    await write(book, together, returned(2, 1, 1, complete=True))
    assert await counts(book) == ("formed", 0, 3, 0), "formed is irreversible"


@TOGETHER
async def test_a_form_mode_group_takes_its_units_when_it_forms(book: Book, together: bool):
    await write(book, together, pool_of_groups(rules=FORM), opened(1, rules=FORM))
    await write(book, together, seats(1, 1, 2, 3, state=ORDERED), seat_paid(1), seat_paid(2))
    assert await counts(book) == ("open", 1, 2, 0)
    assert await book.states() == {"1": "paid", "2": "paid", "3": "ordered"}
    assert await book.units() == (100, 0, 0, 0)
    assert len(await book.rows("orders")) == 2, "an order there is from the payment on"
    await write(book, together, seat_paid(3), served(1, 1, 2, 3), formed(1, 3))
    assert await counts(book) == ("formed", 0, 3, 0)
    assert await book.units() == (100, 0, 3, 0)
    assert {row.finished_at_ms for row in await book.rows("orders")} == {None}


@TOGETHER
async def test_a_group_that_failed_owes_every_payment_once(book: Book, together: bool):
    await write(book, together, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    await write(book, together, confirmed(1), confirmed(2), failed(1, 2, at_ms=NOW_MS + 5))
    assert await counts(book) == ("failed", 1, 2, 0)
    revoked = ReservationState.REVOKED
    ends = (refunded(1, 1, 2, at_ms=NOW_MS + 9), released(revoked, 3, at_ms=NOW_MS + 9))
    await write(book, together, *ends)
    row = await group(book)
    assert (row.pending, row.paid, row.reason) == (0, 0, "deadline")
    assert (row.settled_at_ms, row.updated_at_ms) == (NOW_MS + 5, NOW_MS + 9)
    assert await book.states() == {"1": "refunded", "2": "refunded", "3": "revoked"}
    assert [r.payment_ref for r in await book.queries.refunds(0, 10)] == ["payment-1", "payment-2"]
    assert {row.finished_at_ms for row in await book.rows("orders")} == {NOW_MS + 9}
    assert await book.units() == (100, 0, 0, 0)


@TOGETHER
async def test_seats_that_end_become_free_and_can_be_retaken(book: Book, together: bool):
    await write(book, together, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    await write(book, together, released(EXPIRED, 2), cancelled(3), seats(1, 4))
    assert await counts(book) == ("open", 2, 0, 0)
    await write(book, together, confirmed(2, before=EXPIRED))
    assert await counts(book) == ("open", 2, 1, 0)
    assert await book.units() == (100, 2, 1, 0)


@TOGETHER
async def test_who_leaves_a_paid_seat_is_refunded_and_the_role_passes_on(
    book: Book, together: bool
):
    await write(book, together, pool_of_groups(rules=FORM), opened(1, rules=FORM))
    await write(book, together, seats(1, 1, 2, state=ORDERED), seat_paid(1), seat_paid(2))
    await write(book, together, refunded(1, 1, before=PAID), passed(1, 2))
    row = await group(book)
    assert (row.state, row.opener, row.paid) == ("open", reservation_id(2), 1)
    gone = (refunded(1, 2, before=PAID), failed(1, 0, FailReason.ABANDONED))
    await write(book, together, *gone)
    row = await group(book)
    assert (row.state, row.opener, row.paid, row.reason) == (
        "failed",
        reservation_id(2),
        0,
        "abandoned",
    )


@TOGETHER
async def test_the_house_completes_a_group_and_its_pending_seats_end(book: Book, together: bool):
    await write(book, together, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    await write(book, together, confirmed(1), confirmed(2), formed(1, 2, house=1))
    assert await counts(book) == ("formed", 1, 2, 1)
    await write(book, together, released(ReservationState.REVOKED, 3))
    assert await counts(book) == ("formed", 0, 2, 1)


async def test_groups_of_one_batch_do_not_mix(book: Book):
    await write(book, True, pool_of_groups(), opened(1, 5), seats(1, 1, 2), seats(5, 5))
    await write(book, True, confirmed(1), confirmed(5), released(EXPIRED, 2), seats(5, 6))
    assert await counts(book, 1) == ("open", 0, 1, 0)
    assert await counts(book, 5) == ("open", 1, 1, 0)


async def test_an_ordinary_reservation_beside_them_is_no_seat(book: Book):
    await write(book, True, pool_of_groups(), opened(1), seats(1, 1))
    await write(book, True, held(9), confirmed(9))
    assert await counts(book) == ("open", 1, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([seats(1, 4)], id="a seat too many"),
        pytest.param([formed(1, 3)], id="formed with a seat unpaid"),
        pytest.param([formed(1, 2)], id="formed with a seat missing"),
        pytest.param([failed(1, 1)], id="failed with another number of paid seats"),
        pytest.param([opened(1)], id="opened twice"),
        pytest.param([seats(7, 4)], id="a seat of no group"),
        pytest.param([passed(7, 4)], id="a role in no group"),
        pytest.param([refunded(1, 3)], id="a refund of what nobody paid"),
    ],
)
async def test_what_contradicts_a_group_is_put_aside(book: Book, wrong: list[events.Event]):
    await write(book, True, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    await write(book, True, confirmed(1), confirmed(2))
    before = (await book.rows("groups"), await book.states(), await book.units())
    applied = await book.write(*wrong)
    assert len(applied.quarantined) == 1
    assert (await book.rows("groups"), await book.states(), await book.units()) == before


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([seats(1, 4)], id="a seat"),
        pytest.param([formed(1, 3)], id="forming"),
        pytest.param([failed(1, 3)], id="failing"),
        pytest.param([passed(1, 2)], id="an opener"),
        pytest.param([refunded(1, 2)], id="a seat given back"),
    ],
)
async def test_after_it_formed_a_group_takes_nothing_more(book: Book, after: list[events.Event]):
    await write(book, True, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    await write(book, True, confirmed(1), confirmed(2), confirmed(3), formed(1, 3))
    before = (await book.rows("groups"), await book.states(), await book.units())
    applied = await book.write(*after)
    assert len(applied.quarantined) == 1
    assert (await book.rows("groups"), await book.states(), await book.units()) == before


async def test_in_one_batch_it_takes_nothing_more_either(book: Book):
    await write(book, True, pool_of_groups(), opened(1), seats(1, 1, 2, 3))
    pays = (confirmed(1), confirmed(2), confirmed(3), formed(1, 3))
    applied = await book.write(*pays, failed(1, 3), refunded(1, 2))
    assert len(applied.quarantined) == 2
    assert await counts(book) == ("formed", 0, 3, 0)
    assert await book.queries.refunds(0, 10) == []


async def test_nor_does_it_fail_with_another_number_of_paid_seats(book: Book):
    await write(book, True, pool_of_groups())
    applied = await book.write(opened(1), seats(1, 1, 2), confirmed(1), failed(1, 2))
    assert len(applied.quarantined) == 1
    assert await counts(book) == ("open", 1, 1, 0)


@pytest.mark.parametrize(
    ("event", "rest"),
    [
        (opened(7, 8, 9), [reservation_id(7), reservation_id(8), reservation_id(9)]),
    ],
)
async def test_only_the_rest_of_an_entry_is_applied(
    book: Book, event: events.GroupsOpened, rest: list[str]
):
    await book.write(pool_of_groups())
    whole = book.log.entry(event)
    book.log.seq = whole.seq - 1
    await book.write(*events.split(event)[:2])
    book.log.seq = whole.last_seq
    await book.apply([whole])
    assert [row.id for row in await book.rows("groups")] == rest


async def test_only_the_rest_of_refunds_and_of_served_seats_is_applied(book: Book):
    await write(book, True, pool_of_groups(rules=FORM), opened(1, 5, rules=FORM))
    await write(book, True, seats(1, 1, 2, 3, state=ORDERED), seats(5, 5, 6, 7, state=ORDERED))
    await write(book, True, *(seat_paid(number) for number in (1, 2, 3, 5, 6, 7)))
    await write(book, True, failed(5, 3))
    for event in (served(1, 1, 2, 3), refunded(5, 5, 6, 7, before=PAID)):
        whole = book.log.entry(event)
        book.log.seq = whole.seq - 1
        await book.write(*events.split(event)[:1])
        book.log.seq = whole.last_seq
        assert (await book.apply([whole])).quarantined == ()
    states = await book.states()
    assert [states[str(n)] for n in (1, 2, 3)] == ["confirmed"] * 3
    assert [states[str(n)] for n in (5, 6, 7)] == ["refunded"] * 3
    assert len(await book.queries.refunds(0, 10)) == 3
    assert await book.units() == (100, 0, 3, 0)
    assert digest(5) in (await group(book, 5)).id
