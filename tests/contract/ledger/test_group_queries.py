"""What a rebuild and a comparison read of groups, page by page and by an index."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from sqlalchemy import text, update

from flashstock.ledger.engine import is_sqlite, reading, writing
from flashstock.ledger.group_queries import GroupSums
from flashstock.ledger.stored import BuyerTotal
from flashstock.ledger.tables import IS_SEAT, UNSETTLED, groups
from flashstock.model.events import Held, Hold
from flashstock.model.group_records import cart_of_group
from flashstock.model.rules import TIME_MS_MAX
from tests.contract.ledger.written_groups import (
    SEATS_END_MS,
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


@pytest.fixture
async def sale(book: Book) -> Book:
    """Group 1 is open, 11 formed long ago, 21 failed lately, 31 failed and owes a payment."""
    await book.write(pool_of_groups(), opened(1, 11, 21, 31))
    await book.write(seats(1, 1, 2), seats(11, 11, 12, 13), seats(21, 21), seats(31, 31, 32))
    await book.write(*(confirmed(number) for number in (2, 11, 12, 13, 21, 31, 32)))
    await book.write(formed(11, 3), failed(21, 1, at_ms=NOW_MS + 5))
    await book.write(refunded(21, 21, at_ms=NOW_MS + 6))
    await book.write(failed(31, 2, at_ms=NOW_MS + 7), refunded(31, 31, at_ms=NOW_MS + 8))
    return book


async def retained(book: Book, limit: int, since_ms: int) -> list[int]:
    found, after = [], ""
    while page := await book.queries.retained_groups(0, after, limit, since_ms):
        assert len(page) <= limit
        found += [int(row.digest) for row in page]
        after = page[-1].id
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_groups_to_settle_come_first_and_then_what_was_settled_lately(sale: Book, limit: int):
    assert await retained(sale, limit, NOW_MS) == [1, 31, 11, 21]
    assert await retained(sale, limit, NOW_MS + 1) == [1, 31, 21]
    assert await retained(sale, limit, TIME_MS_MAX) == [1, 31]
    assert await sale.queries.retained_groups(1, "", limit, 0) == []


@pytest.mark.parametrize("limit", [1, 2, 10])
async def test_seats_are_those_who_are_in_it(sale: Book, limit: int):
    found, after = [], ("", "")
    digests = [digest(1), digest(11), digest(31)]
    while page := await sale.queries.live_seats(digests, after, limit):
        found += [(row.cart, row.id, row.state) for row in page]
        after = (page[-1].cart, page[-1].id)
    assert found == [
        (cart_of_group(digest(group)), reservation_id(number), state)
        for group, number, state in [
            (1, 1, "held"),
            (1, 2, "confirmed"),
            (11, 11, "confirmed"),
            (11, 12, "confirmed"),
            (11, 13, "confirmed"),
            (31, 32, "confirmed"),
        ]
    ]


async def test_a_buyer_is_counted_once_a_group(sale: Book):
    cart = cart_of_group(digest(1))
    await sale.write(Held(POOL, NOW_MS, SEATS_END_MS, (Hold(digest(90), "buyer-2", 1, cart),)))
    other = cart_of_group(digest(41))
    twice = (Hold(digest(91), "buyer-2", 1, other), Hold(digest(92), "buyer-2", 1, other))
    await sale.write(opened(41), Held(POOL, NOW_MS, SEATS_END_MS, twice), cancelled(92))
    await sale.write(created(pool="other"))
    async with aclosing(sale.queries.buyer_groups(POOL, 100)) as pages:
        found: set[BuyerTotal] = set()
        async for page in pages:
            found |= {BuyerTotal(*row) for row in page}
    assert BuyerTotal("buyer-2", 2) in found
    assert BuyerTotal("buyer-11", 1) in found, "formed or not"
    assert "buyer-21" not in {total.buyer for total in found}, "who was refunded is in none"


async def test_groups_whose_seats_do_not_add_up_are_found(sale: Book):
    assert await sale.queries.group_sums(0) == []
    async with writing(sale.engine) as connection:
        where = groups.c.id == reservation_id(1)
        await connection.execute(update(groups).where(where).values(pending=2))
    wrong = GroupSums(reservation_id(1), 2, 1, 1, 1)
    assert not wrong.agree()
    assert await sale.queries.group_sums(0) == [wrong]
    assert await sale.queries.group_sums(0, POOL) == [wrong]
    assert await sale.queries.group_sums(0, "another") == []
    assert await sale.queries.group_sums(1) == []


@pytest.mark.parametrize(
    ("index", "statement"),
    [
        (
            "ix_reservations_seats",
            (
                f"SELECT * FROM reservations WHERE {IS_SEAT} AND cart IN ('g:1', 'g:2')"
                " AND (cart, id) > ('', '') ORDER BY cart, id LIMIT 100"
            ),
        ),
        (
            "ix_groups_unsettled",
            (
                f"SELECT * FROM groups WHERE shard = 0 AND ({UNSETTLED}) AND id > 'a'"
                " ORDER BY id LIMIT 100"
            ),
        ),
        (
            "ix_groups_updated_at_ms",
            (
                f"SELECT * FROM groups WHERE shard = 0 AND NOT ({UNSETTLED})"
                " AND (updated_at_ms, id) > (5, 'a') ORDER BY updated_at_ms, id LIMIT 100"
            ),
        ),
    ],
)
async def test_pages_read_no_more_than_they_return(book: Book, index: str, statement: str):
    explain = "EXPLAIN QUERY PLAN" if is_sqlite(book.engine) else "EXPLAIN"
    async with reading(book.engine) as connection:
        if not is_sqlite(book.engine):
            await connection.execute(text("SET enable_seqscan = off"))
        plan = (await connection.execute(text(f"{explain} {statement}"))).all()
    assert index in "\n".join(str(row) for row in plan)
