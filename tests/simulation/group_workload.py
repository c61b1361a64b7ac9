"""Buyers of group-buys: they open groups, join them, pay, leave, and come too late."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Any, Final

from flashstock.model.group_records import group_of_cart
from flashstock.model.group_rules import GroupDeduct, GroupRules, GroupType, parse_group_rules
from flashstock.model.ids import digest_of
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import PoolRules
from flashstock.model.states import Durability
from tests.simulation.processes import CALLER, ApiProcess, Granted
from tests.simulation.workload import Customer, Town

SHARE: Final = 0.4
"""Of the worlds: that have pools of groups."""


def draw_group_pools(seed: int, wanted: bool | None) -> dict[str, tuple[PoolRules, int]]:
    """A few small ones of both modes, or none. From a source of its own: the other worlds stay.

    Args:
        wanted: whether there are any, where that is not drawn.
    """
    random = Random(f"{seed} groups")
    drawn = random.random() < SHARE
    if not (drawn if wanted is None else wanted):
        return {}
    pools = {}
    for number in range(random.choice((1, 1, 2))):
        size = random.choice((2, 2, 3, 3, 4))
        group_rules = GroupRules(
            size=size,
            life_ms=random.choice((800, 2_500, 2_500, 60_000)),
            open_max=random.choice((0, 0, 0, 2)),
            seats_per_buyer=random.choice((1, 1, 2)),
            groups_per_buyer=random.choice((0, 0, 0, 2)),
            type=random.choice((GroupType.ORDINARY, GroupType.ORDINARY, GroupType.NEWCOMERS)),
            deduct=random.choice((GroupDeduct.PAY, GroupDeduct.FORM)),
            house_max=random.choice((0, 0, 0, 1)),
        )
        rules = PoolRules(
            sku="sku",
            per_buyer_limit=random.choice((0, 0, 0, 2)),
            hold_ms=random.choice((300, 600, 1_500, 60_000)),
            durability=Durability.FAST if random.random() < 0.15 else Durability.LEDGER,
            group_buy=group_rules.text,
        )
        pools[f"q{number}"] = (rules, random.choice((2, 3, 5, 8, 12)))
    return pools


class Member(Customer):
    """One buyer of groups: pays, leaves and returns as any customer does."""

    def __init__(
        self, town: Town, name: str, rules: dict[str, PoolRules], groups: dict[str, list[str]]
    ) -> None:
        super().__init__(town, name, rules)
        self._groups = groups
        """Pool → groups that anyone has heard of."""

    async def live(self) -> None:
        """Many a purchase at once: places of a group are few, and soon taken again."""
        await asyncio.sleep(self._random.random() * 2)
        for _ in range(self._random.choice((1, 2, 3))):
            await asyncio.gather(*(self._buy() for _ in range(self._random.choice((1, 2, 3)))))

    async def _buy(self) -> None:
        key = f"{self._name}.{next(self._numbers)}"
        pool = self._random.choice(self._pools)
        wants = self._wish(pool)
        quantity = self._random.choice((1, 1, 1, 1, 2))
        granted = await self.take_seat(key, pool, quantity, wants)
        if granted is None:
            return
        if self._random.random() < 0.25:
            await self.take_seat(key, pool, quantity, wants)
        await self._go_on(granted)

    async def _go_on(self, granted: Granted) -> None:
        if self._random.random() < 0.3:  # too late, for many a seat
            await asyncio.sleep(0.3 + 1.5 * self._random.random())
            await self.confirm(granted, self._payment())
        else:
            await super()._go_on(granted)

    def _wish(self, pool: str) -> str:
        choice, known = self._random.random(), self._groups[pool]
        if choice < 0.3 or not known:
            return "match" if self._random.random() < 0.3 else "open"
        if choice < 0.7:
            return "match"
        return f"join:{self._random.choice(known)}"

    async def take_seat(self, key: str, pool: str, quantity: int, wants: str) -> Granted | None:
        """Ask for a seat; the same key until there is an answer."""
        digest = digest_of("reservation", CALLER, key)

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Granted):
                self._as_the_rules_say(outcome.record, digest)
                self._history.held(outcome)

        verb = partial(_take_seat, key, pool, self._name, quantity, wants, self._attests.packed())
        outcome = await self._insist(verb, leaving)
        if not isinstance(outcome, Granted):
            return None
        group = group_of_cart(outcome.record.cart)
        if group not in self._groups[pool]:
            self._groups[pool].append(group)
        return outcome

    def _as_the_rules_say(self, record: ReservationRecord, digest: str = "") -> None:
        group_rules = parse_group_rules(self._rules[record.pool].group_buy)
        joins = digest and group_of_cart(record.cart) != digest
        if joins and group_rules.type is GroupType.NEWCOMERS and not self._attests.new_buyer:
            self._history.against_a_rule(record, "newcomers")


async def _take_seat(
    key: str, pool: str, buyer: str, quantity: int, wants: str, attests: str, api: ApiProcess
) -> Granted:
    return await api.take_seat(key, pool, buyer, quantity, wants, attests)
