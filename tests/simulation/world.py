"""One world: a seed in, violations out."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from random import Random
from typing import Any, Final

from flashstock.hotpath import lanes
from flashstock.model.rules import NO_DEADLINE_MS, PoolRules
from flashstock.reconcile.comparison import Comparison, Findings
from tests.simulation import checks, group_checks, weather
from tests.simulation.faults import Faults
from tests.simulation.group_workload import Member, draw_group_pools
from tests.simulation.history import History
from tests.simulation.loop import Process, Stuck, simulated_loop
from tests.simulation.outage_checks import Lives
from tests.simulation.processes import ApiProcess, Parts, Wiring, WriterProcess
from tests.simulation.redis_data import DataSet
from tests.simulation.redis_network import RedisNetwork
from tests.simulation.redis_server import RedisServer
from tests.simulation.sql import Database
from tests.simulation.sql_tables import Tables
from tests.simulation.workload import START_MS, Customer, Operator, draw_pools, unnoticed

LIFE_LIMIT_S: Final = 240.0
REST_LIMIT_S: Final = 60.0
"""After the last fault everything must be at rest this soon."""
LATE_REQUESTS_MAX: Final = 3
"""A request of a customer who gave up long ago may still be served, and hold something."""
DAY_MS: Final = 86_400_000
VIOLATIONS_MAX: Final = 20


@dataclass
class Result:
    """What became of a world. ``trace`` is a hash of everything that happened, in order."""

    seed: int
    violations: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    trace: str = ""
    steps: int = 0
    scripts: int = 0
    commits: int = 0
    acknowledged: int = 0
    virtual_s: float = 0.0


class World:
    """Two stores, two API processes, a writer, a crowd, and bad luck."""

    def __init__(
        self,
        seed: int,
        parts: Parts,
        *,
        violations_max: int,
        faults: Sequence[str] = (),
        shard_count: int | None = None,
        groups: bool | None = None,
    ) -> None:
        self._groups = groups
        self.random = Random(seed)
        self._violations_max = violations_max
        self.parts = parts
        self.loop = simulated_loop(self.random)
        self.result = Result(seed)
        self._hash = blake2b(digest_size=8)
        self.server_clock_offset_ms = 0
        self.skipped_ms = 0
        """What went by on every clock while nothing happened."""
        drawn = self.random.choice((1, 1, 1, 2))
        self.shard_count = shard_count or drawn
        self.retention_ms = DAY_MS
        self.network = RedisNetwork(self.loop, self.random, weather.drawn(self.random), self._trace)
        self.network.primary = self.new_server()
        self.database = Database(
            self.loop, self.random, weather.drawn(self.random), self._trace, self._committed
        )
        self.history = History(lambda: self.database.tables, self.violated)
        self._names = 0
        self.apis: list[ApiProcess] = []
        self.writers: list[WriterProcess] = []
        self.faults = Faults(self, faults, Random(f"outages of {seed}"))
        self._lives = Lives()

    def violated(self, what: str) -> None:
        """A promise is broken."""
        if len(self.result.violations) < self._violations_max:
            self.result.violations.append(f"{self.loop.time():.3f} s: {what}")
        if len(self.result.violations) >= self._violations_max:
            self.loop.stop()

    def _trace(self, *happened: Any) -> None:
        self.faults.step()
        self._hash.update(f"{self.loop.time():.6f} {happened!r}\n".encode())

    def clock_ms(self, process: Process) -> int:
        return self._time_ms() + process.clock_offset_ms

    def _server_clock_ms(self) -> int:
        return self._time_ms() + self.server_clock_offset_ms

    def _time_ms(self) -> int:
        return START_MS + int(self.loop.time() * 1000) + self.skipped_ms

    def new_server(self) -> RedisServer:
        return RedisServer(self._server_clock_ms, self._script_ran)

    def _script_ran(self, data: DataSet, keys: Any) -> None:
        self.result.scripts += 1
        checks.check_script(data, keys, self.violated)
        checks.check_position(data, keys, self.database.tables, self.violated)
        shard = int(keys[0][len(b"{fs:") :].partition(b"}")[0])
        row = self.database.tables.cursors.get(shard)
        generation = data.values.get(keys[0], {}).get(b"generation")
        if row is not None and generation == b"%d" % row.generation:
            self._lives.seen(shard, row.generation, self._server_clock_ms())

    def _committed(self, before: Tables, after: Tables) -> None:
        checks.check_commit(before, after, self.violated)
        for shard, row in before.cursors.items():
            if row.seq > 0 and after.cursors[shard].generation > row.generation:
                self.faults.recovery_began()

    def crashed(self, process: Process, failure: BaseException) -> None:
        self.violated(f"{process.name} crashed: {failure!r}")

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _new_api(self) -> ApiProcess:
        api = ApiProcess(self, self._name("api"))
        api.start()
        return api

    def _new_writer(self) -> WriterProcess:
        writer = WriterProcess(self, self._name("writer"))
        writer.start()
        return writer

    def restart_api(self, index: int) -> None:
        """Kill one; the supervisor starts another at once."""
        self.apis[index].kill()
        self.apis[index] = self._new_api()

    def restart_writer(self, index: int) -> None:
        self.writers[index].kill()
        self.writers[index] = self._new_writer()

    def add_writer(self) -> None:
        self.writers.append(self._new_writer())

    def run(self) -> Result:
        """Live through the storm, come to rest, and check everything."""
        with self.loop:
            try:
                ended = self.loop.spawn(Process("world"), self._live())
                self.loop.run_until(ended, LIFE_LIMIT_S)
            except Stuck as stuck:
                self.violated(f"stuck: {stuck}")
        for accident in self.loop.accidents:
            self.violated(f"nobody caught: {accident}")
        result = self.result
        result.trace = self._hash.hexdigest()
        result.faults = self.faults.fired
        result.steps, result.commits = self.loop.steps, self.database.commits
        result.acknowledged = self.history.acknowledged
        result.virtual_s = self.loop.time()
        return result

    def discard(self) -> None:
        """End what is under way; whatever comes of that counts no more."""
        self._violations_max = 0
        self.loop.discard()
        lanes._BACKGROUND.clear()

    async def _live(self) -> None:
        self.apis = [self._new_api() for _ in range(self.random.choice((1, 2, 2)))]
        self.writers = [self._new_writer()]
        self.faults.plan()
        pools = draw_pools(self.random)
        groups = draw_group_pools(self.result.seed, self._groups)
        operator = Operator(self, {**pools, **groups})
        await operator.open_pools()
        crowd = [
            Customer(self, f"b{number}", {name: rules for name, (rules, _) in pools.items()})
            for number in range(self.random.choice((3, 5, 8)))
        ]
        crowd += self._members(groups)
        await asyncio.gather(operator.live(), *(customer.live() for customer in crowd))
        self.faults.heal()
        await operator.work_once("rest")
        await self._rest()
        await self._check_at_rest()
        for _ in range(LATE_REQUESTS_MAX):
            await operator.end_endless_holds(self._endless())
            self._end_all_holds()
            await asyncio.sleep(2.0)
            await self._rest()
            if not self._held() and not self._unsettled():
                break
        await self._check_at_rest()
        group_checks.check_settled(self.database.tables, self.violated)
        if held := self._held():
            self.violated(f"units of {held} are held although every deadline is over")

    def _held(self) -> list[str]:
        return [pool.id for pool in self.database.tables.pools.values() if pool.counters.held]

    def _members(self, pools: Mapping[str, tuple[PoolRules, int]]) -> list[Member]:
        """Those who buy in groups. What anyone hears of a group, everybody hears."""
        heard: dict[str, list[str]] = {pool: [] for pool in pools}
        rules = {pool: rules for pool, (rules, _) in pools.items()}
        return [Member(self, f"m{number}", rules, heard) for number in range(6 * bool(pools))]

    def _unsettled(self) -> bool:
        return any(group.unsettled for group in self.database.tables.groups.values())

    def _endless(self) -> list[str]:
        """Holds that only somebody ends."""
        rows = self.database.tables.reservations.values()
        return sorted(row.id for row in rows if row.deadline_ms == NO_DEADLINE_MS)

    def _end_all_holds(self) -> None:
        """Move the clock past every deadline."""
        rows = self.database.tables.reservations.values()
        deadlines = (row.deadline_ms for row in rows if row.deadline_ms != NO_DEADLINE_MS)
        ends = (group.deadline_ms for group in self.database.tables.groups.values())
        latest = max((*deadlines, *ends), default=0)
        self.server_clock_offset_ms += max(0, latest + 1 - self._server_clock_ms())

    async def _rest(self) -> None:
        """Wait until every process is open and SQL has everything, though nothing happens."""
        deadline = self.loop.time() + REST_LIMIT_S
        while not await self._at_rest():
            if self.loop.time() > deadline:
                raise Stuck(f"not at rest {REST_LIMIT_S} s after the last fault")
            await asyncio.sleep(0.3)

    async def _at_rest(self) -> bool:
        """Whoever is asked nothing notices nothing, so everybody is asked."""
        server = self.network.primary
        assert server is not None
        rest = True
        for part in (*self.apis, *self.writers):
            for shard in range(self.shard_count):
                answer = part.serve(partial(_seq, shard), unnoticed)
                rest &= isinstance(await answer, int)
        for shard in range(self.shard_count):
            row = self.database.tables.cursors.get(shard)
            meta = server.data.values.get(b"{fs:%02d}:meta" % shard, {})
            rest &= (
                row is not None
                and row.recovery_owner is None
                and meta.get(b"generation") == b"%d" % row.generation
                and meta.get(b"seq") == b"%d" % row.seq
            )
        return rest

    async def _check_at_rest(self) -> None:
        tables = self.database.tables
        server = self.network.primary
        assert server is not None
        self.history.check_at_the_end(redis_lost_nothing=self.faults.took_nothing())
        checks.check_journal(tables, self._lives.outages, self.violated)
        checks.check_stores_agree(tables, server.data, self.shard_count, self.violated)
        part = self.apis[0]
        comparison = Comparison(part.store, part.queries, part.proof)
        for shard in range(self.shard_count):
            answer = part.serve(partial(_findings, comparison, shard), unnoticed)
            found = await answer
            if found is None or isinstance(found, Exception):
                self.violated(f"no comparison is possible: {found!r}")
            elif found.differences_count or found.wrong_sums or found.oversold or found.lost:
                self.violated(f"the stores differ: {found}")


async def _seq(shard: int, part: Wiring) -> int:
    return await part.store.seq(shard)


async def _findings(comparison: Comparison, shard: int, _part: Wiring) -> Findings:
    return await comparison.findings(shard)


class _Exceptions(logging.Handler):
    """What the product logs with a traceback is a bug, or a fault that nobody thought of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.seen.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def simulate(
    seed: int,
    parts: Parts | None = None,
    *,
    faults: Sequence[str] = (),
    shard_count: int | None = None,
    groups: bool | None = None,
    violations_max: int = VIOLATIONS_MAX,
    log_level: int = logging.ERROR,
) -> Result:
    """Run one world. The same seed does the same, to the letter.

    Args:
        faults, shard_count: which kinds happen, and to how many shards, where that is not drawn.
        groups: whether anything sells to groups, where that is not drawn.
        violations_max: enough is enough.
        log_level: what is shown of the product's log; it costs more time than the world does.
    """
    logger = logging.getLogger("flashstock")
    handler = _Exceptions()
    logger.addHandler(handler)
    usual_level, usual_propagation = logger.level, logger.propagate
    logger.setLevel(log_level)
    logger.propagate = log_level < logging.ERROR
    collecting = gc.isenabled()
    gc.disable()
    try:
        world = World(
            seed,
            parts or Parts(),
            violations_max=violations_max,
            faults=faults,
            shard_count=shard_count,
            groups=groups,
        )
        try:
            result = world.run()
            result.violations += [f"logged: {line}" for line in handler.seen]
        finally:
            # Of a world that was cut off, too: else it would go on in the next one's time.
            logger.setLevel(logging.CRITICAL)
            world.discard()
        return result
    finally:
        logger.removeHandler(handler)
        logger.setLevel(usual_level)
        logger.propagate = usual_propagation
        if collecting:
            gc.enable()
