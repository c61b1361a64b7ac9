"""The interface as a shop and its operators use it: a real service, real stores, real HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from flashstock.api.documents import (
    CartDocument,
    PoolDocument,
    ReconciliationDocument,
    RefundPage,
    ReservationDocument,
    ShardList,
)
from tests.acceptance.processes import Service, eventually, serving

pytestmark = pytest.mark.acceptance

ADMIN_KEY = "the-key-of-these-tests"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Two workers and three shards, and keys from the first request on."""
    settings = {"FLASHSTOCK_ADMIN_KEY": ADMIN_KEY, "FLASHSTOCK_SHARD_COUNT": "3"}
    data_dir = tmp_path_factory.mktemp("api") / "data"
    with serving(data_dir, "--workers", "2", settings=settings) as running:
        running.wait_until_every_worker_is_open(shard_count=3)
        settle(running)
        yield running


def settle(running: Service) -> None:
    """Wait until every shard takes requests in every worker.

    Processes that start side by side may recover a shard one after the other, and a request then
    meets a 503. A caller retries; here it would only blur what the answers mean.
    """
    pools = [f"warm-{number}" for number in range(8)]
    with running.client(headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:

        def all_taken() -> bool:
            answers = [
                post(client, "/v1/pools", {"id": pool, "sku": "warm", "quantity": 1})
                for _ in range(3)
                for pool in pools
            ]
            return all(answer.status_code == 200 for answer in answers)

        eventually(all_taken, "every shard takes requests")


@pytest.fixture
def admin(service):
    with service.client(headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
        yield client


@pytest.fixture(autouse=True)
def proof(admin):
    """Whatever a test did, the stores agree afterwards and nothing is oversold or lost."""
    yield
    report = admin.get("/v1/ops/reconciliation").json()
    ReconciliationDocument.model_validate(report)
    assert report["ok"], report


def post(client: httpx.Client, path: str, body: Any = None, key: str = "") -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key} if key else {})


