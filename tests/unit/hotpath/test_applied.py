"""Waiting for a commit."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.errors import Recovering, Unavailable
from flashstock.hotpath.applied import AppliedTracker
from tests.unit.hotpath.fakes import settle


def tracker(timeout_ms: int = 60_000) -> AppliedTracker:
    applied = AppliedTracker(2, timeout_ms)
    applied.open_shard(0, "1", 10)
    return applied


async def start(applied: AppliedTracker, *seqs: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(applied.wait(0, "1", seq)) for seq in seqs]
    await settle()
    return tasks


async def test_what_is_committed_is_not_waited_for():
    applied = tracker()
    await applied.wait(0, "1", 10)
    assert applied.waiting() == 0


async def test_an_announcement_wakes_everyone_up_to_it():
    applied = tracker()
    tasks = await start(applied, 13, 11, 12, 11)
    applied.announce(0, "1", 12)
    await settle()
    assert [task.done() for task in tasks] == [False, True, True, True]
    assert applied.waiting() == 1
    applied.announce(0, "1", 99)
    await asyncio.gather(*tasks)


async def test_old_news_changes_nothing():
    """Announcements may come twice, late, or in another order."""
    applied = tracker()
    tasks = await start(applied, 20)
    applied.announce(0, "1", 15)
    applied.announce(0, "1", 12)
    assert applied.applied(0) == 15
    applied.announce(0, "1", 20)
    applied.announce(0, "1", 19)
    assert applied.applied(0) == 20
    await asyncio.gather(*tasks)


async def test_a_missed_announcement_is_covered_by_the_next():
    applied = tracker()
    tasks = await start(applied, 11, 12)
    applied.announce(0, "1", 30)
    await asyncio.gather(*tasks)


async def test_shards_and_generations_are_kept_apart():
    applied = tracker()
    applied.open_shard(1, "1", 0)
    tasks = await start(applied, 11)
    applied.announce(1, "1", 50)
    applied.announce(0, "2", 50)
    applied.announce(0, "0", 50)
    await settle()
    assert not tasks[0].done()
    assert (applied.applied(0), applied.applied(1)) == (10, 50)
    applied.announce(0, "1", 11)
    await tasks[0]


async def test_a_new_generation_sends_everyone_away():
    applied = tracker()
    tasks = await start(applied, 11, 12)
    applied.open_shard(0, "2", 500)
    for task in tasks:
        with pytest.raises(Recovering):
            await task
    with pytest.raises(Recovering):
        await applied.wait(0, "1", 5)
    await applied.wait(0, "2", 500)
    assert applied.waiting() == 0


async def test_numbers_start_again_with_a_new_generation():
    """A rebuild may continue at an earlier number than the lost tail had."""
    applied = tracker()
    applied.announce(0, "1", 900)
    applied.open_shard(0, "2", 500)
    assert applied.applied(0) == 500


async def test_opening_again_under_the_same_generation_keeps_what_is_known():
    applied = tracker()
    tasks = await start(applied, 11, 12)
    applied.announce(0, "1", 11)
    applied.open_shard(0, "1", 5)
    await settle()
    assert applied.applied(0) == 11
    assert [task.done() for task in tasks] == [True, False]
    applied.open_shard(0, "1", 12)
    await asyncio.gather(*tasks)


async def test_a_closed_shard_sends_everyone_away():
    applied = tracker()
    tasks = await start(applied, 11)
    applied.close_shard(0)
    with pytest.raises(Recovering):
        await tasks[0]
    with pytest.raises(Recovering):
        await applied.wait(0, "1", 1)


async def test_nobody_waits_for_ever():
    applied = tracker(timeout_ms=1)
    with pytest.raises(Unavailable):
        await applied.wait(0, "1", 11)
    applied.announce(0, "1", 11)
    await applied.wait(0, "1", 11)


async def test_one_who_leaves_takes_nobody_along():
    applied = tracker()
    leaving, staying = await start(applied, 11, 11)
    leaving.cancel()
    await settle()
    applied.announce(0, "1", 11)
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
