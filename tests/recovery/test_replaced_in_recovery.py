"""A recovery whose server is replaced under its hands: what comes back lacks what it wrote last."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from flashstock.errors import Recovering, Unavailable
from tests import servers
from tests.recovery.copies import Snapshot, append_only_file, become_a_copy, snapshot
from tests.recovery.interrupted import Interrupted
from tests.recovery.node import Node, opened, raw, settings_for, unopened
from tests.recovery.story import DAMAGES, Damage, Story, lose_everything, lose_the_scripts

WRITES_MIN: dict[Damage, int] = {lose_the_scripts: 2, lose_everything: 5}


@pytest.fixture
def primary() -> Iterator[servers.HotServer]:
    with servers.hot_server(servers.valkey_binary(), append_only=True) as server:
        yield server


pytestmark = pytest.mark.usefixtures("nobody_waits")


class Losing(Interrupted, ABC):
    """The server loses what the node's step wrote that was the ``at``-th to write anything; before
    the next step, whatever that is.
    """

    def __init__(self, node: Node, at: int, server: servers.HotServer) -> None:
        self._server = server
        self._seen = self._look()
        super().__init__(node, at, self._lose, before=True)

    async def _counted(self, step: Callable[[], Awaitable[Any]]) -> Any:
        if not self.fired and (found := self._look()) != self._seen:
            self.steps += 1
            if self.steps == self._at:
                await self._lose()
            self._seen = found
        return await step()

    @abstractmethod
    def _look(self) -> Any:
        """What the server has, in a form that can be compared."""

    @abstractmethod
    async def _lose(self) -> None: ...


class LosingItsTail(Losing):
    """It is killed, and comes back with a shorter file."""

    def _look(self) -> int:
        return append_only_file(self._server).stat().st_size

    async def _lose(self) -> None:
        self._server.kill()
        os.truncate(append_only_file(self._server), self._seen)
        self._server.start()


class BecomingACopy(Losing):
    """It is the replica of one that is behind for a moment, and keeps its scripts."""

    def _look(self) -> Snapshot:
        return snapshot(self._server)

    async def _lose(self) -> None:
        become_a_copy(self._server, self._seen)


@pytest.mark.parametrize("losing", [LosingItsTail, BecomingACopy])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_write_that_is_lost_at_any_step_takes_nothing_along(
    primary, sqlite_url, damage, losing
):
    """Also between the last write of a rebuild and the opening: half a data set is not opened."""
    settings = await settings_for(primary.url, sqlite_url)
    story, fired = Story(), True
    async with opened(settings) as node:
        await story.begin(node)
        await story.go_on(node)
    for write in count(1):
        if not fired:
            assert write > WRITES_MIN[damage]
            return
        with raw(primary.url) as client:
            damage(client)
        node = await unopened(settings)
        lost = losing(node, write, primary)
        with suppress(Recovering, Unavailable):
            await node.gate._open_or_recover(0)
        fired = lost.fired
        await node.close()
        async with opened(settings) as successor:
            await story.is_whole(successor)
            await story.go_on(successor)
            if damage is lose_the_scripts:
                await story.leave_a_tail(successor)
