"""A warning is raised once, cleared once, and told both times; what wavers does not ring twice."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import insert, select, update

from flashstock.ledger.engine import reading, writing
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import OpenMatters
from flashstock.ledger.tables import orders, pools, quarantine, refunds, reservations
from flashstock.model.group_records import cart_of_group
from flashstock.model.group_rules import GroupRules, GroupType
from flashstock.notices import warnings as module
from flashstock.notices.tables import webhook_events
from flashstock.notices.warnings import (
    EXPIRES_CLEARED_MS,
    EXPIRES_WITHIN_MS,
    REFUND_OVERDUE_MS,
    WarningKind,
    Warnings,
)
from flashstock.notices.watcher import Watcher
from flashstock.stockbook.tables import lots, skus, stock_balances
from tests.databases import NOW_MS


@pytest.fixture
def watcher(engine, clock):
    return Watcher(engine, clock)


@pytest.fixture
def write(engine):
    async def run(statement, *rows):
        async with writing(engine) as connection:
            await connection.execute(statement, *rows)

    return run


@pytest.fixture
def raised(engine):
    async def subjects(kind=None):
        rows = await Warnings(engine).page(0, 100, kind=kind, cleared=False)
        return [row.subject for row in rows]

    return subjects


async def told(engine):
    async with reading(engine) as connection:
        rows = (await connection.execute(select(webhook_events).order_by("number"))).all()
    return [(row.topic, json.loads(row.body)["data"]["subject"]) for row in rows]


def sku(name, safety_stock):
    return {"sku": name, "safety_stock": safety_stock, "created_at_ms": 1, "updated_at_ms": 1}


def balance(name, location, available):
    return {"sku": name, "location": location, "available": available, "on_hand": available}


def pool(name, total, held=0, sold=0, **others):
    row = {
        "id": name,
        "shard": 0,
        "sku": "S",
        "state": "open",
        "total": total,
        "held": held,
        "sold": sold,
        "locked": 0,
        "per_buyer_limit": 0,
        "hold_ms": 900_000,
        "starts_at_ms": 0,
        "ends_at_ms": 0,
        "durability": "ledger",
        "waves": "",
        "created_at_ms": NOW_MS,
        "updated_at_ms": NOW_MS,
    }
    return {**row, **others}


async def test_a_warning_is_raised_once_and_told_once(
    engine, watcher, write, raised, webhooks, receiver
):
    await webhooks.create(receiver.url, ["warning.*"])
    await write(insert(skus), [sku("A", 10), sku("B", 10), sku("C", 0)])
    await write(insert(stock_balances), [balance("A", "x", 4), balance("A", "y", 5)])
    await write(insert(stock_balances), [balance("B", "x", 9), balance("B", "y", 1)])
    assert await watcher.round() == 1
    assert await watcher.round() == 0
    assert await raised() == ["A"]
    assert await told(engine) == [("warning.raised", "A")]
    [warning] = await Warnings(engine).page(0, 10, kind=None, cleared=None)
    assert warning.detail == {"sku": "A", "available": 9, "safety_stock": 10}
    assert warning.raised_at_ms == NOW_MS


async def test_it_is_cleared_only_when_all_is_well_and_can_be_raised_again(
    engine, watcher, write, raised, webhooks, receiver, clock
):
    await webhooks.create(receiver.url, ["*"])
    await write(insert(skus), [sku("A", 10)])
    await write(insert(stock_balances), [balance("A", "x", 9)])
    for available, open_now in ((9, 1), (10, 1), (9, 1), (11, 0), (10, 0), (9, 1)):
        await write(update(stock_balances).values(available=available, on_hand=available))
        await watcher.round()
        clock.now_ms += 1
        assert len(await raised()) == open_now, available
    assert await told(engine) == [
        ("warning.raised", "A"),
        ("warning.cleared", "A"),
        ("warning.raised", "A"),
    ]
    [warning] = await Warnings(engine).page(0, 10, kind=None, cleared=None)
    assert (warning.raised_at_ms, warning.cleared_at_ms) == (NOW_MS + 5, None)


async def test_several_watchers_tell_once(engine, write, clock, webhooks, receiver):
    await webhooks.create(receiver.url, ["*"])
    await write(insert(skus), [sku(f"S{number}", 1) for number in range(5)])
    await asyncio.gather(*(Watcher(engine, clock).round() for _ in range(3)))
    await write(insert(stock_balances), [balance(f"S{number}", "x", 9) for number in range(5)])
    await asyncio.gather(*(Watcher(engine, clock).round() for _ in range(3)))
    heard = await told(engine)
    assert len(heard) == 10
    assert len(set(heard)) == 10


async def test_lots_about_to_expire(watcher, write, raised, clock):
    row = {
        "payload_digest": "",
        "sku": "A",
        "location": "x",
        "quantity": 5,
        "reference": "",
        "created_by": "",
        "created_at_ms": 1,
        "updated_at_ms": 1,
    }
    ends = {
        "late": NOW_MS + EXPIRES_WITHIN_MS,
        "soon": NOW_MS + EXPIRES_WITHIN_MS - 1,
        "over": NOW_MS - 1,
    }
    for name, until_ms in ends.items():
        open_lot = {**row, "command_id": name, "guaranteed_until_ms": until_ms, "state": "open"}
        await write(insert(lots), [open_lot])
    done = {**row, "command_id": "done", "guaranteed_until_ms": 5, "state": "released"}
    await write(insert(lots), [done])
    await watcher.round()
    assert sorted(await raised(WarningKind.LOT_EXPIRING)) == ["2", "3"]
    extended = update(lots).where(lots.c.id == 2)
    await write(extended.values(guaranteed_until_ms=NOW_MS + EXPIRES_CLEARED_MS - 1))
    await watcher.round()
    assert len(await raised()) == 2, "an extension by a moment is none"
    await write(extended.values(guaranteed_until_ms=NOW_MS + EXPIRES_CLEARED_MS))
    await watcher.round()
    assert await raised() == ["3"]


async def test_pools_that_are_nearly_sold_out(watcher, write, raised):
    await write(
        insert(pools),
        [
            pool("a", 100, held=45, sold=45),
            pool("b", 100, held=45, sold=44),
            pool("closed", 100, sold=100, state="closed"),
            pool("early", 100, sold=100, starts_at_ms=NOW_MS + 1),
            pool("empty", 0),
            pool("over", 100, sold=100, ends_at_ms=NOW_MS),
        ],
    )
    await watcher.round()
    assert await raised(WarningKind.NEARLY_SOLD_OUT) == ["a"]
    await write(update(pools).where(pools.c.id == "a").values(held=40))
    await watcher.round()
    assert await raised() == ["a"], "15 % are left: it wavers"
    await write(update(pools).where(pools.c.id == "a").values(held=39))
    await watcher.round()
    assert await raised() == []


async def test_refunds_that_are_due_too_long(watcher, write, raised, clock, engine):
    row = {"shard": 0, "pool": "p", "buyer": "b", "quantity": 1, "recorded_at_ms": NOW_MS}
    names = ("one", "two")
    await write(
        insert(refunds),
        [{**row, "reservation_id": f"p~{name}", "payment_ref": name} for name in names],
    )
    clock.now_ms += REFUND_OVERDUE_MS - 1
    await watcher.round()
    assert await raised() == []
    clock.now_ms += 1
    await watcher.round()
    assert await raised(WarningKind.REFUND_OVERDUE) == ["1", "2"]
    await write(update(refunds).where(refunds.c.id == 1).values(settled_at_ms=clock.now_ms))
    await watcher.round()
    assert await raised() == ["2"]
    matters = await Queries(engine).open_matters()
    assert (matters.refunds_due, matters.oldest_refund_at_ms) == (1, row["recorded_at_ms"])
    await write(update(refunds).values(settled_at_ms=clock.now_ms))
    assert await Queries(engine).open_matters() == OpenMatters(0, 0, None)


async def test_a_quarantine_that_is_not_empty(watcher, write, raised, engine):
    row = {
        "shard": 0,
        "generation": 1,
        "kind": "held",
        "pool": "p",
        "payload": "",
        "error": "",
        "recorded_at_ms": NOW_MS,
        "pool_paused": True,
    }
    await write(insert(quarantine), [{**row, "seq": 1}, {**row, "seq": 2}])
    await watcher.round()
    assert await raised(WarningKind.QUARANTINE_NOT_EMPTY) == ["ledger"]
    assert (await Queries(engine).open_matters()).quarantined_events == 2
    counts = await Warnings(engine).open_by_kind()
    assert counts == {kind.value: int(kind == "quarantine_not_empty") for kind in WarningKind}
    await write(update(quarantine).values(resolved_at_ms=NOW_MS))
    await watcher.round()
    assert await raised() == []
    assert (await Queries(engine).open_matters()).quarantined_events == 0
    assert set((await Warnings(engine).open_by_kind()).values()) == {0}


async def test_what_can_not_be_looked_at_is_not_called_well(watcher, write, raised, monkeypatch):
    await write(insert(pools), [pool(name, 1, sold=1) for name in "abc"])
    await watcher.round()
    monkeypatch.setattr(module, "AT_ONCE_MAX", 2)
    await watcher.round()
    assert await raised() == ["a", "b", "c"]
    await write(update(pools).where(pools.c.id == "a").values(state="closed"))
    await watcher.round()
    assert await raised() == ["b", "c"]


async def test_pages_of_warnings(engine, watcher, write):
    await write(insert(pools), [pool(name, 1, sold=1) for name in "abc"])
    await watcher.round()
    shown = Warnings(engine)
    first = await shown.page(0, 2, kind=None, cleared=None)
    rest = await shown.page(first[-1].id, 2, kind=None, cleared=None)
    assert [row.subject for row in first + rest] == ["a", "b", "c"]
    assert await shown.page(0, 9, kind=WarningKind.LOT_EXPIRING, cleared=None) == []
    assert await shown.page(0, 9, kind=None, cleared=True) == []


NEWCOMERS = GroupRules(size=2, life_ms=1_000, type=GroupType.NEWCOMERS).text


async def bought(write, number, buyer, pool, cart="", state="confirmed"):
    """A paid order of a buyer, as the writer leaves it; a later number is a later one."""
    reservation = f"{pool}~{number:016d}"
    at_ms = NOW_MS + number
    row = {
        "id": reservation,
        "shard": 0,
        "pool": pool,
        "buyer": buyer,
        "quantity": 1,
        "cart": cart,
        "state": state,
        "deadline_ms": at_ms,
        "created_at_ms": at_ms,
        "updated_at_ms": at_ms,
        "generation": 1,
        "seq": number,
        "payment_ref": f"pay-{number}",
        "order_index": number,
        "order_no": f"order-{number}",
        "returned": 0,
    }
    order = {
        "order_no": f"order-{number}",
        "reservation_id": reservation,
        "pool": pool,
        "buyer": buyer,
        "quantity": 1,
        "payment_ref": f"pay-{number}",
        "confirmed_at_ms": at_ms,
    }
    await write(insert(reservations), row)
    await write(insert(orders), order)
    return cart_of_group(f"{number:016d}")


async def test_members_who_had_bought_before_are_no_newcomers(
    watcher, write, raised, engine, clock
):
    await write(insert(pools), pool("plain", 1_000))
    await write(insert(pools), pool("new", 1_000, group_buy=NEWCOMERS))
    await bought(write, 1, "old", "plain")
    await bought(write, 2, "given-back", "plain", state="refunded")
    clock.now_ms = NOW_MS + 100
    group = await bought(write, 10, "old", "new", cart_of_group(f"{10:016d}"))
    await bought(write, 11, "old", "new", group)
    await bought(write, 12, "new", "new", group)
    await bought(write, 13, "given-back", "new", group)
    await bought(write, 14, "new", "plain")
    await bought(write, 15, "twice", "new", group)
    await bought(write, 16, "twice", "new", group)
    await watcher.round()
    assert await raised(WarningKind.NOT_A_NEWCOMER) == ["order-11"]
    (found,) = await Warnings(engine).page(0, 9, kind=WarningKind.NOT_A_NEWCOMER, cleared=None)
    assert found.detail["earlier_order_no"] == "order-1"
    assert (found.detail["buyer"], found.detail["group"]) == ("old", f"new~{10:016d}")
    sent = update(orders).where(orders.c.order_no == "order-11")
    await write(sent.values(finished_at_ms=NOW_MS))
    await watcher.round()
    assert await raised(WarningKind.NOT_A_NEWCOMER) == []
