"""A connection to SQLite whose end can't wait for ever."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import aiosqlite

ROWS_AHEAD: Final = 64
"""As aiosqlite has it."""


class SqliteConnection(aiosqlite.Connection):
    """aiosqlite's, which may be stopped again.

    There, a second ``stop`` waits for the answer of a thread that the first one ended. SQLAlchemy
    stops a connection twice where a cancellation meets a connection that is being closed, and the
    task, or the end of the process, then hangs (aiosqlite 0.22.1, SQLAlchemy 2.1.9).
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, ROWS_AHEAD)
        self._thread.daemon = True  # it does not keep a process alive
        self._is_stopped = False

    def stop(self) -> asyncio.Future[Any] | None:
        """End the thread once all that was asked of it is done; nothing to wait for if it ends."""
        if self._is_stopped:
            return None
        self._is_stopped = True
        return super().stop()


def connect(database: str, **options: Any) -> SqliteConnection:
    """What ``aiosqlite.connect`` does. To be awaited."""
    return SqliteConnection(partial(sqlite3.connect, database, **options))
