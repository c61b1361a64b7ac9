"""What SQL answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import text

from flashstock.ledger.engine import is_sqlite, reading
from flashstock.ledger.stored import BuyerTotal, PoolSums, ShardTotals
from flashstock.ledger.tables import EARLY_MS, ENDED_EARLY
from flashstock.model.events import Held, Hold
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState
from tests.contract.ledger.written_log import (
    DEADLINE_MS,
    NOW_MS,
    POOL,
    Book,
    cancelled,
    confirmed,
    created,
    digest,
    held,
    refund_due,
    released,
    reservation_id,
    returned,
)

DAY_MS = 86_400_000
LOW, HIGH = "pool-1", "pool-1.5"
"""Names of which one begins with the other: ranges of ids must not run into each other."""


async def _pages(read: Callable[[str], Awaitable[Sequence[Any]]]) -> list[str]:
    """The ids of all pages, read one after the other."""
    ids: list[str] = []
    while page := await read(ids[-1] if ids else ""):
        ids += [row.id for row in page]
        assert len(ids) == len(set(ids)), "a page came twice"
    return ids


async def _retained(book: Book, limit: int, since_ms: int, after: str) -> Sequence[Any]:
    return await book.queries.retained_reservations(0, after, limit, since_ms)


@pytest.fixture
async def sale(book: Book) -> Book:
    """Two pools: 1 to 9 are held in the first; then 1, 2, 3 sold, 4 cancelled, 5 expired."""
    await book.write(created(), created(pool=HIGH))
    await book.write(held(*range(5, 10), quantity=2), held(*range(1, 5), quantity=2))
    await book.write(held(1, 2, pool=HIGH))
    for number in (1, 2, 3):
        await book.write(confirmed(number, quantity=2, at_ms=NOW_MS + number))
    await book.write(returned(2, 1, 1, complete=False), returned(3, 2, 2, complete=True))
    await book.write(cancelled(4, quantity=2, at_ms=NOW_MS + 40))
    await book.write(released(ReservationState.EXPIRED, 5, quantity=2, at_ms=NOW_MS + 50))
    return book


async def test_pools_come_in_pages(sale: Book):
    assert [p.id for p in await sale.queries.pools("", 1)] == [LOW]
    assert [p.id for p in await sale.queries.pools(LOW, 9)] == [HIGH]
    assert await sale.queries.pools(HIGH, 9) == []
    assert [p.id for p in await sale.queries.pools("", 9, shard=0)] == [LOW, HIGH]
    assert await sale.queries.pools("", 9, shard=1) == []
    assert await sale.queries.pool("nowhere") is None


async def test_a_reservation_is_the_record_the_scripts_keep(sale: Book):
    assert await sale.queries.reservation_record(reservation_id(2)) == ReservationRecord(
        state=ReservationState.CONFIRMED,
        deadline_ms=DEADLINE_MS,
        generation=1,
        seq=8,
        quantity=2,
        pool=POOL,
        buyer="buyer-2",
        cart="",
        payment_ref="payment-2",
        order_index=2,
        returned=1,
    )
    assert await sale.queries.reservation_record(reservation_id(77)) is None


async def test_reservations_by_their_ids(sale: Book):
    wanted = [reservation_id(1), reservation_id(2, HIGH), reservation_id(77)]
    found = await sale.queries.reservations_by_ids(wanted)
    assert sorted(row.id for row in found) == sorted(wanted[:2])
    assert await sale.queries.reservations_by_ids([]) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_open_holds_come_oldest_first(sale: Book, limit: int):
    ids = await _pages(lambda after: sale.queries.open_reservations(0, after, limit))
    wanted = [reservation_id(n) for n in (6, 7, 8, 9)]
    assert ids == [*wanted, reservation_id(1, HIGH), reservation_id(2, HIGH)]
    assert await sale.queries.open_reservations(1, "", limit) == []


async def test_open_holds_end_where_the_caller_says(sale: Book):
    everything = await sale.queries.open_reservations(0, "", 100)
    up_to = everything[0].seq
    early = [row.id for row in everything if row.seq <= up_to]
    assert 0 < len(early) < len(everything)
    found = await sale.queries.open_reservations(0, "", 100, up_to)
    assert [row.id for row in found] == early
    assert await sale.queries.open_reservations(0, early[-1], 100, up_to) == []


async def test_a_page_goes_on_after_a_hold_that_has_ended_since(sale: Book):
    (first, second) = await sale.queries.open_reservations(0, "", 2)
    await sale.write(cancelled(6, 7, quantity=2))
    rest = await sale.queries.open_reservations(0, second.id, 2)
    assert [row.id for row in (first, second, *rest)] == [reservation_id(n) for n in (6, 7, 8, 9)]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_what_redis_must_know_is_held_or_ended_lately(sale: Book, limit: int):
    late = DEADLINE_MS + 10 * EARLY_MS
    await sale.write(
        cancelled(6, quantity=2, at_ms=late + 40),
        released(ReservationState.EXPIRED, 7, quantity=2, at_ms=late + 50),
    )
    ids = await _pages(lambda after: sale.queries.retained_reservations(0, after, limit, late + 2))
    open_ids = [row.id for row in await sale.queries.open_reservations(0, "", 100)]
    assert ids == [*open_ids, reservation_id(6), reservation_id(7)]


async def test_what_ended_at_the_very_moment_is_retained(sale: Book):
    late = DEADLINE_MS + 10 * EARLY_MS
    await sale.write(cancelled(6, quantity=2, at_ms=late))
    rows = await sale.queries.retained_reservations(0, "", 100, late)
    assert reservation_id(6) in {row.id for row in rows}
    rows = await sale.queries.retained_reservations(0, "", 100, late + 1)
    assert reservation_id(6) not in {row.id for row in rows}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "length_ms", [EARLY_MS // 2, EARLY_MS - 1, EARLY_MS, EARLY_MS + 1, 7 * DAY_MS]
)
async def test_what_ended_before_its_deadline_is_retained_as_from_then(
    sale: Book, limit: int, length_ms: int
):
    """As Redis does: it forgets by the deadline."""
    numbers = (21, 22, 23)
    for number in numbers:
        hold = Hold(digest(number), "buyer", 1, "")
        await sale.write(Held(POOL, NOW_MS, NOW_MS + 60 + length_ms, (hold,)))
    await sale.write(cancelled(21, 22, at_ms=NOW_MS + 60), confirmed(23, at_ms=NOW_MS + 60))
    wanted = {reservation_id(number) for number in numbers}
    for since, found in ((NOW_MS + 59 + length_ms, wanted), (NOW_MS + 60 + length_ms, set())):
        ids = await _pages(partial(_retained, sale, limit, since))
        assert wanted & set(ids) == found


@pytest.mark.parametrize("limit", [1, 4, 100])
async def test_all_that_a_pool_ever_granted(sale: Book, limit: int):
    ids = await _pages(lambda after: sale.queries.pool_reservations(LOW, after, limit))
    assert ids == [reservation_id(n) for n in range(1, 10)]


async def test_buyers_count_for_what_they_hold_or_bought_and_kept(sale: Book):
    again = Hold("z" * 16, "buyer-1", 5, "")
    await sale.write(Held(POOL, NOW_MS, DEADLINE_MS, (again,)))
    wanted = [
        BuyerTotal("buyer-1", 7),
        BuyerTotal("buyer-2", 1),
        *(BuyerTotal(f"buyer-{n}", 2) for n in (6, 7, 8, 9)),
    ]
    for page in (1, 2, 100):
        pages = [rows async for rows in sale.queries.buyer_totals(POOL, page)]
        assert all(0 < len(rows) <= page for rows in pages)
        assert sorted(chain.from_iterable(pages)) == wanted
    assert [rows async for rows in sale.queries.buyer_totals("nowhere", 2)] == []


async def test_sums_are_computed_from_the_reservations(sale: Book):
    expected = [PoolSums(LOW, 8, 3, 8, 3), PoolSums(HIGH, 2, 0, 2, 0)]
    assert await sale.queries.pool_sums(0) == expected
    assert await sale.queries.pool_sums(0, LOW) == expected[:1]
    assert all(one.agree() for one in expected)
    assert not replace(expected[0], sold=4).agree()
    assert await sale.queries.pool_sums(1) == []


async def test_totals_of_shards(sale: Book):
    assert await sale.queries.shard_totals() == [ShardTotals(0, 2, 200, 10, 3, 0, 0)]


async def test_the_latest_order_index(sale: Book):
    assert await sale.queries.max_order_index(0) == 3
    assert await sale.queries.max_order_index(1) == 0


async def test_a_payment_has_one_owner(sale: Book):
    await sale.write(refund_due(4, payment_ref="late", quantity=2))
    assert await sale.queries.payment_owner("payment-1") == reservation_id(1)
    assert await sale.queries.payment_owner("late") == reservation_id(4)
    assert await sale.queries.payment_owner("never") is None


async def test_a_refund_outside_the_log_is_recorded_once(sale: Book):
    record = await sale.queries.reservation_record(reservation_id(5))
    assert record is not None
    for _ in range(2):
        await sale.queries.record_refund(record, reservation_id(5), "forgotten")
    await sale.write(refund_due(5, payment_ref="forgotten", quantity=2))
    (owed,) = await sale.queries.refunds(0, 10)
    assert (owed.shard, owed.reservation_id, owed.pool) == (0, reservation_id(5), POOL)
    assert (owed.buyer, owed.quantity, owed.recorded_at_ms) == ("buyer-5", 2, NOW_MS)
    assert await sale.queries.refunds(owed.id, 10) == []


async def test_a_refund_is_settled_once(sale: Book):
    for number in (4, 5):
        await sale.write(refund_due(number, payment_ref=f"late-{number}", quantity=2))
    first, second = await sale.queries.refunds(0, 10)
    assert not await sale.queries.has_refund("never")
    assert await sale.queries.has_refund("late-4")
    settled = replace(
        first, settled_at_ms=NOW_MS, settled_by="ops-key", settled_reference="transfer-1"
    )
    done = await sale.queries.settle_refund(first.id, "transfer-1", "ops-key")
    assert done == (settled, True)
    again = await sale.queries.settle_refund(first.id, "transfer-2", "other-key")
    assert again == (settled, False), "the first to say so stays"
    assert await sale.queries.has_refund("late-4"), "settled is still refunded"
    assert await sale.queries.settle_refund(second.id + 1, "transfer-1", "ops-key") is None
    assert await sale.queries.refunds(0, 10, settled=True) == [settled]
    assert await sale.queries.refunds(0, 10, settled=False) == [second]
    assert await sale.queries.refunds(first.id, 10, settled=True) == []
    assert await sale.queries.refunds(0, 10) == [settled, second]


async def test_a_setting_is_set_once(book: Book):
    queries = book.queries
    assert await queries.setting("secret") is None
    assert await queries.put_setting_once("secret", "first") == "first"
    assert await queries.put_setting_once("secret", "second") == "first"
    assert await queries.setting("secret") == "first"


async def test_api_keys_are_added_and_revoked_once(book: Book):
    queries = book.queries
    assert await queries.add_api_key("shop", "storefront", "hash-1", 5)
    assert not await queries.add_api_key("shop", "ops", "hash-2", 6)
    assert not await queries.add_api_key("other", "ops", "hash-1", 6)
    assert await queries.revoke_api_key("shop", 7)
    assert not await queries.revoke_api_key("shop", 8)
    assert not await queries.revoke_api_key("nobody", 8)
    (key,) = await queries.api_keys()
    assert (key.name, key.role, key.key_hash) == ("shop", "storefront", "hash-1")
    assert (key.created_at_ms, key.revoked_at_ms) == (5, 7)


@pytest.mark.parametrize(
    ("index", "where", "order"),
    [
        ("ix_reservations_held", "state = 'held' AND (seq, id) > (5, 'a')", "seq, id"),
        (
            "ix_reservations_ended",
            "state <> 'held' AND (updated_at_ms, id) > (5, 'a')",
            "updated_at_ms, id",
        ),
        (
            "ix_reservations_ended_early",
            f"{ENDED_EARLY} AND (deadline_ms, id) > (5, 'a')",
            "deadline_ms, id",
        ),
    ],
)
async def test_pages_of_a_recovery_read_no_more_than_they_return(
    book: Book, index: str, where: str, order: str
):
    statement = f"SELECT * FROM reservations WHERE shard = 0 AND {where} ORDER BY {order} LIMIT 100"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite(book.engine) else "EXPLAIN"
    async with reading(book.engine) as connection:
        if not is_sqlite(book.engine):
            await connection.execute(text("SET enable_seqscan = off"))
            await connection.execute(text("SET enable_sort = off"))
        plan = (await connection.execute(text(f"{explain} {statement}"))).all()
    described = "\n".join(str(row) for row in plan)
    assert index in described
    assert "sort" not in described.lower().replace("enable_sort", "")
    assert "TEMP B-TREE" not in described
