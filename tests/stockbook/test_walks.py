"""Whatever is done in whatever order: every identity holds, and no balance is negative."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flashstock.ledger.engine import create_engine
from tests.stockbook.walk import STEPS, Walk

_names = count()


def test_random_walks_keep_every_identity(book_url: str):
    """One book for all walks: what one leaves behind must not mislead the next."""
    refused = taken = 0
    with asyncio.Runner() as runner:
        engine = create_engine(book_url)

        @settings(max_examples=20, suppress_health_check=list(HealthCheck))
        @given(st.lists(STEPS, min_size=10, max_size=30))
        def walk(steps: list[tuple[Any, ...]]) -> None:
            nonlocal refused, taken
            walked = Walk(engine, f"walk{next(_names)}")
            runner.run(_walk(walked, steps))
            refused += walked.refused
            taken += len(steps)

        try:
            walk()
        finally:
            runner.run(engine.dispose())
    assert 0 < refused < taken


async def _walk(walked: Walk, steps: list[tuple[Any, ...]]) -> None:
    await walked.begin()
    for step in steps:
        await walked.step(step)
    await walked.check()


async def test_many_walk_at_once(book_url: str):
    """Writers of every kind, side by side on the same locations."""
    engine = create_engine(book_url)
    try:
        walks = [Walk(engine, f"side{next(_names)}") for _ in range(6)]
        for one in walks:
            await one.begin()
        steps = [
            ("receive", 0, "east", 40),
            ("virtual", 0, "east", 9),
            ("transfer", "east", 0, 12),
            ("dispatch", 0, 7),
            ("allocate", 0, "east", 8),
            ("sell", 0, "east", 3),
            ("commit", 0, "east", 20),
            ("arrive", 0, 2, 1, 1),
            ("buy", "west", 5, 5),
            ("come_all", 0),
            ("count", 0, "west", 9),
            ("approve", 0),
            ("keep", 0),
            ("again",),
        ]

        async def walk(one: Walk) -> None:
            for step in steps:
                await one.step(step)

        await asyncio.gather(*(walk(one) for one in walks))
        for one in walks:
            await one.check()
    finally:
        await engine.dispose()
