"""What a script decided in one step is read whole, and committed in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.ledger.apply import Applied, Cursor
from flashstock.model.events import LogEntry
from flashstock.writer.writer import ShardWriter
from tests.reference.asking import HOLD_MS, create, hold
from tests.reference.subjects import START_MS, OnServer, on_server

DECISIONS = [["configured"], ["held"], ["expired", "held"], ["held"]]


@pytest.fixture
async def subject(valkey_url: str) -> AsyncIterator[OnServer]:
    """Its log: a pool, a hold, a hold that needs what the first one gives back, another hold."""
    async with on_server(valkey_url) as server:
        await create(server.store, total=2)
        await hold(server.store, "p", (1, "a", 2))
        await server.set_clock(START_MS + HOLD_MS)
        await hold(server.store, "p", (2, "b", 1))
        await hold(server.store, "p", (3, "c", 1))
        yield server


class Recording:
    """A ledger that takes everything and remembers how it came."""

    def __init__(self, generation: int) -> None:
        self._cursor = Cursor(0, generation, 0, LOG_START)
        self.batches: list[list[str]] = []

    async def cursor(self, shard: int) -> Cursor:
        return self._cursor

    async def keep_alive(self, cursor: Cursor, at_ms: int) -> bool:
        return cursor == self._cursor

    async def apply(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Applied:
        self.batches.append([entry.kind for entry in entries])
        last = entries[-1]
        self._cursor = replace(cursor, seq=last.last_seq, log_id=last.stream_id)
        return Applied(self._cursor)


@pytest.mark.parametrize("entries_max", [1, 2, 3, 4, 9])
async def test_no_page_ends_within_a_decision(subject: OnServer, entries_max: int):
    log = ShardLog(subject.client, 0)
    pages = [page async for page in log.read_all(LOG_START, entries_max)]
    kinds = [entry.kind for page in pages for entry in page]
    assert kinds == [kind for decision in DECISIONS for kind in decision]
    assert all(not page[0].continues for page in pages)
    assert [entry.continues for page in pages for entry in page].count(True) == 1


@pytest.mark.parametrize("events_max", [1, 2, 3])
async def test_no_transaction_ends_within_one(subject: OnServer, events_max: int):
    ledger = Recording(int(subject.scripts.generation))

    async def nothing() -> None: ...

    async def clock(_: int) -> int:
        return 0

    writer = ShardWriter(
        0,
        ShardLog(subject.client, 0),
        ledger,
        clock=clock,
        on_quarantine=nothing,
        on_gap=lambda *_: None,
        events_max=events_max,
        margin_entries=100,
    )
    writer.stop()
    await writer._follow()  # what ``run`` does until it is stopped
    if events_max == 1:
        assert ledger.batches == DECISIONS
    assert ["expired"] not in ledger.batches
    applied = [kind for batch in ledger.batches for kind in batch]
    assert applied == [kind for decision in DECISIONS for kind in decision]
