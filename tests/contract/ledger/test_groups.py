"""What SQL adds up for a limit: a pool's reservations, or those of its whole group."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from flashstock.ledger.proof import Proof
from flashstock.ledger.stored import BuyerTotal
from flashstock.model.events import Held, Hold
from tests.contract.ledger.written_log import DEADLINE_MS, NOW_MS, Book, created, digest

NAMES = ("kit", "kit.a", "kit:a", "kit:b", "kit0", "kitten:a")


@pytest.fixture
async def sale(book: Book) -> Book:
    """One unit more in each pool, all of one buyer."""
    for number, pool in enumerate(NAMES, start=1):
        hold = Hold(digest(number), "ann", 10**number, "")
        await book.write(created(total=10**7, pool=pool), Held(pool, NOW_MS, DEADLINE_MS, (hold,)))
    return book


@pytest.mark.parametrize(
    ("pool", "units"),
    [("kit", 10), ("kit.a", 100), ("kit:a", 11_000), ("kit:b", 11_000), ("kitten:a", 10**6)],
)
async def test_buyers_are_added_up_where_the_limit_is_counted(sale: Book, pool: str, units: int):
    async with aclosing(sale.queries.buyer_totals(pool, 100)) as pages:
        assert [page async for page in pages] == [[BuyerTotal("ann", units)]]


async def test_a_buyer_of_one_pool_is_known_in_all_of_the_group(sale: Book):
    await sale.write(
        Held("kit:a", NOW_MS, DEADLINE_MS, (Hold(digest(50), "bob", 1, ""),)),
        Held("kit0", NOW_MS, DEADLINE_MS, (Hold(digest(51), "eve", 1, ""),)),
    )
    proof = Proof(sale.engine)
    asked = ["ann", "bob", "eve", "nobody"]
    assert await proof.buyers_with_units("kit:b", asked) == {"ann", "bob"}
    assert await proof.buyers_with_units("kit", asked) == {"ann"}


async def test_what_belongs_to_a_pool_stays_its_own(sale: Book):
    rows = await sale.queries.pool_reservations("kit:a", "", 100)
    assert [row.pool for row in rows] == ["kit:a"]
    rows = await sale.queries.pool_reservations("kit", "", 100)
    assert [row.pool for row in rows] == ["kit"]
