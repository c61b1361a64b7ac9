"""What posting promises, and that the database itself refuses what must never be."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from flashstock.errors import (
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    UnknownLocation,
    UnknownSku,
)
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.posting import lock_book, post
from flashstock.stockbook.tables import stock_balances, stock_commands, stock_flows
from tests.stockbook.shelves import Shelves

K, S = MovementKind, StockState
COMMIT = (S.AVAILABLE, S.COMMITTED, 4)


async def test_a_sale_walks_through_the_states(shelves: Shelves):
    await shelves.receive(10)
    assert await shelves.post(K.COMMIT, COMMIT)
    assert await shelves.balance() == {"on_hand": 10, "available": 6, "committed": 4}
    await shelves.post(K.SHIP, (S.COMMITTED, S.CUSTOMER, 4))
    assert await shelves.balance() == {"on_hand": 6, "available": 6}
    await shelves.post(K.RETURN, (S.CUSTOMER, S.UNSELLABLE, 1))
    assert await shelves.balance() == {"on_hand": 7, "available": 6, "unsellable": 1}


async def test_a_repetition_moves_nothing(shelves: Shelves):
    await shelves.receive(10)
    assert await shelves.post(K.COMMIT, COMMIT, id="once")
    assert not await shelves.post(K.COMMIT, COMMIT, id="once")
    with pytest.raises(IdempotencyMismatch):
        await shelves.post(K.COMMIT, (S.AVAILABLE, S.COMMITTED, 5), id="once")
    assert (await shelves.balance())["committed"] == 4


async def test_what_was_asked_counts_where_the_postings_were_worked_out(shelves: Shelves):
    await shelves.receive(10)
    assert await shelves.post(K.COMMIT, COMMIT, id="once", asked="4 caps")
    assert not await shelves.post(K.COMMIT, (S.RESERVED, S.COMMITTED, 4), id="once", asked="4 caps")
    with pytest.raises(IdempotencyMismatch):
        await shelves.post(K.COMMIT, COMMIT, id="once", asked="5 caps")


async def test_nothing_moves_where_one_posting_lacks_units(shelves: Shelves):
    await shelves.receive(10)
    with pytest.raises(InsufficientStock) as refusal:
        await shelves.post(K.COMMIT, (S.AVAILABLE, S.COMMITTED, 4), (S.RESERVED, S.COMMITTED, 1))
    assert refusal.value.extra == {
        "sku": "cap",
        "location": "east",
        "stock_state": "reserved",
        "balance": 0,
    }
    assert await shelves.balance() == {"on_hand": 10, "available": 10}


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        (K.COMMIT, (S.LOCKED, S.COMMITTED, 1), "takes nothing"),
        (K.COMMIT, (S.UNSELLABLE, S.COMMITTED, 1), "takes nothing"),
        (K.SHIP, (S.AVAILABLE, S.CUSTOMER, 1), "takes nothing"),
        (K.RECEIVE, (S.SUPPLIER, S.CUSTOMER, 1), "takes nothing"),
        (K.RECEIVE, (S.SUPPLIER, S.AVAILABLE, 0), "moves 1 to"),
        (K.RECEIVE, (S.SUPPLIER, S.AVAILABLE, 1_000_000_001), "moves 1 to"),
        (K.TRANSFER_OUT, (S.OUTGOING, S.TRANSFER, 1), "does not set out"),
    ],
)
async def test_what_no_kind_knows_is_refused(shelves: Shelves, kind, row, words):
    await shelves.receive(10)
    with pytest.raises(InvalidRequest, match=words):
        await shelves.post(kind, row)


async def test_a_movement_has_postings_and_not_too_many(shelves: Shelves):
    with pytest.raises(InvalidRequest, match="1 to 1000"):
        await shelves.post(K.RECEIVE)
    with pytest.raises(InvalidRequest, match="1 to 1000"):
        await shelves.post(K.RECEIVE, *[(S.SUPPLIER, S.AVAILABLE, 1)] * 1001)


async def test_only_what_is_known_is_kept(shelves: Shelves):
    with pytest.raises(UnknownSku):
        await shelves.receive(1, sku="hat")
    with pytest.raises(UnknownLocation):
        await shelves.receive(1, location="north")


async def test_virtual_stock_stays_within_its_allowance(shelves: Shelves):
    await shelves.receive(1)
    with pytest.raises(InsufficientStock, match="may have 0 virtual"):
        await shelves.post(K.VIRTUAL, (S.VIRTUAL, S.AVAILABLE, 1))


async def test_numbers_follow_the_order_of_commits_under_many_writers(shelves: Shelves):
    """Each writer reads the last number it can see before it commits: none may appear later."""
    await shelves.receive(1000)

    async def write(index: int) -> None:
        for turn in range(5):
            posting = Posting("cap", "east", S.AVAILABLE, S.COMMITTED, 1)
            command = StockCommand(f"{index}-{turn}", K.COMMIT, (posting,))
            async with writing(shelves.engine, 20_000) as connection:
                await post(connection, command, 1)
                newest = await connection.scalar(select(func.max(stock_commands.c.number)))
                counted = await connection.scalar(select(func.count()).select_from(stock_commands))
                ours = await connection.scalar(
                    select(stock_commands.c.number).where(stock_commands.c.id == command.id)
                )
                assert newest == ours
                assert counted == newest
                await asyncio.sleep(0)

    await asyncio.gather(*(write(index) for index in range(8)))
    assert await shelves.balance() == {"on_hand": 1000, "available": 960, "committed": 40}


async def test_writers_can_not_take_more_than_there_is(shelves: Shelves):
    await shelves.receive(10)

    async def take() -> bool:
        try:
            return await shelves.post(K.COMMIT, (S.AVAILABLE, S.COMMITTED, 3))
        except InsufficientStock:
            return False

    taken = await asyncio.gather(*(take() for _ in range(8)))
    assert sum(taken) == 3
    assert await shelves.balance() == {"on_hand": 10, "available": 1, "committed": 9}


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE stock_movements SET quantity = quantity + 1",
        "DELETE FROM stock_movements",
        "UPDATE stock_commands SET reason = 'other'",
        "DELETE FROM stock_commands",
    ],
)
async def test_the_database_refuses_to_edit_a_movement(shelves: Shelves, edit: str):
    await shelves.receive(10)
    with pytest.raises(IntegrityError, match="append-only"):
        async with writing(shelves.engine) as connection:
            await connection.execute(text(edit))


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE stock_balances SET available = -1, on_hand = -1",
        "UPDATE stock_balances SET committed = -1, available = 11",
        "UPDATE stock_balances SET on_hand = -1, virtual = 11, virtual_allowance = 99",
        "UPDATE stock_balances SET available = available + 1",
        "UPDATE stock_balances SET on_hand = on_hand + 1",
        "UPDATE stock_balances SET virtual = 1, available = 11",
        "UPDATE stock_balances SET in_transit = -1",
        "UPDATE stock_flows SET quantity = 0",
    ],
)
async def test_the_database_refuses_a_balance_that_can_not_be(shelves: Shelves, edit: str):
    await shelves.receive(10)
    with pytest.raises(IntegrityError):
        async with writing(shelves.engine) as connection:
            await connection.execute(text(edit))


async def test_a_writer_without_the_lock_loses_no_unit(shelves: Shelves, monkeypatch):
    """The second line of defence: what is added to a balance is added by the database."""
    await shelves.receive(10)
    if shelves.engine.dialect.name == "sqlite":
        return  # a second writer can't even begin

    async def no_lock(connection) -> None:
        pass

    monkeypatch.setattr("flashstock.stockbook.posting.lock_book", no_lock)
    first = StockCommand("a", K.COMMIT, (Posting("cap", "east", S.AVAILABLE, S.COMMITTED, 6),))
    second = StockCommand("b", K.COMMIT, (Posting("cap", "east", S.AVAILABLE, S.COMMITTED, 3),))
    third = StockCommand("c", K.COMMIT, (Posting("cap", "east", S.AVAILABLE, S.COMMITTED, 5),))
    async with writing(shelves.engine) as one:
        await post(one, first, 1)
        waiting = [
            asyncio.create_task(_post_alone(shelves, command)) for command in (second, third)
        ]
        await asyncio.sleep(0.1)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(outcome, IntegrityError) for outcome in outcomes) == 1
    assert (await shelves.balance())["committed"] == 9


async def _post_alone(shelves: Shelves, command: StockCommand) -> bool:
    async with writing(shelves.engine) as connection:
        return await post(connection, command, 1)


async def test_flows_book_the_same_units_again(shelves: Shelves):
    await shelves.receive(10)
    await shelves.receive(5)
    await shelves.post(K.COMMIT, COMMIT)
    async with reading(shelves.engine) as connection:
        rows = (await connection.execute(select(stock_flows).order_by(stock_flows.c.source))).all()
        seq = await connection.scalar(select(stock_balances.c.changed_seq))
    assert [tuple(row) for row in rows] == [
        ("east", "available", "committed", 4),
        ("east", "supplier", "available", 15),
    ]
    assert seq == 3


async def test_the_lock_is_let_go_with_the_transaction(shelves: Shelves):
    for _ in range(2):
        async with writing(shelves.engine) as connection:
            await lock_book(connection)
