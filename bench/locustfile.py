"""The buyer's journey for locust: browse, reserve, pay, abandon, let go, retry.

    flashstock serve &
    locust -f bench/locustfile.py --host http://127.0.0.1:8080 --headless

For watching a service under a life-like crowd, not for the ratios: locust itself costs more than
the service does. ``FLASHSTOCK_API_KEY`` is sent where it is set; it must be able to open pools.
Refusals are answers, not failures. What is a failure: any 5xx but a 503 with Retry-After, a
replay that does not return the same hold, and books that do not balance at the end.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import Any, Final

from locust import HttpUser, LoadTestShape, between, events, task

POOL: Final = f"locust-{secrets.token_hex(4)}"
POOL_UNITS: Final = 5_000
HOLD_SECONDS: Final = 20
BUYERS: Final = 20_000
PAY_SHARE: Final = 0.6
LET_GO_SHARE: Final = 0.2
RETRY_SHARE: Final = 0.1
EXPECTED: Final = frozenset({200, 201, 409, 503})


def _headers() -> dict[str, str]:
    key = os.environ.get("FLASHSTOCK_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def open_the_sale(environment: Any, **_: Any) -> None:
    """One pool, small enough to sell out under the burst."""
    import httpx

    body = {
        "id": POOL,
        "sku": "locust-sku",
        "quantity": POOL_UNITS,
        "per_buyer_limit": 2,
        "hold_seconds": HOLD_SECONDS,
    }
    url = f"{environment.host}/v1/pools"
    httpx.post(url, json=body, headers=_headers(), timeout=30).raise_for_status()


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def reconcile(environment: Any, **_: Any) -> None:
    """A run in which something was oversold or lost has failed, whatever its figures."""
    import httpx

    url = f"{environment.host}/v1/ops/reconciliation"
    report = httpx.get(url, headers=_headers(), timeout=120).raise_for_status().json()
    print(f"reconciliation: oversold {report['oversold']}, lost {report['lost']}")
    if not report["ok"]:
        environment.process_exit_code = 1


class Buyer(HttpUser):
    """One person: looks, tries, and then pays, lets go or wanders off."""

    wait_time = between(0.1, 1.0)

    def on_start(self) -> None:
        self.client.headers.update(_headers())

    @task(3)
    def browse(self) -> None:
        self._send("GET", f"/v1/pools/{POOL}", "look at the pool")

    @task(5)
    def buy(self) -> None:
        key = secrets.token_hex(12)
        body = {"pool": POOL, "buyer": f"buyer-{random.randrange(BUYERS)}", "quantity": 1}
        held = self._send("POST", "/v1/reservations", "reserve", key, body)
        if held is None:
            return
        if random.random() < RETRY_SHARE:
            self._retry(key, body, held["id"])
        where = f"/v1/reservations/{held['id']}"
        decision = random.random()
        if decision < PAY_SHARE:
            payment = {"payment_ref": f"pay-{secrets.token_hex(12)}"}
            self._send("POST", f"{where}/confirm", "pay", body=payment)
        elif decision < PAY_SHARE + LET_GO_SHARE:
            self._send("POST", f"{where}/cancel", "let go")
        # The others just leave; their holds end by themselves.

    def _retry(self, key: str, body: dict[str, Any], reservation_id: str) -> None:
        """The answer was lost on the way: ask again with the same key."""
        again = self._send("POST", "/v1/reservations", "retry", key, body)
        if again is not None and again["id"] != reservation_id:
            raise AssertionError(f"{key} holds {reservation_id} and {again['id']}")

    def _send(
        self, method: str, path: str, name: str, key: str = "", body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The answer's JSON, or ``None`` where it is a refusal."""
        headers = {"Idempotency-Key": key} if key else {}
        with self.client.request(
            method, path, name=name, json=body, headers=headers, catch_response=True
        ) as response:
            if response.status_code not in EXPECTED:
                response.failure(f"{response.status_code}: {response.text[:200]}")
                return None
            response.success()
            answer: dict[str, Any] = response.json()
            return answer if response.status_code < 300 else None


class OpeningBurst(LoadTestShape):
    """Few who wait, everybody at once when the sale opens, and a long tail."""

    stages: Final = ((10, 20, 20), (25, 400, 200), (60, 80, 50))
    """Until second, users, users started a second."""

    def tick(self) -> tuple[int, float] | None:
        elapsed = self.get_run_time()  # type: ignore[no-untyped-call]
        for until, users, spawn_rate in self.stages:
            if elapsed < until:
                return users, spawn_rate
        return None
