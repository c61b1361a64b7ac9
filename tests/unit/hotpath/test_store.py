"""The store without a server: which failure means what, and which answer is of an older gate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import exceptions as redis_errors
from redis.asyncio import Redis

from flashstock.errors import FlashstockError, Recovering, Unavailable, UnknownPool
from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.scripts import (
    STATUSES,
    build_keys,
    key_names,
    position_place,
    script_directory,
    script_set,
    script_source,
)
from flashstock.hotpath.store import HotStore

SCRIPTS = script_set(0, "1", 1000)


def store_answering(answer: Any, *, lost: list[int] | None = None) -> HotStore:
    """``answer`` is returned, raised, or awaited."""

    async def call(*command: Any) -> Any:
        assert command[0] == "EVALSHA"
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Future):
            return await answer
        return answer

    store = HotStore(Redis(), 1, call)
    store.open_shard(0, SCRIPTS)
    if lost is not None:
        store.on_lost = lost.append
    return store


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (redis_errors.NoScriptError("NOSCRIPT"), Recovering),
        (redis_errors.ReadOnlyError("READONLY"), Recovering),
        (redis_errors.ConnectionError("gone"), Unavailable),
        (redis_errors.BusyLoadingError("LOADING"), Unavailable),
        (redis_errors.TimeoutError("slow"), Unavailable),
        (redis_errors.OutOfMemoryError("OOM"), Unavailable),
        (redis_errors.ResponseError("MISCONF"), Unavailable),
        (ConnectionRefusedError(), Unavailable),
        (TimeoutError(), Unavailable),
    ],
)
def test_a_failure_of_the_server_is_one_of_two_of_ours(raised, expected):
    with pytest.raises(FlashstockError) as caught, translated_failures():
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("answer", [redis_errors.NoScriptError("NOSCRIPT"), [-1]])
async def test_the_first_sign_of_another_data_set_closes_the_gate_once(answer):
    lost: list[int] = []
    store = store_answering(answer, lost=lost)
    for _ in range(2):
        with pytest.raises(Recovering):
            await store.snapshot("p")
    assert lost == [0]
    assert store.generation(0) is None


@pytest.mark.parametrize("failure", [redis_errors.ConnectionError(), redis_errors.TimeoutError()])
async def test_silence_closes_nothing(failure):
    """The same data set may be there again in a moment."""
    lost: list[int] = []
    store = store_answering(failure, lost=lost)
    with pytest.raises(Unavailable):
        await store.snapshot("p")
    assert (lost, store.generation(0)) == ([], "1")


async def test_a_late_answer_of_an_older_gate_does_not_close_the_newer_one():
    lost: list[int] = []
    late: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    store = store_answering(late, lost=lost)
    asking = asyncio.create_task(store.snapshot("p"))
    await asyncio.sleep(0)
    store.open_shard(0, script_set(0, "2", 1000))
    late.set_result([-1])
    with pytest.raises(Recovering):
        await asking
    assert (lost, store.generation(0)) == ([], "2")


async def test_every_call_says_which_position_is_known():
    """The later of what SQL has and what the shard itself has answered since it was opened."""
    asked: list[tuple[Any, ...]] = []

    async def call(*command: Any) -> Any:
        asked.append(command)
        return [0, 1, b"8:5-0", 5]

    store = HotStore(Redis(), 1, call)
    store.open_shard(0, SCRIPTS)
    store.committed = lambda _: 7
    await store.adjust("p", 1, 0, "command")
    await store.adjust("p", 1, 0, "command")
    store.committed = lambda _: 9
    await store.adjust("p", 1, 0, "command")
    store.open_shard(0, script_set(0, "2", 1000))
    store.committed = lambda _: 3
    await store.adjust("p", 1, 0, "command")
    assert [command[-1] for command in asked] == [7, 8, 9, 3]


def test_it_is_known_where_a_reply_says_its_position():
    assert {name for name in STATUSES if position_place(name) is None} == {
        "claim_payment",
        "known",
        "restore",
        "takeover",
    }
    assert position_place("reserve") == 4
    assert position_place("lookup") == 2


async def test_a_closed_shard_is_not_asked():
    store = store_answering(AssertionError("it was asked"))
    store.close_shard(0)
    with pytest.raises(Recovering):
        await store.reserve("p", 1, ["d"], ["b"], ["1"])


async def test_an_unknown_pool_is_named():
    with pytest.raises(UnknownPool) as caught:
        await store_answering([-2]).reserve("nowhere", 1, ["d"], ["b"], ["1"])
    assert caught.value.extra == {"pool": "nowhere"}


@pytest.mark.parametrize("name", STATUSES)
def test_a_script_is_whole_when_it_is_loaded(name):
    text = SCRIPTS.texts[name]
    assert "--#include" not in text
    assert "@" not in text
    assert key_names(name)
    assert script_source(name).startswith("#!lua")


def test_scripts_are_found_in_the_checkout():
    assert (script_directory() / "reserve.lua").is_file()


def test_all_keys_of_a_shard_share_its_tag():
    """So that a script is legal on a cluster."""
    names = [build(7) for build in keys.SHARD_KEYS.values()]
    names += [build(7, "p") for build in keys.POOL_KEYS.values()]
    names += [build(7, "d") for build in keys.DIGEST_KEYS.values()]
    names += [keys.applied_channel(7)]
    assert all(name.startswith("{fs:07}:") for name in names)
    assert len(set(names)) == len(names)
    assert build_keys("confirm", 7, "p", "d") == [
        "{fs:07}:meta",
        "{fs:07}:log",
        "{fs:07}:pool:p",
        "{fs:07}:reservations",
        "{fs:07}:deadlines:p",
        "{fs:07}:buyers:p",
        "{fs:07}:retired:p",
        "{fs:07}:payment:d",
        "{fs:07}:due",
    ]
