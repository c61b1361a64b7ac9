"""Processes of the service die, or go silent, while a crowd buys: the failure table, first half.

Every answer that any buyer ever got is held against what stands in SQL in the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import redis

from flashstock.hotpath import keys
from flashstock.model.ids import digest_of
from tests.acceptance.processes import (
    Service,
    document_at,
    eventually,
    open_pool,
    reserve,
    reserve_eventually,
    serving,
)
from tests.recovery.audit import check_answers, check_books, read_books
from tests.recovery.crowd import Crowd
from tests.recovery.proxy import Cut, fault_proxy

pytestmark = pytest.mark.acceptance

STOCK = 200
KILLS = 3
"""The supervisor gives up on a process that dies more often than this in a row."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("killed") / "data"
    with serving(directory, "--workers", "2", hasty=True) as running:
        running.wait_until_every_worker_is_open()
        yield running


def victim_of(service: Service, what: str) -> int:
    running = service.running
    pid = running["worker_pids"][0] if what == "worker" else running[f"{what}_pid"]
    return int(pid)


def replaced(service: Service, what: str, before: int) -> bool:
    running = service.running
    found = running["worker_pids"] if what == "worker" else [running[f"{what}_pid"]]
    service.remember_family()
    return before not in found and None not in found and all(psutil.pid_exists(p) for p in found)


async def is_consistent(service: Service, crowd: Crowd) -> None:
    """Both columns of the table: what buyers saw, and what is guaranteed."""
    await crowd.settle()
    with service.client() as client:
        report: dict[str, object] = {}

        def quiet() -> bool:
            report.update(document_at(client, "/v1/ops/reconciliation"))
            return report.get("lag_events") == 0

        eventually(quiet, "the log is applied")
        assert report["ok"], report
        for pool in crowd.pools:
            assert document_at(client, f"/v1/pools/{pool}")["state"] == "open"
    books = await read_books(service.running["database_url"])
    check_answers(books, crowd.wishes)
    check_books(books)


@pytest.mark.parametrize("what", ["worker", "writer", "valkey"])
async def test_killed_again_and_again_while_a_crowd_buys(service, what):
    pools = (f"{what}-a", f"{what}-b")
    with service.client() as client:
        for pool in pools:
            open_pool(client, pool, STOCK)
    async with Crowd(service.url, pools, seed=1) as crowd:
        for _ in range(KILLS):
            await crowd.has_been_granted(10)
            before = victim_of(service, what)
            os.kill(before, signal.SIGKILL)
            await asyncio.to_thread(
                eventually, lambda before=before: replaced(service, what, before), "a successor"
            )
        await crowd.has_been_granted(10)
        await is_consistent(service, crowd)


async def test_valkey_goes_silent_for_a_while(service):
    with service.client() as client:
        open_pool(client, "silent", STOCK)
    async with Crowd(service.url, ("silent",), seed=2) as crowd:
        await crowd.has_been_granted(10)
        os.kill(victim_of(service, "valkey"), signal.SIGSTOP)
        try:
            with service.client() as client:
                refused = reserve(client, "unheard", "silent")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "1"
        finally:
            os.kill(victim_of(service, "valkey"), signal.SIGCONT)
        await crowd.has_been_granted(10)
        with service.client() as client:
            heard = reserve_eventually(client, "unheard", "silent")
            path = f"/v1/reservations/{heard.json()['id']}/cancel"
            eventually(lambda: client.post(path).status_code == 200, "it is given back")
        await crowd.settle()
        with service.client() as client:
            assert document_at(client, "/v1/ops/reconciliation")["ok"]


def test_a_worker_killed_after_the_script_ran_has_held_it_once(service):
    """The writer is frozen, so nothing is acknowledged until the worker is gone."""
    with service.client() as client:
        open_pool(client, "once", 10)
    writer = victim_of(service, "writer")
    workers = service.running["worker_pids"]
    digest = digest_of("reservation", "local", "once-key")
    os.kill(writer, signal.SIGSTOP)
    try:
        with (
            redis.Redis.from_url(service.running["redis_url"]) as store,
            ThreadPoolExecutor(max_workers=1) as elsewhere,
        ):
            body = {"pool": "once", "buyer": "buyer-once-key", "quantity": 1}
            asked = elsewhere.submit(_answer, service.url, "once-key", body)
            eventually(lambda: store.hexists(keys.reservations(0), digest), "the script ran")
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            told = asked.result()
            assert told is None or told["status"] == 503, "nobody was told anything"
    finally:
        os.kill(writer, signal.SIGCONT)
    eventually(lambda: all(replaced(service, "worker", one) for one in workers), "successors")
    with service.client() as client:
        first = reserve_eventually(client, "once-key", "once")
        again = reserve_eventually(client, "once-key", "once")
        assert first.json() == again.json()
        assert first.json()["id"] == f"once~{digest}"
        assert first.headers["Idempotency-Replayed"] == "true"
        pool = document_at(client, "/v1/pools/once")
        assert (pool["held"], pool["available"]) == (1, 9)


async def test_ten_lost_replies_are_one_hold(service):
    with service.client() as client:
        open_pool(client, "lossy", 10)
    async with fault_proxy(service.url) as network:
        network.due.extend(Cut(reply_bytes=n) for n in (0, 1, 17, 0, 120, 0, 200, 0, 9))
        network.due.append(Cut(request_bytes=60))
        body = {"pool": "lossy", "buyer": "b", "quantity": 1}
        answers = [
            await asyncio.to_thread(_answer, network.url, "lossy-key", body) for _ in range(10)
        ]
        assert network.cuts == 10
        assert answers == [None] * 10
        answer = await asyncio.to_thread(_settled, network.url, "lossy-key", body)
    assert answer["id"] == f"lossy~{digest_of('reservation', 'local', 'lossy-key')}"
    with service.client() as client:
        eventually(
            lambda: reserve(client, "lossy-key", "lossy").status_code == 422,
            "another buyer's payload",
        )
        pool = document_at(client, "/v1/pools/lossy")
        assert (pool["held"], pool["available"]) == (1, 9)


def _settled(url: str, key: str, body: dict[str, object]) -> dict[str, object]:
    """The hold that the key has in the end: a worker that was killed may still be opening."""
    found: list[dict[str, object]] = []

    def held() -> bool:
        answer = _answer(url, key, body)
        assert answer is not None
        found.append(answer)
        return "id" in answer

    eventually(held, f"{key} is held")
    return found[-1]


def _answer(url: str, key: str, body: dict[str, object]) -> dict[str, object] | None:
    """The answer to one attempt, on a connection of its own."""
    try:
        answer = httpx.post(
            f"{url}/v1/reservations", json=body, headers={"Idempotency-Key": key}, timeout=30
        )
    except httpx.TransportError:
        return None
    found: dict[str, object] = answer.json()
    return found
