"""How the ledger fails: four ways, and each asks for a different answer.

    LedgerUnavailable   the database did not do it: nothing is committed or the outcome is
                        unknown; retry the whole batch, the cursor tells what happened
    CursorMoved         another writer or another generation was first: reload the cursor
    LogGap              the log does not go on where the cursor stands: recovery's business
    Violation           what the log says contradicts what SQL says: quarantine, never retry

Telling a violation from trouble matters most: a violation that is retried blocks the shard for
ever, and trouble that is quarantined loses good events. So only what is known to be the data's
fault counts as a violation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from flashstock.errors import Unavailable
from flashstock.model.events import MalformedEntry
from flashstock.model.fold import FoldViolation


class LedgerUnavailable(Unavailable):
    """The database did not answer in time, or lost the connection, or had no room left."""

    title = "The ledger did not answer in time; retry with the same key"


class CursorMoved(Exception):
    """The cursor is not where it was read: nothing was written. Reload it and go on."""


class LogGap(Exception):
    """The next event is missing, or of another generation: the log can't be followed."""


class Violation(Exception):
    """A row that an event needs is missing, or is not in the state the event expects."""


_DATA_FAULT_CLASSES = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""
_MISTAKE_CLASSES = ("42",)
"""Syntax error or undefined object: our own mistake, or tables that were never made."""


def driver_error(error: BaseException) -> BaseException:
    """What the database driver raised, below whatever SQLAlchemy wrapped around it."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def is_violation(error: BaseException) -> bool:
    """Whether the events themselves are at fault, so that a retry would fail for ever."""
    cause = driver_error(error)
    if isinstance(cause, (Violation, FoldViolation, MalformedEntry)):
        return True
    if isinstance(cause, asyncpg.PostgresError):
        return (cause.sqlstate or "")[:2] in _DATA_FAULT_CLASSES
    # A value that does not fit its column: asyncpg and sqlite3 refuse it before it is sent.
    if isinstance(cause, (OverflowError, UnicodeEncodeError)):
        return True
    if isinstance(cause, asyncpg.InterfaceError):
        return isinstance(cause, ValueError)
    return isinstance(cause, (sqlite3.IntegrityError, sqlite3.DataError))


def _is_trouble(error: BaseException) -> bool:
    cause = driver_error(error)
    if isinstance(cause, asyncpg.PostgresError):
        return (cause.sqlstate or "")[:2] not in _MISTAKE_CLASSES
    if isinstance(cause, sqlite3.Error):
        return isinstance(cause, sqlite3.DatabaseError) and not _is_mistake(cause)
    if isinstance(error, ProgrammingError):
        return False
    return isinstance(
        cause, (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    ) or isinstance(error, (DBAPIError, PoolTimeoutError))


def _is_mistake(error: sqlite3.DatabaseError) -> bool:
    """SQLite says "operational error" of a table that was never made, too."""
    return isinstance(error, sqlite3.ProgrammingError) or str(error).startswith("no such ")


@contextmanager
def trouble_as_unavailable() -> Iterator[None]:
    """Turn trouble into ``LedgerUnavailable``; violations and mistakes of ours pass as they are."""
    try:
        yield
    except Exception as error:
        if is_violation(error) or not _is_trouble(error):
            raise
        raise LedgerUnavailable(f"the ledger is unavailable: {driver_error(error)!r}") from error
