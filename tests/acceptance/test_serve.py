"""`flashstock serve` from start to end: what it prints, keeps, refuses and drains."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
import redis

from tests.acceptance.processes import (
    PATIENCE_SECONDS,
    HalfRequest,
    document_at,
    environment,
    eventually,
    open_pool,
    reserve,
    reserve_eventually,
    run_flashstock,
    serving,
)

pytestmark = pytest.mark.acceptance

ADMIN = {"FLASHSTOCK_ADMIN_KEY": "correct-horse-battery-staple"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_with_nothing_configured_it_serves_says_so_and_ends_in_order(tmp_path):
    with serving(tmp_path / "data") as service:
        running = service.running
        assert "(embedded, open: loopback only)" in service.log()
        assert running["pid"] == service.process.pid
        assert psutil.pid_exists(running["writer_pid"])
        assert psutil.pid_exists(running["valkey_pid"])
        assert len(running["worker_pids"]) == 1
        with service.client() as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 200
            open_pool(client)
            assert reserve(client, "one").status_code == 201
        assert service.stop() == 0
        assert service.survivors() == []
        assert not service.ready_file.exists()
        assert "Traceback" not in service.log()


def test_the_embedded_valkey_keeps_a_file_and_has_no_port(tmp_path):
    with serving(tmp_path / "data") as service:
        with redis.Redis.from_url(service.running["redis_url"], decode_responses=True) as client:
            configured = client.config_get("port", "appendonly", "appendfsync", "maxmemory-policy")
        assert configured == {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        listening = psutil.Process(service.running["valkey_pid"]).net_connections(kind="inet")
        assert listening == []


def test_a_restart_keeps_everything(tmp_path):
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        before = reserve(client, "one")
        assert before.status_code == 201
        assert service.stop() == 0
    with serving(tmp_path / "data") as service, service.client() as client:
        again = reserve_eventually(client, "one")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == before.json()
        pool = document_at(client, "/v1/pools/pool")
        assert (pool["total"], pool["available"], pool["held"]) == (10, 9, 1)


def test_a_killed_supervisor_leaves_nothing_behind_and_nothing_lost(tmp_path):
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        before = reserve(client, "one")
        assert before.status_code == 201
        service.send(signal.SIGKILL)
        service.ended()
        if sys.platform == "linux":
            eventually(lambda: not service.survivors(), "its children have ended too")
        with serving(tmp_path / "data") as successor, successor.client() as other:
            assert reserve_eventually(other, "one").json()["id"] == before.json()["id"]
            assert document_at(other, "/v1/pools/pool")["held"] == 1


def test_a_valkey_left_running_is_taken_over(tmp_path):
    """What a killed supervisor leaves where the system does not end its children."""
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        assert reserve(client, "one").status_code == 201
        assert service.stop() == 0
    leftover = _start_valkey_as_before(tmp_path / "data" / "valkey")
    try:
        with serving(tmp_path / "data") as service, service.client() as client:
            assert leftover.wait(PATIENCE_SECONDS) == 0
            assert document_at(client, "/v1/pools/pool")["held"] == 1
            assert "earlier run" in service.log()
    finally:
        leftover.kill()
        leftover.wait()


def test_the_torn_end_of_the_file_is_left_out(tmp_path):
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        assert reserve(client, "one").status_code == 201
        assert service.stop() == 0
    (torn,) = (tmp_path / "data" / "valkey" / "appendonlydir").glob("*.incr.aof")
    with torn.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSE")
    with serving(tmp_path / "data") as service, service.client() as client:
        assert reserve_eventually(client, "one").status_code == 200


def test_a_directory_too_deep_for_a_socket_works_too(tmp_path):
    deep = tmp_path / ("d" * 100) / "data"
    deep.parent.mkdir()
    with serving(deep) as service, service.client() as client:
        assert client.get("/readyz").status_code == 200
        assert service.stop() == 0


def test_a_second_service_on_the_same_directory_is_refused(tmp_path):
    with serving(tmp_path / "data") as service:
        second = run_flashstock("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
        assert second.returncode == 2
        assert f"process {service.process.pid}" in second.stderr
        assert str(tmp_path / "data") in second.stderr
        with service.client() as client:
            assert client.get("/readyz").status_code == 200


def test_a_busy_port_is_an_error_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run_flashstock("serve", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 2
    assert f"FLASHSTOCK_PORT: {port} is in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_beyond_loopback_a_key_is_needed(tmp_path):
    flags = ("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path / "data"))
    refused = run_flashstock(*flags)
    assert refused.returncode == 2
    assert "FLASHSTOCK_ADMIN_KEY" in refused.stderr
    with (
        serving(tmp_path / "data", "--host", "0.0.0.0", settings=ADMIN) as service,
        service.client() as client,
    ):
        assert "(embedded, API keys)" in service.log()
        assert client.get("/v1/pools/none").status_code == 401
        known = client.get("/v1/pools/none", headers=bearer(ADMIN["FLASHSTOCK_ADMIN_KEY"]))
        assert known.status_code == 404


def test_a_stored_key_closes_the_open_mode_and_opens_the_network(tmp_path):
    data_dir = str(tmp_path / "data")
    made = run_flashstock("keys", "create", "back-office", "--role", "ops", "--data-dir", data_dir)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    with serving(tmp_path / "data", "--host", "0.0.0.0") as service, service.client() as client:
        assert client.get("/v1/pools/none").status_code == 401
        assert client.get("/v1/pools/none", headers=bearer(key)).status_code == 404
        stored = run_flashstock("keys", "list", "--json", "--data-dir", data_dir)
        (row,) = json.loads(stored.stdout)
        assert (row["name"], row["role"], row["revoked_at"]) == ("back-office", "ops", None)
        assert key not in stored.stdout
        revoked = run_flashstock("keys", "revoke", "back-office", "--data-dir", data_dir)
        assert revoked.returncode == 0, revoked.stderr
        eventually(
            lambda: client.get("/v1/pools/none", headers=bearer(key)).status_code == 401,
            "the revoked key is refused",
        )
    twice = run_flashstock("keys", "create", "back-office", "--data-dir", data_dir)
    assert twice.returncode == 2
    assert "already" in twice.stderr


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_stopping_answers_what_was_begun_and_takes_nothing_new(tmp_path, server):
    settings = {"FLASHSTOCK_HTTP_SERVER": server}
    with serving(tmp_path / "data", settings=settings) as service, service.client() as client:
        open_pool(client)
        begun = HalfRequest(service.url, "begun")
        service.remember_family()
        service.send(signal.SIGTERM)
        service.stops_listening()
        answer = begun.finish()
        assert answer.startswith(b"HTTP/1.1 201"), answer
        assert service.ended() == 0
        assert service.survivors() == []
    with serving(tmp_path / "data") as service, service.client() as client:
        assert document_at(client, "/v1/pools/pool")["held"] == 1


def test_ctrl_c_reaches_the_supervisor_alone(tmp_path):
    """The terminal signals its whole session; the order of stopping is the supervisor's."""
    with serving(tmp_path / "data") as service, service.client() as client:
        running = service.running
        children = [running["writer_pid"], running["valkey_pid"], *running["worker_pids"]]
        assert os.getsid(service.process.pid) not in [os.getsid(child) for child in children]
        open_pool(client)
        begun = HalfRequest(service.url, "begun")
        os.killpg(service.process.pid, signal.SIGINT)
        service.stops_listening()
        assert begun.finish().startswith(b"HTTP/1.1 201")
        assert service.ended() == 0


def test_a_second_signal_ends_it_at_once(tmp_path):
    with serving(tmp_path / "data") as service, service.client() as client:
        open_pool(client)
        begun = HalfRequest(service.url, "begun")
        service.remember_family()
        service.send(signal.SIGTERM)
        service.stops_listening()
        service.send(signal.SIGTERM)
        assert service.ended() == 128 + signal.SIGTERM
        assert service.survivors() == []
        begun.close()


def _start_valkey_as_before(directory) -> subprocess.Popen[bytes]:
    """The server that ``serve`` would have left, holding the directory's lock as it does."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from flashstock.embedded.valkey import EmbeddedValkey\n"
        "import flashstock.embedded.valkey as module\n"
        "module.end_with_parent = lambda how: None\n"
        "async def main():\n"
        "    valkey = EmbeddedValkey(pathlib.Path(sys.argv[1]))\n"
        "    process = await valkey.start()\n"
        "    await valkey.wait_until_ready(process)\n"
        "    print(process.pid, flush=True)\n"
        "    sys.exit(await process.wait())\n"
        "asyncio.run(main())\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline()
    return holder
