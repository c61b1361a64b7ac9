"""SQL is frozen, or crashes: 503 at once, nothing falsely acknowledged, nothing lost later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.acceptance.processes import Service, document_at, eventually, open_pool_of, serving
from tests.recovery.audit import check_answers, check_books, read_books
from tests.recovery.crowd import Crowd
from tests.recovery.postgres import OwnPostgres, own_postgres

pytestmark = pytest.mark.acceptance

ADMIN_KEY = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {ADMIN_KEY}"}
BACKLOG = 64
BATCH = 16


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def service(postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "FLASHSTOCK_DATABASE_URL": postgres.url.render_as_string(hide_password=False),
        "FLASHSTOCK_ADMIN_KEY": ADMIN_KEY,
        "FLASHSTOCK_LANE_BATCH_MAX": str(BATCH),
        "FLASHSTOCK_WRITER_BATCH_EVENTS_MAX": str(BATCH),
        "FLASHSTOCK_BACKLOG_EVENTS_MAX": str(BACKLOG),
    }
    with serving(tmp_path_factory.mktemp("sql") / "data", settings=settings, hasty=True) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client(headers=BEARER) as client:
        yield client


@contextmanager
def frozen(postgres: OwnPostgres) -> Iterator[None]:
    postgres.freeze()
    try:
        yield
    finally:
        postgres.thaw()


def create(client: httpx.Client, pool: str, durability: str) -> None:
    open_pool_of(client, {"id": pool, "sku": "sku", "quantity": 1_000, "durability": durability})


def ask(client: httpx.Client, pool: str, key: str) -> httpx.Response:
    body = {"pool": pool, "buyer": f"buyer-{key}", "quantity": 1}
    return client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})


def assert_unavailable_soon(client: httpx.Client, path: str, body: object, key: str) -> None:
    """Soon: while it is frozen, where without a limit nobody would be answered at all."""
    answer = client.post(path, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"] == "1"


def decided(client: httpx.Client, pool: str, key: str) -> httpx.Response:
    """The first answer that is not for want of time, which Redis may lack on a busy machine."""

    def answered() -> list[httpx.Response]:
        answer = ask(client, pool, key)
        in_time = answer.status_code != 503 or answer.json()["code"] != "unavailable"
        return [answer] if in_time else []

    return eventually(answered, f"{key} is decided")[0]


def settled(client: httpx.Client, pool: str, key: str) -> str:
    """The reservation that the key has in the end."""
    found: list[str] = []

    def answered() -> list[str]:
        answer = ask(client, pool, key)
        found.extend([answer.json()["id"]] if answer.status_code < 300 else [])
        return found

    return eventually(answered, f"{key} is held")[0]


def is_consistent(client: httpx.Client) -> None:
    report: dict[str, object] = {}

    def quiet() -> bool:
        report.update(document_at(client, "/v1/ops/reconciliation"))
        return report.get("lag_events") == 0

    eventually(quiet, "the log is applied")
    assert report["ok"], report


def test_frozen_it_acknowledges_nothing_and_forgets_nothing(service, postgres, client):
    create(client, "ledger", "ledger")
    before = settled(client, "ledger", "before")
    item = {"pool": "ledger", "buyer": "buyer-during", "quantity": 1}
    with frozen(postgres):
        assert_unavailable_soon(client, "/v1/reservations", item, "during")
        assert_unavailable_soon(client, "/v1/reservations", item, "during")
        paying = {"payment_ref": "pay-before"}
        assert_unavailable_soon(client, f"/v1/reservations/{before}/confirm", paying, "unused")
        assert_unavailable_soon(client, "/v1/pools/ledger/adjust", {"delta": 5}, "more")
    during = settled(client, "ledger", "during")
    assert settled(client, "ledger", "during") == during
    assert settled(client, "ledger", "before") == before

    def paid() -> object:
        return client.post(f"/v1/reservations/{before}/confirm", json=paying).status_code == 200

    eventually(paid, "it is paid")
    is_consistent(client)
    pool = document_at(client, "/v1/pools/ledger")
    assert (pool["held"], pool["sold"]) == (1, 1)


def test_fast_pools_sell_on_until_the_backlog_is_full(service, postgres, client):
    create(client, "fast", "fast")
    granted: list[str] = []
    refusal = None
    with frozen(postgres):
        for number in range(BACKLOG * 3):
            answer = decided(client, "fast", f"fast-{number}")
            if answer.status_code == 503:
                refusal = answer
                break
            assert answer.status_code in (200, 201), answer.text
            granted.append(answer.json()["id"])
    assert refusal is not None
    assert refusal.json()["code"] == "overloaded"
    assert refusal.headers["Retry-After"] == "1"
    assert BACKLOG / 2 < len(granted) <= BACKLOG + 1
    is_consistent(client)
    for reservation in granted:
        assert document_at(client, f"/v1/reservations/{reservation}")["state"] == "held"
    assert settled(client, "fast", f"fast-{len(granted)}")
    assert document_at(client, "/v1/pools/fast")["held"] == len(granted) + 1


@pytest.mark.parametrize("how", ["frozen", "crashed"])
async def test_a_crowd_loses_nothing_while_it_is_away(service, postgres, client, how):
    create(client, how, "ledger")
    async with Crowd(service.url, (how,), api_key=ADMIN_KEY) as crowd:
        for _ in range(2):
            await crowd.has_been_granted(10)
            unanswered = crowd.unanswered
            if how == "frozen":
                with frozen(postgres):
                    await crowd.has_been_unanswered(unanswered + crowd.size)
            else:
                postgres.crash()
                await crowd.has_been_unanswered(unanswered + crowd.size)
                postgres.start()
        await crowd.has_been_granted(10)
        await crowd.settle()
    is_consistent(client)
    books = await read_books(service.running["database_url"])
    check_answers(books, crowd.wishes)
    check_books(books)
