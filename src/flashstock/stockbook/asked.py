"""Who asks for what under which key, and how a repetition is told from something new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.errors import IdempotencyMismatch
from flashstock.model.ids import digest_of


@dataclass(frozen=True, slots=True)
class Asked:
    """Args:
    id: of the command, derived from who asks and his idempotency key.
    actor: who asks.
    """

    id: str
    actor: str


def payload_text(*parts: Any) -> str:
    """What was asked for, as text that is equal exactly where the request is."""
    return orjson.dumps(parts).decode()


async def open_document(
    connection: AsyncConnection, table: Table, asked: Asked, payload: str, values: dict[str, Any]
) -> tuple[int, bool]:
    """Insert a row for a document unless this command did so before. To be called under the lock.

    Returns:
        Its id, and whether it is new.

    Raises:
        IdempotencyMismatch: the key opened a document that says something else.
    """
    digest = digest_of(table.name, payload)
    found = await connection.execute(
        select(table.c.id, table.c.payload_digest).where(table.c.command_id == asked.id)
    )
    earlier = found.one_or_none()
    if earlier is not None:
        if earlier.payload_digest != digest:
            raise IdempotencyMismatch("this Idempotency-Key made another document")
        return int(earlier.id), False
    row = {**values, "command_id": asked.id, "payload_digest": digest}
    written = await connection.execute(insert(table).returning(table.c.id), row)
    return int(written.scalar_one()), True
