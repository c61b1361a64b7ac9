"""The product's processes, wired as its composition root wires them, on simulated stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from flashstock.api.background import ApiBackground
from flashstock.api.bodies import receipt_stamp, refusal_of
from flashstock.errors import FlashstockError, GroupOver
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.asking import AskingForFuture
from flashstock.hotpath.lanes import Lanes
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.seat_lanes import SeatLane
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import digest_of
from flashstock.model.receipts import ReceiptSigner
from flashstock.model.records import ReservationRecord, unpack_record
from flashstock.model.states import ReservationState
from flashstock.recovery.gate import Gate
from flashstock.recovery.rebuild import Rebuilder
from flashstock.recovery.recover import Recoverer
from flashstock.service.carts import CartService
from flashstock.service.pools import PoolService
from flashstock.service.reservations import ReservationService
from flashstock.writer.quarantine import QuarantinePauser
from flashstock.writer.sweeper import Sweeper
from flashstock.writer.writer import ShardWriter
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.redis_client import RedisClient
from tests.simulation.redis_network import RedisNetwork
from tests.simulation.sql import Database, SimulatedLedger
from tests.simulation.sql_reads import SimulatedProof, SimulatedQueries
from tests.simulation.sql_tables import ORDER_SECRET

SIGNER: Final = ReceiptSigner({"k1": b"simulated"}, current="k1")
CALLER: Final = "shop"
APPLIED_TIMEOUT_MS: Final = 1_500
SWEEP_INTERVAL_MS: Final = 200


class Environment(Protocol):
    """What a process finds around it."""

    loop: SimulatedLoop
    network: RedisNetwork
    database: Database
    shard_count: int
    retention_ms: int
    parts: Parts

    def clock_ms(self, process: Process) -> int:
        """The clock of the process's machine."""
        ...

    def crashed(self, process: Process, failure: BaseException) -> None:
        """A process ended by itself."""
        ...


class Parts:
    """Which class does what. Negative controls put one with a bug in a place."""

    store: type[HotStore] = HotStore
    applied: type[AppliedTracker] = AppliedTracker
    lanes: type[Lanes] = Lanes
    log: type[ShardLog] = ShardLog
    writer: type[ShardWriter] = ShardWriter
    sweeper: type[Sweeper] = Sweeper
    gate: type[Gate] = Gate
    recoverer: type[Recoverer] = Recoverer
    rebuilder: type[Rebuilder] = Rebuilder
    ledger: type[SimulatedLedger] = SimulatedLedger
    queries: type[SimulatedQueries] = SimulatedQueries
    proof: type[SimulatedProof] = SimulatedProof
    reservations: type[ReservationService] = ReservationService
    client: type[RedisClient] = RedisClient


class Granted(NamedTuple):
    """A hold as its answer tells of it."""

    id: str
    record: ReservationRecord
    receipt: str
    replayed: bool
    fast: bool


class Wiring:
    """What every process has: clients of both stores, and the gate."""

    def __init__(self, world: Environment, name: str, *, answering: bool) -> None:
        parts = world.parts
        self.world = world
        self.process = process = Process(name)
        self._waiting: list[asyncio.Future[Any]] = []
        client: Any = parts.client(world.network, process)
        self.client = client

        def clock() -> int:
            return world.clock_ms(process)

        queries: Any = parts.queries(world.database, process, clock)
        proof: Any = parts.proof(world.database, process, clock)
        self.queries, self.proof = queries, proof
        self.ledger: Any = parts.ledger(world.database, process, clock)
        self.store = parts.store(self.client, world.shard_count, self.client.execute_command)
        applied = parts.applied(world.shard_count, APPLIED_TIMEOUT_MS, queries)
        self.applied = applied
        clients = [client] * world.shard_count
        rebuilder = parts.rebuilder(clients, queries, proof, clock, retention_ms=world.retention_ms)
        recoverer = parts.recoverer(clients, self.ledger, rebuilder, name)
        self.gate = parts.gate(
            self.store,
            recoverer,
            applied if answering else None,
            retention_ms=world.retention_ms,
        )
        self.store.on_lost = self.gate.lost

    def run(self, work: Awaitable[Any]) -> None:
        """Start work that lasts as long as the process; if it ends badly, the process crashes."""

        async def watched() -> None:
            try:
                await work
            except Exception as failure:  # noqa: BLE001 (a crash is told to the world)
                self.world.crashed(self.process, failure)

        self.world.loop.spawn(self.process, watched())

    def kill(self) -> None:
        """SIGKILL."""
        self.process.dead = True
        self.process.backlog.clear()
        for answer in self._waiting:
            if not answer.done():
                answer.set_result(None)

    def serve(
        self, verb: Callable[[Any], Awaitable[Any]], leaving: Callable[[Any], None]
    ) -> asyncio.Future[Any]:
        """Serve one request. The future gets what the verb returns, the error that it raises, or
        ``None`` where the process dies first.

        Args:
            leaving: told of the answer in the very moment in which it leaves the process.
        """
        answer: asyncio.Future[Any] = self.world.loop.create_future()
        self._waiting.append(answer)

        async def served() -> None:
            outcome: Any
            try:
                outcome = await verb(self)
            except FlashstockError as refusal:
                outcome = refusal
            except Exception as failure:  # noqa: BLE001 (a 500)
                self.world.crashed(self.process, failure)
                outcome = None
            leaving(outcome)
            if not answer.done():
                answer.set_result(outcome)

        self.world.loop.spawn(self.process, served())
        return answer


