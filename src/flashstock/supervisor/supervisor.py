"""Starting everything in order, keeping it alive, and ending it in the opposite order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flashstock.config import Settings, key_of, unknown_keys
from flashstock.embedded.children import end_with_parent
from flashstock.embedded.directory import DataDirectory
from flashstock.embedded.stores import embedded_valkey, with_embedded_urls
from flashstock.embedded.valkey import STOP_GRACE_SECONDS
from flashstock.errors import ConfigurationError
from flashstock.ledger.migrate import upgrade
from flashstock.supervisor.access import Access, decide_access
from flashstock.supervisor.child import Child, Starter
from flashstock.supervisor.readiness import PROBE_INTERVAL_SECONDS, Running, probe
from flashstock.supervisor.sockets import bind, listen, url_of

WORKER_DRAIN_SECONDS: Final = 10.0
WRITER_DRAIN_SECONDS: Final = 15.0
"""What it leaves in the log is applied at the next start."""
SLOW_START_SECONDS: Final = 10.0

_log = logging.getLogger("flashstock.supervisor")


class StoppedAtOnce(Exception):
    """A second signal came: nothing was drained."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``serve`` is told beyond the settings."""

    with_writer: bool = True
    ready_file: Path | None = None


class Supervisor:
    """Runs the service until it is told to stop by SIGTERM or SIGINT.

    Stopping: no new connections → API workers answer what they have → the writer applies what
    the log holds → Valkey. A second signal kills everything at once, which loses nothing that
    was acknowledged.
    """

    def __init__(self, settings: Settings, options: ServeOptions) -> None:
        self._settings = settings
        self._options = options
        self._valkey: Child | None = None
        self._writer: Child | None = None
        self._workers: list[Child] = []
        self._listener: socket.socket | None = None
        self._ready = False
        self._second_signal: int | None = None
        # Done when it is time to end; its exception is why, if that is a failure.
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Return after an orderly stop.

        Raises:
            ConfigurationError: the settings, the data directory or a store can't be used.
            CrashLoop: a child keeps dying.
            StoppedAtOnce: a second signal came.
        """
        for line in unknown_keys(os.environ):
            _log.warning(line)
        self._prepare_ready_file()
        with ExitStack() as stack:
            if self._settings.redis_url is None:
                stack.enter_context(DataDirectory(self._settings.data_dir))
            self._listener = stack.enter_context(bind(self._settings.host, self._settings.port))
            self._settings = self._settings.changed(port=self._listener.getsockname()[1])
            self._catch_signals()
            start_up = asyncio.create_task(self._start_up(self._listener))
            start_up.add_done_callback(self._note_failure)
            try:
                await self._end
            finally:
                start_up.cancel()
                await asyncio.wait({start_up})
                await self._shut_down()
        if self._second_signal is not None:
            raise StoppedAtOnce(self._second_signal)

    async def _start_up(self, listener: socket.socket) -> None:
        if self._settings.redis_url is None:
            valkey = embedded_valkey(self._settings)
            self._valkey = self._add_child("valkey", valkey.start)
            await valkey.wait_until_ready(await self._valkey.first_process())
            self._settings = with_embedded_urls(self._settings)
        await upgrade(self._settings.ledger_url)
        access = await decide_access(self._settings)
        listen(listener)
        if self._options.with_writer:
            self._writer = self._add_child("writer", self._start_writer)
        for number in range(self._settings.workers):
            self._workers.append(self._add_child(f"api-worker-{number}", self._start_worker))
        await self._until_ready(url_of(listener))
        self._ready = True
        self._write_ready_file()
        self._announce(url_of(listener), access)

    async def _until_ready(self, url: str) -> None:
        patience_ends_at = time.monotonic() + SLOW_START_SECONDS
        while reason := await probe(url):
            if time.monotonic() > patience_ends_at:
                _log.warning("not ready yet: %s", reason)
                patience_ends_at = time.monotonic() + SLOW_START_SECONDS
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def _shut_down(self) -> None:
        _log.info("stopping")
        self._ready = False
        if self._options.ready_file is not None:
            self._options.ready_file.unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()
        await asyncio.gather(*(worker.stop(WORKER_DRAIN_SECONDS) for worker in self._workers))
        if self._writer is not None:
            await self._writer.stop(WRITER_DRAIN_SECONDS)
        if self._valkey is not None:
            await self._valkey.stop(STOP_GRACE_SECONDS)
        _log.info("stopped")

    async def _start_worker(self) -> Process:
        if self._listener is None:
            raise RuntimeError("a worker needs the listening socket")
        descriptor = self._listener.fileno()
        return await self._start_python("api-worker", "--fd", str(descriptor), fds=(descriptor,))

    async def _start_writer(self) -> Process:
        return await self._start_python("writer", "--child")

    async def _start_python(self, *arguments: str, fds: tuple[int, ...] = ()) -> Process:
        ours = {key_of(field) for field in Settings.model_fields}
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the current directory shadows no module
            "-m",
            "flashstock",
            *arguments,
            env=inherited | self._settings.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C reaches us alone: the order of stopping is ours
            # Not SIGTERM: without Valkey and without us there is nothing left to drain into, and
            # a kill is safe at any moment.
            preexec_fn=end_with_parent(signal.SIGKILL),
        )

    def _add_child(self, name: str, start: Starter) -> Child:
        child = Child(name, start, self._write_ready_file)
        child.supervise().add_done_callback(self._note_failure)
        return child

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) and not self._end.done():
            self._end.set_exception(problem)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if not self._end.done():
            self._end.set_result(None)
            return
        self._second_signal = number
        for child in (*self._workers, self._writer, self._valkey):
            if child is not None:
                child.kill()

    def _prepare_ready_file(self) -> None:
        """Make sure early that it can be written; one of an earlier run says what is not so."""
        path = self._options.ready_file
        if path is None:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise ConfigurationError(f"--ready-file: {path}: {problem.strerror}") from problem
        if not path.parent.is_dir():
            raise ConfigurationError(f"--ready-file: there is no directory {path.parent}")

    def _write_ready_file(self) -> None:
        path = self._options.ready_file
        if path is None or not self._ready or self._listener is None:
            return
        running = Running(
            url=url_of(self._listener),
            pid=os.getpid(),
            writer_pid=self._writer.pid if self._writer else None,
            worker_pids=[worker.pid for worker in self._workers if worker.pid is not None],
            valkey_pid=self._valkey.pid if self._valkey else None,
            redis_url=self._settings.redis_url or "",
            database_url=self._settings.ledger_url,
        )
        running.write(path)

    def _announce(self, url: str, access: Access) -> None:
        stores = "embedded" if self._settings.embedded else "external stores"
        line = f"flashstock ready on {url} ({stores}, {access}); watch it at {url}/console"
        if self._settings.has_storefront_page:
            line += f", buy at {url}/demo"
        if not sys.stderr.isatty():
            _log.info(line, extra={"url": url})
        else:
            from rich.console import Console

            Console(stderr=True).print(f"[bold green]{line}[/]", highlight=False)
        if access is Access.NOBODY:
            _log.warning("every request needs a key: 'flashstock keys create NAME' makes one")
