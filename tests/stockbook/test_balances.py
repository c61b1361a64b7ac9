"""What the pools say of units in campaign is shown beside what the book says."""

from __future__ import annotations

from sqlalchemy import insert

from flashstock.api.bodies_stock import stock_body
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import pools
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.balances import Balances
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import allocations
from tests.stockbook.shelves import Shelves
from tests.stockbook.test_identity import POOL


async def test_a_bundles_pool_counts_in_units_of_the_sku(shelves: Shelves):
    await shelves.receive(20)
    await shelves.receive(10, location="west")
    quantities = {"east": 8, "west": 2}
    set_aside = (StockState.AVAILABLE, StockState.CAMPAIGN)
    postings = tuple(Posting("cap", at, *set_aside, units) for at, units in quantities.items())
    rows = [
        {"pool": "sale", "sku": "cap", "location": at, "per_unit": 2, "quantity": units}
        for at, units in quantities.items()
    ]
    async with writing(shelves.engine) as connection:
        await post(connection, StockCommand("sale", MovementKind.ALLOCATE, postings), 1)
        await connection.execute(insert(allocations), rows)
        pool = {**POOL, "total": 5, "held": 1, "sold": 2, "locked": 1}
        await connection.execute(insert(pools), pool)
    stock = stock_body(await Balances(shelves.engine, shelves.clock).of_sku("cap"))
    assert stock["pools"] == [
        {
            "pool": "sale",
            "per_unit": 2,
            "campaign": 10,
            "shipped": 0,
            "held": 2,
            "sold": 4,
            "available": 2,
            "locked": 2,
        }
    ]
    assert (stock["company"]["campaign"], stock["company"]["available"]) == (10, 20)
