"""Buyers who pay for their holds at the very moment these expire.

Each buyer is a process of its own. It aims: it knows from its last payments how long one takes to
be decided, and sends the next so much earlier, so that most are decided within a few milliseconds
of the deadline, while sweepers in other processes look for the same holds. What a buyer is told
must pickle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

from flashstock.hotpath import keys
from flashstock.hotpath.connection import connect
from flashstock.hotpath.pipe import Pipe
from flashstock.hotpath.scripts import ConfirmStatus, Verdict, script_set
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.states import PoolState
from flashstock.writer.sweeper import Sweeper
from tests.reference.asking import create

TIMEOUT_MS = 60_000
HERE, STOP = "test:here", "test:stop"
SERVED, REFUNDED, CONTESTED = "served", "refunded", "contested"
KINDS = (SERVED, REFUNDED, CONTESTED)
"""What a payment meets that comes too late: the units it left behind; a pool that was closed
since; or other buyers, who take what comes free."""
BATCH_SIZES = (1, 2, 4, 8, 16)
"""Small, and one batch soon after the other: more payments at one moment would only queue."""
GROUPS_AT_ONCE = 3
LIMIT = 3


@dataclass(frozen=True)
class Told:
    """What one buyer is to do. ``name`` keeps its pools apart from everybody else's."""

    name: str
    seed: int
    races: int
    racers: int
    """Processes that must be there before anybody starts, the sweeper included."""
    retention_ms: int


@dataclass(frozen=True)
class Race:
    """One hold and the payment for it: what the payment was told, each time it was sent."""

    reservation: str
    payment_ref: str
    statuses: tuple[int, ...]
    late_ms: int
    """When the first of them was decided, after the deadline."""


async def open_store(url: str, retention_ms: int) -> tuple[HotStore, Pipe]:
    """A connection of its own to a shard that is open already."""
    client = connect(url, timeout_ms=TIMEOUT_MS)
    generation = await client.hget(keys.shard_meta(0), "generation")
    assert isinstance(generation, bytes)
    pipe = Pipe(url, timeout_ms=TIMEOUT_MS)
    store = HotStore(client, 1, pipe.call)
    store.open_shard(0, script_set(0, generation.decode(), retention_ms))
    return store, pipe


