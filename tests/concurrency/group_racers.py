"""Buyers who race for the last seat of a group, and payments that race its deadline.

Each racer is a process of its own. What it is told and what it answers must pickle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from flashstock.hotpath.group_calls import OPEN, join
from flashstock.hotpath.scripts import PaySeatStatus, Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.group_rules import GroupDeduct, GroupRules
from flashstock.model.ids import ReservationId, digest_of
from tests.concurrency.deadlines import at_the_line, until
from tests.reference.asking import create

Answer = TypeVar("Answer")
LAST_SEATS = "last-seats"
CALLS_AT_ONCE = 4
LONG_MS = 3_600_000


@dataclass(frozen=True)
class Told:
    """What one racer is to do: ``races`` groups or payments, seats of ``deduct`` mode."""

    name: str
    seed: int
    races: int
    racers: int
    """Processes that must be there before anybody starts, a sweeper included."""
    retention_ms: int
    deduct: GroupDeduct = GroupDeduct.PAY


@dataclass(frozen=True)
class SeatRace:
    """One request for the last seat of a group, and what its winner did with it."""

    group: str
    verdict: int
    then: str = ""
    """``paid`` or ``left``; empty where it got no seat."""


@dataclass(frozen=True)
class PaymentRace:
    """The last payment of a group, sent about when its deadline was: once, or from two sides."""

    opener: str
    seat: str
    statuses: tuple[int, ...]
    late_ms: int


def opener_of(number: int) -> str:
    return digest_of("opener", str(number))


async def open_groups(store: HotStore, groups: int, deduct: GroupDeduct) -> None:
    """Groups of two whose opener has paid, each with one free seat."""
    rules = GroupRules(2, LONG_MS, deduct=deduct)
    units = 2 * groups
    await create(store, LAST_SEATS, total=units, hold_ms=LONG_MS, group_buy=rules.text)
    for first in range(0, groups, 100):
        digests = [opener_of(number) for number in range(first, min(first + 100, groups))]
        await take(store, LAST_SEATS, digests, [OPEN] * len(digests))
        for digest in digests:
            await store.confirm(ReservationId(LAST_SEATS, digest), f"pay {digest}")


async def take(
    store: HotStore, pool: str, digests: Sequence[str], wants: Sequence[str]
) -> list[int]:
    """The verdicts; each by another buyer."""
    buyers = [f"buyer {digest}" for digest in digests]
    units = ["1"] * len(digests)
    reply = await store.take_seats(pool, len(digests), digests, buyers, units, wants)
    return [code - 48 for code in reply.verdicts]


async def join_groups(store: HotStore, told: Told) -> list[SeatRace]:
    """Ask twice for the last seat of every group, in small batches, several under way at once.

    A winner pays at once, or leaves, so that the place is free for whoever comes next.
    """
    random = Random(told.seed)
    numbers = [number for number in range(told.races) for _ in range(2)]
    batches = []
    while numbers:
        size = random.randrange(1, 17)
        batches.append(numbers[:size])
        del numbers[:size]
    remaining = iter(list(enumerate(batches)))
    found: list[SeatRace] = []

    async def go_on() -> None:
        for place, batch in remaining:
            digests = [
                digest_of("joiner", told.name, str(place), str(index))
                for index in range(len(batch))
            ]
            wants = [join(opener_of(number)) for number in batch]
            verdicts = await take(store, LAST_SEATS, digests, wants)
            for digest, number, verdict in zip(digests, batch, verdicts, strict=True):
                then = ""
                if verdict == Verdict.HELD:
                    then = await use_seat(store, digest, leaves=random.random() < 0.3)
                found.append(SeatRace(opener_of(number), verdict, then))

    await asyncio.gather(*(go_on() for _ in range(CALLS_AT_ONCE)))
    return found


async def use_seat(store: HotStore, digest: str, *, leaves: bool) -> str:
    seat = ReservationId(LAST_SEATS, digest)
    if leaves:
        assert (await store.cancel(seat, "cancelled")).status == 0
        return "left"
    reply = await store.confirm(seat, f"pay {digest}")
    assert reply.status == PaySeatStatus.CONFIRMED
    return "paid"


class LastPayers:
    """Open groups of two, pay for the first seat, and for the second when the deadline strikes.

    Aims as ``deadlines.Buyer`` does: each payment is sent so much earlier as the last ones took.
    """

    def __init__(self, stores: list[HotStore], told: Told) -> None:
        self._stores = stores
        self._told = told
        self._random = Random(told.seed)
        self._pools = 0
        self._takes_ms = 0.0
        self.races: list[PaymentRace] = []

    async def run(self) -> list[PaymentRace]:
        await asyncio.gather(*(self._go_on() for _ in range(3)))
        return self.races

    async def _go_on(self) -> None:
        while len(self.races) < self._told.races:
            self._pools += 1
            await self._pool(f"{self._told.name}-{self._pools}", self._pools)

    async def _pool(self, pool: str, number: int) -> None:
        random, store = self._random, self._stores[0]
        deduct = list(GroupDeduct)[number % 2]
        rules = GroupRules(2, random.randrange(400, 600), deduct=deduct)
        batches = [random.choice((1, 2, 4, 8)) for _ in range(random.randrange(4, 8))]
        await create(store, pool, total=2 * sum(batches), hold_ms=LONG_MS, group_buy=rules.text)
        groups: list[tuple[str, str, int]] = []
        for batch, size in enumerate(batches):
            groups += await self._fill(pool, batch, size)
            await asyncio.sleep(random.uniform(0.002, 0.01))
        paying = [self._pay(pool, *group) for group in groups]
        random.shuffle(paying)
        self.races += await asyncio.gather(*paying)

    async def _fill(self, pool: str, batch: int, size: int) -> list[tuple[str, str, int]]:
        """Opener, second seat and deadline of each new group; the opener has paid."""
        store = self._stores[0]
        keys = [(pool, str(batch), str(number)) for number in range(size)]
        openers = [digest_of("opener", *key) for key in keys]
        seats = [digest_of("second", *key) for key in keys]
        wants = [OPEN] * size + [join(opener) for opener in openers]
        verdicts = await take(store, pool, openers + seats, wants)
        # On a busy machine the first groups may be over meanwhile, never refused before.
        assert set(verdicts) == {Verdict.HELD}, verdicts
        await asyncio.gather(
            *(store.confirm(ReservationId(pool, one), f"pay {one}") for one in openers)
        )
        found = await store.read_groups(pool, openers, 0)
        deadlines = [group.record.deadline_ms for group in found.groups if group is not None]
        return list(zip(openers, seats, deadlines, strict=True))

    async def _pay(self, pool: str, opener: str, seat: str, deadline_ms: int) -> PaymentRace:
        random = self._random
        # Some come early, however busy the machine is.
        due_ms = deadline_ms + random.uniform(*random.choice([(-150, -20), *[(-6, 4)] * 4]))
        await until(due_ms - self._takes_ms)
        target, reference = ReservationId(pool, seat), f"pay {seat}"
        sent_to = self._stores[: 2 if random.random() < 0.1 else 1]
        replies = await asyncio.gather(*(one.confirm(target, reference) for one in sent_to))
        # One sent from two sides is decided by whichever comes first.
        decided_ms = min(reply.now_ms for reply in replies)
        self._takes_ms = min(150.0, max(0.0, self._takes_ms + 0.05 * (decided_ms - due_ms)))
        statuses = tuple(PaySeatStatus(reply.status) for reply in replies)
        return PaymentRace(opener, seat, statuses, decided_ms - deadline_ms)


async def _joined(stores: list[HotStore], told: Told) -> list[SeatRace]:
    return await join_groups(stores[0], told)


async def _paid(stores: list[HotStore], told: Told) -> list[PaymentRace]:
    return await LastPayers(stores, told).run()


async def _race(
    url: str, told: Told, run: Callable[[list[HotStore], Told], Awaitable[list[Answer]]]
) -> list[Answer]:
    async with at_the_line(url, 2, told.racers, told.retention_ms) as stores:
        return await run(stores, told)


def join_in_a_process(url: str, told: Told) -> list[SeatRace]:
    return asyncio.run(_race(url, told, _joined))


def pay_in_a_process(url: str, told: Told) -> list[PaymentRace]:
    return asyncio.run(_race(url, told, _paid))
