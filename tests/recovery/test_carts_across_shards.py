"""A cart that spans shards is held as a whole or not at all, whatever happens on the way."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from flashstock.errors import AlreadyCancelled, FlashstockError, SoldOut, Unavailable
from flashstock.model.ids import shard_of
from flashstock.model.states import ReservationState
from tests.recovery.campaign import FACTOR, draws
from tests.recovery.node import CALLER, Node, eventually, opened, settings_for

SHARDS = 3
POOLS = sorted(
    {shard_of(f"pool-{n}", SHARDS): f"pool-{n}" for n in range(20)}.values(),
    key=lambda pool: shard_of(pool, SHARDS),
)
"""One in each shard, in the order in which a cart takes them."""
FIRST, SECOND, LAST = POOLS
LINES = [(pool, 2) for pool in POOLS]


async def cart(node: Node, key: str = "cart") -> Any:
    return await node.carts.reserve(CALLER, key, "buyer", LINES)


async def refused(node: Node, key: str = "cart") -> str:
    with pytest.raises(FlashstockError) as refusal:
        await cart(node, key)
    return refusal.value.code


async def held(node: Node) -> list[int]:
    """Units held of each pool."""
    return [(await node.pools.get(pool)).counters.held for pool in POOLS]


async def open_pools(node: Node, *stocks: int, **rules: Any) -> None:
    for pool, stock in zip(POOLS, stocks, strict=True):
        await node.create(pool, stock, **rules)


async def restock(node: Node, pool: str, units: int, key: str = "more") -> None:
    await node.pools.adjust(CALLER, key, pool, units, 0)


def cut_off_after(node: Node, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """The process dies once so many shards have agreed."""
    store: Any = node.stores.store
    reserve, made = store.reserve_cart, 0

    async def die(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        if made > calls:
            raise Unavailable
        return await reserve(*arguments)

    monkeypatch.setattr(store, "reserve_cart", die)


async def is_whole(node: Node) -> None:
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report


async def test_one_that_was_refused_is_not_half_held_by_a_retry(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node, 5, 5, 1)
        for _ in range(2):
            assert await refused(node) == SoldOut.code
            assert await held(node) == [0, 0, 0]
        await restock(node, LAST, 5)
        for _ in range(2):
            assert await refused(node) == AlreadyCancelled.code
            assert await held(node) == [0, 0, 0]
        assert not (await cart(node, "new key")).replayed
        assert await held(node) == [2, 2, 2]
        assert (await cart(node, "new key")).replayed
        await is_whole(node)


@pytest.mark.parametrize("agreed", [1, 2])
async def test_one_that_was_cut_off_is_completed_by_a_retry(
    valkey_url, sqlite_url, monkeypatch, agreed
):
    settings = await settings_for(valkey_url, sqlite_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node, 5, 5, 5)
        with monkeypatch.context() as patch:
            cut_off_after(node, patch, agreed)
            await refused(node)
        assert sum(await held(node)) == 2 * agreed
        assert not (await cart(node)).replayed
        assert await held(node) == [2, 2, 2]
        await is_whole(node)


@pytest.mark.parametrize("agreed", [1, 2])
async def test_one_that_was_cut_off_is_given_back_by_a_refused_retry(
    valkey_url, sqlite_url, monkeypatch, agreed
):
    settings = await settings_for(valkey_url, sqlite_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node, 5, 5, 1)
        with monkeypatch.context() as patch:
            cut_off_after(node, patch, agreed)
            await refused(node)
        assert await refused(node) == SoldOut.code
        assert await held(node) == [0, 0, 0]
        await is_whole(node)


async def test_one_that_was_cut_off_and_expired_in_part_is_refused(
    valkey_url, sqlite_url, monkeypatch
):
    settings = await settings_for(valkey_url, sqlite_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node, 5, 5, 5, hold_ms=50)
        with monkeypatch.context() as patch:
            cut_off_after(node, patch, 1)
            await refused(node)

        async def is_over() -> bool:
            await node.stores.store.expire(FIRST, 8)
            return (await held(node))[0] == 0

        await eventually(is_over, "the first line expires")
        assert await refused(node) == AlreadyCancelled.code
        assert await held(node) == [0, 0, 0]
        await is_whole(node)


async def test_one_that_was_held_stays_so_whatever_becomes_of_its_lines(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url, shard_count=SHARDS)
    async with opened(settings) as node:
        await open_pools(node, 5, 5, 5)
        first, second, _ = (await cart(node)).reservations
        await node.reservations.cancel(first.id)
        await node.reservations.confirm(second.id, "pay")
        again = await cart(node)
        assert again.replayed
        assert [view.state for view in again.reservations] == [
            ReservationState.CANCELLED,
            ReservationState.CONFIRMED,
            ReservationState.HELD,
        ]
        assert await held(node) == [0, 0, 2]


@pytest.mark.timeout(120 * FACTOR)
async def test_many_with_one_key_agree(valkey_url, sqlite_url):
    """While stock comes and goes: whoever is told "held" holds all of it, to the end."""
    settings = await settings_for(valkey_url, sqlite_url, shard_count=SHARDS)
    outcomes = set()
    async with opened(settings) as node, opened(settings, writing=False) as other:
        await open_pools(node, 1_000, 1_000, 1)
        for name, random in draws(40):
            before = await held(node)

            async def ask(one: Node, name: str, random: Random) -> str:
                await asyncio.sleep(random.random() * 0.01)
                try:
                    await cart(one, name)
                except FlashstockError as error:
                    return error.code
                return "held"

            asked = [ask((node, other)[n % 2], name, random) for n in range(5)]
            await asyncio.gather(*asked, restock_late(node, random, name), return_exceptions=True)
            final = await ask(node, name, random)
            taken = [now - was for now, was in zip(await held(node), before, strict=True)]
            assert taken == ([2, 2, 2] if final == "held" else [0, 0, 0]), (name, final)
            left = (await node.pools.get(LAST)).counters.available
            await restock(node, LAST, 1 - left, f"back-{name}")
            outcomes.add(final)
        await is_whole(node)
    assert len(outcomes) > 1, outcomes


async def restock_late(node: Node, random: Random, name: str) -> None:
    await asyncio.sleep(random.random() * 0.015)
    await restock(node, LAST, 4, f"more-{name}")
