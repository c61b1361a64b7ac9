"""A primary that was a replica for a moment and took over a copy that was behind: connections,
scripts and the marker are as they were, and numbers that SQL has are given out once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from flashstock.config import Settings
from flashstock.errors import Recovering, Unavailable
from flashstock.hotpath import keys
from flashstock.hotpath.position import Position
from flashstock.model.states import Durability
from flashstock.writer import writer
from tests import servers
from tests.recovery.copies import become_a_copy, snapshot
from tests.recovery.node import Node, eventually, opened, raw, settings_for

POOL = "lamp"
STOCK = 100


@pytest.fixture
def primary() -> Iterator[servers.HotServer]:
    with servers.hot_server(servers.valkey_binary(), append_only=True) as server:
        yield server


async def is_whole(node: Node, held: set[str]) -> None:
    """Exactly these are held, in both stores."""
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report
    rows = await node.stores.queries.open_reservations(0, "", 1_000)
    assert {row.id for row in rows} == held
    pools = {pool.partition("~")[0] for pool in held}
    counted = [(await node.pools.get(pool)).counters.held for pool in pools]
    assert sum(counted) == len(held)


@asynccontextmanager
async def two_processes(settings: Settings) -> AsyncIterator[tuple[Node, Node]]:
    """Both open, with a pool; the writer is the first one's."""
    async with opened(settings) as node, opened(settings, writing=False) as other:
        await node.create(POOL, STOCK)
        yield node, other


async def decided(node: Node, lag: int) -> None:
    """Wait until the scripts are so many events ahead of SQL."""

    async def look() -> bool:
        return await node.lag(0) == lag

    await eventually(look, f"{lag} are decided")


async def noticed_by_the_writer(node: Node) -> None:
    """Let it write, and wait until the shard is open under another generation."""
    before = node.stores.store.generation(0)
    node.write()

    async def is_rebuilt() -> bool:
        return node.stores.store.generation(0) not in (before, None)

    await eventually(is_rebuilt, "the writer has noticed")


async def went_on(node: Node, other: Node, primary: servers.HotServer) -> set[str]:
    """SQL has two holds of one process. The server has lost them, and granted three of another
    process, which has not heard of those two; what SQL has is returned.
    """
    await other._background.stop()
    behind = snapshot(primary)
    held = {await node.hold(POOL, f"early-{number}") for number in range(2)}
    await node.stop_writing()
    become_a_copy(primary, behind)
    late = [asyncio.create_task(other.hold(POOL, f"late-{number}")) for number in range(3)]
    await decided(node, 1)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return held


async def test_whoever_knows_more_is_not_let_in(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        held = {await node.hold(POOL, "early")}
        behind = snapshot(primary)
        held |= {await node.hold(POOL, f"late-{number}") for number in range(3)}
        await node.is_applied()
        await node.stop_writing()
        become_a_copy(primary, behind)
        with pytest.raises(Recovering):
            await node.hold(POOL, "too late")
        await node.gate.opened(0)
        node.write()
        await is_whole(node, held)


async def test_a_hold_that_waits_is_not_acknowledged_for_another_ones_commit(primary, sqlite_url):
    """It was lost before SQL had it, and its number went to somebody else."""
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        await node.stop_writing()
        behind = snapshot(primary)
        lost = asyncio.create_task(node.hold(POOL, "lost"))
        await decided(node, 1)
        become_a_copy(primary, behind)
        granted = asyncio.create_task(other.hold(POOL, "granted"))
        await decided(other, 1)
        other.write()
        held = {await granted}
        with pytest.raises(Recovering):
            await lost
        await is_whole(other, held)


async def test_late_news_acknowledge_nothing_that_was_decided_since(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        await other._background.stop()
        behind = snapshot(primary)
        held = {await node.hold(POOL, "early")}
        await node.stop_writing()
        become_a_copy(primary, behind)
        late = asyncio.create_task(other.hold(POOL, "late"))
        await decided(node, 0)
        cursor = await node.stores.ledger.cursor(0)
        assert cursor is not None
        position = Position(cursor.seq, cursor.log_id)
        other.applied.announce(0, str(cursor.generation), position)
        with pytest.raises(Recovering):
            await late
        await noticed_by_the_writer(node)
        await is_whole(node, held)


async def test_what_was_decided_since_is_not_written_to_the_ledger(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        held = await went_on(node, other, primary)
        await noticed_by_the_writer(node)
        await is_whole(node, held)


async def test_what_the_writer_kept_back_is_not_mixed_with_what_took_its_place(
    primary, sqlite_url, monkeypatch
):
    """It waits for more where nobody waits for a commit, and the data set may change meanwhile."""
    monkeypatch.setattr(writer, "LINGER_MS", 60_000)
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        await node.create("fast", STOCK, durability=Durability.FAST)
        await node.is_applied()
        behind = snapshot(primary)
        await node.hold("fast", "lost")
        await eventually(partial(_reads_on, primary), "the writer waits for more")
        become_a_copy(primary, behind)
        held = {await other.hold("fast", f"kept-{number}") for number in range(2)}
        held.add(await other.hold(POOL, "in a hurry"))
        await is_whole(node, held)


async def test_what_was_decided_since_is_not_drained(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        held = await went_on(node, other, primary)
        with raw(primary.url) as client:
            client.script_flush()
        with pytest.raises((Recovering, Unavailable)):
            await node.hold(POOL, "meanwhile")
        await node.gate.opened(0)
        node.write()
        await is_whole(node, held)


async def test_nobody_who_starts_then_takes_it_for_whole(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        held = await went_on(node, other, primary)
        before = node.stores.store.generation(0)
        async with opened(settings) as newcomer:
            assert newcomer.stores.store.generation(0) != before
            await is_whole(newcomer, held)


async def test_whoever_missed_the_news_finds_the_own_decisions_in_the_log(primary, sqlite_url):
    settings = await settings_for(primary.url, sqlite_url)
    async with two_processes(settings) as (node, other):
        await other._background.stop()
        waiting = []
        for number in range(3):
            waiting.append(asyncio.create_task(other.hold(POOL, f"hold-{number}")))
            await eventually(partial(_all_wait, node, number + 1), "it is decided")
        await node.is_applied()
        assert not any(task.done() for task in waiting)
        await other._background._poll_cursors()
        held = {await task for task in waiting}
        await is_whole(node, held)


async def _reads_on(primary: servers.HotServer) -> bool:
    """Is a blocking read under way that begins after the newest entry?"""
    with raw(primary.url) as client:
        newest = client.xrevrange(keys.shard_log(0), count=1)[0]
        return (
            any(one["cmd"] == "xread" and "b" in one["flags"] for one in client.client_list())
            and newest[1].get("patient") == "1"
        )


async def _all_wait(node: Node, holds: int) -> bool:
    return (await node.pools.get(POOL)).counters.held == holds
