"""The data directory, which one flashstock at a time may use."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from flashstock.errors import ConfigurationError


class DirectoryInUse(ConfigurationError):
    """Another process holds the data directory."""


class DataDirectory:
    """An exclusive claim on a data directory, held as long as this process lives.

    The claim is a lock of the operating system, so it ends with its holder however that dies: no
    stale lock file has to be cleaned away. The directory is created, readable by its owner only.

    Raises:
        DirectoryInUse: on entering; another process has the claim.
        ConfigurationError: on entering; the directory can't be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise ConfigurationError(
                f"FLASHSTOCK_DATA_DIR: {self.path} can't be used: {problem.strerror}"
            ) from problem
        if not try_lock(descriptor):
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DirectoryInUse(
                f"FLASHSTOCK_DATA_DIR: another flashstock (process {holder}) uses {self.path};"
                " stop it, or choose another --data-dir"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file, or say that another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
