"""One process's worth of the service, inside the test: the wiring of ``bootstrap``, opened up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import redis

from flashstock import bootstrap
from flashstock.api.auth import Keyring
from flashstock.api.background import ApiBackground
from flashstock.config import Settings
from flashstock.hotpath import keys
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.asking import Verdicted
from flashstock.hotpath.group_calls import join
from flashstock.hotpath.lanes import Lanes
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.scripts import Verdict
from flashstock.ledger.migrate import upgrade
from flashstock.model.eligibility import Attests
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.rules import PoolRules
from flashstock.reconcile.reconciler import Reconciler
from flashstock.recovery.recover import Recoverer
from flashstock.service.carts import CartService
from flashstock.service.pools import PoolService
from flashstock.service.reservations import ReservationService
from flashstock.writer.quarantine import QuarantinePauser
from flashstock.writer.sweeper import Sweeper
from flashstock.writer.writer import ShardWriter

Found = TypeVar("Found")

PATIENCE_SECONDS = 60.0
TIMEOUT_MS = 10_000
CALLER = "shop"
GRANTED = (int(Verdict.HELD), int(Verdict.REPLAYED))


class Node:
    """An API process and a writer process in one, both on the same stores.

    Nothing runs before ``open``; ``write`` starts the writers. A test that needs several
    processes makes several nodes.
    """

    def __init__(self, settings: Settings, loaded: bootstrap.Secrets) -> None:
        self.settings = settings
        self.stores = bootstrap.build_stores(settings, loaded.order)
        store, queries = self.stores.store, self.stores.queries
        self.applied = AppliedTracker(settings.shard_count, settings.applied_timeout_ms, queries)
        self.gate = bootstrap.build_gate(settings, self.stores, self.applied)
        self.lanes = Lanes(
            store,
            self.applied,
            batch_max=settings.lane_batch_max,
            pending_max=settings.lane_pending_max,
            backlog_events_max=settings.backlog_events_max,
            sold_out_stale_ms=settings.sold_out_stale_ms,
            clock=time.monotonic,
        )
        self.pools = PoolService(store, self.applied)
        self.reservations = ReservationService(
            store,
            self.applied,
            queries,
            loaded.order,
            loaded.signer,
            retention_ms=bootstrap.retention_ms_of(settings),
        )
        self.carts = CartService(store, self.applied, self.reservations)
        self.reconciler = Reconciler(store, queries, self.stores.proof)
        self.sweeper = Sweeper(store, settings.sweep_interval_ms)
        self.pauser = QuarantinePauser(queries, store)
        self.writers = [self._writer(shard) for shard in range(settings.shard_count)]
        self._background = ApiBackground(
            self.stores.servers.tailing[0], queries, self.applied, self.gate, Keyring()
        )
        self._tasks: list[asyncio.Task[None]] = []

    def _writer(self, shard: int) -> ShardWriter:
        return ShardWriter(
            shard,
            ShardLog(self.stores.servers.tailing[shard], shard),
            self.stores.ledger,
            clock=self.stores.store.now_ms,
            on_quarantine=self.pauser.wake,
            on_gap=self.gate.rebuild,
            events_max=self.settings.writer_batch_events_max,
            margin_entries=self.settings.log_margin_entries,
        )

    @property
    def recoverer(self) -> Recoverer:
        return self.gate._recoverer

    async def open(self) -> None:
        """Open every shard, and hear of commits from then on."""
        await self._background.start()
        await self.gate.open_all()

    def write(self) -> None:
        """Start the writers and the pauser."""
        for writer in self.writers:
            self._tasks.append(asyncio.create_task(writer.run()))
        self._tasks.append(asyncio.create_task(self.pauser.run()))

    async def stop_writing(self) -> None:
        """Stop the writers as SIGKILL would: wherever they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def close(self) -> None:
        await self.stop_writing()
        await self._background.stop()
        await self.stores.close()

    async def create(self, pool: str, quantity: int, **rules: Any) -> None:
        await self.pools.create(pool, PoolRules("sku", **rules), quantity)

    async def reserve(
        self, pool: str, buyer: str, quantity: int, key: str, attests: str = ""
    ) -> Verdicted:
        """The verdict, as a caller would hear it: once it is committed."""
        digest = digest_of("reservation", CALLER, key)
        return await self.lanes.lane(pool).submit(digest, buyer, quantity, attests)

    async def hold(self, pool: str, key: str, quantity: int = 1, buyer: str = "") -> str:
        """A granted hold's id. The buyer is of the key's name unless named."""
        verdicted = await self.reserve(pool, buyer or f"buyer-{key}", quantity, key)
        assert verdicted.verdict in GRANTED, Verdict(verdicted.verdict)
        return str(ReservationId(pool, digest_of("reservation", CALLER, key)))

    async def seat(
        self, pool: str, key: str, wants: str, *, buyer: str = "", new: bool = True
    ) -> str:
        """A granted seat's id: ``wants`` is ``open``, ``match`` or the id of a group."""
        digest = digest_of("reservation", CALLER, key)
        wanted = join(wants.rpartition("~")[2]) if "~" in wants else wants
        attests = [Attests(new_buyer=new).packed()]
        columns = ([digest], [buyer or f"buyer-{key}"], ["1"], [wanted])
        reply = await self.stores.store.take_seats(pool, 1, *columns, attests)
        shard = self.stores.store.shard_of(pool)
        await self.applied.recorded(shard, reply.generation, reply.seq, digest)
        verdict = Verdict(reply.verdicts[0] - 48)
        assert verdict in GRANTED, verdict.name
        return str(ReservationId(pool, digest))

    async def is_applied(self) -> None:
        """Wait until SQL has everything the log holds."""
        for shard in range(self.settings.shard_count):
            await eventually(partial(self._has_caught_up, shard), "SQL has everything")

    async def _has_caught_up(self, shard: int) -> bool:
        return await self.lag(shard) == 0

    async def lag(self, shard: int) -> int:
        log = ShardLog(self.stores.servers.clients[shard], shard)
        return await log.seq() - await self.stores.proof.cursor_seq(shard)


async def settings_for(redis_url: str, database_url: str, **changes: Any) -> Settings:
    """Settings of a service whose database is ready, and that waits for a busy machine."""
    await upgrade(database_url)
    changes = {"redis_timeout_ms": TIMEOUT_MS, "applied_timeout_ms": TIMEOUT_MS, **changes}
    return Settings(redis_url=redis_url, database_url=database_url, **changes)


@asynccontextmanager
async def opened(settings: Settings, *, writing: bool = True) -> AsyncIterator[Node]:
    """A node whose shards are open."""
    node = await unopened(settings)
    try:
        await node.open()
        if writing:
            node.write()
        yield node
    finally:
        await node.close()


async def unopened(settings: Settings) -> Node:
    """A node that has touched nothing yet. Whoever asks for it closes it."""
    return Node(settings, await bootstrap.load_secrets(settings))


def raw(url: str) -> redis.Redis:
    """A client for what only a test does to a server."""
    return redis.Redis.from_url(url, decode_responses=True)


async def eventually(look: Callable[[], Awaitable[Found]], what: str) -> Found:
    """What ``look`` finds once it is true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (found := await look()):
        assert time.monotonic() < give_up_at, f"it never came to this: {what}"
        await asyncio.sleep(0.005)
    return found


def meta(shard: int = 0) -> str:
    return keys.shard_meta(shard)
