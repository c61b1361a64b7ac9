"""Configured stores, a writer of its own, and the commands that share stores with `serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import psutil
import pytest
import redis

from tests.acceptance.processes import (
    PATIENCE_SECONDS,
    environment,
    eventually,
    open_pool,
    reserve,
    reserve_eventually,
    run_flashstock,
    serving,
)

pytestmark = pytest.mark.acceptance


def test_configured_stores_are_used_and_left_running(tmp_path, valkey_url, postgres_url):
    settings = {
        "FLASHSTOCK_REDIS_URL": valkey_url,
        "FLASHSTOCK_DATABASE_URL": postgres_url,
        "FLASHSTOCK_ADMIN_KEY": "correct-horse-battery-staple",
    }
    key = {"Authorization": f"Bearer {settings['FLASHSTOCK_ADMIN_KEY']}"}
    with (
        serving(tmp_path / "data", settings=settings) as service,
        service.client(headers=key) as client,
    ):
        assert "(external stores, API keys)" in service.log()
        assert service.running["valkey_pid"] is None
        open_pool(client)
        assert reserve(client, "one").status_code == 201
        assert service.stop() == 0
    assert not (tmp_path / "data").exists()
    with redis.Redis.from_url(valkey_url) as left_running:
        assert left_running.ping()


def test_a_database_alone_gets_the_embedded_valkey_and_is_not_open(tmp_path, postgres_url):
    settings = {"FLASHSTOCK_DATABASE_URL": postgres_url}
    with serving(tmp_path / "data", settings=settings) as service, service.client() as client:
        assert psutil.pid_exists(service.running["valkey_pid"])
        assert "no API key exists yet" in service.log()
        assert client.get("/v1/pools/none").status_code == 401


def test_a_writer_of_its_own_attaches_to_the_stores_of_a_service_without(tmp_path):
    data_dir = str(tmp_path / "data")
    with serving(tmp_path / "data", "--no-writer") as service, service.client() as client:
        assert service.running["writer_pid"] is None
        writer = subprocess.Popen(
            [sys.executable, "-m", "flashstock", "writer", "--data-dir", data_dir],
            env=environment(),
        )
        try:
            open_pool_eventually(client)
            reserve_eventually(client, "one")
            writer.send_signal(signal.SIGTERM)
            assert writer.wait(PATIENCE_SECONDS) == 0
        finally:
            writer.kill()
            writer.wait()
        assert service.stop() == 0


def open_pool_eventually(client):
    """Without a writer nothing is acknowledged; the one that was started needs a moment."""
    body = {"id": "pool", "sku": "sku", "quantity": 10}
    eventually(
        lambda: (
            client.post("/v1/pools", json=body, headers={"Idempotency-Key": "open"}).status_code
            in (200, 201)
        ),
        "the pool is open",
    )


def test_a_writer_without_stores_says_what_is_missing(tmp_path):
    result = run_flashstock("writer", "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 2
    assert "flashstock serve" in result.stderr


def test_reconcile_runs_beside_the_service_and_without_it(tmp_path):
    flags = ("reconcile", "--json", "--data-dir", str(tmp_path / "data"))
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        assert reserve(client, "one").status_code == 201
        beside = run_flashstock(*flags)
        assert service.stop() == 0
    alone = run_flashstock(*flags)
    for result in (beside, alone):
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["ok"] is True
        assert report["pools_checked"] == 1
        assert report["differences_count"] == 0
    with serving(tmp_path / "data") as service, service.client() as client:
        assert reserve_eventually(client, "one").headers["Idempotency-Replayed"] == "true"
