"""The same shard twice: on a real server, and in the reference. Tests drive either.

The clock is the test's. A script takes the later of the server's time and the clock of the last
decision, so a shard that is set far ahead stands still until it is set again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from redis.asyncio import Redis

from flashstock.hotpath import keys
from flashstock.hotpath.connection import connect
from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.hotpath.pipe import Pipe
from flashstock.hotpath.scripts import ScriptSet, script_set
from flashstock.hotpath.store import HotStore
from flashstock.model import events
from flashstock.model.records import ReservationRecord, unpack_record
from flashstock.model.rules import PoolCounters, PoolRules
from tests.reference.store import GENERATION, ReferenceStore

START_MS = 4_000_000_000_000
"""In the year 2096: no server's own clock gets in the way."""
RETENTION_MS = 3_600_000
TIMEOUT_MS = 10_000


@dataclass
class PoolState:
    """All a shard holds of one pool."""

    rules: PoolRules
    counters: PoolCounters
    grants: int
    buyers: dict[str, int]
    deadlines: dict[str, int]
    retired: dict[str, int]


@dataclass
class ShardState:
    """All a shard holds. ``log`` has each event with its first number."""

    seq: int
    orders: int
    pools: dict[str, PoolState]
    records: dict[str, ReservationRecord]
    due: dict[str, int]
    log: list[tuple[int, events.Event]]


class Subject(Protocol):
    """A shard whose time the test sets and whose insides it sees."""

    @property
    def store(self) -> HotStore | ReferenceStore: ...

    async def set_clock(self, now_ms: int) -> None: ...

    async def state(self, pools: Iterable[str]) -> ShardState: ...


class InMemory:
    """The reference as a subject."""

    store: ReferenceStore

    def __init__(self) -> None:
        self.store = ReferenceStore(RETENTION_MS)

    async def set_clock(self, now_ms: int) -> None:
        self.store.now_ms = now_ms

    async def state(self, pools: Iterable[str]) -> ShardState:
        store = self.store
        known = {name: store.pools[name] for name in pools if name in store.pools}
        return ShardState(
            store.seq,
            store.orders,
            {
                name: PoolState(
                    pool.settings,
                    pool.counters,
                    pool.grants,
                    dict(pool.buyers),
                    dict(pool.deadlines),
                    dict(pool.retired),
                )
                for name, pool in known.items()
            },
            dict(store.records),
            dict(store.due),
            list(store.log),
        )


class OnServer:
    """Shard 0 of a server, opened as recovery opens it."""

    def __init__(self, client: Redis, pipe: Pipe, scripts: ScriptSet) -> None:
        self.client = client
        self.pipe = pipe
        self.scripts = scripts
        self.lost: list[int] = []
        self.store = HotStore(client, 1, pipe.call)
        self.store.on_lost = self.lost.append
        self._read_up_to = LOG_START
        self._log: list[tuple[int, events.Event]] = []

    @classmethod
    def connected(cls, url: str) -> OnServer:
        """Connected as the service is; ``aclose`` when done."""
        client = connect(url, timeout_ms=TIMEOUT_MS)
        pipe = Pipe(url, timeout_ms=TIMEOUT_MS)
        return cls(client, pipe, script_set(0, GENERATION, RETENTION_MS))

    async def aclose(self) -> None:
        await self.pipe.aclose()
        await self.client.aclose()

    async def open(self) -> None:
        generation = self.scripts.generation
        await self.client.hset(
            keys.shard_meta(0),
            items=["generation", generation, "seq", "0", "clock_ms", "0", "orders", "0"],
        )
        await self.load()

    async def load(self) -> None:
        """Load the scripts and let calls through."""
        for name, text in self.scripts.texts.items():
            assert await self.client.script_load(text) == self.scripts.shas[name]
        self.store.open_shard(0, self.scripts)

    async def set_clock(self, now_ms: int) -> None:
        await self.client.hset(keys.shard_meta(0), "clock_ms", now_ms)

    async def log(self) -> list[tuple[int, events.Event]]:
        """The whole log, decoded. Raises where an entry can't be read or is numbered wrongly."""
        log = ShardLog(self.client, 0)
        while fresh := await log.read(self._read_up_to, entries_max=100_000):
            for entry in fresh:
                event = events.decode(entry)
                assert events.encode(event) == (entry.kind, entry.payload)
                assert entry.generation == int(self.scripts.generation)
                self._log.append((entry.seq, event))
                self._read_up_to = entry.stream_id
        return self._log

    async def state(self, pools: Iterable[str]) -> ShardState:
        names = list(pools)
        async with self.client.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(keys.shard_meta(0))
            pipeline.hgetall(keys.reservations(0))
            pipeline.zrange(keys.due(0), 0, -1, withscores=True)
            for name in names:
                pipeline.hgetall(keys.pool(0, name))
                pipeline.hgetall(keys.buyers(0, name))
                pipeline.zrange(keys.deadlines(0, name), 0, -1, withscores=True)
                pipeline.zrange(keys.retired(0, name), 0, -1, withscores=True)
            meta, records, due, *rest = await pipeline.execute()
        parts = zip(rest[0::4], rest[1::4], rest[2::4], rest[3::4], strict=True)
        return ShardState(
            int(meta[b"seq"]),
            int(meta[b"orders"]),
            {name: _pool_state(*part) for name, part in zip(names, parts, strict=True) if part[0]},
            {digest.decode(): unpack_record(packed.decode()) for digest, packed in records.items()},
            _scores(due),
            list(await self.log()),
        )


def _scores(pairs: list[tuple[bytes, float]]) -> dict[str, int]:
    return {member.decode(): int(score) for member, score in pairs}


def _pool_state(
    fields: dict[bytes, bytes],
    buyers: dict[bytes, bytes],
    deadlines: list[tuple[bytes, float]],
    retired: list[tuple[bytes, float]],
) -> PoolState:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    counters = ("total", "available", "held", "sold", "locked")
    return PoolState(
        events.decode_rules(text),
        PoolCounters(*(int(text[name]) for name in counters)),
        int(text["grants"]),
        {buyer.decode(): int(units) for buyer, units in buyers.items()},
        _scores(deadlines),
        _scores(retired),
    )


@asynccontextmanager
async def on_server(url: str) -> AsyncIterator[OnServer]:
    """An open shard on an empty server, its clock at ``START_MS``."""
    subject = OnServer.connected(url)
    try:
        await subject.open()
        await subject.set_clock(START_MS)
        yield subject
    finally:
        await subject.aclose()


@asynccontextmanager
async def in_memory() -> AsyncIterator[InMemory]:
    subject = InMemory()
    await subject.set_clock(START_MS)
    yield subject
