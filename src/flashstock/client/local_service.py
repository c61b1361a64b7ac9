"""An embedded service of one's own: real processes, started for one run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from flashstock.errors import ConfigurationError, FlashstockError

READY_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05
LOG_TAIL_CHARACTERS: Final = 2_000
SETTING_PREFIX: Final = "FLASHSTOCK_"

_Result = TypeVar("_Result")


class _Ready(msgspec.Struct, frozen=True):
    """What we need of the ready file."""

    url: str


class ServiceFailed(FlashstockError):
    """The embedded service did not start, or ended before it was asked to."""

    code = "service_failed"
    title = "The embedded service did not run"


class LocalService:
    """``flashstock serve`` as a process of its own; an async context manager.

    Settings of the surrounding environment are not passed on: the run must not touch a Redis or
    a database that someone configured for something else. What the service prints goes to
    ``service.log`` in the data directory, so that the caller's own output stays its own.

    Args:
        data_dir: where its stores live; ``None`` makes a directory that is removed at the end.
        port: 0 lets the system choose.
        keep: leave it running, with its data, when the context ends.
        settings: ``FLASHSTOCK_*`` settings for it.

    Raises:
        ServiceFailed: it did not become ready; the message ends with what it printed last.
        ConfigurationError: the data directory can't be made or written.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        keep: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="flashstock-"))
        self._port = port
        self.keep = keep
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def pid(self) -> int | None:
        """The process to send SIGTERM to, where one runs."""
        return self._process.pid if self._process is not None else None

    @property
    def log_file(self) -> Path:
        return self.data_dir / "service.log"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.keep and problem is None:
            return
        await self._stop()

    async def while_alive(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of ``work``, which is cancelled if the service ends before it.

        Raises:
            ServiceFailed: the service ended.
        """
        if self._process is None:
            raise RuntimeError("the service is used outside `async with`")
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                if self._process.poll() is not None:
                    raise ServiceFailed(
                        f"`serve` ended with status {self._process.returncode} under way:\n"
                        f"{self._log_tail()}"
                    )
                await asyncio.wait((working,), timeout=POLL_SECONDS)
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _start(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.log_file.touch()
        except OSError as problem:
            raise ConfigurationError(f"{self.data_dir}: {problem.strerror}") from problem
        ready_file = self.data_dir / f"ready-{os.getpid()}"
        command = [sys.executable, "-m", "flashstock", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--data-dir", str(self.data_dir), "--ready-file", str(ready_file)]
        self._process = self._spawn(command)
        await self._wait_until_ready(self._process, ready_file)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Not asyncio's subprocess: that one kills its child when the loop ends, `keep` or not.
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                # Ctrl-C in the terminal is for us: we stop the service, and in order.
                start_new_session=True,
            )

    async def _wait_until_ready(self, process: subprocess.Popen[bytes], ready_file: Path) -> None:
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                while not (url := _url_in(ready_file)):
                    if process.poll() is not None:
                        raise ServiceFailed(
                            f"`serve` ended with status {process.returncode}:\n{self._log_tail()}"
                        )
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ServiceFailed(
                f"`serve` was not ready after {READY_TIMEOUT_SECONDS:.0f} s:\n{self._log_tail()}"
            ) from None
        self.url = url

    async def _stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not heard."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while process.poll() is None:
                if time.monotonic() > deadline:
                    # Its children die with it.
                    process.kill()
                await asyncio.sleep(POLL_SECONDS)
        self._process = None
        if self._temporary:
            rmtree(self.data_dir, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(SETTING_PREFIX)
        }
        return own | self._settings

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def _url_in(ready_file: Path) -> str:
    """The address that ``serve`` wrote, or nothing yet."""
    try:
        return msgspec.json.decode(ready_file.read_bytes(), type=_Ready).url
    except FileNotFoundError:
        return ""
