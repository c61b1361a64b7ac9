"""A service that is damaged and recovered again and again, and what must be left each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import redis

from flashstock.model.group_rules import GroupDeduct, GroupRules
from flashstock.model.states import Durability
from tests.recovery.node import Node

FAST = "fast"
SLOW = "slow"
GROUPS = "groups"
RULES = GroupRules(2, 3_600_000, deduct=GroupDeduct.FORM)


def lose_the_scripts(client: redis.Redis) -> None:
    """As a restart does: the data are there, and so is the tail of the log."""
    client.script_flush()


def lose_everything(client: redis.Redis) -> None:
    client.flushall()


Damage = Callable[[redis.Redis], None]
DAMAGES: list[Damage] = [lose_the_scripts, lose_everything]


class Story:
    """Holds that were granted so far, told in chapters: one for each interruption."""

    def __init__(self) -> None:
        self.granted: set[str] = set()
        self.half_full = ""
        """A group with one paid seat: the next chapter forms it."""
        self.chapter = 0

    async def begin(self, node: Node) -> None:
        await node.create(FAST, 100_000, durability=Durability.FAST)
        await node.create(SLOW, 100_000)
        await node.create(GROUPS, 100_000, group_buy=RULES.text)

    async def go_on(self, node: Node) -> None:
        """Sell a little, and stop writing once all of it is in SQL."""
        self.chapter += 1
        keys = [f"{self.chapter}-{number}" for number in range(3)]
        held = await asyncio.gather(*(node.hold(SLOW, key) for key in keys))
        self.granted.update(held)
        await node.reservations.confirm(held[-1], f"pay-{self.chapter}")
        await self._form_one_and_open_another(node)
        await node.is_applied()
        await node.stop_writing()

    async def _form_one_and_open_another(self, node: Node) -> None:
        if self.half_full:
            last = await node.seat(GROUPS, f"last-{self.chapter}", self.half_full)
            await node.reservations.confirm(last, f"pay-last-{self.chapter}")
            self.granted.add(last)
        self.half_full = await node.seat(GROUPS, f"first-{self.chapter}", "open")
        await node.reservations.confirm(self.half_full, f"pay-first-{self.chapter}")
        self.granted.add(self.half_full)

    async def leave_a_tail(self, node: Node) -> None:
        """Sell what only the log knows: whoever recovers must find it there."""
        for number in range(3):
            self.granted.add(await node.hold(FAST, f"fast-{self.chapter}-{number}"))

    async def is_whole(self, node: Node) -> None:
        """Nothing of it is lost, nothing is there twice, and both stores say so."""
        await node.is_applied()
        report = await node.reconciler.report()
        assert report["ok"], report
        rows = await node.stores.queries.reservations_by_ids(self.granted)
        assert {row.id for row in rows} == self.granted
        assert await node.hold(SLOW, f"{self.chapter}-0") in self.granted
        groups = await node.stores.queries.retained_groups(0, "", 1_000, 0)
        assert [row.id for row in groups if row.unsettled] == [self.half_full]
        assert len(groups) == self.chapter
        sold = (await node.pools.get(GROUPS)).counters.sold
        assert sold == 2 * (self.chapter - 1), "each that is full has formed, and once"
        generation = await node.stores.ledger.opened_generation(0)
        assert node.stores.store.generation(0) == str(generation), "SQL knows who is let in"
        assert await node.lag(0) == 0, "a replay is no event"
