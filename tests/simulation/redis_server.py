"""The simulated Redis: a server that can be restarted, cut back, emptied, demoted, filled up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, Final

from redis.exceptions import (
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from tests.simulation.lua import LoadedScript, compile_script, run_script
from tests.simulation.redis_data import WRITES, DataSet, as_bytes

AfterScript = Callable[[DataSet, Sequence[bytes]], None]


class Connection:
    """Lasts as long as the server's process; whoever still waits on it then learns of its end."""

    def __init__(self) -> None:
        self.open = True
        self.on_close: dict[int, Callable[[], None]] = {}

    def close(self) -> None:
        self.open = False
        waiting, self.on_close = self.on_close, {}
        for closed in waiting.values():
            closed()


class RedisServer:
    """Data, script cache and subscribers of one server process.

    Args:
        clock_ms: the machine's clock.
        after_script: looks at the data after every script that may have written.
    """

    def __init__(self, clock_ms: Callable[[], int], after_script: AfterScript) -> None:
        self._clock_ms = clock_ms
        self._after_script = after_script
        self.data = DataSet(clock_ms)
        self.scripts: dict[str, LoadedScript] = {}
        self.subscribers: dict[bytes, list[Callable[[bytes, bytes], None]]] = {}
        self.connection = Connection()
        self.up = True
        self.full = False
        """Out of memory: only scripts that said they may run then do."""
        self.read_only = False
        """A replica, or a primary that was demoted."""
        self.scripts_run = 0
        self.on_write: dict[int, Callable[[], None]] = {}
        """Blocked readers."""

    def stop(self) -> None:
        """The process is gone; what it had in memory only is, too."""
        self.up = False
        self.scripts.clear()
        self.subscribers.clear()
        self.on_write.clear()
        self.connection.close()

    def start(self, transactions: int | None = None) -> None:
        """Start from the append-only file, or from its first so many transactions."""
        if transactions is not None:
            self.data = self.data.replayed(transactions)
        self.connection = Connection()
        self.read_only = False
        self.up = True

    def execute(self, command: Sequence[Any]) -> Any:
        """One command of a client. Raises what redis-py would raise."""
        name = as_bytes(command[0]).decode().upper()
        special = self._SPECIAL.get(name)
        if special is not None:
            return special(self, [as_bytes(part) for part in command[1:]])
        if name in WRITES:
            if self.read_only:
                raise ReadOnlyError("You can't write against a read only replica.")
            self.data.transaction()
        return self.data.execute(command)

    def _evalsha(self, arguments: list[bytes]) -> Any:
        script = self.scripts.get(arguments[0].decode())
        if script is None:
            raise NoScriptError("No matching script.")
        writes = "no-writes" not in script.flags
        if self.read_only and writes:
            raise ReadOnlyError("You can't write against a read only replica.")
        if self.full and writes and "allow-oom" not in script.flags:
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        key_count = int(arguments[1])
        keys = arguments[2 : 2 + key_count]
        self.data.transaction()
        self.scripts_run += 1
        reply = run_script(script, self.data.execute, keys, arguments[2 + key_count :])
        if self.data.history[-1]:
            self._after_script(self.data, keys)
            self._wake_readers()
        return reply

    def _wake_readers(self) -> None:
        waiting, self.on_write = self.on_write, {}
        for wake in waiting.values():
            wake()

    def _script(self, arguments: list[bytes]) -> Any:
        match arguments[0].upper():
            case b"LOAD":
                sha = sha1(arguments[1]).hexdigest()
                self.scripts[sha] = compile_script(arguments[1].decode())
                return sha
            case b"EXISTS":
                return [sha.decode() in self.scripts for sha in arguments[1:]]
            case b"FLUSH":
                self.scripts.clear()
                return "OK"
        raise ResponseError(f"the simulated server does not know SCRIPT {arguments[0]!r}")

    def _publish(self, arguments: list[bytes]) -> int:
        channel, message = arguments
        receivers = self.subscribers.get(channel, [])
        for receive in receivers:
            receive(channel, message)
        return len(receivers)

    def _xread(self, arguments: list[bytes]) -> Any:
        _, count, key, after = arguments
        return self.data.entries_after(key, after, int(count))

    def _xrevrange(self, arguments: list[bytes]) -> Any:
        key, newest, count = arguments
        return self.data.entries_back_from(key, newest, int(count))

    _SPECIAL: Final = {
        "EVALSHA": _evalsha,
        "SCRIPT": _script,
        "PUBLISH": _publish,
        "XREAD": _xread,
        "XREVRANGE": _xrevrange,
    }
