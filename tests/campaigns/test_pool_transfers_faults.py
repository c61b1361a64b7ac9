"""Whatever is lost, and wherever a relay dies: no unit is counted twice, none disappears.

Hypothesis draws what happens (orders of the merchant, buyers, deaths of relays and of Redis); a
drawn stream of fates decides at which of its steps a relay fails. Book, pools and what is in flight
must add up after every single event, and in the end everything that was not sold is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashstock.errors import FlashstockError, InsufficientStock, Unavailable
from flashstock.ledger.engine import is_sqlite, writing
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.stockbook import pool_relay, pool_transfers
from tests.campaigns.site import Site, emptied, now_ms, sited
from tests.recovery.node import eventually, raw

STOCK = 60


class Died(Exception):
    """The relay's process is gone at this very step."""


class Fates:
    """What becomes of the next steps: drawn; all is well once the drawing is used up."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def next(self) -> int:
        return self.drawn.pop() if self.drawn else 0


FINE, LOST_BEFORE, LOST_AFTER, DIED_BEFORE, DIED_AFTER = range(5)


async def _fated(fates: Fates, call: Any, *arguments: Any, **named: Any) -> Any:
    fate = fates.next()
    if fate == LOST_BEFORE:
        raise Unavailable("the call was lost")
    if fate == DIED_BEFORE:
        raise Died
    answer = await call(*arguments, **named)
    if fate == LOST_AFTER:
        raise Unavailable("the reply was lost")
    if fate == DIED_AFTER:
        raise Died
    return answer


class FailingPools:
    """The real hot path, over a line that loses calls and replies."""

    def __init__(self, real: pool_relay.HotPools, fates: Fates) -> None:
        self._real = real
        self._fates = fates
        self.shard_of, self.generation = real.shard_of, real.generation

    async def seq(self, shard: int) -> int:
        return int(await _fated(self._fates, self._real.seq, shard))

    async def snapshot(self, pool_id: str) -> Any:
        return await _fated(self._fates, self._real.snapshot, pool_id)

    async def adjust(self, *arguments: Any) -> Any:
        return await _fated(self._fates, self._real.adjust, *arguments)

    async def configure(self, *arguments: Any, **named: Any) -> Any:
        return await _fated(self._fates, self._real.configure, *arguments, **named)


def failing_writing(fates: Fates) -> Any:
    """Transactions that are rolled back, or committed with nobody there to hear of it."""

    @asynccontextmanager
    async def write(engine: Any, *arguments: Any) -> AsyncIterator[Any]:
        fate = fates.next()
        async with writing(engine, *arguments) as connection:
            yield connection
            if fate == LOST_BEFORE:
                raise LedgerUnavailable("rolled back")
            if fate == DIED_BEFORE:
                raise Died
        if fate == LOST_AFTER:
            raise LedgerUnavailable("committed, and the answer was lost")
        if fate == DIED_AFTER:
            raise Died

    return write


class World:
    """One site for all examples; every example has a SKU and pools of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.fates = Fates()
        self.number = 0
        self._new_relays()

    def _new_relays(self) -> None:
        store = FailingPools(self.site.node.stores.store, self.fates)
        self.relays = [self.site.relay_of(store) for _ in range(2)]

    async def begin(self) -> None:
        self.number += 1
        self.fates.drawn = []
        self.sku = f"sku-{self.number}"
        self.pool = f"pool-{self.number}"
        self.count = 0
        self.sold = 0
        self.ended = False
        self.holds: list[tuple[str, int]] = []
        await self.site.sku(self.sku)
        await self.site.receive(self.sku, "north", STOCK // 2)
        await self.site.receive(self.sku, "south", STOCK - STOCK // 2)
        rules = {"sku": self.sku, "state": "open", "per_buyer_limit": "0", "hold_ms": "600000"}
        rules |= {"starts_at_ms": "0", "ends_at_ms": "0", "durability": "ledger", "waves": ""}
        async with writing(self.site.engine) as connection:
            create, opening = f"create/{self.pool}", f"open/{self.pool}"
            await pool_transfers.create_pool(connection, create, self.pool, rules, now_ms())
            await pool_transfers.set_rules(connection, opening, self.pool, rules, now_ms())

    def _id(self, verb: str) -> str:
        self.count += 1
        return f"{verb}/{self.pool}/{self.count}"

    async def add(self, units: int) -> None:
        if self.ended:
            return
        wish = pool_transfers.Wish(self.pool, units, {self.sku: 1})
        with contextlib.suppress(InsufficientStock):
            async with writing(self.site.engine) as connection:
                await pool_transfers.allocate(connection, self._id("add"), wish, now_ms())

    async def take(self, units: int) -> None:
        async with writing(self.site.engine) as connection:
            command = self._id("take")
            await pool_transfers.take_back(connection, command, self.pool, units, now_ms())

    async def end(self) -> None:
        self.ended = True
        async with writing(self.site.engine) as connection:
            command = f"end/{self.pool}"
            await pool_transfers.wind_down(connection, command, self.pool, now_ms(), early=True)

    async def hold(self, units: int) -> None:
        try:
            key = self._id("hold")
            self.holds.append((await self.site.node.hold(self.pool, key, units), units))
        except (AssertionError, FlashstockError):  # sold out, closed, or not there yet
            return

    async def settle(self, *, pay: bool) -> None:
        if not self.holds:
            return
        hold, units = self.holds.pop()
        if pay:
            await self.site.node.reservations.confirm(hold, f"pay-{hold}")
            self.sold += units
        else:
            await self.site.node.reservations.cancel(hold)

    async def relay(self, fates: list[int], both: bool) -> None:
        """A round of one relay, or of two at once; whoever dies is started again."""
        self.fates.drawn = fates
        relays = self.relays if both else self.relays[:1]
        results = await asyncio.gather(*(r.round() for r in relays), return_exceptions=True)
        self.fates.drawn = []
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Died | Unavailable):
                raise result
        if any(isinstance(result, Died) for result in results):
            self._new_relays()

    async def work(self) -> None:
        """A while in which nothing fails."""
        for _ in range(12):
            await self.relays[0].round()
            await self.site.node.is_applied()

    async def lose_redis(self, *, tail: bool) -> None:
        """Everything in Redis is gone; with ``tail``, also what SQL had not got yet."""
        node = self.site.node
        if not tail:
            await node.is_applied()
        await node.stop_writing()
        with raw(node.settings.redis_url or "") as client:
            client.flushall()
        node.write()
        node.gate.lost(0)
        await node.gate.opened(0)

    async def finish(self) -> None:
        """All is well again: the holds end, the pool is wound down."""
        self.fates.drawn = []
        if not self.ended:
            await self.end()
        while self.holds:
            await self.settle(pay=False)
        await self.site.carried_out(self.relays[0])
        await self.site.adds_up()
        total, available, held, sold, locked = await self.site.counters(self.pool)
        assert (total, available, held, locked) == (sold, 0, 0, 0)
        assert sold == self.sold
        at_home = 0
        for location in ("north", "south"):
            stock = await self.site.stock(self.sku, location)
            at_home += stock.get("available", 0)
        assert at_home == STOCK - sold
        assert sum((await self.site.allotted(self.pool)).values()) == sold


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, World]]:
    """One event loop, one site."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("faults") / "ledger.sqlite3"
        shutil.copy(request.getfixturevalue("campaigns_sqlite_file"), path)
        url = f"sqlite:///{path}"
    else:
        url = request.getfixturevalue("campaigns_postgres_url")
    valkey = request.getfixturevalue("valkey_process")
    valkey.clear()
    with asyncio.Runner() as runner:
        if request.param == "postgresql":
            runner.run(emptied(url))
        context = sited(valkey.url, url)
        site = runner.run(context.__aenter__())
        try:
            runner.run(site.locations("north", "south"))
            yield runner, World(site)
        finally:
            runner.run(context.__aexit__(None, None, None))


FATES = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4]), max_size=8)
UNITS = st.integers(1, 25)
EVENTS = st.one_of(
    st.tuples(st.just("add"), UNITS),
    st.tuples(st.just("take"), UNITS),
    st.tuples(st.just("hold"), st.integers(1, 6)),
    st.tuples(st.just("pay")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("relay"), FATES, st.booleans()),
    st.tuples(st.just("relay"), FATES, st.booleans()),
    st.tuples(st.just("relay"), FATES, st.booleans()),
    st.tuples(st.just("work")),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("end")),
)


async def _happen(world: World, event: tuple[Any, ...]) -> None:
    match event:
        case ("add", units):
            await world.add(units)
        case ("take", units):
            await world.take(units)
        case ("hold", units):
            await world.hold(units)
        case ("pay",):
            await world.settle(pay=True)
        case ("cancel",):
            await world.settle(pay=False)
        case ("relay", fates, both):
            await world.relay(list(fates), both)
        case ("work",):
            await world.work()
        case ("lose", tail):
            await world.lose_redis(tail=tail)
        case ("end",):
            await world.end()


async def _example(world: World, events: list[tuple[Any, ...]]) -> None:
    await world.begin()
    for event in events:
        await _happen(world, event)
        await world.site.adds_up()
    await world.finish()


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(events=st.lists(EVENTS, min_size=8, max_size=20))
def test_units_are_conserved_over_book_and_pools(running, events):
    runner, world = running
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_relay, "writing", failing_writing(world.fates))
        runner.run(_example(world, events))


STEPS = 24
"""Stores are touched fewer times than this by the relay on a pool's whole way."""


@pytest.mark.parametrize("fate", [LOST_AFTER, DIED_AFTER])
def test_a_failure_at_any_one_step_changes_nothing(running, fate):
    """From the first call to the last: each of them fails once, in a journey of its own.

    What fails before it had an effect is what fails after the step before.
    """
    runner, world = running

    async def journeys() -> None:
        for step in range(fate, STEPS, 1 if is_sqlite(world.site.engine) else 4):
            await world.begin()
            await world.add(20)
            fates = [FINE] * (step - fate) + [fate]
            fates.reverse()
            world.fates.drawn = fates
            await _until_done(world)
            if step % 6 == 0:
                await world.lose_redis(tail=False)
            await world.hold(3)
            await world.settle(pay=True)
            await world.end()
            await _until_done(world)
            await world.finish()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_relay, "writing", failing_writing(world.fates))
        runner.run(journeys())


async def _until_done(world: World) -> None:
    async def is_done() -> bool:
        if not await world.site.pending():
            return True
        try:
            await world.relays[0].round()
        except Died:
            world._new_relays()
        except Unavailable:
            pass
        await world.site.adds_up()
        return False

    await eventually(is_done, "the commands are carried out")
