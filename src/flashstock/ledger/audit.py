"""Who changed what, when, and from where: rows that are only ever added.

Rows of requests that come together are written together, so that the record costs a commit for
all of them and not one for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import reading, writing
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.ledger.tables import metadata, row_number

ROWS_AT_ONCE: Final = 100

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("via", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Index("ix_audit_log_actor", "actor", "id"),
)
"""Triggers refuse to change or delete a row; the migration makes them."""


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody did, or was refused.

    Args:
        via: ``api``, ``console`` or ``cli``.
        address: where it came from, as far as the socket says; of a command, the host.
        action: method and route, or the command.
        subject: the path, as it was sent; of a command, what it changed.
        detail: what was sent along, shortened.
        status: of the answer; ``code`` is that of the problem, if it was one.
    """

    actor: str
    role: str
    via: str
    address: str
    action: str
    subject: str
    detail: str
    status: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A row."""

    id: int
    at_ms: int
    actor: str
    role: str
    via: str
    address: str
    action: str
    subject: str
    detail: str
    status: int
    code: str


class AuditLog:
    """Writes and reads the record.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock
        self._pending: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(self, change: Change) -> None:
        """Return once it is committed.

        Raises:
            LedgerUnavailable: it may not be; what was changed was changed all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        row = {name: _storable(value) for name, value in asdict(change).items()}
        self._pending.append(({**row, "at_ms": self._clock()}, future))
        if self._writing is None:
            # A task of its own: a client that hangs up must not take others' rows along.
            self._writing = loop.create_task(self._write())
            self._writing.add_done_callback(self._ended)
        await future

    async def page(
        self, before: int, limit: int, *, actor: str | None = None, via: str | None = None
    ) -> list[RecordedChange]:
        """The newest first: those with an id below ``before`` (0: from the newest)."""
        statement = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
        if before:
            statement = statement.where(audit_log.c.id < before)
        if actor is not None:
            statement = statement.where(audit_log.c.actor == actor)
        if via is not None:
            statement = statement.where(audit_log.c.via == via)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
        return [RecordedChange(**row._asdict()) for row in rows]

    async def _write(self) -> None:
        while self._pending:
            batch = self._pending[:ROWS_AT_ONCE]
            failure = await self._insert([row for row, _ in batch])
            del self._pending[: len(batch)]
            for _, future in batch:
                if future.cancelled():
                    continue
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        self._writing = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell whoever waits for rows that a task which was cut off writes no more."""
        if self._writing is not task:
            return
        self._writing = None
        left, self._pending = self._pending, []
        for _, future in left:
            if not future.done():
                future.set_exception(LedgerUnavailable("the writing of the record was cut off"))

    async def _insert(self, rows: list[dict[str, Any]]) -> Exception | None:
        try:
            async with writing(self._engine) as connection:
                await connection.execute(insert(audit_log), rows)
        except Exception as failure:  # noqa: BLE001 (handed on: nobody waits for ever)
            return failure
        return None


def _storable(value: Any) -> Any:
    """A path may have what no database takes as text; it is on record nevertheless."""
    if not isinstance(value, str):
        return value
    return value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
