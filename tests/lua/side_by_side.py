"""The real scripts and the reference, asked the same by a machine that Hypothesis drives."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.reference.subjects import START_MS, InMemory, OnServer

Answer = TypeVar("Answer")
Asked = TypeVar("Asked")
"""What both can be asked."""


class SideBySide(RuleBasedStateMachine, Generic[Asked]):
    """Every rule asks both the same and compares the answers.

    Args:
        model: the reference, which knows nothing yet.
    """

    url = ""

    def __init__(self, model: InMemory) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now_ms = START_MS
        self.granted: set[int] = set()
        self.used = 100
        self.real = OnServer.connected(self.url)
        self.model = model
        self.run(self.real.client.flushall())
        self.run(self.real.open())
        self.move_clock(0)

    def teardown(self) -> None:
        self.run(self.real.aclose())
        self.runner.close()

    def run(self, awaitable: Awaitable[Answer]) -> Answer:
        async def wait() -> Answer:
            return await awaitable

        return self.runner.run(wait())

    def both(self, ask: Callable[[Asked], Awaitable[Answer]]) -> Answer:
        stores: tuple[Any, Any] = (self.real.store, self.model.store)
        real, model = (self.run(ask(store)) for store in stores)
        assert real == model
        return real

    def move_clock(self, by_ms: int) -> None:
        self.now_ms += by_ms
        self.run(self.real.set_clock(self.now_ms))
        self.run(self.model.set_clock(self.now_ms))

    def new(self) -> int:
        self.used += 1
        return self.used


def run_beside(machine: type[SideBySide[Any]], url: str, share: float, examples: int) -> None:
    """Search on this server.

    Args:
        share: of the examples.
        examples: unless ``STATE_MACHINE_EXAMPLES`` says how many.
    """
    examples = int(os.environ.get("STATE_MACHINE_EXAMPLES", examples))
    run_state_machine_as_test(
        type("Machine", (machine,), {"url": url}),
        settings=settings(max_examples=max(1, int(examples * share)), stateful_step_count=50),
    )
