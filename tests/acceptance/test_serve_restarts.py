"""Children die; the service goes on, or says why it can't."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import psutil
import pytest

from flashstock.errors import ConfigurationError
from flashstock.supervisor import child as child_module
from flashstock.supervisor.child import RESTARTS_MAX, Child, CrashLoop
from tests.acceptance.processes import (
    document_at,
    eventually,
    open_pool,
    reserve_eventually,
    run_flashstock,
    serving,
)

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("victim", ["worker", "writer", "valkey"])
def test_a_killed_child_is_replaced_and_the_service_goes_on(tmp_path, victim):
    with serving(tmp_path / "data", "--workers", "2") as service, service.client() as client:
        open_pool(client)
        reserve_eventually(client, "before")

        def pid_now():
            running = service.running
            return running["worker_pids"][0] if victim == "worker" else running[f"{victim}_pid"]

        before = pid_now()
        os.kill(before, signal.SIGKILL)
        after = eventually(lambda: pid_now() not in (before, None) and pid_now(), "a successor")
        assert psutil.pid_exists(after)
        service.remember_family()
        for number in range(4):
            reserve_eventually(client, f"after-{number}")
        assert reserve_eventually(client, "before").headers["Idempotency-Replayed"] == "true"
        assert document_at(client, "/v1/pools/pool")["held"] == 5
        assert service.stop() == 0
        assert service.survivors() == []


def has_ended(process):
    """Its parent, who is not us, buries it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_connections_wait_for_a_worker_that_is_restarted(tmp_path):
    with serving(tmp_path / "data") as service, service.client() as client:
        (worker,) = service.running["worker_pids"]
        process = psutil.Process(worker)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: has_ended(process), "the worker takes nobody any more")
        # The listening socket is the supervisor's: nobody is refused in between.
        assert client.get("/healthz").status_code == 200


def test_a_child_that_can_not_start_ends_the_service_with_the_reason(tmp_path):
    data_dir = str(tmp_path / "data")
    with serving(tmp_path / "data") as service:
        assert service.stop() == 0
    result = run_flashstock(
        "serve",
        "--port",
        "0",
        "--data-dir",
        data_dir,
        settings={"FLASHSTOCK_SHARD_COUNT": "2"},
    )
    assert result.returncode == 2
    assert "FLASHSTOCK_SHARD_COUNT" in result.stderr
    assert "error: configuration: " in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_child_that_keeps_dying_is_given_up(monkeypatch):
    monkeypatch.setattr(child_module, "BACKOFF_FIRST_SECONDS", 0.001)
    starts = 0

    async def start() -> asyncio.subprocess.Process:
        nonlocal starts
        starts += 1
        return await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")

    child = Child("child", start, lambda: None)
    with pytest.raises(CrashLoop, match="ended with status 3"):
        await child.supervise()
    assert starts == RESTARTS_MAX + 1


async def test_a_child_that_lives_long_enough_may_die_as_often_as_it_likes(monkeypatch):
    monkeypatch.setattr(child_module, "BACKOFF_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(child_module, "STABLE_SECONDS", 0.0)
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1
        if changes > 2 * RESTARTS_MAX:
            enough.set()

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")

    enough = asyncio.Event()
    child = Child("child", start, count)
    task = child.supervise()
    await enough.wait()
    assert not task.done()
    await child.stop(10)


async def test_a_first_process_that_refuses_is_not_asked_again():
    starts = 0

    async def start() -> asyncio.subprocess.Process:
        nonlocal starts
        starts += 1
        return await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(2)")

    with pytest.raises(ConfigurationError, match="can't start"):
        await Child("child", start, lambda: None).supervise()
    assert starts == 1


async def test_a_child_deaf_to_sigterm_is_killed_after_its_grace():
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(600)\n"
    )

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"deaf\n"
        return process

    child = Child("child", start, lambda: None)
    task = child.supervise()
    process = await child.first_process()
    await child.stop(0.2)
    assert process.returncode == -signal.SIGKILL
    assert task.done()
    assert child.pid is None
