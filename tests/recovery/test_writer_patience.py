"""What nobody waits for is committed together; what somebody waits for, at once."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.model.states import Durability
from flashstock.writer import writer
from tests.recovery.node import eventually, opened, settings_for

LONG_MS = 60_000


@pytest.fixture
async def node(valkey_url, sqlite_url, monkeypatch):
    monkeypatch.setattr(writer, "LINGER_MS", LONG_MS)
    settings = await settings_for(valkey_url, sqlite_url)
    async with opened(settings) as opened_node:
        await opened_node.create("fast", 1_000, durability=Durability.FAST)
        await opened_node.create("ledger", 1_000)
        await opened_node.is_applied()
        yield opened_node


async def test_holds_that_nobody_waits_for_are_kept_back_until_somebody_does(node):
    before = node.writers[0].transactions
    for number in range(5):
        await node.hold("fast", f"patient-{number}")
    await asyncio.sleep(0.1)
    assert await node.lag(0) == 5
    await node.hold("ledger", "waiting")  # answered only when it is committed
    assert await node.lag(0) == 0
    assert node.writers[0].transactions == before + 1


async def test_a_full_transaction_is_not_kept_back(node):
    for number in range(writer.READ_ENTRIES_MAX):
        await node.hold("fast", f"patient-{number}")
    await node.is_applied()


async def test_what_lingers_is_committed_in_time(node, monkeypatch):
    monkeypatch.setattr(writer, "LINGER_MS", 30)
    await node.hold("fast", "patient")
    await node.is_applied()


async def test_a_writer_that_stops_keeps_nothing_back(node):
    await node.hold("fast", "patient")
    node.writers[0].stop()
    await node.hold("fast", "another")  # an entry that wakes it

    async def applied() -> bool:
        return bool(await node.lag(0) == 0)

    await eventually(applied, "all is committed")
