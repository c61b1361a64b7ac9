"""What happens to the data in Redis while a service runs: emptied, full, out of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import redis

from flashstock.hotpath import keys
from tests.acceptance.processes import (
    Service,
    document_at,
    eventually,
    open_pool_of,
    reserve_eventually,
    serving,
    settled,
)
from tests.recovery.audit import check_answers, check_books, read_books
from tests.recovery.crowd import Crowd

pytestmark = pytest.mark.acceptance

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("data") / "data", hasty=True) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def store(service: Service) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(service.running["redis_url"], decode_responses=True) as store:
        yield store


@contextmanager
def full(store: redis.Redis) -> Iterator[None]:
    """Redis may not grow by a byte."""
    store.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        store.config_set("maxmemory", "0")


def create(client: httpx.Client, pool: str, quantity: int, **rules: object) -> None:
    open_pool_of(client, {"id": pool, "sku": "sku", "quantity": quantity, **rules})


def ask(client: httpx.Client, pool: str, key: str, quantity: int = 1) -> httpx.Response:
    body = {"pool": pool, "buyer": f"buyer-{key}", "quantity": quantity}
    return client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})


def hold(client: httpx.Client, pool: str, key: str, quantity: int = 1) -> str:
    """The hold that the key has in the end."""
    answer = settled(lambda: ask(client, pool, key, quantity), f"{key} is answered")
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def confirm(client: httpx.Client, reservation: str) -> httpx.Response:
    path = f"/v1/reservations/{reservation}/confirm"
    payment = {"payment_ref": f"pay-{reservation}"}
    return settled(lambda: client.post(path, json=payment), f"{path} is answered")


def cancel(client: httpx.Client, reservation: str) -> httpx.Response:
    path = f"/v1/reservations/{reservation}/cancel"
    return settled(lambda: client.post(path), f"{path} is answered")


def units(client: httpx.Client, pool: str) -> tuple[int, int, int]:
    found = document_at(client, f"/v1/pools/{pool}")
    return found["available"], found["held"], found["sold"]


def is_consistent(client: httpx.Client) -> None:
    report: dict[str, object] = {}

    def quiet() -> bool:
        report.update(document_at(client, "/v1/ops/reconciliation"))
        return report.get("lag_events") == 0

    eventually(quiet, "the log is applied")
    assert report["ok"], report


FLUSHES: dict[str, Callable[[redis.Redis], object]] = {
    "scripts": lambda store: store.script_flush(),
    "everything": lambda store: store.flushall(),
}


@pytest.mark.parametrize("what", FLUSHES)
async def test_flushed_under_a_crowd(service, client, store, what):
    create(client, what, 200)
    async with Crowd(service.url, (what,)) as crowd:
        for _ in range(3):
            await crowd.has_been_granted(10)
            FLUSHES[what](store)
        await crowd.has_been_granted(10)
        await crowd.settle()
    is_consistent(client)
    assert document_at(client, f"/v1/pools/{what}")["state"] == "open"
    books = await read_books(service.running["database_url"])
    check_answers(books, crowd.wishes)
    check_books(books)


def test_out_of_memory_what_gives_back_still_works(client, store):
    create(client, "full", 10)
    create(client, "full-brief", 10, hold_seconds=1)
    paid, cancelled = hold(client, "full", "full-1"), hold(client, "full", "full-2")
    hold(client, "full-brief", "full-3", quantity=4)
    with full(store):
        refused = ask(client, "full", "full-4")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert confirm(client, paid).json()["state"] == "confirmed"
        assert cancel(client, cancelled).json()["state"] == "cancelled"
        eventually(lambda: units(client, "full-brief") == (10, 0, 0), "the hold has expired")
        assert units(client, "full") == (9, 0, 1), "all or nothing"
        is_consistent(client)
    assert hold(client, "full", "full-4")
    is_consistent(client)


def test_a_restart_out_of_memory_does_not_lock_the_doors(client, store):
    create(client, "locked", 10)
    paid = hold(client, "locked", "locked-1")
    with full(store):
        store.script_flush()
        eventually(lambda: confirm(client, paid).status_code == 200, "it can be paid")
    assert reserve_eventually(client, "locked-2", "locked").status_code in (200, 201)
    is_consistent(client)


def test_a_payment_after_expiry_is_served_or_owed(client):
    create(client, "plenty", 2, hold_seconds=1)
    create(client, "last", 1, hold_seconds=1)
    served, owed = hold(client, "plenty", "plenty-1"), hold(client, "last", "last-1")
    eventually(lambda: units(client, "plenty") == (2, 0, 0), "the hold has expired")
    eventually(lambda: units(client, "last") == (1, 0, 0), "the hold has expired")
    assert confirm(client, hold(client, "last", "last-2")).json()["state"] == "confirmed"
    assert confirm(client, served).json()["state"] == "confirmed"
    for _ in range(3):
        answer = confirm(client, owed)
        assert (answer.status_code, answer.json()["code"]) == (409, "refund_due")
    refunds = document_at(client, "/v1/ops/refunds")["items"]
    (due,) = (refund for refund in refunds if refund["reservation"] == owed)
    assert (due["payment_ref"], due["quantity"]) == (f"pay-{owed}", 1)
    assert units(client, "plenty") == (1, 0, 1)
    assert units(client, "last") == (0, 0, 1)
    is_consistent(client)


def test_a_clock_that_jumps_ends_holds_early_and_counts_right(service, client, store):
    """The last of this service: time stands still for it until the clocks have caught up."""
    create(client, "early", 10)
    create(client, "later", 5)
    held = [hold(client, "early", f"early-{number}", quantity=2) for number in range(5)]
    meta = keys.shard_meta(0)
    jumped_ms = int(store.hget(meta, "clock_ms")) + HOUR_MS
    store.hset(meta, "clock_ms", jumped_ms)
    assert document_at(client, f"/v1/reservations/{held[0]}")["state"] == "expired"
    # Nobody has swept them; who is short of stock takes what time has freed, and no more.
    eventually(
        lambda: ask(client, "early", "early-more", quantity=10).status_code in (200, 201),
        "all are free",
    )
    assert units(client, "early") == (0, 10, 0)
    too_late = confirm(client, held[0])
    assert (too_late.status_code, too_late.json()["code"]) == (409, "refund_due")
    refused = settled(lambda: ask(client, "early", "early-none"), "early-none is answered")
    assert refused.json()["code"] == "sold_out"
    is_consistent(client)

    # The server's own clock is an hour behind now: no decision is dated before an earlier one.
    later = reserve_eventually(client, "later-1", "later").json()
    assert time_ms(later["expires_at"]) >= jumped_ms
    store.flushall()
    again = reserve_eventually(client, "later-1", "later").json()
    assert (again["state"], again["expires_at"]) == ("held", later["expires_at"])
    newest = reserve_eventually(client, "later-2", "later").json()
    assert time_ms(newest["expires_at"]) >= time_ms(later["expires_at"])
    assert int(store.hget(meta, "clock_ms")) >= jumped_ms
    is_consistent(client)


def time_ms(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 - time.timezone * 1000
