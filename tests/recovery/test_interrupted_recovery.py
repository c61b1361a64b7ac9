"""A recovery that is cut off, or falls asleep, at any of its steps harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

import pytest

from flashstock.config import Settings
from flashstock.errors import Recovering
from tests.recovery.dump import dump
from tests.recovery.interrupted import Died, Interrupted, die
from tests.recovery.node import Node, eventually, meta, opened, raw, settings_for, unopened
from tests.recovery.story import DAMAGES, SLOW, Damage, Story, lose_everything, lose_the_scripts

STEPS_MIN: dict[Damage, int] = {lose_the_scripts: 10, lose_everything: 20}


class Dying:
    """Its recovery ends at the step, before or after it was done."""

    def __init__(self, node: Node, step: int, *, before: bool) -> None:
        self._node = node
        self._interrupted = Interrupted(node, step, die, before=before)

    async def begin(self) -> bool:
        """Recover up to the step; ``False`` where there are not so many steps."""
        try:
            await self._node.gate._open_or_recover(0)
        except Died:
            assert self._interrupted.fired
        return self._interrupted.fired

    async def end(self) -> None:
        """It is gone already."""


class Sleeping:
    """Its recovery stops at the step, and goes on when another one has long taken over."""

    def __init__(self, node: Node, step: int) -> None:
        self._asleep, self._awake = asyncio.Event(), asyncio.Event()
        self._interrupted = Interrupted(node, step, self._sleep, before=True)
        self._recovering = asyncio.ensure_future(node.gate._open_or_recover(0))

    async def _sleep(self) -> None:
        self._asleep.set()
        await self._awake.wait()

    async def begin(self) -> bool:
        asleep = asyncio.ensure_future(self._asleep.wait())
        await asyncio.wait({self._recovering, asleep}, return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()
        return self._interrupted.fired

    async def end(self) -> None:
        self._awake.set()
        with suppress(Recovering):
            await self._recovering


async def each_step(
    settings: Settings,
    damage: Damage,
    interrupt: Callable[[Node, int], Dying | Sleeping],
) -> None:
    """Play a chapter for every step a recovery has."""
    story, fired = Story(), True
    async with opened(settings) as node:
        await story.begin(node)
        await story.go_on(node)
    with raw(str(settings.redis_url)) as client:
        for step in count(1):
            if not fired:
                assert step > STEPS_MIN[damage]
                return
            damage(client)
            node = await unopened(settings)
            interrupted = interrupt(node, step)
            fired = await interrupted.begin()
            async with opened(settings) as successor:
                await story.is_whole(successor)
                await story.go_on(successor)
                before = dump(client, 0), client.hgetall(meta())
                await interrupted.end()
                assert (dump(client, 0), client.hgetall(meta())) == before
                if damage is lose_the_scripts:
                    await story.leave_a_tail(successor)
            await node.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_one_that_dies_at_any_step_is_finished_by_the_next(
    valkey_url, sqlite_url, nobody_waits, damage, before
):
    settings = await settings_for(valkey_url, sqlite_url)
    await each_step(settings, damage, lambda node, step: Dying(node, step, before=before))


@pytest.mark.parametrize("damage", DAMAGES)
async def test_one_that_was_overtaken_writes_nothing_more(
    valkey_url, sqlite_url, nobody_waits, damage
):
    settings = await settings_for(valkey_url, sqlite_url)
    await each_step(settings, damage, Sleeping)


async def agreed(nodes: list[Node]) -> bool:
    """Whether all nodes get through, under one generation.

    One that looks while another one finishes may recover once more, and then all meet there.
    """
    try:
        for node in nodes:
            await node.pools.get(SLOW)
    except Recovering:
        return False
    return len({node.stores.store.generation(0) for node in nodes}) == 1


@pytest.mark.parametrize("damage", DAMAGES)
async def test_several_at_once_agree(valkey_url, database_url, damage):
    settings = await settings_for(valkey_url, database_url)
    story = Story()
    async with opened(settings) as node:
        await story.begin(node)
        await story.go_on(node)
    for _ in range(3):
        with raw(valkey_url) as client:
            damage(client)
        nodes = [await unopened(settings) for _ in range(4)]
        try:
            await asyncio.gather(*(node.open() for node in nodes))
            nodes[0].write()
            await eventually(partial(agreed, nodes), "all are in the same data set")
            for node in nodes:
                await story.is_whole(node)
            await story.go_on(nodes[0])
            if damage is lose_the_scripts:
                await story.leave_a_tail(nodes[1])
        finally:
            await asyncio.gather(*(node.close() for node in nodes))
