"""A store that answers what it is told, when it is told, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flashstock.errors import FlashstockError
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.asking import Asking, Verdicted
from flashstock.hotpath.lanes import Lanes, Unobserved
from flashstock.hotpath.replies import BatchReply

HELD = b"0"


def reply(
    verdicts: bytes,
    *,
    available: int = 5,
    grants: int = 1,
    seq: int = 1,
    fast: bool = True,
    generation: str = "1",
    next_wave_ms: int = 0,
    replays: tuple[bytes, ...] = (),
) -> BatchReply:
    times: dict[str, Any] = {
        "now_ms": 1000,
        "deadline_ms": 2000,
        "next_wave_ms": next_wave_ms,
        "starts_at_ms": 0,
    }
    return BatchReply(
        generation=generation,
        available=available,
        grants=grants,
        seq=seq,
        first_seq=1,
        fast=fast,
        per_buyer_limit=0,
        verdicts=verdicts,
        replays=replays,
        **times,
    )


@dataclass
class FakeClock:
    """Seconds, as ``time.monotonic`` counts them."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeStore:
    """Grants every batch unless ``answers`` has something else next; ``gate`` holds calls up."""

    batches: list[list[str]] = field(default_factory=list)
    units_wanted: list[int] = field(default_factory=list)
    attests: list[list[str] | None] = field(default_factory=list)
    answers: list[BatchReply | Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    known_answer: tuple[int, frozenset[bytes]] | FlashstockError | None = (1, frozenset())
    known_gate: asyncio.Event = field(default_factory=asyncio.Event)
    known_calls: int = 0

    def __post_init__(self) -> None:
        self.gate.set()
        self.known_gate.set()

    def shard_of(self, pool_id: str) -> int:
        return 0

    async def reserve(
        self,
        pool_id: str,
        units_wanted: int,
        digests: list[str],
        buyers: list[str],
        quantities: list[str],
        attests: list[str] | None = None,
    ) -> BatchReply:
        self.attests.append(attests)
        self.batches.append(digests)
        self.units_wanted.append(units_wanted)
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else reply(HELD * len(digests))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def known(self, pool_id: str, digests_max: int) -> tuple[int, frozenset[bytes]] | None:
        self.known_calls += 1
        await self.known_gate.wait()
        if isinstance(self.known_answer, FlashstockError):
            raise self.known_answer
        return self.known_answer


@dataclass
class Scene:
    """Lanes over the fakes. ``applied`` has shard 0 open under generation 1, at seq 0."""

    store: FakeStore
    clock: FakeClock
    applied: AppliedTracker
    lanes: Lanes
    observed: list[int]
    commits: list[str]
    """Of each batch that was waited for, its pool."""

    def submit(self, *digests: str) -> list[asyncio.Future[Verdicted]]:
        return [self.lanes.submit("p", digest, "ann", 1) for digest in digests]


def scene(
    *,
    batch_max: int = 3,
    pending_max: int = 8,
    backlog_events_max: int = 100,
    applied_timeout_ms: int = 60_000,
    lanes_max: int = 100,
) -> Scene:
    """Must be called while an event loop runs."""
    store, clock = FakeStore(), FakeClock()
    observed, commits = list[int](), list[str]()
    applied = AppliedTracker(1, applied_timeout_ms)
    applied.open_shard(0, "1", 0)

    class Watching(Unobserved):
        def decided(self, pool: str, batch: Sequence[Asking], seconds: float) -> None:
            assert seconds >= 0
            observed.append(len(batch))

        def committed(self, pool: str, seconds: float) -> None:
            assert seconds >= 0
            commits.append(pool)

    lanes = Lanes(
        store,
        applied,
        batch_max=batch_max,
        pending_max=pending_max,
        backlog_events_max=backlog_events_max,
        sold_out_stale_ms=50,
        clock=clock,
        observer=Watching(),
        lanes_max=lanes_max,
    )
    return Scene(store, clock, applied, lanes, observed, commits)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)
