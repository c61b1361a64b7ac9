"""Asking where the primary is: together, not too often, and to the end."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from flashstock.hotpath import location
from flashstock.hotpath.location import Locator, Place, locator_for
from flashstock.model.addresses import parse_store_address

HERE, THERE = ("here", 1), ("there", 2)


class Told(Locator):
    """Is told where the primary is, once ``answer`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.answer = asyncio.Event()
        self.primary: Place | None = HERE
        self._found: Place = ("", 0)

    async def _look(self) -> None:
        self.looks += 1
        await self.answer.wait()
        if self.primary is None:
            raise LookupError("nobody knows")
        self._found = self.primary

    def _place(self, shard: int) -> Place:
        return self._found

    async def servers(self) -> list[Place]:
        return [self._found]

    async def _close(self) -> None:
        self.answer.set()


async def asked(locator: Locator, times: int) -> list[asyncio.Task[Place]]:
    tasks = [asyncio.create_task(locator.locate(0)) for _ in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_ask_at_once_share_one_look():
    locator = Told()
    asking = await asked(locator, 5)
    locator.answer.set()
    assert await asyncio.gather(*asking) == [HERE] * 5
    assert locator.looks == 1


async def test_a_look_goes_on_when_whoever_asked_gives_up():
    locator = Told()
    (impatient,) = await asked(locator, 1)
    impatient.cancel()
    (patient,) = await asked(locator, 1)
    locator.answer.set()
    assert await patient == HERE
    assert locator.looks == 1


async def test_what_was_found_is_good_for_a_moment_only(monkeypatch):
    locator = Told()
    locator.answer.set()
    assert await locator.locate(0) == HERE
    locator.primary = THERE
    assert await locator.locate(0) == HERE, "it has just been asked"
    monkeypatch.setattr(location, "LOOK_INTERVAL_S", 0.0)
    assert await locator.locate(0) == THERE


async def test_a_failure_is_one_of_the_connection_and_remembered_by_nobody():
    locator = Told()
    locator.primary = None
    locator.answer.set()
    with pytest.raises(RedisConnectionError, match="nobody knows"):
        await locator.locate(0)
    locator.primary = THERE
    assert await locator.locate(0) == THERE


async def test_closing_does_not_wait_for_an_answer():
    locator = Told()
    (asking,) = await asked(locator, 1)
    await locator.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_one_address_is_not_looked_for():
    assert locator_for(parse_store_address("redis://h"), 1.0) is None


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:1/sale", "redis+cluster://127.0.0.1:1"]
)
async def test_nobody_there_is_a_failure_of_the_connection(url):
    locator = locator_for(parse_store_address(url), 1.0)
    assert locator is not None
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            await locator.locate(0)
    await locator.aclose()