class _NoKeys:
    """Stands where the API keeps its keys, which no simulation needs."""

    async def refresh_or_keep(self, _queries: Any) -> None:
        await asyncio.sleep(0)


class ApiProcess(Wiring):
    """One API worker without its HTTP: the lanes, the services and the background tasks."""

    def __init__(self, world: Environment, name: str) -> None:
        super().__init__(world, name, answering=True)
        parts, applied = world.parts, self.applied
        lanes = partial(
            parts.lanes,
            self.store,
            applied,
            batch_max=8,
            pending_max=64,
            backlog_events_max=1_000,
            sold_out_stale_ms=50,
            clock=world.loop.time,
        )
        self.lanes, self.seats = lanes(), lanes(kind=SeatLane)
        self.pools = PoolService(self.store, applied)
        self.reservations = parts.reservations(
            self.store,
            applied,
            self.queries,
            ORDER_SECRET,
            SIGNER,
            retention_ms=world.retention_ms,
        )
        self.carts = CartService(self.store, applied, self.reservations)
        keyring: Any = _NoKeys()
        self._background = ApiBackground(self.client, self.queries, applied, self.gate, keyring)

    def start(self) -> None:
        self.run(self._background.start())

    async def reserve(
        self, key: str, pool: str, buyer: str, quantity: int, attests: str = ""
    ) -> Granted:
        """What the reserve route does between decoding and encoding."""
        digest = digest_of("reservation", CALLER, key)
        verdicted = await self.lanes.submit(pool, digest, buyer, quantity, attests)
        batch = verdicted.batch
        if verdicted.verdict == Verdict.REPLAYED:
            assert verdicted.replay is not None
            record = unpack_record(verdicted.replay.decode())
        elif verdicted.verdict == Verdict.HELD:
            record = ReservationRecord(
                ReservationState.ORDERED if batch.ordered else ReservationState.HELD,
                batch.deadline_ms,
                int(batch.generation),
                batch.first_seq,
                quantity,
                pool,
                buyer,
            )
        else:
            raise refusal_of(verdicted.verdict, pool, batch, attests)
        replayed = verdicted.verdict == Verdict.REPLAYED
        return Granted(
            f"{pool}~{digest}",
            record,
            signed(f"{pool}~{digest}", record),
            replayed,
            batch.fast,
        )

    async def take_seat(
        self, key: str, pool: str, buyer: str, quantity: int, wants: str, attests: str
    ) -> Granted:
        """The same for a seat of a group. A fast pool's is answered before it is in SQL."""
        digest = digest_of("reservation", CALLER, key)
        asking = AskingForSeat(digest, buyer, quantity, attests, wants)
        self.seats.ask(pool, asking)
        verdict, batch, packed = await asking.future
        if packed is None:
            if verdict > Verdict.NOT_ELIGIBLE:
                raise GroupOver(Verdict(verdict).name)
            raise refusal_of(verdict, pool, batch, attests)
        record = unpack_record(packed.decode())
        receipt = signed(f"{pool}~{digest}", record)
        replayed = verdict == Verdict.REPLAYED
        return Granted(f"{pool}~{digest}", record, receipt, replayed, batch.fast)


class AskingForSeat(AskingForFuture):
    """``AskingForFuture`` that says for which group."""

    __slots__ = ("wants",)

    def __init__(self, digest: str, buyer: str, quantity: int, attests: str, wants: str) -> None:
        super().__init__(digest, buyer, quantity, attests)
        self.wants = wants


def signed(reservation_id: str, record: ReservationRecord) -> str:
    """The receipt that the answer carries."""
    stamp = receipt_stamp(record.deadline_ms, record.generation, record.seq)
    return SIGNER.sign(reservation_id, record.buyer, record.quantity, stamp)


class WriterProcess(Wiring):
    """The writer process: writers, sweeper, pauser."""

    def __init__(self, world: Environment, name: str) -> None:
        super().__init__(world, name, answering=False)
        parts = world.parts
        self._pauser = QuarantinePauser(self.queries, self.store)
        self._writers = [
            parts.writer(
                shard,
                parts.log(self.client, shard),
                self.ledger,
                clock=self.store.now_ms,
                on_quarantine=self._pauser.wake,
                on_gap=self.gate.rebuild,
                events_max=6,
                margin_entries=4,
            )
            for shard in range(world.shard_count)
        ]
        self.store.committed = lambda shard: self._writers[shard].committed
        self._sweeper = parts.sweeper(self.store, SWEEP_INTERVAL_MS)

    def start(self) -> None:
        self.run(self._run())

    async def _run(self) -> None:
        await self.gate.open_all()
        self.run(self._pauser.run())
        for writer in self._writers:
            self.run(writer.run())
        self.run(self._sweeper.run())
