"""A sale that goes on while somebody watches: buyers who pay, who don't, and who want too much."""

from __future__ import annotations

import threading
from itertools import count
from random import Random
from types import TracebackType
from typing import Self

from flashstock.client import BlockingClient, RetryPolicy
from flashstock.errors import Refused, Unavailable

PAUSE_SECONDS = 0.02


class RunningSale:
    """Buyers at a pool, one after the other, in a thread, until it is left."""

    def __init__(self, url: str, pool: str, api_key: str | None = None) -> None:
        self._client = BlockingClient(url, api_key=api_key, retry=RetryPolicy(attempts_max=1))
        self._pool = pool
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sell, name="running sale")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._client.__exit__(None, None, None)
        if self._failure is not None and problem is None:
            raise self._failure

    def _sell(self) -> None:
        random = Random(1)
        for number in count():
            if self._over.wait(PAUSE_SECONDS):
                return
            try:
                self._visit(number, random)
            except Exception as problem:  # noqa: BLE001 (told to whoever leaves the sale)
                self._failure = problem
                return

    def _visit(self, number: int, random: Random) -> None:
        try:
            buyer, quantity = f"crowd-{number}", random.choice((1, 1, 1, 9))
            granted = self._client.reserve(self._pool, buyer, quantity, f"crowd-{number}")
            if random.random() < 0.6:
                self._client.confirm(granted.reservation.id, f"crowd-pay-{number}")
        except (Refused, Unavailable):
            # Part of every sale: limits are met, it is paused, a worker is busy.
            return
