"""A recovery keeps its lease however long one of its steps takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flashstock.errors import FlashstockError, Recovering
from flashstock.recovery import lease, recover
from flashstock.writer import writer
from tests.recovery.node import Node, eventually, opened, raw, settings_for, unopened

LEASE_MS = 2_000
"""Renewed four times as often: a machine that is busy for a moment must not lose it."""
STEP_S = 5.0


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "LEASE_MS", LEASE_MS)


async def test_a_step_longer_than_the_lease_starts_nothing_over(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("pool", 10)
        await node.hold("pool", "kept")
        await node.is_applied()
        generation = await node.stores.ledger.opened_generation(0)
    with raw(valkey_url) as client:
        client.flushall()
    first, second = await unopened(settings), await unopened(settings)
    try:
        queries: Any = first.stores.queries
        read, begun = queries.pools, asyncio.Event()

        async def read_slowly(*arguments: Any, **options: Any) -> Any:
            begun.set()
            await asyncio.sleep(STEP_S)
            return await read(*arguments, **options)

        queries.pools = read_slowly
        opening = asyncio.ensure_future(first.open())
        await begun.wait()
        await asyncio.wait_for(second.open(), 60)
        await opening
        for node in (first, second):
            assert node.stores.store.generation(0) == str(generation + 1)
        assert await second.stores.ledger.opened_generation(0) == generation + 1
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_one_that_has_lost_it_hears_of_it_before_its_next_step(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings, writing=False) as node:
        ledger = node.stores.ledger
        cursor = await ledger.bump_generation(0, 2, 2, "slow", LEASE_MS)
        assert cursor is not None
        kept = lease.KeptLease(ledger, 0, cursor.generation, "slow", LEASE_MS)
        await kept.renew()

        async def is_taken() -> Any:
            return await ledger.bump_generation(0, 3, 2, "next", LEASE_MS)

        await eventually(is_taken, "the lease runs out")
        with pytest.raises(Recovering):
            async with kept.renewed():
                pass


@pytest.mark.parametrize("nodes", [2, 5])
async def test_one_loss_makes_one_generation(valkey_url, database_url, nodes):
    """However many see it, at whatever moment, and look again while one of them is at it."""
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("pool", 10)
        await node.hold("pool", "kept")
        await node.is_applied()
    for damage in ("script_flush", "flushall", "script_flush"):
        found = [await unopened(settings) for _ in range(nodes)]
        generation = await found[0].stores.ledger.opened_generation(0)
        try:
            with raw(valkey_url) as client:
                getattr(client, damage)()
            for one in found[1:]:
                _late_to_act(one)
            await asyncio.gather(*(one.open() for one in found))
            assert {one.stores.store.generation(0) for one in found} == {str(generation + 1)}
        finally:
            await asyncio.gather(*(one.close() for one in found))


def _late_to_act(node: Node) -> None:
    """Between what it saw and what it does, another one's recovery may have ended."""
    ledger: Any = node.stores.ledger
    bump = ledger.bump_generation

    async def bump_late(*arguments: Any) -> Any:
        await asyncio.sleep(0.1)
        return await bump(*arguments)

    ledger.bump_generation = bump_late


async def test_an_idle_shard_notices_that_its_recoverer_died(valkey_url, sqlite_url, monkeypatch):
    """It won the generation and nothing else: the scripts of the one before go on working."""
    monkeypatch.setattr(writer, "LOOK_INTERVAL_S", 0.1)
    monkeypatch.setattr(writer, "STANDSTILL_S", 0.2)
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as node:
        await node.create("pool", 10)
        await node.is_applied()
        assert await node.stores.ledger.bump_generation(0, 2, 2, "dead", 1)

        async def is_open_again() -> bool:
            return await node.stores.ledger.opened_generation(0) == 4

        await eventually(is_open_again, "it is opened under the next generation")
        assert await eventually(lambda: _answers(node), "it answers")


async def _answers(node: Node) -> bool:
    try:
        return bool(await node.hold("pool", "after"))
    except FlashstockError:
        return False
