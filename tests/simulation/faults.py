"""What goes wrong, and when: drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from tests.simulation.loop import SimulatedLoop
from tests.simulation.processes import ApiProcess, WriterProcess
from tests.simulation.redis_data import DataSet
from tests.simulation.redis_network import RedisNetwork
from tests.simulation.redis_server import RedisServer
from tests.simulation.sql import Database

LATEST_S: Final = 5.0
FAULTS_MAX: Final = 12
"""Enough trouble for one world: more of it, and nothing gets done that could be lost."""
LONG_OUTAGES: Final = 0.25
"""How many worlds have one."""
RECOVERY_STEPS: Final = 25
"""As many questions to the stores, about, as a recovery asks."""


class Stage(Protocol):
    """What faults happen to."""

    loop: SimulatedLoop
    random: Random
    network: RedisNetwork
    database: Database
    apis: list[ApiProcess]
    writers: list[WriterProcess]
    server_clock_offset_ms: int
    skipped_ms: int

    def new_server(self) -> RedisServer: ...

    def restart_api(self, index: int) -> None: ...

    def restart_writer(self, index: int) -> None: ...

    def add_writer(self) -> None: ...


class Faults:
    """The faults of one world. ``fired`` says which happened, and when.

    Args:
        only: these kinds and many of them, in place of a few of all.
        outages: draws whether there is a long one. It draws nothing else, and nothing else does.
    """

    def __init__(self, stage: Stage, only: Sequence[str], outages: Random) -> None:
        self._stage = stage
        self._only = only
        self._random = stage.random
        self._outages = outages
        self._retired: list[RedisServer] = []
        self._steps_left = 0
        self.fired: list[str] = []
        self.over = False

    def plan(self) -> None:
        """Draw how many, which and when; let them happen by themselves."""
        counts = (4, 6, 8) if self._only else (0, 1, 1, 2, 2, 3, 5)
        for _ in range(self._random.choice(counts)):
            name = self._random.choice(self._only or sorted(KINDS.keys() - LONG))
            self._later(self._random.random() * LATEST_S, name)
        if not self._only and self._outages.random() < LONG_OUTAGES:
            name = self._outages.choice(sorted(LONG))
            self._later(self._outages.random() * LATEST_S, name)

    def _later(self, delay_s: float, name: str) -> None:
        self._stage.loop.naturally(delay_s, self._fire, name)

    def _fire(self, name: str) -> None:
        if self.over or len(self.fired) >= FAULTS_MAX:
            return
        self.fired.append(f"{self._stage.loop.time():.3f} {name}")
        KINDS[name](self)
        # Trouble comes in company: whoever repairs it may be next.
        if not self._only and self._random.random() < 0.35:
            follower = self._random.choice(FOLLOWERS)
            self._later(self._random.choice((0.02, 0.2, 1.0)) * self._random.random(), follower)

    def recovery_began(self) -> None:
        """Whoever repairs is hit, too: at any of the steps that takes, not at any time."""
        if not self.over and self._random.random() < (0.5 if self._only else 0.15):
            self._steps_left = 1 + int(self._random.random() * RECOVERY_STEPS)

    def step(self) -> None:
        """Somebody asked a store for something."""
        if self._steps_left:
            self._steps_left -= 1
            if not self._steps_left:
                self._later(0.0, self._random.choice(self._only or FOLLOWERS))

    def took_nothing(self) -> bool:
        """Did Redis keep all that its scripts ever wrote?"""
        return not any(fault.split()[1] in TAKES_DATA for fault in self.fired)

    def heal(self) -> None:
        """Everything is up again, and nothing more happens."""
        self.over = True
        stage = self._stage
        primary = self._primary
        if not primary.up:
            primary.start()
        primary.full = primary.read_only = False
        self._retire_routes()
        stage.database.up = True
        stage.database.weather.calm()
        stage.network.weather.calm()
        for process in [part.process for part in (*stage.apis, *stage.writers)]:
            stage.loop.resume(process)

    @property
    def _primary(self) -> RedisServer:
        primary = self._stage.network.primary
        assert primary is not None
        return primary

    def _cut(self) -> int:
        """A position in the append-only file: usually near its end, sometimes anywhere."""
        length = len(self._primary.data.history)
        reach = length if self._random.random() < 0.3 else min(length, 12)
        return length - int(self._random.random() * (reach + 1))

    def _bounce(self, transactions: int | None) -> None:
        server = self._primary
        if not server.up:
            return
        server.stop()
        self._stage.loop.naturally(self._pause(), self._start, server, transactions)

    def _start(self, server: RedisServer, transactions: int | None) -> None:
        if not server.up and server is self._primary:
            server.start(transactions)

    def _pause(self) -> float:
        return self._random.choice((0.001, 0.05, 0.5, 2.0)) * self._random.random()

    def redis_restarted(self) -> None:
        self._bounce(None)

    def redis_lost_its_tail(self) -> None:
        self._bounce(self._cut())

    def redis_lost_everything(self) -> None:
        self._bounce(0)

    def long_outage(self) -> None:
        """Everything stands still and comes back as it was; only the clocks have gone on."""
        self._stand_still(None)

    def long_outage_with_loss(self) -> None:
        self._stand_still(self._outages.choice((0, self._cut())))

    def _stand_still(self, transactions: int | None) -> None:
        if not self._primary.up:
            return
        self._bounce(transactions)
        self._stage.skipped_ms += self._outages.choice((15_000, 60_000, 3_600_000))

    def redis_flushed(self) -> None:
        if self._primary.up:
            self._primary.data.transaction()
            self._primary.data.execute(("FLUSHALL",))

    def scripts_flushed(self) -> None:
        self._primary.scripts.clear()

    def connections_reset(self) -> None:
        server = self._primary
        if server.up:
            server.connection.close()
            server.subscribers.clear()
            server.on_write.clear()
            server.connection = type(server.connection)()

    def redis_full(self) -> None:
        server = self._primary
        server.full = True
        self._stage.loop.naturally(self._pause(), setattr, server, "full", False)

    def redis_demoted(self) -> None:
        server = self._primary
        server.read_only = True
        self._stage.loop.naturally(self._pause(), setattr, server, "read_only", False)

    def replica_promoted(self) -> None:
        """A replica that lags takes over; some processes may still talk to the old primary."""
        old = self._primary
        new = self._stage.new_server()
        new.data = old.data.replayed(self._cut())
        if self._random.random() < 0.5:
            # Another machine, another clock.
            self._stage.server_clock_offset_ms += self._random.choice((-4_000, -300, 900))
        self._switch(old, new)
        if self._random.random() < 0.4:
            self._later(0.2 + 3 * self._random.random(), "old_primary_returns")

    def demoted_and_back(self) -> None:
        """A replica that lags is primary for a while; the one before becomes its copy, and then
        primary once more, with all that is no data: its scripts, the markers included."""
        old = self._primary
        if not old.up:
            return
        new = self._stage.new_server()
        new.data = old.data.replayed(self._cut())
        self.connections_reset()
        self._stage.network.primary = new
        delay_s = 0.3 + 2 * self._random.random()
        self._stage.loop.naturally(delay_s, self._back, old, new)

    def _back(self, old: RedisServer, new: RedisServer) -> None:
        if self.over or not old.up or not new.up or self._primary is not new:
            return
        new.stop()
        self._copy(old, new.data.replayed(len(new.data.history)))
        self._stage.network.primary = old

    def became_a_copy(self) -> None:
        """As ``demoted_and_back``, in no time and with all connections left open."""
        server = self._primary
        self._copy(server, server.data.replayed(self._cut()))

    def _copy(self, server: RedisServer, data: DataSet) -> None:
        """Give a server other data, and leave all the rest: scripts, connections."""
        before, server.data = server.data, data
        for key, meta in before.values.items():
            if key.endswith(b":meta"):
                data.unfenced[key] = meta[b"generation"]

    def old_primary_returns(self) -> None:
        """A server that was replaced is primary once more, with what it had."""
        if not self._retired:
            return
        returning = self._retired.pop()
        if not returning.up:
            returning.start()
        self._switch(self._primary, returning)

    def _switch(self, old: RedisServer, new: RedisServer) -> None:
        stage = self._stage
        stage.network.primary = new
        self._retired.append(old)
        if old.up and self._random.random() < 0.6:
            for part in (*stage.apis, *stage.writers):
                if self._random.random() < 0.5:
                    stage.network.routes[part.process.name] = old
            stage.loop.naturally(0.2 + 3 * self._random.random(), self._retire_routes)
        elif old.up:
            old.stop()

    def _retire_routes(self) -> None:
        routes = self._stage.network.routes
        for server in list(routes.values()):
            if server.up and server is not self._primary:
                server.stop()
        routes.clear()

    def redis_clock_jumps(self) -> None:
        self._stage.server_clock_offset_ms += self._random.choice(
            (-5_000, -900, 700, 2_500, 20_000)
        )

    def process_clock_jumps(self) -> None:
        part = self._random.choice([*self._stage.apis, *self._stage.writers])
        part.process.clock_offset_ms += self._random.choice((-3_000, 1_000, 12_000))

    def sql_away(self) -> None:
        database = self._stage.database
        database.up = False
        delay_s = self._random.choice((0.05, 0.6, 3.0)) * self._random.random()
        self._stage.loop.naturally(delay_s, setattr, database, "up", True)

    def sql_slow(self) -> None:
        weather = self._stage.database.weather
        usual_s, weather.delay_s = weather.delay_s, 0.15
        self._stage.loop.naturally(1.0, setattr, weather, "delay_s", min(usual_s, 0.01))

    def api_killed(self) -> None:
        self._stage.restart_api(self._random.randrange(len(self._stage.apis)))

    def writer_killed(self) -> None:
        self._stage.restart_writer(self._random.randrange(len(self._stage.writers)))

    def everything_killed(self) -> None:
        for index in range(len(self._stage.apis)):
            self._stage.restart_api(index)
        for index in range(len(self._stage.writers)):
            self._stage.restart_writer(index)

    def second_writer(self) -> None:
        if len(self._stage.writers) < 3:
            self._stage.add_writer()

    def process_paused(self) -> None:
        part: Any = self._random.choice([*self._stage.apis, *self._stage.writers])
        part.process.paused = True
        delay_s = self._random.choice((0.3, 2.0, 14.0)) * self._random.random()
        self._stage.loop.naturally(delay_s, self._stage.loop.resume, part.process)

    def rebuild_on_demand(self) -> None:
        part = self._random.choice([*self._stage.apis, *self._stage.writers])

        async def rebuild() -> None:
            part.gate.rebuild(0)

        self._stage.loop.spawn(part.process, rebuild())


KINDS: Final[dict[str, Callable[[Faults], None]]] = {
    kind.__name__: kind
    for kind in (
        Faults.redis_restarted,
        Faults.redis_lost_its_tail,
        Faults.redis_lost_everything,
        Faults.redis_flushed,
        Faults.scripts_flushed,
        Faults.connections_reset,
        Faults.redis_full,
        Faults.redis_demoted,
        Faults.replica_promoted,
        Faults.demoted_and_back,
        Faults.became_a_copy,
        Faults.old_primary_returns,
        Faults.redis_clock_jumps,
        Faults.process_clock_jumps,
        Faults.sql_away,
        Faults.sql_slow,
        Faults.api_killed,
        Faults.writer_killed,
        Faults.everything_killed,
        Faults.second_writer,
        Faults.process_paused,
        Faults.rebuild_on_demand,
        Faults.long_outage,
        Faults.long_outage_with_loss,
    )
}
LONG: Final = frozenset({"long_outage", "long_outage_with_loss"})
"""Drawn apart from the others."""
TAKES_DATA: Final = frozenset(
    {
        "long_outage_with_loss",
        "redis_lost_its_tail",
        "redis_lost_everything",
        "redis_flushed",
        "replica_promoted",
        "demoted_and_back",
        "became_a_copy",
        "old_primary_returns",
        "rebuild_on_demand",
    }
)
FOLLOWERS: Final = (
    "api_killed",
    "writer_killed",
    "everything_killed",
    "process_paused",
    "redis_restarted",
    "redis_lost_its_tail",
    "old_primary_returns",
    "replica_promoted",
    "sql_away",
)
