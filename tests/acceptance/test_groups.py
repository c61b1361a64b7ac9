"""Group-buys on real processes that die: seats stay, groups form once, and are told of once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from standardwebhooks.webhooks import Webhook

from tests.acceptance.processes import (
    Service,
    document_at,
    eventually,
    open_pool_of,
    serving,
    settled,
)
from tests.acceptance.test_notices import receiving

pytestmark = pytest.mark.acceptance

AT_ONCE = 8


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("groups") / "data"
    with serving(directory) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def open_pool(client: httpx.Client, pool: str, **rules: Any) -> None:
    group_buy = {"size": 3, **rules}
    open_pool_of(client, {"id": pool, "sku": "sku", "quantity": 50, "group_buy": group_buy})


def ask(client: httpx.Client, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    """What is answered in the end, to whoever asks again with the same key while it is a 503."""

    def sent() -> httpx.Response | None:
        try:
            return client.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return None

    answer = settled(sent, f"POST {path} is answered")
    document: dict[str, Any] = answer.json()
    assert answer.status_code < 300, document
    return document


def opened(client: httpx.Client, pool: str, buyer: str) -> dict[str, Any]:
    return ask(client, "/v1/groups", {"pool": pool, "buyer": buyer}, f"{pool}-{buyer}")


def joined(client: httpx.Client, group: str, buyer: str) -> dict[str, Any]:
    return ask(client, f"/v1/groups/{group}/join", {"buyer": buyer}, f"{group}-{buyer}")


def paid(client: httpx.Client, seat: dict[str, Any]) -> dict[str, Any]:
    path = f"/v1/reservations/{seat['id']}/confirm"
    return ask(client, path, {"payment_ref": f"pay-{seat['id']}"}, "")


def kill(service: Service, what: str) -> None:
    """SIGKILL, and wait for the successor."""
    before = service.running[f"{what}_pid"]
    os.kill(before, signal.SIGKILL)

    def replaced() -> bool:
        found = service.running[f"{what}_pid"]
        service.remember_family()
        return found not in (None, before) and psutil.pid_exists(found)

    eventually(replaced, f"another {what}")


def test_a_group_survives_whatever_dies_and_forms_once(service, client):
    open_pool(client, "survives", deduct="form")
    opener = opened(client, "survives", "ann")
    group = opener["group"]
    paid(client, opener)
    second = joined(client, group, "bob")
    kill(service, "writer")
    paid(client, second)
    kill(service, "valkey")
    found = document_at(client, f"/v1/groups/{group}")
    assert (found["state"], found["paid"], found["missing"]) == ("open", 2, 1)
    third = joined(client, group, "cy")
    assert paid(client, third)["state"] == "confirmed"
    found = document_at(client, f"/v1/groups/{group}")
    assert (found["state"], found["paid"]) == ("formed", 3)
    assert [member["buyer"] for member in found["members"]] == ["ann", "bob", "cy"]
    assert {member["state"] for member in found["members"]} == {"confirmed"}
    shown = document_at(client, "/v1/pools/survives")
    assert (shown["available"], shown["held"], shown["sold"]) == (47, 0, 3)


def test_a_key_gets_one_seat_and_a_group_no_more_than_it_has(service, client):
    open_pool(client, "crowded", seats_per_buyer=3)
    group = opened(client, "crowded", "ann")["group"]

    def join(number: int) -> httpx.Response:
        body = {"buyer": f"buyer-{number}"}
        with service.client() as own:
            answer: httpx.Response = own.post(
                f"/v1/groups/{group}/join",
                json=body,
                headers={"Idempotency-Key": f"join-{number}"},
            )
        return answer

    with ThreadPoolExecutor(AT_ONCE) as executor:
        same = list(executor.map(lambda _: join(0), range(AT_ONCE)))
        others = list(executor.map(join, range(AT_ONCE)))
    assert {answer.json()["id"] for answer in same} == {same[0].json()["id"]}
    assert sorted(answer.status_code for answer in same) == [200] * (AT_ONCE - 1) + [201]
    codes = Counter(answer.json().get("code") for answer in others)
    assert codes == {None: 2, "group_full": AT_ONCE - 2}, "one of them had its seat before"
    found = document_at(client, f"/v1/groups/{group}")
    assert (found["pending"], found["free_seats"]) == (3, 0)


def test_members_are_told_once_by_signed_webhooks_though_the_teller_dies(service, client):
    open_pool(client, "told", size=2)
    with receiving(refused=0) as (url, received):
        body = {"url": url, "topics": ["group.*"]}
        made = client.post("/v1/webhooks", json=body).json()
        group = opened(client, "told", "ann")
        paid(client, group)
        second = joined(client, group["id"], "bob")
        kill(service, "writer")
        paid(client, second)

        def topics() -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for headers, text in list(received):
                Webhook(made["secret"]).verify(text, headers)
                document = json.loads(text)
                if document["data"]["pool"] == "told":
                    found.setdefault(document["type"], set()).add(headers["webhook-id"])
            return found

        wanted = {"group.opened": 1, "group.joined": 2, "group.formed": 1}

        def told() -> dict[str, int] | None:
            found = {topic: len(ids) for topic, ids in topics().items()}
            return found if all(found.get(one, 0) >= n for one, n in wanted.items()) else None

        assert eventually(told, "it is told who came, and that the group has formed") == wanted
        assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 200


def test_the_books_balance_in_the_end(service, client):
    def settled() -> dict[str, Any] | None:
        report = document_at(client, "/v1/ops/reconciliation")
        return report if report["lag_events"] == 0 else None

    report = eventually(settled, "the log is applied")
    assert report is not None
    assert report["ok"], report
