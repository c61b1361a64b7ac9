"""A crowd that watches a pool asks for it about as often as one of it would."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.client import Pool
from flashstock.errors import Unavailable
from flashstock.model.states import PoolState
from flashstock.storefront import looking
from flashstock.storefront.looking import SharedLook


class Service:
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failure: Exception | None = None
        self.seconds = 0.0

    async def look(self, pool: str) -> Pool:
        self.asked.append(pool)
        number = len(self.asked)
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return Pool(pool, PoolState.OPEN, total=number, available=number, held=0, sold=0)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def shared(service: Service) -> SharedLook[Pool]:
    return SharedLook(service.look, fresh_ms=200, changed_ms=50, clock=lambda: service.seconds)


async def test_all_who_look_at_once_share_one_answer(service, shared):
    service.may_answer.clear()
    looks = [asyncio.create_task(shared.of("p")) for _ in range(100)]
    await asyncio.sleep(0)
    service.may_answer.set()
    assert {pool.total for pool in await asyncio.gather(*looks)} == {1}
    assert service.asked == ["p"]


async def test_an_answer_serves_until_it_is_old(service, shared):
    await shared.of("p")
    service.seconds = 0.2
    await shared.of("p")
    assert len(service.asked) == 1
    service.seconds = 0.201
    assert (await shared.of("p")).total == 2


async def test_who_has_just_bought_sees_it_and_a_rush_of_them_asks_no_more_often(service, shared):
    await shared.of("p")
    for _ in range(100):
        shared.changed("p")
        await shared.of("p")
    assert len(service.asked) == 1
    service.seconds = 0.051
    assert (await shared.of("p")).total == 2
    service.seconds = 0.2
    assert (await shared.of("p")).total == 2
    shared.changed("never seen")


async def test_a_failure_is_not_kept(service, shared):
    service.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await shared.of("p")
    service.failure = None
    assert (await shared.of("p")).total == 2


async def test_whoever_leaves_takes_the_answer_from_nobody(service, shared):
    service.may_answer.clear()
    leaving, staying = (asyncio.create_task(shared.of("p")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    service.may_answer.set()
    assert (await staying).total == 1
    assert leaving.cancelled()


async def test_names_are_not_remembered_without_end(service, shared, monkeypatch):
    monkeypatch.setattr(looking, "NAMES_MAX", 2)
    for name in ("a", "b", "c", "b", "a"):
        await shared.of(name)
    assert service.asked == ["a", "b", "c", "a"]
