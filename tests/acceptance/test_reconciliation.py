"""A breach while the service runs: it notices by itself, stops the pool, and says so everywhere."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys

import pytest
import redis

from flashstock.hotpath import keys
from tests.acceptance.processes import (
    document_at,
    environment,
    eventually,
    open_pool,
    reserve,
    run_flashstock,
    serving,
)

pytestmark = pytest.mark.acceptance

INVARIANT = re.compile(r'flashstock_invariant_ok\{invariant="nothing_lost"\} (\S+)')


@pytest.fixture
def broken(tmp_path, valkey_url, sqlite_url):
    """A running service that lost one hold of ``broken`` and nothing of ``whole``."""
    settings = {
        "FLASHSTOCK_REDIS_URL": valkey_url,
        "FLASHSTOCK_DATABASE_URL": sqlite_url,
        "FLASHSTOCK_ADMIN_KEY": "correct-horse-battery-staple",
    }
    key = {"Authorization": f"Bearer {settings['FLASHSTOCK_ADMIN_KEY']}"}
    with (
        serving(tmp_path / "data", settings=settings) as service,
        service.client(headers=key) as client,
    ):
        for pool in ("broken", "whole"):
            open_pool(client, pool)
        lost = reserve(client, "one", "broken").json()["id"]
        assert reserve(client, "two", "whole").status_code == 201
        eventually(lambda: INVARIANT.search(client.get("/metrics").text), "the first round")
        with redis.Redis.from_url(valkey_url) as redis_client:
            redis_client.hdel(keys.reservations(0), lost.partition("~")[2])
        yield settings, client, lost


def test_the_service_notices_by_itself_and_repair_ends_it(broken):
    _settings, client, lost = broken
    state = dict.fromkeys(("broken", "whole"), "")

    def paused() -> bool:
        state.update({pool: document_at(client, f"/v1/pools/{pool}")["state"] for pool in state})
        return state["broken"] == "paused"

    eventually(paused, "the pool is paused")
    assert state["whole"] == "open"
    refused = reserve(client, "three", "broken")
    assert (refused.status_code, refused.json()["code"]) == (409, "paused")
    eventually(
        lambda: [*INVARIANT.findall(client.get("/metrics").text)] == ["0.0"], "the metric says so"
    )
    report = document_at(client, "/v1/ops/reconciliation")
    (difference,) = report["differences"]
    assert difference["subject"] == lost
    assert difference["explained_by"]["kind"] == "held"
    mended = client.post("/v1/ops/reconciliation/repair", json={"dry_run": False}).json()
    assert mended["repaired"] == 1
    assert document_at(client, "/v1/ops/reconciliation")["ok"]
    assert client.post("/v1/pools/broken/resume", json={}).json()["state"] == "open"
    paid = client.post(f"/v1/reservations/{lost}/confirm", json={"payment_ref": "pay"})
    assert (paid.status_code, paid.json()["state"]) == (200, "confirmed")


@pytest.mark.parametrize("json_output", [True, False])
def test_the_command_ends_where_something_is_broken(broken, json_output):
    settings, _client, lost = broken
    flags = ["reconcile", "--watch", "--interval", "0.2", "--exit-on-breach"]
    ended = run_flashstock(*flags, *(["--json"] if json_output else []), settings=settings)
    assert ended.returncode == 1, ended.stderr
    last = ended.stdout.splitlines()[-1]
    if json_output:
        found = json.loads(last)
        assert (found["ok"], found["lost"]) == (False, 1)
        assert found["differences"][0]["subject"] == lost
    else:
        assert "BREACH" in last
        assert "broken: nothing lost" in last


def test_a_watch_goes_on_until_it_is_told_to_end(broken):
    settings, _client, _lost = broken
    command = [sys.executable, "-m", "flashstock", "reconcile", "--watch", "--interval", "0.1"]
    with subprocess.Popen(
        [*command, "--json"], env=environment(settings), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        rounds = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [one["round"] for one in rounds] == [1, 2, 3]
        assert not any(one["ok"] for one in rounds), "a breach alone does not end it"
        process.terminate()


def test_watching_and_repairing_exclude_each_other(tmp_path):
    ended = run_flashstock("reconcile", "--watch", "--repair", "--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert "--watch" in ended.stderr


def test_a_refund_is_settled_over_http(broken):
    _settings, client, _lost = broken
    held = reserve(client, "late", "whole").json()["id"]
    client.post(f"/v1/reservations/{held}/cancel")
    late = client.post(f"/v1/reservations/{held}/confirm", json={"payment_ref": "late"})
    assert late.json()["code"] == "already_cancelled"
    (due,) = document_at(client, "/v1/ops/refunds?settled=false")["items"]
    path = f"/v1/ops/refunds/{due['id']}/settle"
    done = client.post(path, json={"reference": "transfer-1"})
    assert (done.status_code, done.json()["settled_by"]) == (200, "admin")
    assert client.post(path, json={"reference": "transfer-1"}).json() == done.json()
    other = client.post(path, json={"reference": "transfer-2"})
    assert (other.status_code, other.json()["code"]) == (409, "refund_settled")
    assert document_at(client, "/v1/ops/refunds?settled=false")["items"] == []
    assert document_at(client, "/v1/ops/refunds?settled=true")["items"] == [done.json()]


def test_a_reconciliation_proves_the_stock_book_too(tmp_path):
    data_dir = tmp_path / "data"
    right = run_flashstock("reconcile", "--json", "--data-dir", str(data_dir))
    assert right.returncode == 0, right.stderr
    book = json.loads(right.stdout)["stock_book"]
    assert (book["ok"], book["identity"], book["differences_count"]) == (True, True, 0)
    with sqlite3.connect(data_dir / "ledger.db") as connection:
        connection.execute("INSERT INTO allocations VALUES ('sale', 'cap', 'east', 1, 3, 0)")
    connection.close()
    wrong = run_flashstock("reconcile", "--json", "--data-dir", str(data_dir))
    assert wrong.returncode == 1, wrong.stderr
    report = json.loads(wrong.stdout)
    assert (report["ok"], report["stock_book"]["campaign"]) == (False, False)
    shown = run_flashstock("reconcile", "--data-dir", str(data_dir))
    assert (shown.returncode, "campaign: False" in shown.stdout) == (1, True)
