"""A recovery whose server is replaced under its hands: what comes back lacks what it wrote last."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flashstock.errors import Recovering, Unavailable
from flashstock.recovery import recover
from tests import servers
from tests.recovery.copies import append_only_file
from tests.recovery.interrupted import Interrupted
from tests.recovery.node import Node, opened, raw, settings_for, unopened
from tests.recovery.story import DAMAGES, Damage, Story, lose_everything, lose_the_scripts

WRITES_MIN: dict[Damage, int] = {lose_the_scripts: 2, lose_everything: 5}


@pytest.fixture
def primary() -> Iterator[servers.HotServer]:
    with servers.hot_server(servers.valkey_binary(), append_only=True) as server:
        yield server


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "LEASE_MS", 1)


class LosesItsTail(Interrupted):
    """The server is killed and comes back without what the node's step wrote that was the
    ``at``-th to write anything; before the next one, whatever that is.
    """

    def __init__(self, node: Node, at: int, server: servers.HotServer) -> None:
        self._server = server
        self._size = self._file.stat().st_size
        super().__init__(node, at, self._lose, before=True)

    @property
    def _file(self) -> Path:
        return append_only_file(self._server)

    async def _counted(self, step: Callable[[], Awaitable[Any]]) -> Any:
        if not self.fired and (size := self._file.stat().st_size) > self._size:
            self.steps += 1
            if self.steps == self._at:
                await self._lose()
            self._size = size
        return await step()

    async def _lose(self) -> None:
        self._server.kill()
        os.truncate(self._file, self._size)
        self._server.start()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_tail_that_is_lost_after_any_write_takes_nothing_along(primary, sqlite_url, damage):
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
        losing = LosesItsTail(node, write, primary)
        with suppress(Recovering, Unavailable):
            await node.gate._open_or_recover(0)
        fired = losing.fired
        await node.close()
        async with opened(settings) as successor:
            await story.is_whole(successor)
            await story.go_on(successor)
            if damage is lose_the_scripts:
                await story.leave_a_tail(successor)
