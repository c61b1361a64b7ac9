"""Publication on a real database: whoever follows his cursor knows what a full one says."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from flashstock.channels import publication, tables
from flashstock.channels.marks import mark
from flashstock.channels.policies import COMPANY
from flashstock.channels.publication import Position, parse_position
from flashstock.channels.shares import ChannelMode, Policy
from flashstock.errors import InvalidRequest, UnknownChannel, UnknownLocation, UnknownSku
from flashstock.ledger.engine import create_engine, reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS
from tests.channels.mall import Mall
from tests.dispatch.yard import address_of, patiently

SKUS = ["cap", "mug", "pen"]
SHOPS = ["app", "web"]


async def test_only_what_changed_is_published(mall):
    await mall.shop("app")
    await mall.receive("cap", 5)
    await mall.receive("mug", 3)
    heard, cursor = await mall.published("app")
    assert heard == {"cap": 5, "mug": 3}
    assert await mall.published("app", cursor) == ({}, cursor)
    await mall.sell("mug", 1)
    heard, later = await mall.published("app", cursor)
    assert heard == {"mug": 2}
    assert await mall.published("app", cursor) == (heard, later), "a page is as stable as its stock"
    with pytest.raises(UnknownChannel):
        await mall.published("nowhere")


async def test_what_changes_numbers_without_moving_units_is_published_again(mall):
    await mall.shop("app", 1)
    await mall.receive("cap", 10)
    await mall.receive("mug", 10)
    _, cursor = await mall.published("app")

    async def news() -> dict[str, int]:
        nonlocal cursor
        found: tuple[dict[str, int], str] = await mall.published("app", cursor)
        cursor = found[1]
        return found[0]

    await mall.shop("web", 1)
    assert await news() == {"cap": 5, "mug": 5}
    await mall.shop("web", 4)
    assert await news() == {"cap": 2, "mug": 2}
    await mall.shop("web", 4)
    assert await news() == {}, "nothing changed"
    await mall.keep_back("mug", 5)
    assert await news() == {"mug": 1}
    await mall.policies.put("cap", Policy(weights={"app": 36}))
    assert await news() == {"cap": 9}
    await mall.policies.put(COMPANY, Policy(ChannelMode.SHARED))
    assert await news() == {"cap": 9, "mug": 5}
    assert await mall.policies.drop("cap")
    assert not await mall.policies.drop("cap")
    assert await news() == {"cap": 10}
    await mall.policies.put(COMPANY, Policy(ChannelMode.SHARED, 10, "web"))
    assert await news() == {"cap": 10, "mug": 0}
    await mall.shop("app", 1, locations=("west",))
    assert await news() == {"cap": 0, "mug": 0}


async def test_a_policy_names_what_is_there(mall):
    await mall.shop("app")
    with pytest.raises(UnknownChannel):
        await mall.policies.put(COMPANY, Policy(low_water=3, low_water_channel="web"))
    with pytest.raises(UnknownChannel):
        await mall.policies.put("cap", Policy(weights={"web": 3}))
    with pytest.raises(UnknownSku):
        await mall.policies.put("pen", Policy())
    with pytest.raises(UnknownLocation):
        await mall.shop("app", locations=("moon",))
    assert await mall.policies.get("cap") is None
    assert await mall.policies.get(COMPANY) == Policy()
    await mall.policies.put("cap", Policy(ChannelMode.WEIGHT, 3, "app", {"app": 2}))
    wanted = Policy(ChannelMode.WEIGHT, 3, "app", {"app": 2})
    assert await mall.policies.page("", 10) == [("cap", wanted)]


@pytest.mark.parametrize("text", ["x", "====", "MS4y", "LTE", "MS4yLg==", "é", "MDEuMC4", "A" * 99])
def test_a_cursor_that_is_not_ours_is_refused(text):
    with pytest.raises(InvalidRequest):
        parse_position(text)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_a_cursor_reads_as_it_was_written(seq, number, sku):
    position = Position(seq, number, sku.replace("\0", ""))
    assert parse_position(position.text()) == position


async def test_skus_that_moved_together_are_told_page_by_page(mall):
    await mall.furnish("cap", "mug", "pen")
    await mall.shop("app")
    await mall.receive_together(2, "cap", "mug", "pen")
    _, cursor = await mall.published("app")
    await mall.receive_together(1, "cap", "mug", "pen")
    heard, _ = await mall.published("app", cursor, limit=1)
    assert heard == {"cap": 3, "mug": 3, "pen": 3}


async def test_what_happens_while_a_page_is_read_is_told_on_the_next_one(mall, monkeypatch):
    """Between the marks and the movements that a page reads, there is a mark and a movement."""
    await mall.shop("app")
    await mall.receive("cap", 9)
    await mall.receive("mug", 9)
    _, cursor = await mall.published("app")
    read_movements = publication._moved
    other = Mall(create_engine(address_of(mall.engine)))

    async def meanwhile(*asked):
        monkeypatch.setattr(publication, "_moved", read_movements)
        await other.keep_back("cap", 4)
        await other.receive("mug", 1)
        return await read_movements(*asked)

    monkeypatch.setattr(publication, "_moved", meanwhile)
    heard, cursor = await mall.published("app", cursor)
    await other.engine.dispose()
    news, _ = await mall.published("app", cursor)
    assert {**heard, **news} == {"cap": 5, "mug": 10}


async def test_marks_and_movements_have_one_order(mall):
    """Nobody moves stock between a mark and its commit."""
    await mall.receive("cap", 1)
    async with writing(mall.engine, BOOK_TIMEOUT_MS) as connection:
        await mark(connection, ["cap"], 1)
        moving = asyncio.create_task(patiently(partial(mall.receive, "mug", 1)))
        await asyncio.sleep(0.2)
        assert not moving.done()
    await moving


operations = st.one_of(
    st.tuples(st.just("receive"), st.sampled_from(SKUS), st.sampled_from(["east", "west"])),
    st.tuples(st.just("sell"), st.sampled_from(SKUS), st.sampled_from(["east", "west"])),
    st.tuples(st.just("shop"), st.sampled_from(SHOPS), st.sampled_from(["weight", "shared"])),
    st.tuples(st.just("place"), st.sampled_from(SHOPS), st.sampled_from(["east", "west"])),
    st.tuples(st.just("policy"), st.sampled_from([*SKUS, ""]), st.sampled_from(SHOPS)),
    st.tuples(st.just("drop"), st.sampled_from(SKUS), st.just("")),
    st.tuples(st.just("safety"), st.sampled_from(SKUS), st.just("")),
    st.tuples(st.just("poll"), st.sampled_from(SHOPS), st.just("")),
)


async def carry_out(mall: Mall, operation: tuple[str, str, str], number: int, prefix: str) -> None:
    what, who, where = operation
    sku = f"{prefix}{who}" if who else COMPANY
    match what:
        case "receive":
            await mall.receive(sku, number, where)
        case "sell":
            await mall.receive(sku, number + 1, where)
            await mall.sell(sku, number, where)
        case "shop":
            await mall.shop(who, number, mode=where, priority=number % 3)
        case "place":
            await mall.shop(who, number, locations=(where,))
        case "policy":
            mode = [None, ChannelMode.WEIGHT, ChannelMode.SHARED][number % 3]
            await mall.policies.put(sku, Policy(mode, number, where, {where: number}))
        case "drop":
            await mall.policies.drop(sku)
        case "safety":
            await mall.keep_back(sku, number)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(operations, st.integers(1, 9)), max_size=25))
async def test_whoever_follows_ends_with_what_a_full_publication_says(mall, steps):
    async with writing(mall.engine) as connection:
        for table in (tables.channels, tables.channel_locations, tables.publication_policies):
            await connection.execute(delete(table))
        # Marks stay: their numbers never start again in a database that is used.
    prefix = f"{mall.fresh()}-"
    await mall.furnish(*(f"{prefix}{sku}" for sku in SKUS))
    for shop in SHOPS:
        await mall.shop(shop)
    following: dict[str, tuple[dict[str, int], str]] = {shop: ({}, "") for shop in SHOPS}
    for operation, number in steps:
        if operation[0] == "poll":
            heard, cursor = following[operation[1]]
            page = await mall.publication.page(operation[1], cursor, number)
            assert len(page.items) <= number
            news = {item.sku: item.quantity for item in page.items}
            following[operation[1]] = ({**heard, **news}, page.cursor)
        else:
            await carry_out(mall, operation, number, prefix)
    for shop, (heard, cursor) in following.items():
        news, _ = await mall.published(shop, cursor, limit=2)
        full, _ = await mall.published(shop)
        assert {**heard, **news} == full
        for sku in SKUS:
            shown = (await mall.publication.of_sku(f"{prefix}{sku}"))[shop]
            assert full.get(f"{prefix}{sku}", 0) == shown


async def test_whoever_follows_while_everything_changes_misses_nothing(mall):
    for shop in SHOPS:
        await mall.shop(shop)
    names = [f"sku-{number}" for number in range(6)]
    await mall.furnish(*names)
    busy = [Mall(create_engine(address_of(mall.engine))) for _ in range(3)]
    done = asyncio.Event()
    heard: dict[str, int] = {}
    cursor = ""

    async def trade(worker: Mall, number: int) -> None:
        for turn in range(12):
            sku = names[(number * 5 + turn * 7) % 6]
            mode = ["weight", "shared"][turn % 2]
            await patiently(partial(worker.receive, sku, 1 + turn % 3))
            if turn % 4 == number:
                await patiently(partial(worker.shop, "web", 1 + turn, mode=mode))
            if turn % 5 == number:
                await patiently(partial(worker.keep_back, names[turn % 6], turn))

    async def follow() -> None:
        nonlocal cursor
        while not done.is_set():
            page = await patiently(partial(mall.publication.page, "app", cursor, 2))
            heard.update({item.sku: item.quantity for item in page.items})
            cursor = page.cursor

    following = asyncio.create_task(follow())
    await asyncio.gather(*(trade(worker, number) for number, worker in enumerate(busy)))
    done.set()
    await following
    for worker in busy:
        await worker.engine.dispose()
    news, _ = await mall.published("app", cursor)
    full, _ = await mall.published("app")
    assert {**heard, **news} == full
    async with reading(mall.engine) as connection:
        rows = await connection.execute(select(func.count()).select_from(tables.publication_marks))
        assert rows.scalar_one() > 1
