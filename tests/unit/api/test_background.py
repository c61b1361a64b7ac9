"""What runs beside the requests of an API process goes on, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.api.background import _forever
from flashstock.errors import Unavailable


@pytest.mark.parametrize("failure", [Unavailable(), RuntimeError("nobody foresaw it")])
async def test_a_failure_costs_one_round(failure: Exception) -> None:
    rounds = 0
    went_on = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise failure
        went_on.set()

    running = asyncio.create_task(_forever(work, 0.0))
    async with asyncio.timeout(60):
        await went_on.wait()
    running.cancel()
