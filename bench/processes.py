"""Processes the suite starts: each in its own session, its output in a file, ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from flashstock.embedded.children import end_with_parent

START_TIMEOUT_SECONDS: Final = 60.0
STOP_GRACE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_LOG_LINES_SHOWN: Final = 25


class StartFailed(RuntimeError):
    """A process of the suite ended or never became ready; the message ends with its log."""


class Child:
    """One running process and where its output goes."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.process = process
        self.log_path = log_path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_tail(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])

    def wait_until(
        self, ready: Callable[[], bool], timeout_seconds: float = START_TIMEOUT_SECONDS
    ) -> None:
        """Poll ``ready`` until it says so.

        Raises:
            StartFailed: the process ended first, or the time went by.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while not ready():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise StartFailed(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to its whole session after the grace."""
        self.process.terminate()
        try:
            self.process.wait(STOP_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def running(
    name: str,
    arguments: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> Iterator[Child]:
    """A process for the time of the block; it ends with us even if we are killed.

    Args:
        descriptors: open files it inherits, under the same numbers.
    """
    log_path = directory / f"{name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            pass_fds=descriptors,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509 (the suite has one thread)
        )
    child = Child(name, process, log_path)
    try:
        yield child
    except Exception as problem:
        problem.add_note(f"the end of what {name} said:\n{child.log_tail()}")
        raise
    finally:
        child.stop()


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and all it started, dead children included."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
    return total


class CpuMeter:
    """How many cores each named process kept busy over a block."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)
        self.cores: dict[str, float] = {}

    def __enter__(self) -> CpuMeter:
        self._started_at = time.monotonic()
        self._before = {name: cpu_seconds(pid) for name, pid in self._processes.items()}
        return self

    def __exit__(self, *_: object) -> None:
        elapsed = time.monotonic() - self._started_at
        for name, pid in self._processes.items():
            self.cores[name] = round((cpu_seconds(pid) - self._before[name]) / elapsed, 2)
