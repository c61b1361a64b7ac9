"""The proof notices whatever is wrong: each rule is broken once, behind the book's back."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import writing
from flashstock.ledger.tables import pools
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.identity import Identity, IdentityReport
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import allocations
from tests.stockbook.shelves import Shelves

S, K = StockState, MovementKind
POOL = {
    "id": "sale",
    "shard": 0,
    "sku": "cap",
    "state": "open",
    "total": 4,
    "held": 0,
    "sold": 0,
    "locked": 0,
    "per_buyer_limit": 0,
    "hold_ms": 1,
    "starts_at_ms": 0,
    "ends_at_ms": 0,
    "durability": "ledger",
    "waves": "",
    "created_at_ms": 1,
    "updated_at_ms": 1,
}


@pytest.fixture
async def filled(shelves: Shelves) -> Shelves:
    """Goods at both locations, four units in a pool, five on their way."""
    await shelves.receive(20)
    await shelves.receive(10, location="west")
    out = (S.AVAILABLE, S.OUTGOING, 5)
    await shelves.post(K.TRANSFER_OUT, out)
    leave = Posting("cap", "east", S.OUTGOING, S.TRANSFER, 5)
    come = Posting("cap", "west", S.TRANSFER, S.IN_TRANSIT, 5)
    set_aside = Posting("cap", "east", S.AVAILABLE, S.CAMPAIGN, 4)
    row = {"pool": "sale", "sku": "cap", "location": "east", "per_unit": 1, "quantity": 4}
    async with writing(shelves.engine) as connection:
        await post(connection, StockCommand("go", K.TRANSFER_OUT, (leave, come)), 1)
        await post(connection, StockCommand("sale", K.ALLOCATE, (set_aside,)), 1)
        await connection.execute(insert(allocations), row)
        await connection.execute(insert(pools), POOL)
    return shelves


async def prove(engine: AsyncEngine, *, deep: bool = False) -> IdentityReport:
    flights = PoolFlights(engine, lambda _: 0, lambda: 1)
    return await Identity(engine, flights, lambda: 1).prove(deep=deep)


async def test_what_is_right_is_found_right(filled: Shelves):
    report = await prove(filled.engine, deep=True)
    assert report.ok, report.differences
    assert set(report.invariants) == {
        "identity",
        "company",
        "flows",
        "campaign",
        "pools",
        "fold",
        "flows_fold",
    }
    assert (report.from_outside, report.to_outside) == (30, 0)
    assert (report.company["on_hand"], report.company["in_transit"]) == (25, 5)
    east, west = report.locations
    assert east.units["available"] == east.expected_available == 11
    assert west.units["available"] == west.expected_available == 10


async def test_an_empty_book_is_right(shelves: Shelves):
    report = await prove(shelves.engine, deep=True)
    assert report.ok
    assert report.company["on_hand"] == 0


@pytest.mark.parametrize(
    ("edit", "broken"),
    [
        # Units out of nothing, in a way that no CHECK of one row can see.
        ("UPDATE stock_balances SET available = available + 1, on_hand = on_hand + 1", "company"),
        ("UPDATE stock_balances SET available = available + 1, on_hand = on_hand + 1", "flows"),
        ("UPDATE stock_balances SET in_transit = in_transit + 1", "company"),
        (
            "UPDATE stock_balances SET available = available - 1, locked = locked + 1",
            "flows",
        ),
        ("UPDATE stock_balances SET campaign = 3, available = 12 WHERE campaign = 4", "campaign"),
        ("UPDATE allocations SET quantity = 5", "campaign"),
        ("UPDATE allocations SET location = 'west'", "campaign"),
        ("UPDATE allocations SET shipped = 1", "pools"),
        ("UPDATE pools SET total = 5", "pools"),
        ("UPDATE pools SET total = 3", "pools"),
        ("DELETE FROM pools", "pools"),
        ("UPDATE stock_flows SET quantity = quantity + 1 WHERE target = 'transfer'", "flows"),
        ("DELETE FROM stock_flows WHERE source = 'supplier'", "company"),
    ],
)
async def test_the_proof_finds_what_is_wrong(filled: Shelves, edit: str, broken: str):
    async with writing(filled.engine) as connection:
        await connection.execute(text(edit))
    report = await prove(filled.engine)
    assert not report.ok
    assert report.invariants[broken] is False
    assert report.differences_count >= 1
    assert broken in {one.invariant for one in report.differences}


@pytest.mark.parametrize(
    "forged",
    [
        # As many units as before, at the same location, of other SKUs: no sum can show it.
        "UPDATE stock_balances SET sku = 'mug' WHERE location = 'west'",
        # A movement that never changed a balance.
        (
            "INSERT INTO stock_movements (command, sku, location, source, target, quantity)"
            " VALUES (1, 'cap', 'east', 'supplier', 'available', 1)"
        ),
    ],
)
async def test_only_the_deep_proof_sees_what_sums_can_not(filled: Shelves, forged: str):
    async with writing(filled.engine) as connection:
        await connection.execute(text(forged))
    assert (await prove(filled.engine)).invariants["flows"] is True
    report = await prove(filled.engine, deep=True)
    assert report.invariants["fold"] is False
    assert "fold" in {one.invariant for one in report.differences}


async def test_a_flow_that_no_movement_made_is_found(filled: Shelves):
    forged = "INSERT INTO stock_flows VALUES ('east', 'available', 'locked', 2), ('east',"
    async with writing(filled.engine) as connection:
        await connection.execute(text(f"{forged} 'locked', 'available', 2)"))
    assert (await prove(filled.engine)).ok
    report = await prove(filled.engine, deep=True)
    assert report.invariants == {**report.invariants, "flows_fold": False, "fold": True}


async def test_the_identity_of_a_location_is_noticed_without_its_check(filled: Shelves):
    """A database restored by hand may have lost its CHECKs."""
    if filled.engine.dialect.name != "sqlite":
        return
    async with writing(filled.engine) as connection:
        await connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        await connection.execute(text("UPDATE stock_balances SET available = available + 1"))
        await connection.execute(text("PRAGMA ignore_check_constraints = OFF"))
    report = await prove(filled.engine)
    assert report.invariants["identity"] is False
    east = next(one for one in report.locations if one.location == "east")
    assert (east.units["available"], east.expected_available) == (12, 11)


async def test_many_differences_are_counted_and_some_shown(filled: Shelves):
    row = {"sku": "cap", "location": "east", "per_unit": 1, "quantity": 0, "shipped": 1}
    async with writing(filled.engine) as connection:
        rows = [{**row, "pool": f"sale-{n:03d}"} for n in range(120)]
        await connection.execute(insert(allocations), rows)
        await connection.execute(update(pools).values(total=9))
    report = await prove(filled.engine)
    assert report.differences_count == 100
    assert len(report.differences) == 100
