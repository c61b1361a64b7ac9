"""The check from outside finds every kind of wrong, and nothing where all is right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from flashstock.client import Pool, Refund, Reservation
from flashstock.errors import UnknownPool, UnknownReservation
from flashstock.model.states import PoolState, ReservationState
from flashstock.report.audit import Acknowledged, PoolExpected, audit

SOLD = Reservation(
    "p~1", "p", "ann", 2, ReservationState.CONFIRMED, payment_ref="pay", order_no="42"
)
PROMISE = Acknowledged(
    "p~1", "p", "ann", 2, frozenset({ReservationState.CONFIRMED}), "pay", "42", returned=0
)
POOL = Pool("p", PoolState.OPEN, total=10, available=5, held=3, sold=2)
EXPECTED = PoolExpected("p", total=10, held=3, sold=2)


@dataclass
class Books:
    reservations: dict[str, Reservation] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    due: list[Refund] = field(default_factory=list)

    async def reservation(self, reservation: str) -> Reservation:
        if reservation not in self.reservations:
            raise UnknownReservation
        return self.reservations[reservation]

    async def pool(self, pool: str) -> Pool:
        if pool not in self.pools:
            raise UnknownPool
        return self.pools[pool]

    async def refunds(self) -> AsyncIterator[Refund]:
        for refund in self.due:
            yield refund


async def test_books_that_agree():
    books = Books({"p~1": SOLD}, {"p": POOL})
    findings = await audit(books, [PROMISE], [EXPECTED])
    assert (findings.reservations_checked, findings.pools_checked) == (1, 1)
    assert (findings.lost, findings.oversold, findings.differences) == (0, 0, 0)
    assert findings.described == []


async def test_an_acknowledged_reservation_that_is_gone_is_lost():
    findings = await audit(Books(pools={"p": POOL}), [PROMISE], [EXPECTED])
    assert (findings.lost, findings.differences) == (1, 1)


@pytest.mark.parametrize("state", sorted(set(ReservationState) - {ReservationState.CONFIRMED}))
async def test_a_paid_reservation_in_another_state_differs_and_if_unsold_is_lost(state):
    books = Books({"p~1": msgspec.structs.replace(SOLD, state=state)}, {"p": POOL})
    findings = await audit(books, [PROMISE], [])
    assert findings.differences == 1
    assert findings.lost == (0 if state is ReservationState.RETURNED else 1)


@pytest.mark.parametrize(
    "change",
    [
        {"pool": "q"},
        {"buyer": "bob"},
        {"quantity": 3},
        {"payment_ref": "other"},
        {"payment_ref": None},
        {"order_no": "43"},
        {"returned": 1},
    ],
)
async def test_every_member_is_compared(change):
    books = Books({"p~1": msgspec.structs.replace(SOLD, **change)}, {"p": POOL})
    findings = await audit(books, [PROMISE], [])
    assert (findings.differences, findings.lost) == (1, 0)


@pytest.mark.parametrize(
    ("change", "oversold"),
    [
        ({"sold": 3, "available": 4}, 0),
        ({"held": 2, "available": 6}, 0),
        ({"available": 4}, 0),
        ({"total": 11, "available": 6}, 0),
        ({"sold": 12, "available": -5}, 5),
    ],
)
async def test_every_counter_of_a_pool_is_compared(change, oversold):
    books = Books({"p~1": SOLD}, {"p": msgspec.structs.replace(POOL, **change)})
    findings = await audit(books, [], [EXPECTED])
    assert findings.differences >= 1
    assert findings.oversold == oversold


async def test_a_pool_that_is_gone_differs():
    assert (await audit(Books(), [], [EXPECTED])).differences == 1


@pytest.mark.parametrize(("sold", "differences"), [(4, 0), (5, 0), (1, 0), (6, 1)])
async def test_what_no_answer_told_may_differ_by_so_much_and_no_more(sold, differences):
    found = msgspec.structs.replace(POOL, sold=sold, available=7 - sold)
    expected = PoolExpected("p", total=10, held=3, sold=2, uncertain=3)
    findings = await audit(Books(pools={"p": found}), [], [expected])
    assert findings.differences == differences


@pytest.mark.parametrize(
    ("on_record", "lost", "differences"),
    [
        ([Refund(1, "p~1", "p", 2, "pay")], 0, 0),
        ([], 1, 1),
        ([Refund(1, "p~1", "p", 2, "other")], 1, 1),
        ([Refund(1, "p~9", "p", 2, "pay")], 0, 1),
    ],
)
async def test_a_payment_that_is_due_back_must_be_on_record(on_record, lost, differences):
    findings = await audit(Books(due=on_record), [], [], {"pay": "p~1"})
    assert (findings.lost, findings.differences) == (lost, differences)


async def test_words_are_bounded_and_counts_are_not():
    promises = [
        Acknowledged(f"p~{n}", "p", "b", 1, frozenset(ReservationState)) for n in range(200)
    ]
    findings = await audit(Books(), promises, [], concurrency=7)
    assert findings.lost == 200
    assert len(findings.described) == 50