async def all_here(store: HotStore, racers: int) -> None:
    """Wait at the line: processes start slowly on a machine that has other things to do."""
    await store.client.incr(HERE)
    while int(await store.client.get(HERE) or 0) < racers:  # noqa: ASYNC110 (other processes)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def at_the_line(
    url: str, connections: int, racers: int, retention_ms: int
) -> AsyncIterator[list[HotStore]]:
    """The store over so many connections, once all racers are there."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(connections):
            store, pipe = await open_store(url, retention_ms)
            stack.push_async_callback(store.client.aclose)
            stack.push_async_callback(pipe.aclose)
            stores.append(store)
        await all_here(stores[0], racers)
        yield stores


class Buyer:
    """Holds, waits for the deadline, pays. Over two connections, as an impatient shop does."""

    def __init__(self, stores: list[HotStore], told: Told) -> None:
        self._stores = stores
        self._told = told
        self._random = Random(told.seed)
        self._groups = 0
        self._takes_ms = 0.0
        """How long it takes from the moment a payment is due until it is decided."""
        self.races: list[Race] = []

    async def run(self) -> list[Race]:
        await asyncio.gather(*(self._go_on() for _ in range(GROUPS_AT_ONCE)))
        return self.races

    async def _go_on(self) -> None:
        while len(self.races) < self._told.races:
            self._groups += 1
            await self._group(self._groups)

    async def _group(self, number: int) -> None:
        """A pool of its own, holds with a few deadlines, and what becomes of them."""
        random, store = self._random, self._stores[0]
        kind = KINDS[number % len(KINDS)]
        pool = f"{self._told.name}-{kind}-{number}"
        sizes = [random.choice(BATCH_SIZES) for _ in range(random.randrange(6, 13))]
        quantities = [[random.randrange(1, LIMIT) for _ in range(size)] for size in sizes]
        total = sum(map(sum, quantities))
        hold_ms = random.randrange(200, 280)
        await create(store, pool, total=total, hold_ms=hold_ms, per_buyer_limit=LIMIT)
        holds: list[tuple[ReservationId, int]] = []
        for batch, wanted in enumerate(quantities):
            holds += await self._hold(pool, batch, wanted)
            await asyncio.sleep(random.uniform(0.002, 0.015))
        if kind == REFUNDED:
            await store.configure(pool, {"state": PoolState.CLOSED.value}, created=None)
        paying = [self._pay(target, deadline_ms) for target, deadline_ms in holds]
        random.shuffle(paying)
        async with asyncio.TaskGroup() as group:
            if kind == CONTESTED:
                group.create_task(self._contest(pool, holds[0][1]))
            paid = [group.create_task(payment) for payment in paying]
        self.races += [payment.result() for payment in paid]

    async def _hold(
        self, pool: str, batch: int, quantities: list[int]
    ) -> list[tuple[ReservationId, int]]:
        targets = [
            ReservationId(pool, digest_of("key", pool, str(batch), str(number)))
            for number in range(len(quantities))
        ]
        reply = await self._stores[0].reserve(
            pool,
            sum(quantities),
            [target.digest for target in targets],
            [f"buyer-{target.digest}" for target in targets],
            [str(quantity) for quantity in quantities],
        )
        # On a busy machine the first batch may have expired meanwhile, never been refused.
        assert set(reply.verdicts) == {ord("0")}, reply
        return [(target, reply.deadline_ms) for target in targets]

    async def _pay(self, target: ReservationId, deadline_ms: int) -> Race:
        random = self._random
        payment_ref = f"pay-{target}"
        due_ms = deadline_ms + random.uniform(-4, 6)
        # Some hurry: on a busy machine all the others may be decided after the deadline.
        in_a_hurry = random.random() < 0.1
        await until(0.0 if in_a_hurry else due_ms - self._takes_ms)
        sent_to = self._stores[: 2 if random.random() < 0.1 else 1]
        replies = await asyncio.gather(*(one.confirm(target, payment_ref) for one in sent_to))
        decided_ms = replies[0].now_ms
        if not in_a_hurry:
            self._takes_ms = min(40.0, max(0.0, self._takes_ms + 0.02 * (decided_ms - due_ms)))
        return Race(
            str(target),
            payment_ref,
            tuple(ConfirmStatus(reply.status) for reply in replies),
            decided_ms - deadline_ms,
        )

    async def _contest(self, pool: str, deadline_ms: int) -> None:
        """Others want the units too; whoever is short of stock sweeps as well."""
        await until(deadline_ms - 2)
        for attempt in range(12):
            digests = [digest_of("other", pool, str(attempt), str(number)) for number in range(8)]
            buyers = [f"other-{digest}" for digest in digests]
            reply = await self._stores[1].reserve(pool, 8, digests, buyers, ["1"] * 8)
            assert set(reply.verdicts) <= {
                ord(str(int(Verdict.HELD))),
                ord(str(int(Verdict.SOLD_OUT))),
            }
            await asyncio.sleep(0.001)


async def until(at_ms: float) -> None:
    """Sleep until that moment, in ms since the epoch."""
    await asyncio.sleep(max(0.0, at_ms / 1000 - time.time()))


async def _buy(url: str, told: Told) -> list[Race]:
    async with at_the_line(url, 2, told.racers, told.retention_ms) as stores:
        return await Buyer(stores, told).run()


def buy(url: str, told: Told) -> list[Race]:
    """A buyer's process."""
    return asyncio.run(_buy(url, told))


async def _sweep(url: str, racers: int, retention_ms: int) -> None:
    async with at_the_line(url, 1, racers, retention_ms) as (store,):
        sweeper = Sweeper(store, interval_ms=1)
        while not await store.client.exists(STOP):
            while await sweeper.sweep(0):
                pass
            await asyncio.sleep(0.001)


def sweep(url: str, racers: int, retention_ms: int) -> None:
    """A sweeper's process: with hardly a pause, until ``STOP`` is there."""
    asyncio.run(_sweep(url, racers, retention_ms))


def aim(races: list[Race]) -> dict[str, int]:
    """How close to the deadline they were decided."""
    return {
        "before": sum(race.late_ms < 0 for race in races),
        "within 5 ms after": sum(0 <= race.late_ms <= 5 for race in races),
        "later": sum(race.late_ms > 5 for race in races),
    }