def make_pool(admin: httpx.Client, pool: str, quantity: int, **more: Any) -> dict[str, Any]:
    body = {"id": pool, "sku": f"sku-{pool}", "quantity": quantity, **more}
    response = post(admin, "/v1/pools", body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    PoolDocument.model_validate(made)
    return made


def reserve(
    client: httpx.Client, pool: str, key: str, *, buyer: str = "buyer", quantity: int = 1
) -> httpx.Response:
    body = {"pool": pool, "buyer": buyer, "quantity": quantity}
    return post(client, "/v1/reservations", body, key)


def units(admin: httpx.Client, pool: str) -> tuple[int, int, int, int]:
    """(available, held, sold, locked)"""
    now = admin.get(f"/v1/pools/{pool}").json()
    return now["available"], now["held"], now["sold"], now["locked"]


def code(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


def test_rules_of_campaigns(admin):
    """Who may buy, when units are taken, a limit over a group, a return that leaves the pool."""
    rules = {"per_buyer_limit": 2, "audience": "level:3", "channels": ["app", "web"]}
    made = make_pool(admin, "kit:boots", 5, **rules, deduct="order")
    assert (made["audience"], made["channels"]) == ("level:3", ["app", "web"])
    make_pool(admin, "kit:laces", 5, **rules, deduct="payment")
    attests = {"level": 3, "channel": "app"}

    def ask(pool: str, key: str, **more: Any) -> httpx.Response:
        return post(admin, "/v1/reservations", {"pool": pool, "buyer": "b", **more}, key)

    refused = ask("kit:boots", "kit-0", quantity=1, attests={"level": 3})
    assert code(refused) == (409, "not_eligible")
    assert refused.json()["channels"] == ["app", "web"]
    kept = ask("kit:boots", "kit-1", quantity=1, attests=attests)
    assert (kept.status_code, kept.json()["expires_at"]) == (201, None)
    ReservationDocument.model_validate(kept.json())
    assert ask("kit:boots", "kit-1", quantity=1).headers["Idempotency-Replayed"] == "true"
    ordered = [ask("kit:laces", f"kit-{n}", quantity=1, attests=attests) for n in (2, 3)]
    assert {answer.json()["state"] for answer in ordered} == {"ordered"}
    assert units(admin, "kit:laces") == (5, 0, 0, 0)
    paths = [f"/v1/reservations/{answer.json()['id']}" for answer in ordered]
    assert post(admin, f"{paths[0]}/confirm", {"payment_ref": "kit-p1"}).status_code == 200
    late = post(admin, f"{paths[1]}/confirm", {"payment_ref": "kit-p2"})
    assert code(late) == (409, "refund_due")
    assert code(ask("kit:laces", "kit-4", quantity=1, attests=attests)) == (409, "buyer_limit")
    back = post(admin, f"{paths[0]}/return", {"restock": False}, "kit-back")
    assert back.json()["state"] == "returned"
    assert units(admin, "kit:laces") == (4, 0, 0, 0)
    cart = {"buyer": "c", "lines": [{"pool": "kit:boots", "quantity": 2}], "attests": attests}
    assert post(admin, "/v1/carts", cart, "kit-cart").status_code == 201
    kept_path = f"/v1/reservations/{kept.json()['id']}"
    assert post(admin, f"{kept_path}/cancel").json()["state"] == "cancelled"
    assert units(admin, "kit:boots") == (3, 2, 0, 0)


def test_a_sale_from_hold_to_return(admin):
    make_pool(admin, "story", 10)
    held = reserve(admin, "story", "story-1", quantity=3)
    assert held.status_code == 201
    hold = held.json()
    ReservationDocument.model_validate(hold)
    assert hold["state"] == "held"
    path = f"/v1/reservations/{hold['id']}"
    assert admin.get(path).json() == hold

    replay = reserve(admin, "story", "story-1", quantity=3)
    assert (replay.status_code, replay.json()) == (200, hold)
    assert replay.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in held.headers
    other = reserve(admin, "story", "story-1", quantity=4)
    assert code(other) == (422, "idempotency_mismatch")
    assert units(admin, "story") == (7, 3, 0, 0)

    longer = post(admin, f"{path}/extend", {"seconds": 3_600}).json()
    assert longer["expires_at"] > hold["expires_at"]
    sale = post(admin, f"{path}/confirm", {"payment_ref": "story-pay"})
    assert sale.status_code == 200
    assert sale.json()["state"] == "confirmed"
    assert sale.json()["order_no"].isdigit()
    again = post(admin, f"{path}/confirm", {"payment_ref": "story-pay"})
    assert (again.status_code, again.json()) == (200, sale.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert code(post(admin, f"{path}/confirm", {"payment_ref": "x"})) == (409, "already_confirmed")
    assert code(post(admin, f"{path}/cancel")) == (409, "already_confirmed")
    assert units(admin, "story") == (7, 0, 3, 0)

    part = post(admin, f"{path}/return", {"quantity": 1}, "story-return-1")
    assert part.json()["returned"] == 1
    replayed = post(admin, f"{path}/return", {"quantity": 1}, "story-return-1")
    assert replayed.headers["idempotency-replayed"] == "true"
    too_many = post(admin, f"{path}/return", {"quantity": 3}, "story-return-2")
    assert code(too_many) == (409, "insufficient_stock")
    rest = post(admin, f"{path}/return", None, "story-return-3")
    assert (rest.json()["state"], rest.json()["returned"]) == ("returned", 3)
    assert units(admin, "story") == (10, 0, 0, 0)


def test_a_hold_that_is_let_go(admin):
    make_pool(admin, "let-go", 1)
    path = f"/v1/reservations/{reserve(admin, 'let-go', 'let-go-1').json()['id']}"
    assert code(reserve(admin, "let-go", "let-go-2", buyer="late")) == (409, "sold_out")
    cancelled = post(admin, f"{path}/cancel", {})
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert post(admin, f"{path}/cancel").headers["idempotency-replayed"] == "true"
    assert code(post(admin, f"{path}/extend", {"seconds": 1})) == (409, "already_cancelled")
    assert code(post(admin, f"{path}/confirm", {"payment_ref": "late"})) == (
        409,
        "already_cancelled",
    )
    refunds = admin.get("/v1/ops/refunds?limit=1000").json()
    RefundPage.model_validate(refunds)
    assert [r["payment_ref"] for r in refunds["items"] if r["pool"] == "let-go"] == ["late"]
    eventually(
        lambda: reserve(admin, "let-go", "let-go-3", buyer="late").status_code in (200, 201),
        "the unit is for sale again",
    )


def test_a_pool_that_is_changed(admin):
    settings = {"per_buyer_limit": 2, "hold_seconds": 60, "durability": "fast"}
    made = make_pool(admin, "changed", 5, **settings)
    assert settings.items() <= made.items()
    same = post(
        admin, "/v1/pools", {"id": "changed", "sku": "sku-changed", "quantity": 5} | settings
    )
    assert same.status_code == 200
    other = post(admin, "/v1/pools", {"id": "changed", "sku": "other", "quantity": 5})
    assert code(other) == (409, "pool_exists")
    assert reserve(admin, "changed", "changed-1", quantity=2).status_code == 201
    limited = reserve(admin, "changed", "changed-2")
    assert code(limited) == (409, "buyer_limit")
    assert limited.json()["per_buyer_limit"] == 2

    path = "/v1/pools/changed"
    more = post(admin, f"{path}/adjust", {"delta": 5, "lock_delta": 4}, "changed-adjust")
    assert more.json()["total"] == 10
    assert units(admin, "changed") == (4, 2, 0, 4)
    replay = post(admin, f"{path}/adjust", {"delta": 5, "lock_delta": 4}, "changed-adjust")
    assert replay.headers["idempotency-replayed"] == "true"
    mismatch = post(admin, f"{path}/adjust", {"delta": 6}, "changed-adjust")
    assert code(mismatch) == (422, "idempotency_mismatch")
    taken = post(admin, f"{path}/adjust", {"delta": -5}, "changed-less")
    assert code(taken) == (409, "insufficient_stock")
    assert taken.json()["available"] == 4

    assert post(admin, f"{path}/pause").json()["state"] == "paused"
    assert code(reserve(admin, "changed", "changed-3", buyer="b")) == (409, "paused")
    assert post(admin, f"{path}/resume").json()["state"] == "open"
    assert reserve(admin, "changed", "changed-4", buyer="b").status_code == 201
    assert post(admin, f"{path}/close").json()["state"] == "closed"
    assert code(reserve(admin, "changed", "changed-5", buyer="c")) == (409, "ended")
    assert code(post(admin, f"{path}/resume")) == (409, "ended")


def test_a_sale_that_has_not_started(admin):
    starts_at = "2286-01-01T00:00:00.000Z"
    made = make_pool(admin, "soon", 5, starts_at=starts_at)
    assert made["starts_at"] == starts_at
    refused = reserve(admin, "soon", "soon-1")
    assert code(refused) == (409, "not_started")
    assert refused.json()["starts_at"] == starts_at
    assert refused.json()["retry_after_ms"] > 0


def test_a_pool_with_waves_keeps_them_locked(admin):
    waves = [{"at": "2286-01-01T00:00:00.000Z", "quantity": 3}]
    made = make_pool(admin, "waves", 5, waves=waves)
    assert made["waves"] == waves
    assert units(admin, "waves") == (2, 0, 0, 3)
    refused = reserve(admin, "waves", "waves-1", quantity=3)
    assert code(refused) == (409, "sold_out")
    assert refused.json()["available"] == 2


def test_carts_are_all_or_nothing_in_one_shard_and_in_several(admin):
    pools = [f"cart-{number}" for number in range(6)]
    for pool in pools:
        make_pool(admin, pool, 2)
    lines = [{"pool": pool, "quantity": 1} for pool in [*pools, pools[0]]]
    body = {"buyer": "family", "lines": lines}
    cart = post(admin, "/v1/carts", body, "cart-1")
    assert cart.status_code == 201
    CartDocument.model_validate(cart.json())
    assert [r["quantity"] for r in cart.json()["reservations"]] == [2, 1, 1, 1, 1, 1]
    replay = post(admin, "/v1/carts", body, "cart-1")
    assert (replay.status_code, replay.json()) == (200, cart.json())
    assert replay.headers["idempotency-replayed"] == "true"

    refused = post(admin, "/v1/carts", body, "cart-2")
    assert code(refused) == (409, "sold_out")
    assert {"pool": pools[0], "code": "sold_out", "available": 0} in refused.json()["lines"]
    assert [units(admin, pool)[:2] for pool in pools] == [(0, 2)] + [(1, 1)] * 5


def test_a_batch_answers_each_item_by_itself(admin):
    make_pool(admin, "batch", 2)
    items = [
        {"idempotency_key": f"batch-{number}", "pool": pool, "buyer": "b", "quantity": quantity}
        for number, (pool, quantity) in enumerate(
            [("batch", 1), ("nowhere", 1), ("batch", 2), ("batch", 1)]
        )
    ]
    items.append(items[0])
    response = post(admin, "/v1/reservations/batch", {"items": items})
    assert response.status_code == 200
    answers = response.json()["items"]
    assert [answer["status"] for answer in answers] == [201, 404, 409, 201, 200]
    assert [answer.get("code") for answer in answers] == [
        None,
        "unknown_pool",
        "sold_out",
        None,
        None,
    ]
    assert answers[4]["id"] == answers[0]["id"]
    assert reserve(admin, "batch", "batch-0", buyer="b").json()["id"] == answers[0]["id"]
    assert units(admin, "batch") == (0, 2, 0, 0)


def test_one_payment_pays_for_one_reservation(admin):
    """Also where the two live in different shards."""
    paths = []
    for number in range(4):
        make_pool(admin, f"payment-{number}", 1)
        hold = reserve(admin, f"payment-{number}", f"payment-{number}").json()
        paths.append(f"/v1/reservations/{hold['id']}/confirm")
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda at: post(admin, at, {"payment_ref": "once"}), paths))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    refused = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert refused == {"payment_ref_used"}


def test_keys_have_roles_in_every_worker(admin, service):
    keys = {
        role: post(admin, "/v1/keys", {"name": f"{role}-key", "role": role}).json()["key"]
        for role in ("storefront", "ops", "admin")
    }
    make_pool(admin, "keys", 5)

    def status(role: str, path: str) -> int:
        with service.client(headers={"Authorization": f"Bearer {keys[role]}"}) as client:
            return int(client.get(path).status_code)

    def everywhere(role: str, path: str, expected: int) -> None:
        """Each request may meet another worker, and each hears of a key in its own time."""
        eventually(
            lambda: all(status(role, path) == expected for _ in range(8)),
            f"{role} gets {expected} at {path}",
        )

    for role, statuses in (
        ("storefront", (200, 403, 403)),
        ("ops", (200, 200, 403)),
        ("admin", (200, 200, 200)),
    ):
        for path, expected in zip(
            ("/v1/pools/keys", "/v1/pools", "/v1/keys"), statuses, strict=True
        ):
            everywhere(role, path, expected)
    assert admin.delete("/v1/keys/ops-key").status_code == 200
    everywhere("ops", "/v1/pools", 401)


def test_the_same_idempotency_key_of_two_callers_is_two_keys(admin, service):
    key = post(admin, "/v1/keys", {"name": "second-shop", "role": "storefront"}).json()["key"]
    make_pool(admin, "callers", 5)
    mine = reserve(admin, "callers", "same").json()["id"]
    with service.client(headers={"Authorization": f"Bearer {key}"}) as second:
        eventually(lambda: second.get("/v1/pools/callers").status_code == 200, "it is known")
        theirs = eventually(
            lambda: [a for a in [reserve(second, "callers", "same")] if a.status_code != 401],
            "it is known to whoever answers",
        )[0]
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine


def test_pools_are_listed_in_pages(admin):
    for number in range(5):
        make_pool(admin, f"page-{number}", number)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = admin.get("/v1/pools", params={"after": after, "limit": 2}).json()
        seen += [pool["id"] for pool in page["items"]]
        after = page["next_after"]
    assert seen == sorted(set(seen))
    assert [pool for pool in seen if pool.startswith("page-")] == [f"page-{n}" for n in range(5)]


def test_what_operators_see(admin, service):
    shards = admin.get("/v1/ops/shards").json()
    ShardList.model_validate(shards)
    assert [shard["state"] for shard in shards["shards"]] == ["open"] * 3
    assert admin.get("/v1/ops/quarantine").json() == {"items": [], "next_after": None}
    dry = post(admin, "/v1/ops/reconciliation/repair").json()
    assert dry["dry_run"] is True
    with service.client() as anyone:
        assert anyone.get("/healthz").json() == {"status": "ok"}
        assert anyone.get("/readyz").json() == {"status": "ready"}
        metrics = anyone.get("/metrics").text
        assert "flashstock_stores_answered 1.0" in metrics
        assert anyone.get("/docs").status_code == 200
        assert anyone.get("/v1/pools").status_code == 401
