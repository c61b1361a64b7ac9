"""Starting and ending a service process, with a stand-in for the interpreter that runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flashstock.client import LocalService, ServiceFailed
from flashstock.errors import ConfigurationError

STAND_IN = """#!/bin/sh
env > "$(dirname "$0")/environment"
echo "$@" > "$(dirname "$0")/arguments"
while [ "$1" != --ready-file ]; do shift; done
{body}
"""
READY = """printf '{"url": "http://127.0.0.1:1", "pid": 1}' > "$2.new"; mv "$2.new" "$2"\n"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def make(body: str) -> Path:
        script = tmp_path / "python"
        script.write_text(STAND_IN.replace("{body}", body))
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        return tmp_path

    return make


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_runs_as_long_as_the_context_and_leaves_nothing(stand_in, monkeypatch):
    monkeypatch.setenv("FLASHSTOCK_REDIS_URL", "redis://precious")
    directory = stand_in(READY + "exec sleep 60")
    async with LocalService(settings={"FLASHSTOCK_WORKERS": "2"}) as service:
        pid, data_dir = service.pid, service.data_dir
        assert pid is not None
        assert alive(pid)
        assert service.url == "http://127.0.0.1:1"
    assert not alive(pid)
    assert not data_dir.exists()
    environment = (directory / "environment").read_text()
    assert "precious" not in environment
    assert "FLASHSTOCK_WORKERS=2" in environment
    arguments = (directory / "arguments").read_text()
    assert arguments.startswith("-m flashstock serve --host 127.0.0.1 --port 0 --data-dir")


async def test_a_data_directory_of_the_caller_stays(stand_in, tmp_path):
    stand_in(READY + "echo hello; exec sleep 60")
    async with LocalService(tmp_path / "a" / "b") as service:
        data_dir = service.data_dir
    assert (data_dir / "service.log").is_file()


async def test_kept_means_kept_unless_something_went_wrong(stand_in, tmp_path):
    stand_in(READY + "exec sleep 60")
    async with LocalService(tmp_path / "kept", keep=True) as kept:
        pid = kept.pid
    assert pid is not None
    assert alive(pid)
    os.kill(pid, signal.SIGTERM)
    failed = LocalService(keep=True)

    async def fail() -> None:
        async with failed:
            pids.append(failed.pid)
            raise ValueError("meanwhile")

    pids: list[int | None] = []
    with pytest.raises(ValueError, match="meanwhile"):
        await fail()
    pid = pids[0]
    assert pid is not None
    assert not alive(pid)


async def test_a_service_that_ends_before_it_is_ready_is_quoted(stand_in):
    stand_in("echo 'the port is taken' >&2; exit 3")
    with pytest.raises(ServiceFailed, match=r"(?s)status 3.*the port is taken"):
        async with LocalService():
            pass


async def test_a_service_that_ends_under_way_ends_the_work(stand_in):
    wait = 'until test -e "$(dirname "$0")/enough"; do sleep 0.02; done; '
    directory = stand_in(READY + wait + "echo 'killed by the test'; exit 9")
    cancelled = asyncio.Event()

    async def work() -> None:
        (directory / "enough").touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ServiceFailed, match=r"(?s)status 9 under way.*killed by the test"):
        async with LocalService() as service:
            await service.while_alive(work())
    assert cancelled.is_set()


async def test_work_that_fails_fails_as_itself(stand_in):
    stand_in(READY + "exec sleep 60")

    async def work() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        async with LocalService() as service:
            await service.while_alive(work())


async def test_a_directory_that_can_not_be_is_a_matter_of_configuration(stand_in, tmp_path):
    stand_in("exit 1")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        async with LocalService(tmp_path / "file" / "below"):
            pass
