"""What looks after the books again and again is not ended by a failure that nobody foresaw."""

from __future__ import annotations

import asyncio
from typing import Any

from flashstock.reconcile.watch import Watch
from flashstock.writer.quarantine import QuarantinePauser

PATIENCE_S = 60


class FailsOnce:
    def __init__(self) -> None:
        self._asked = 0
        self.asked_again = asyncio.Event()

    async def ask(self) -> list[Any]:
        self._asked += 1
        if self._asked == 1:
            raise RuntimeError("nobody foresaw it")
        self.asked_again.set()
        return []


async def test_the_quarantine_is_looked_at_again():
    book: Any = FailsOnce()
    book.quarantine_unpaused = book.ask
    store: Any = None
    running = asyncio.create_task(QuarantinePauser(book, store).run())
    async with asyncio.timeout(PATIENCE_S):
        await book.asked_again.wait()
    running.cancel()


async def test_the_watch_goes_round_again(monkeypatch):
    anything: Any = FailsOnce()
    anything.shard_count = 0
    watch = Watch(anything, anything, anything)
    monkeypatch.setattr(watch, "round", anything.ask)
    running = asyncio.create_task(watch.run(interval_s=0.0))
    async with asyncio.timeout(PATIENCE_S):
        await anything.asked_again.wait()
    running.cancel()
