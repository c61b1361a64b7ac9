"""What SQL answers to those who watch groups."""

from __future__ import annotations

from flashstock.ledger.group_watch_queries import GroupCounts
from flashstock.model.ids import ReservationId
from flashstock.model.states import ReservationState
from tests.contract.ledger.written_groups import (
    failed,
    formed,
    opened,
    pool_of_groups,
    refunded,
    seats,
)
from tests.contract.ledger.written_log import (
    NOW_MS,
    POOL,
    Book,
    cancelled,
    confirmed,
    created,
    digest,
    reservation_id,
)

OTHER = "pool-0"


async def test_pools_that_sell_to_groups_and_how_their_groups_went(book: Book):
    await book.write(pool_of_groups(), created(pool=OTHER))
    await book.write(opened(1), seats(1, 1), opened(2), seats(2, 2), opened(3), seats(3, 3))
    await book.write(confirmed(2, quantity=1), formed(2, 1, 2), failed(3, 0))
    found = await book.queries.pools_of_groups("", 10)
    assert [pool.id for pool in found] == [POOL]
    assert await book.queries.pools_of_groups(POOL, 10) == []
    assert await book.queries.group_counts([POOL, OTHER]) == {POOL: GroupCounts(1, 1, 1)}
    assert await book.queries.group_counts([OTHER]) == {}


async def test_every_seat_of_a_group_stays_on_record_with_its_times(book: Book):
    await book.write(pool_of_groups(), opened(1), seats(1, 1), opened(9), seats(9, 9))
    await book.write(seats(1, 2, 3, at_ms=NOW_MS + 1), confirmed(1, quantity=1), cancelled(3))
    await book.write(failed(1, 1, at_ms=NOW_MS + 5), refunded(1, 1, at_ms=NOW_MS + 5))
    group = ReservationId(POOL, digest(1))
    found = {seat.reservation.id: seat for seat in await book.queries.seats_on_record(group, 10)}
    assert set(found) == {reservation_id(number) for number in (1, 2, 3)}
    paid, left = found[reservation_id(1)], found[reservation_id(3)]
    assert paid.reservation.state is ReservationState.REFUNDED
    assert (paid.paid_at_ms, paid.refund_due_at_ms) == (NOW_MS, NOW_MS + 5)
    assert paid.refund_settled_at_ms is None
    assert (left.paid_at_ms, left.refund_due_at_ms) == (None, None)
    assert left.reservation.state is ReservationState.CANCELLED
    assert len(await book.queries.seats_on_record(group, 2)) == 2
    assert await book.queries.group_times(group) == (NOW_MS, NOW_MS + 5)
    assert await book.queries.group_times(ReservationId(POOL, digest(2))) is None
