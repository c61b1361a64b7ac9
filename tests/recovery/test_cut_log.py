"""Redis comes back without its tail, cut anywhere: nothing that was acknowledged is lost.

A few cuts by default; ``CAMPAIGN=340 pytest --timeout 0 --log-cli-level INFO
tests/recovery/test_cut_log.py`` makes five thousand, a few worlds side by side, each with stores of
its own. The seed of a failure is that of its world, which it replays whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from flashstock.errors import FlashstockError, Unavailable
from flashstock.hotpath.scripts import Verdict
from flashstock.model.states import Durability, ReservationState
from tests import servers
from tests.recovery.campaign import FACTOR, draws
from tests.recovery.copies import append_only_file
from tests.recovery.node import CALLER, GRANTED, Node, opened, settings_for

CUTS = 15
SLOW, FAST = "slow", "fast"
STOCK = 40
WORLDS_AT_ONCE = 6
"""Most of a cut is waiting: for a server, for a commit that does not come."""

logger = logging.getLogger(__name__)


def command_ends(content: bytes) -> list[int]:
    """Where each command of the file ends."""
    ends, position = [], 0
    while position < len(content):
        line_end = content.index(b"\r\n", position)
        count = int(content[position + 1 : line_end])
        position = line_end + 2
        for _ in range(count):
            line_end = content.index(b"\r\n", position)
            position = line_end + 2 + int(content[position + 1 : line_end]) + 2
        ends.append(position)
    return ends


def cut(path: Path, random: Random) -> None:
    """Leave a part of the file: mostly of what came last, at a command's end or within one."""
    content = path.read_bytes()
    ends = command_ends(content)
    newest = random.choice([3, 30, len(ends)])
    at = random.choice(ends[-newest:])
    if random.random() < 0.5:
        at = max(0, at - random.randrange(1, 60))
    path.write_bytes(content[:at])


class Seller:
    """Sells, pays, gives back; remembers what was acknowledged, and as what."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.acknowledged: dict[str, ReservationState] = {}
        self._count = 0

    async def sell(self, random: Random) -> None:
        """A burst of concurrent requests; whatever fails was not acknowledged."""
        tasks = [self._sell_one(random.random()) for _ in range(random.randrange(2, 12))]
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, FlashstockError):
                raise answer

    async def _sell_one(self, fate: float) -> None:
        self._count += 1
        key = f"key-{self._count}"
        pool = FAST if fate < 0.3 else SLOW
        verdicted = await self._node.reserve(pool, f"buyer-{key}", 1, key)
        if verdicted.verdict not in GRANTED:
            assert verdicted.verdict == Verdict.SOLD_OUT
            await self._restock(pool)
            return
        reservation = await self._node.hold(pool, key)
        if pool == SLOW:
            self.acknowledged[reservation] = ReservationState.HELD
        if fate > 0.6:
            await self._node.reservations.confirm(reservation, f"pay-{key}")
            self.acknowledged[reservation] = ReservationState.CONFIRMED
        elif fate > 0.5:
            await self._node.reservations.cancel(reservation)
            self.acknowledged[reservation] = ReservationState.CANCELLED

    async def _restock(self, pool: str) -> None:
        await self._node.pools.adjust(CALLER, f"restock-{self._count}", pool, STOCK, 0)

    async def check(self) -> None:
        """Both stores know everything that was acknowledged, and agree about all the rest."""
        node = self._node
        await node.is_applied()
        report = await node.reconciler.report()
        assert report["ok"], report
        ids = list(self.acknowledged)
        rows = {row.id: row.state for row in await node.stores.queries.reservations_by_ids(ids)}
        assert {one: _reached(rows.get(one), self.acknowledged[one]) for one in ids} == (
            self.acknowledged
        )


def _reached(
    found: ReservationState | None, acknowledged: ReservationState
) -> ReservationState | None:
    """A hold may have gone on to an end whose acknowledgement was lost."""
    return acknowledged if acknowledged is ReservationState.HELD and found else found


async def one_world(
    directory: Path, drawn: Sequence[tuple[str, Random]], one_at_a_time: asyncio.Lock
) -> int:
    """A server and a ledger, cut once for each draw; how much was acknowledged meanwhile."""
    database_url = f"sqlite:///{directory / 'ledger.sqlite3'}"
    with servers.hot_server(servers.valkey_binary(), append_only=True) as server:
        async with one_at_a_time:  # migrations share what Alembic knows of its one database
            settings = await settings_for(server.url, database_url, applied_timeout_ms=300)
        async with opened(settings) as node:
            for pool, durability in ((SLOW, Durability.LEDGER), (FAST, Durability.FAST)):
                try:
                    await node.create(pool, STOCK, durability=durability)
                except Unavailable:  # a busy machine commits later than these worlds wait
                    await node.is_applied()
            seller = Seller(node)
            for _, random in drawn:
                await one_cut(node, server, seller, random)
            generation = node.stores.store.generation(0)
    assert int(generation or 0) > len(drawn), "every cut was noticed"
    return len(seller.acknowledged)


async def one_cut(node: Node, server: servers.HotServer, seller: Seller, random: Random) -> None:
    await seller.sell(random)
    if random.random() < 0.5:
        await node.stop_writing()
        await seller.sell(random)
    await asyncio.to_thread(server.kill)
    cut(append_only_file(server), random)
    await asyncio.to_thread(server.start)
    await node.stop_writing()
    node.gate.lost(0)
    await node.gate.opened(0)
    node.write()
    await seller.check()


@pytest.mark.timeout(120 * FACTOR)
async def test_nothing_acknowledged_is_lost_wherever_the_file_ends(tmp_path):
    drawn = list(draws(CUTS))
    worlds = [drawn[start : start + CUTS] for start in range(0, len(drawn), CUTS)]
    free, one_at_a_time = asyncio.Semaphore(WORLDS_AT_ONCE), asyncio.Lock()
    acknowledged = 0

    async def run(number: int, world: Sequence[tuple[str, Random]]) -> None:
        nonlocal acknowledged
        directory = tmp_path / str(number)
        directory.mkdir()
        async with free:
            try:
                found = await one_world(directory, world, one_at_a_time)
            except Exception as broken:
                raise AssertionError(world[0][0]) from broken
        acknowledged += found
        logger.info("world %d of %d: %d acknowledged", number + 1, len(worlds), found)

    async with asyncio.TaskGroup() as group:
        for number, world in enumerate(worlds):
            group.create_task(run(number, world))
    assert acknowledged > len(drawn)
    logger.info("%d cuts, %d acknowledged, none of them lost", len(drawn), acknowledged)
